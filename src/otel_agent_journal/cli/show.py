"""`agent-journal show`: a session as a tree, as events or as a conversation, or one step in full."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.contract import note
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.event import JournalEvent
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.projections.selection import Wanted
    from otel_agent_journal.projections.steps import Step, StepTree
    from otel_agent_journal.reading.journal import Journal

_POSITIVE = click.IntRange(min=1)


def _kinds(_context: click.Context, _option: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """Return kinds of steps in capitals; several may stand in one, with commas between them."""
    from otel_agent_journal.event import STEP_KINDS

    kinds = tuple(kind.strip().upper() for one in value for kind in one.split(",") if kind.strip())
    for kind in kinds:
        if kind not in STEP_KINDS:
            known = ", ".join(one.lower() for one in STEP_KINDS)
            raise click.BadParameter(f"'{readable.one_line(kind.lower(), 40)}' is none of {known}")
    return kinds


@click.command("show", short_help="Show a session as a tree of steps, or one step in full.")
@click.argument("session", required=False, metavar="SESSION[/STEP]")
@click.option("--tree", "view", flag_value="tree", help="The steps, as a waterfall. This is the default.")
@click.option("--events", "view", flag_value="events", help="The events, in the order of the session.")
@click.option("--messages", "view", flag_value="messages", help="The conversation with the models.")
@click.option("--prompt", "view", flag_value="prompt", help="What a model call was given: messages, tools, parameters.")
@click.option("--as", "form", type=click.Choice(("openai", "anthropic")), help="That as the JSON of a provider's API.")
@click.option("--errors", is_flag=True, help="Only what went wrong, where it began, with its stack.")
@click.option("--last", type=_POSITIVE, metavar="N", help="Only the last N turns.")
@click.option("--depth", type=_POSITIVE, metavar="N", help="Only the upmost N levels; what is beneath is counted.")
@click.option("--kind", "kinds", multiple=True, callback=_kinds, metavar="KIND", help="Only model, tool, ...: a list.")
@click.option("--slowest", type=_POSITIVE, metavar="N", help="The N steps that took the longest by themselves.")
@click.option("--full", is_flag=True, help="Fold and leave out nothing.")
@common_options
@pass_invocation
def command(
    invocation: Invocation,
    session: str | None,
    view: str | None,
    form: str | None,
    errors: bool,
    last: int | None,
    depth: int | None,
    kinds: tuple[str, ...],
    slowest: int | None,
    full: bool,
) -> None:
    """Show a session as a tree of steps, or one step in full.

    SESSION may be the beginning of an id. STEP is a step's number, its name where only one has that, a name or kind
    with a count, as search.2 or model.2, or its id; an @ may stand for the slash.
    """
    from otel_agent_journal.cli.choosing import need_session
    from otel_agent_journal.projections.selection import Wanted

    view = view or ("prompt" if form else None)
    wanted = Wanted(last, depth, kinds, slowest, errors)
    _check(view, form, wanted)
    output, journal = invocation.output(), invocation.journal()
    if not session:
        raise need_session(journal, "show")
    head, step = journal.session_and_step(session)
    if view == "prompt" and step is None:
        raise click.UsageError("--prompt goes with SESSION/STEP: it is one model call's")
    with invocation.paged(output):
        if step is not None:
            _part(output, journal, head, step, view, wanted, form, full)
        elif view in (None, "tree"):
            print_tree(output, journal, head, wanted)
        elif view == "messages":
            _messages(output, journal, head, last, full)
        else:
            _events(output, journal.events(head.session_id, head), errors)


def _check(view: str | None, form: str | None, wanted: Wanted) -> None:
    """Refuse options that say nothing together."""
    if wanted.failed and view in ("messages", "prompt"):
        raise click.UsageError("--errors goes with --tree and --events; a conversation has no errors")
    if form is not None and view != "prompt":
        raise click.UsageError("--as goes with --prompt: it is the form of a request")
    of_tree = wanted._replace(failed=False, last=None) != type(wanted)()
    if of_tree and view in ("events", "messages", "prompt"):
        raise click.UsageError("--depth, --kind and --slowest go with --tree")
    if wanted.last is not None and view in ("events", "prompt"):
        raise click.UsageError("--last goes with --tree and --messages: it counts turns")


def _part(
    output: Output,
    journal: Journal,
    head: SessionHead,
    step: str,
    view: str | None,
    wanted: Wanted,
    form: str | None,
    full: bool,
) -> None:
    """Print what was asked for of one step."""
    from otel_agent_journal.projections.selection import Wanted, beneath
    from otel_agent_journal.reading.gists import with_failures, with_gist

    if view is None and wanted != Wanted():
        view = "tree"
    if view == "tree":
        from otel_agent_journal.cli.choosing import find_step

        tree = journal.tree(head, taken=with_failures if wanted.failed else with_gist)
        found = find_step(tree, step, head.session_id)
        _waterfall(output, journal, head, tree, beneath(tree, found.step_id), wanted)
        return
    tree, found = step_with_content(journal, head, step)
    if view == "prompt" or (view == "messages" and found.kind == "MODEL"):
        _model_call(output, journal, head, found, view, form, full)
    elif view == "messages":
        _conversation(output, journal, head, tree, {found.step_id}, full)
    elif view == "events":
        events = (event for event in journal.events(head.session_id, head) if event.step_id == found.step_id)
        _events(output, events, wanted.failed)
    else:
        _step(output, journal, head, tree, found, full)


def step_with_content(journal: Journal, head: SessionHead, text: str) -> tuple[StepTree, Step]:
    """Return a session's tree and the step of it that is named, with all that it took and gave.

    Raises:
        NoSuchStep: none is named so.
        SeveralSteps: several are.
    """
    from otel_agent_journal.reading.steps_in_full import named

    with _uncollected():
        return named(journal, head, text)


def _events(output: Output, events: Iterable[JournalEvent], errors: bool) -> None:
    from otel_agent_journal.cli.lines import print_events

    if errors:
        events = (event for event in events if event.level == "ERROR")
    print_events(output, events, sessions=False)


def _messages(output: Output, journal: Journal, head: SessionHead, last: int | None, full: bool) -> None:
    from otel_agent_journal.cli.messages import Turns

    tree = journal.tree(head)
    _conversation(output, journal, head, tree, None if last is None else Turns(tree).last(last), full)


def _conversation(
    output: Output, journal: Journal, head: SessionHead, tree: StepTree, of: set[str] | None, full: bool
) -> None:
    """Print what was said in a session. `of`: the steps that it is wanted of; None for all."""
    from otel_agent_journal.cli import messages
    from otel_agent_journal.reading.conversation import conversation

    session_id, turns = head.session_id, messages.Turns(tree)
    resolved = journal.without_media if output.for_people else journal.resolved
    said = conversation(lambda: journal.events(session_id, head), resolved, turns.numbers)
    wanted = (message for message in said if of is None or message["step_id"] in of)
    if not output.for_people:
        output.records(wanted, messages.KEYS)
        return
    for text in messages.transcript(output, wanted, turns=turns, full=full):
        output.text(text)


def print_tree(output: Output, journal: Journal, head: SessionHead, wanted: Wanted | None = None) -> None:
    """Print a session as a waterfall of steps."""
    from otel_agent_journal.projections.outline import outline
    from otel_agent_journal.projections.selection import Wanted
    from otel_agent_journal.reading.gists import with_failures, with_gist

    wanted = wanted or Wanted()
    with _uncollected():
        taken = with_failures if wanted.failed else with_gist if output.for_people else outline
        tree = journal.tree(head, taken=taken)
        _waterfall(output, journal, head, tree, list(tree.walk()), wanted)


@contextmanager
def _uncollected() -> Generator[None]:
    """Look for no garbage while many objects are made that all stay: a quarter of the time goes into that."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _waterfall(
    output: Output, journal: Journal, head: SessionHead, tree: StepTree, walked: list[Step], wanted: Wanted
) -> None:
    from otel_agent_journal.cli import failures
    from otel_agent_journal.projections.selection import chosen, has_failed
    from otel_agent_journal.reading import step_rows

    now_ns, costs = journal.clock(), journal.costs(tree)
    if not output.for_people:
        if wanted.failed:
            failed = [step for step in chosen(tree, walked, wanted, now_ns).steps if has_failed(step)]
            output.records(failures.rows_of_failures(head.session_id, failed, head.writers, costs), step_rows.ROW_KEYS)
        else:
            shown = chosen(tree, walked, wanted, now_ns)
            output.records(step_rows.rows(head.session_id, shown.steps, head.writers, costs), step_rows.ROW_KEYS)
        return
    from otel_agent_journal.cli import money, waterfall
    from otel_agent_journal.projections.cost import summed
    from otel_agent_journal.projections.times import WorkAxis

    judged = journal.judged(head)
    worked = WorkAxis((one for root in tree.roots for one in root.attempts), now_ns).total_ns
    for line in waterfall.headline(output, judged, now_ns, worked, money.shown(summed(costs.values()))):
        output.text(line)
    if not walked and (error := journal.error_of(head)) is not None:
        output.text(output.paint(readable.one_line(readable.failure(error)), "red"))
    for line in failures.cause_lines(output, tree) if judged.status == "ERROR" else ():
        output.text(line)
    shown = chosen(tree, walked, wanted, now_ns)
    by_own_time = wanted.slowest is not None
    lines = waterfall.waterfall(
        output, tree, shown, head.writers, now_ns, costs, flat=wanted.flat, by_own_time=by_own_time
    )
    for line in lines:
        output.text(line)
    if wanted.failed:
        failed = [step for step in shown.steps if has_failed(step)]
        for line in failures.causes(output, tree, failed) if failed else ("no step failed",):
            output.text(line)
    elif walked and not shown.steps:
        output.text("no step is so")


