"""A program run against a recorded session: what is said before it runs, and the run itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.contract import CliError, note
from otel_agent_journal.cli.operating import agree

if TYPE_CHECKING:
    from otel_agent_journal.cli.invocation import Invocation
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.cli.replay_asked import Asked, Source
    from otel_agent_journal.config import Settings
    from otel_agent_journal.projections.steps import Attempt
    from otel_agent_journal.reading.tool_calls import ToolCall
    from otel_agent_journal.replays.recording import Recording
    from otel_agent_journal.replays.report import Report
    from otel_agent_journal.replays.rules import Rules

_DIVERGED: Final = 5
_MAX_SHOWN: Final = 20


def unreplayable(recording: Recording, asked: Rules) -> list[tuple[Attempt, str]]:
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


def dry_run_of(output: Output, recording: Recording, asked: Rules, unable: Sequence[tuple[Attempt, str]]) -> int:
    """Say what cannot be served, and why; return the exit code."""
    calls, refusal = len(recording.calls()), recording.refusal
    if output.for_people and refusal is not None:
        output.text(refusal)
    elif output.for_people:
        for line in _unable_lines(recording, unable):
            output.text(line)
        served = readable.plural(calls - len(unable), "call")
        output.text(f"{recording.session_id}: {served} can be served, {len(unable)} cannot")
    else:
        rows = [
            {"number": recording.number(one), "kind": one.kind, "name": one.name, "step_id": one.step_id, "why": why}
            for one, why in unable
        ]
        output.record({"session": recording.session_id, "calls": calls, "unreplayable": rows, "refusal": refusal})
    return _DIVERGED if unable or refusal is not None else 0


def _unable_lines(recording: Recording, unable: Sequence[tuple[Attempt, str]]) -> Iterator[str]:
    for attempt, why in unable[:_MAX_SHOWN]:
        yield f"{recording.number(attempt):>5}  {attempt.kind.lower()} {readable.one_line(attempt.name, 60)}: {why}"
    if len(unable) > _MAX_SHOWN:
        yield f"       and {len(unable) - _MAX_SHOWN} more"


def check(recording: Recording, unable: Sequence[tuple[Attempt, str]]) -> None:
    """Refuse what cannot be replayed at all, or would call something that nobody has asked for.

    Raises:
        CliError: it is a fork; or has calls that were told by spans alone: today's code would make them.
    """
    if recording.refusal is not None:
        raise CliError(recording.refusal, _DIVERGED)
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


def agree_to_repeat(recording: Recording, asked: Rules, *, yes: bool) -> None:
    """Show which tools will be called that may have changed the world when they were recorded, and ask."""
    from otel_agent_journal.cli.going_back import shown
    from otel_agent_journal.reading.tool_calls import tool_calls

    steps = {step.step_id: step for step in recording.tree.steps}
    remote = {step_id: around for step_id, step in steps.items() if (around := recording.remote_around(step.last))}

    def is_live(call: ToolCall) -> bool:
        around = remote.get(call.step_id)  # tools of a remote agent are called where that is
        kind, name = ("TOOL", call.name) if around is None else (around.kind, around.name)
        number = call.number if around is None else recording.number(around)
        return asked.calls(kind, name) or (asked.since is not None and number >= asked.since)

    calls = [
        call
        for call in tool_calls(recording.session_id, recording.tree, lambda _, value: recording.resolved(value))
        if call.may_have_changed_the_world and is_live(call) and (not asked.once or call.step_id in remote)
    ]
    if calls:
        agree(f"to call tools of {recording.session_id} again, which have done this already", shown(calls), yes=yes)


class Done(NamedTuple):
    """A replay that is over. `failed`: the program failed where the recorded one had not, and not by diverging."""

    report: Report
    code: int
    failed: bool


def replayed(
    invocation: Invocation,
    source: Source,
    rules: Rules,
    program: Sequence[str],
    asked: Asked,
    *,
    shows: bool = True,
) -> Done:
    """Run a program against a recording, and return what became of it.

    Raises:
        StoreUnreachable: and other errors of the store.
    """
    from otel_agent_journal.bootstrap import open_journal
    from otel_agent_journal.bootstrap.replaying import report_in

    settings = invocation.settings()
    recording = source.recording
    with _reachable(source, rules, no_network=asked.no_network) as given:
        code = run_replayed(
            settings, program, given, recording, no_network=asked.no_network, export=asked.export, shows=shows
        )
    replays = open_journal(settings, note=lambda line: None)
    try:
        report = report_in(source.journal, recording, rules, replays)
    finally:
        replays.close()
    did_not_fail = all(root.outcome == "ok" for root in recording.roots)
    failed = bool(code) and not report.stopped and did_not_fail and rules.until is None
    return Done(report, code, failed)


@contextmanager
def _reachable(source: Source, rules: Rules, *, no_network: bool) -> Generator[Rules]:
    """Give rules by which the program reads the recording: from a file, where it may not connect to the store."""
    import msgspec

    from otel_agent_journal.replays.files import write_recording

    if not no_network or rules.recording is not None:
        yield rules
        return
    with TemporaryDirectory(prefix="agent-journal-replay-") as folder:
        file = Path(folder) / "recording.jsonl"
        write_recording(source.journal.store, source.session_id, file)
        yield msgspec.structs.replace(rules, recording=str(file))


def run_replayed(
    settings: Settings,
    program: Sequence[str],
    asked: Rules,
    recording: Recording,
    *,
    no_network: bool,
    export: bool,
    shows: bool = True,
) -> int:
    """Run the program, and return its exit code. Its own output is its own; of ours only what went wrong is said."""
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
    quiet: dict[str, Any] = {} if shows else {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    code = run_agent(settings, program, say=said.append, env=environ, **quiet)
    for line in said:
        if "cannot run" in line or "refused" in line or "spool" in line or "nothing was journaled" in line:
            say(line)
    return code
