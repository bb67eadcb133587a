"""`agent-journal show`: a session as a tree, as events or as a conversation, or one step in full."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.event import JournalEvent
    from otel_agent_journal.projections.cost import Cost
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.projections.steps import Step, StepTree
    from otel_agent_journal.reading.journal import Journal

EVENT_COLUMNS = (
    "timestamp",
    "session_id",
    "event_type",
    "tool_name",
    "level",
    "details",
    "event_id",
    "name",
    "writer",
    "instance_id",
    "seq",
    "step_id",
    "parent_step_id",
    "attempt",
    "trace_id",
    "span_id",
    "outcome",
    "duration_ns",
    "error",
    "usage",
    "digest",
    "schema_version",
)


@click.command("show", short_help="Show a session as a tree of steps, or one step in full.")
@click.argument("session", required=False, metavar="SESSION[/STEP]")
@click.option("--tree", "view", flag_value="tree", help="The steps, as a waterfall. This is the default.")
@click.option("--events", "view", flag_value="events", help="The events, in the order of the session.")
@click.option("--messages", "view", flag_value="messages", help="The conversation with the models.")
@click.option("--prompt", "view", flag_value="prompt", help="What a model call was given: messages, tools, parameters.")
@click.option("--errors", is_flag=True, help="Only what went wrong: failed steps, or events of level ERROR.")
@common_options
@pass_invocation
def command(invocation: Invocation, session: str | None, view: str | None, errors: bool) -> None:
    """Show a session as a tree of steps, or one step in full.

    SESSION may be the beginning of an id. STEP is a step's number, its id, the beginning of one, or a name that
    one step has.
    """
    from otel_agent_journal.cli.choosing import find_step, need_session

    if errors and view in ("messages", "prompt"):
        raise click.UsageError("--errors goes with --tree and --events; a conversation has no errors")
    output = invocation.output()
    journal = invocation.journal()
    if not session:
        raise need_session(journal, "show")
    head, step = journal.session_and_step(session)
    if step is None:
        if view == "prompt":
            raise click.UsageError("--prompt goes with SESSION/STEP: it is one model call's")
        _session(output, journal, head, view or "tree", errors)
        return
    of_step = view in (None, "messages", "prompt")
    tree = journal.tree(head, in_full=step if of_step else None)
    found = find_step(tree, step)
    if of_step and found.step_id != step:
        found = journal.tree(head, in_full=found.step_id).step(found.step_id) or found
    if view == "tree":
        _waterfall(output, journal, head, tree, list(_beneath(tree, found.step_id)), errors)
    elif view == "prompt" or (view == "messages" and found.kind == "MODEL"):
        _model_call(output, journal, head, found, view)
    elif view in ("events", "messages"):
        events = (event for event in journal.events(head.session_id) if event.step_id == found.step_id)
        _flat(output, journal, events, view, errors)
    else:
        _step(output, journal, head, found, journal.costs(tree))


def _session(output: Output, journal: Journal, head: SessionHead, view: str, errors: bool) -> None:
    if view == "tree":
        print_tree(output, journal, head, errors)
    else:
        _flat(output, journal, journal.events(head.session_id), view, errors)


def _flat(output: Output, journal: Journal, events: Iterable[JournalEvent], view: str, errors: bool) -> None:
    from otel_agent_journal.cli import messages
    from otel_agent_journal.cli.lines import EventLines
    from otel_agent_journal.codec import encode_line, to_neutral

    if view == "messages":
        said = messages.conversation(events, journal.resolved)
        if output.for_people:
            for text in messages.transcript(output, said):
                output.text(text)
        else:
            output.records(said, messages.KEYS)
        return
    if errors:
        events = (event for event in events if event.level == "ERROR")
    if output.for_people:
        lines = EventLines(output, sessions=False)
        for event in events:
            lines.show(event)
    elif output.format == "csv":
        output.records((to_neutral(event) for event in events), EVENT_COLUMNS)
    else:
        output.encoded(encode_line(event) for event in events)


def print_tree(output: Output, journal: Journal, head: SessionHead, errors: bool = False) -> None:
    """Print a session as a waterfall of steps."""
    with _uncollected():
        tree = journal.tree(head)
        _waterfall(output, journal, head, tree, list(tree.walk()), errors)


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
    output: Output, journal: Journal, head: SessionHead, tree: StepTree, walked: list[Step], errors: bool
) -> None:
    from otel_agent_journal.cli import money, steps
    from otel_agent_journal.projections.cost import summed

    failed = [step for step in walked if any(attempt.outcome == "error" for attempt in step.attempts)]
    costs = journal.costs(tree)
    if not output.for_people:
        output.records(steps.rows(head.session_id, failed if errors else walked, head.writers, costs), steps.ROW_KEYS)
        return
    now_ns = journal.clock()
    for line in steps.headline(output, journal.judged(head), now_ns, money.shown(summed(costs.values()))):
        output.text(line)
    if not walked and (error := journal.error_of(head)) is not None:
        output.text(output.paint(readable.one_line(readable.failure(error)), "red"))
    shown = _with_ancestors(walked, failed) if errors else walked
    for line in steps.waterfall(output, tree, shown, head.writers, now_ns, costs):
        output.text(line)
    if errors and not failed:
        output.text("no step failed")


def _beneath(tree: StepTree, step_id: str) -> Iterator[Step]:
    """Yield the places of a step in the tree and everything beneath them."""
    within: int | None = None
    for step in tree.walk():
        if within is not None and step.depth <= within:
            within = None
        if within is None and step.step_id == step_id:
            within = step.depth
        if within is not None:
            yield step


def _with_ancestors(walked: list[Step], wanted: list[Step]) -> list[Step]:
    """Return the wanted steps and those above them, in the order of the walk."""
    chosen = {id(step) for step in wanted}
    kept: list[Step] = []
    above: list[int] = []
    for step in reversed(walked):
        # Walking backwards, the first step of a smaller depth is the parent of those before it.
        if id(step) in chosen or (above and step.depth < above[-1]):
            kept.append(step)
            while above and above[-1] >= step.depth:
                above.pop()
            if step.depth:
                above.append(step.depth)
    return kept[::-1]


def _model_call(output: Output, journal: Journal, head: SessionHead, step: Step, view: str) -> None:
    """Print what a model call was given, and with --messages what it answered."""
    from otel_agent_journal.cli import messages, step_in_full

    prompt = step_in_full.prompt(journal, head, step)
    if prompt is None:
        kind = step.kind.lower()
        raise click.UsageError(f"--prompt goes with a model call, and {step.name} is of kind {kind}")
    if view == "messages":
        said = messages.of_call(step, prompt, journal.resolved)
        if output.for_people:
            for text in messages.transcript(output, said):
                output.text(text)
        else:
            output.records(said, messages.KEYS)
    elif output.for_people:
        for text in messages.prompt_lines(output, prompt):
            output.text(text)
    else:
        output.record(prompt)


def _step(output: Output, journal: Journal, head: SessionHead, step: Step, costs: Mapping[str, Cost]) -> None:
    from otel_agent_journal.cli import step_in_full

    record: dict[str, Any] = step_in_full.record(journal, head, step, costs)
    if not output.for_people:
        output.record(record)
        return
    for line in step_in_full.lines(output, journal, head, step, record):
        output.text(line)
