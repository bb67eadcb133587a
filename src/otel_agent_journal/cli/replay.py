"""`agent-journal replay`: run a program against a recorded session: served from it, and compared with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.contract import CliError, note
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.cli.operating import agree, yes_option
from otel_agent_journal.pasting import pasted

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.config import Settings
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.projections.steps import Attempt
    from otel_agent_journal.reading.journal import Journal
    from otel_agent_journal.replay.recording import Recording
    from otel_agent_journal.replay.report import Divergence, Report
    from otel_agent_journal.replay.rules import Rules

_DIVERGED: Final = 5
_MAX_SAID: Final = 100  # characters of a value that differs
_MAX_SHOWN: Final = 20
_MARKS: Final = {
    "SAME": ("✓", "green"),
    "DRIFT": ("≈", "yellow"),
    "MISSING": ("○", "red"),
    "REORDERED": ("↕", "yellow"),
}


@click.command("replay", short_help="Run a program against a recorded session: nothing is called, all is compared.")
@click.option("--from", "since", metavar="STEP", help="Serve up to this step, call everything from it on.")
@click.option("--until", metavar="STEP", help="End before this step.")
@click.option("--live", multiple=True, metavar="WHAT", help="models, tools, model:NAME or tool:NAME. Repeatable.")
@click.option("--on-drift", default="serve", help="A model is asked something else: serve (default), stop or live.")
@click.option("--on-new", default="stop", help="A call that was not recorded: stop (default), error or live.")
@click.option("--set", "changes", metavar="NAME=VALUE", multiple=True, help="Of models that are called: model=…")
@click.option("--ignore", multiple=True, metavar="RULE", help="time, uuid, or a path as messages[0].content.")
@click.option("--strict", is_flag=True, help="Fail where a model was asked something else, too.")
@click.option("--once", is_flag=True, help="With --from: serve what tools did after it, and do nothing twice.")
@click.option("--no-network", is_flag=True, help="Let the program connect to this machine alone.")
@click.option("--dry-run", is_flag=True, help="Say what cannot be replayed, and why; run nothing.")
@click.option("--as", "name", metavar="ID", help="Journal the replay under this id; by default SESSION~replay-1, -2, …")
@click.option("--export", is_flag=True, help="Send its spans, too.")
@yes_option
@click.argument("session", required=False)
@click.argument("cmd", nargs=-1, type=click.UNPROCESSED, metavar="-- CMD...")
@common_options
@pass_invocation
def command(
    invocation: Invocation,
    session: str | None,
    cmd: tuple[str, ...],
    *,
    since: str | None,
    until: str | None,
    changes: tuple[str, ...],
    strict: bool,
    no_network: bool,
    dry_run: bool,
    name: str | None,
    export: bool,
    yes: bool,
    **rules: Any,
) -> int:
    """Run a program against a recorded session: models and tools answer from the recording, nothing is called.

    Says at which step the program first went another way, and whether its code or a prompt is to blame. The replay is a
    session of its own. As in: agent-journal replay reading-7 -- python my_agent.py. Without a program, the recorded
    one.
    """
    from otel_agent_journal.bootstrap.replaying import recording_in, report_in
    from otel_agent_journal.cli.choosing import need_session

    journal = invocation.journal()
    if not session:
        raise need_session(journal, "replay")
    head, step = journal.session_and_step(session)
    if step is not None:
        raise click.UsageError(f"'replay' begins at the beginning; to call all from step {step} on: --from {step}")
    recording = recording_in(journal, head.session_id)
    asked = _rules(journal, head, recording, name, since, until, changes, rules)
    output = invocation.output()
    unable = _unreplayable(recording, asked)
    if dry_run:
        return _dry_run(output, recording, asked, unable)
    _check(unable)
    _agree(recording, asked, yes=yes)
    program = list(cmd) or _recorded_program(journal, head)
    code = _run(invocation.settings(), program, asked, recording, no_network=no_network, export=export)
    journal.take_in_dead()
    report = report_in(journal, recording, asked)
    _show(output, report, recording)
    if report.diverged(strict=strict):
        return _DIVERGED
    if code and not report.stopped and not _failed_then(recording) and asked.until is None:
        note(f"the program ended with {code}, and what was recorded did not fail")
        return 1
    return 0


# --- what is asked -------------------------------------------------------------------------------------------------


def _rules(
    journal: Journal,
    head: SessionHead,
    recording: Recording,
    name: str | None,
    since: str | None,
    until: str | None,
    changes: Sequence[str],
    more: dict[str, Any],
) -> Rules:
    from otel_agent_journal.errors import ConfigError
    from otel_agent_journal.reading.naming import find_step
    from otel_agent_journal.replay.ignoring import Ignoring
    from otel_agent_journal.replay.rules import Rules

    Ignoring(more["ignore"])
    number = {
        option: find_step(recording.tree, text, head.session_id).number
        for option, text in (("since", since), ("until", until))
        if text is not None
    }
    asked = Rules(
        session=head.session_id,
        name=name or _free_name(journal, head.session_id),
        change=dict(map(_changed, changes)),
        **number,
        **more,
    )
    if name is not None and journal.exact(name) is not None:
        raise ConfigError(f"--as names session {name}, which is there already; a replay is a session of its own")
    if asked.change and not (asked.calls_models or asked.since is not None):
        raise ConfigError("--set changes models that are called, and all are served; add --live models")
    if asked.once and asked.since is None:
        raise ConfigError("--once is for what tools did after a step: add --from STEP")
    return asked


def _changed(text: str) -> tuple[str, Any]:
    import json

    from otel_agent_journal.errors import ConfigError

    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ConfigError(f"--set is '{text}'; NAME=VALUE is expected, as in: --set temperature=0")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _free_name(journal: Journal, session_id: str) -> str:
    number = 1
    while journal.exact(f"{session_id}~replay-{number}") is not None:
        number += 1
    return f"{session_id}~replay-{number}"


def _recorded_program(journal: Journal, head: SessionHead) -> list[str]:
    """Return the program that made the recording, as far as the journal knows it."""
    for event in journal.events(head.session_id, head):
        process: Any = event.details.get("process") or {}
        entry: Any = process.get("entry_point")
        if isinstance(entry, str) and entry:
            arguments = [str(one) for one in process.get("argv", ())]
            if any("***" in one for one in arguments):
                raise CliError("its arguments hold a secret, which is not in the journal; name the program: -- CMD", 2)
            is_file = entry.endswith(".py") or os.sep in entry
            return [sys.executable, *([entry] if is_file else ["-m", entry]), *arguments]
    raise CliError(
        f"which program made {head.session_id} is not in the journal; name it:"
        f" agent-journal replay {pasted(head.session_id)} -- python my_agent.py",
        2,
    )


# --- before it runs ------------------------------------------------------------------------------------------------


def _unreplayable(recording: Recording, asked: Rules) -> list[tuple[Attempt, str]]:
    """Return the recorded calls that cannot be served, and why; those that are called live are no matter."""
    found: list[tuple[Attempt, str]] = []
    for attempt in recording.calls():
        number = recording.number(attempt)
        if asked.calls(attempt.kind, attempt.name) or number >= min(
            asked.since or number + 1, asked.until or number + 1
        ):
            continue
        why = recording.why_not(attempt)
        if why is not None:
            found.append((attempt, why))
    return found


def _dry_run(output: Output, recording: Recording, asked: Rules, unable: Sequence[tuple[Attempt, str]]) -> int:
    calls = len(recording.calls())
    if output.for_people:
        for line in _unable_lines(recording, unable):
            output.text(line)
        served = readable.plural(calls - len(unable), "call")
        output.text(f"{recording.session_id}: {served} can be served, {len(unable)} cannot")
    else:
        rows = [
            {"number": recording.number(one), "kind": one.kind, "name": one.name, "step_id": one.step_id, "why": why}
            for one, why in unable
        ]
        output.record({"session": recording.session_id, "calls": calls, "unreplayable": rows})
    return _DIVERGED if unable else 0


def _unable_lines(recording: Recording, unable: Sequence[tuple[Attempt, str]]) -> Iterator[str]:
    for attempt, why in unable[:_MAX_SHOWN]:
        yield f"{recording.number(attempt):>5}  {attempt.kind.lower()} {readable.one_line(attempt.name, 60)}: {why}"
    if len(unable) > _MAX_SHOWN:
        yield f"       and {len(unable) - _MAX_SHOWN} more"


def _check(unable: Sequence[tuple[Attempt, str]]) -> None:
    """Refuse what would call something that nobody has asked for.

    Raises:
        CliError: the recording has calls that were told by spans alone: today's code would make them.
    """
    told = [(attempt, why) for attempt, why in unable if "span of another" in why]
    if told:
        attempt, why = told[0]
        raise CliError(
            f"{len(told)} of its calls cannot be kept from being made, as {attempt.kind.lower()} {attempt.name}: {why};"
            f" to let the program make them: --live {'models' if attempt.kind == 'MODEL' else 'tools'}",
            _DIVERGED,
        )
    if unable:
        note(f"{readable.plural(len(unable), 'recorded call')} cannot be served; --dry-run says which, and why")


def _agree(recording: Recording, asked: Rules, *, yes: bool) -> None:
    """Show which tools will be called that may have changed the world when they were recorded, and ask."""
    from otel_agent_journal.cli.going_back import shown
    from otel_agent_journal.reading.tool_calls import tool_calls

    def is_live(number: int, name: str) -> bool:
        return asked.calls("TOOL", name) or (asked.since is not None and number >= asked.since)

    calls = [
        call
        for call in tool_calls(recording.session_id, recording.tree, lambda _, value: recording.resolved(value))
        if call.may_have_changed_the_world and is_live(call.number, call.name)
    ]
    if calls and not asked.once:
        agree(f"to call tools of {recording.session_id} again, which have done this already", shown(calls), yes=yes)


# --- the run -------------------------------------------------------------------------------------------------------


def _run(
    settings: Settings, program: Sequence[str], asked: Rules, recording: Recording, *, no_network: bool, export: bool
) -> int:
    import msgspec

    from otel_agent_journal.bootstrap import run_agent
    from otel_agent_journal.bootstrap.replaying import environment_of_replay
    from otel_agent_journal.terminal import say

    if not export:
        settings = msgspec.structs.replace(settings, otlp=None)
    if recording.is_in_a_session_of_others:
        settings = msgspec.structs.replace(settings, session=asked.session)
    said: list[str] = []
    environ = environment_of_replay(os.environ, asked, no_network=no_network, export=export)
    code = run_agent(settings, program, say=said.append, env=environ)
    for line in said:
        if "cannot run" in line or "refused" in line or "spool" in line or "nothing was journaled" in line:
            say(line)
    return code


def _failed_then(recording: Recording) -> bool:
    return any(root.outcome != "ok" for root in recording.roots)


# --- the report ----------------------------------------------------------------------------------------------------


def _show(output: Output, report: Report, recording: Recording) -> None:
    if not output.for_people:
        import msgspec

        output.record(msgspec.to_builtins(report) | {"counts": report.counts, "diverged": report.diverged()})
        return
    served, live = readable.plural(report.served, "call"), report.live
    output.text(f"{report.session}  {served} served, {live} live  →  {report.replay}")
    shown = 0
    for one in report.steps:
        if one.verdict == "SAME" and one.kind not in ("MODEL", "TOOL", "RETRIEVAL"):
            continue
        shown += 1
        if one.verdict == "SAME" and shown > _MAX_SHOWN:
            continue
        for line in _lines(output, one):
            output.text(line)
    if report.hidden:
        output.text(output.paint(f"  {readable.plural(report.hidden, 'difference')} hidden by --ignore", "dim"))
    if report.not_reached:
        output.text(output.paint(f"  {readable.plural(report.not_reached, 'recorded step')} not reached", "dim"))
    first = report.first
    if first is None:
        output.text("the same")
        return
    counts = ", ".join(f"{count} {verdict}" for verdict, count in report.counts.items() if verdict != "SAME")
    where = f"step {first.number}" if first.number is not None else f"step {first.replay_number} of the replay"
    output.text(f"first: {where} ({readable.one_line(first.name, 60)}), caused by {report.cause}")
    output.text(f"{counts}   compare: agent-journal diff {pasted(report.session)} {pasted(report.replay)}")


def _lines(output: Output, one: Divergence) -> Iterator[str]:
    mark, color = _MARKS.get(one.verdict, ("✗", "red"))
    number = "-" if one.number is None else str(one.number)
    said = one.verdict if one.verdict != "SAME" else ""
    parts = ", ".join(one.differs)
    live = " live" if one.live else ""
    beneath = f" (+{one.below} beneath)" if one.below else ""
    name = readable.one_line(one.name, 40)
    line = f"{number:>5} {output.paint(mark, color)} {one.kind.lower():<9} {name}{beneath}{live}"
    yield f"{line}  {said}  {parts}".rstrip()
    if one.verdict == "SAME":
        return
    if one.differs:
        place = readable.one_line(f"{one.differs[0]}{one.at or ''}", 80)
        yield output.paint(f"        {place}", "dim")
        yield output.paint(f"        - {_value(one.recorded)}", "red")
        yield output.paint(f"        + {_value(one.replayed)}", "green")
    elif one.why:
        yield output.paint(f"        {readable.one_line(one.why, 160)}", "dim")


def _value(value: Any) -> str:
    from otel_agent_journal.cli.lines import preview

    return "nothing" if value is None else readable.one_line(preview(value), _MAX_SAID)