def _model_call(
    output: Output, journal: Journal, head: SessionHead, step: Step, view: str, form: str | None, full: bool
) -> None:
    """Print what a model call was given, and with --messages what it answered."""
    from otel_agent_journal.cli import messages
    from otel_agent_journal.reading import steps_in_full

    for_people = output.for_people and form is None
    resolved = journal.without_media if for_people else journal.resolved
    prompt = steps_in_full.prompt(journal, head, step, resolved)
    if prompt is None:
        kind = step.kind.lower()
        raise click.UsageError(f"--prompt goes with a model call, and {step.name} is of kind {kind}")
    if form is not None:
        _request(output, prompt, form)
    elif view == "messages":
        said = messages.of_call(step, prompt, resolved)
        if output.for_people:
            for text in messages.transcript(output, said, full=full):
                output.text(text)
        else:
            output.records(said, messages.KEYS)
    elif output.for_people:
        for text in messages.prompt_lines(output, prompt, full=full):
            output.text(text)
    else:
        output.record(prompt)


def _request(output: Output, prompt: dict[str, Any], form: str) -> None:
    """Print a request in the JSON of a provider's API; on stderr, what could not be said in it."""
    from otel_agent_journal.codec import encode_value
    from otel_agent_journal.projections.anthropic_request import anthropic_request
    from otel_agent_journal.projections.openai_request import openai_request

    made = openai_request(prompt) if form == "openai" else anthropic_request(prompt)
    if not prompt["complete"]:
        note(f"not complete: {prompt['why']}")
    for said in made.notes:
        note(said)
    output.document(encode_value(made.body))


def _step(output: Output, journal: Journal, head: SessionHead, tree: StepTree, step: Step, full: bool) -> None:
    from otel_agent_journal.cli import step_in_full
    from otel_agent_journal.reading import steps_in_full

    record = steps_in_full.record(journal, head, tree, step, journal.costs(tree), media=not output.for_people)
    if not output.for_people:
        output.record(record)
        return
    for line in step_in_full.lines(output, journal, head, tree, step, record, full=full):
        output.text(line)
