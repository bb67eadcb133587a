"""`agent-journal replay --all`: the sessions of an agent, each replayed, a line each; and a report as CI reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from xml.sax.saxutils import escape, quoteattr

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.progress import progress
from otel_agent_journal.cli.replay_asked import Asked, Source, recorded_program
from otel_agent_journal.cli.replay_run import Done, agree_to_repeat, replayed, unreplayable

if TYPE_CHECKING:
    from otel_agent_journal.cli.invocation import Invocation
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.reading.journal import Journal

_DIVERGED: Final = 5
_FAILED: Final = 1
_TAG: Final = "replay"
_NO_XML: Final = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF), "\ufffd")


def replay_all(
    invocation: Invocation,
    asked: Asked,
    program: Sequence[str],
    agent: str | None,
    since_ns: int | None,
    sample: int | None,
    junit: Path | None,
    *,
    dry: bool,
) -> int:
    """Replay sessions one after the other; return 5 where one went another way, 1 where a program failed.

    Raises:
        StoreUnreachable: and other errors of the store.
        OSError: the report cannot be written.
    """
    from otel_agent_journal.bootstrap.replaying import recording_in

    output = invocation.output()
    journal = invocation.journal()
    heads = _chosen(journal, agent, since_ns, sample)
    results: list[tuple[SessionHead, dict[str, Any]]] = []
    code = 0
    with progress(len(heads), "replaying") as bar:
        for number, head in enumerate(heads, start=1):
            source = Source(journal, recording_in(journal, head.session_id), journal)
            result, one = _result(invocation, source, asked, program, dry=dry)
            results.append((head, result))
            code = max(code, one)
            bar.clear()
            _say(output, result)
            bar.to(number)
    if junit is not None:
        _write_junit(junit, results)
    if output.for_people:
        bad = sum(result["outcome"] != "same" for _, result in results)
        output.text(f"{readable.plural(len(results), 'session')}, {len(results) - bad} the same, {bad} not")
    return code


def _chosen(journal: Journal, agent: str | None, since_ns: int | None, sample: int | None) -> list[SessionHead]:
    """Return the sessions to replay, the oldest first: those that are over, and are no replays or forks."""
    from otel_agent_journal.store.protocol import SessionFilter

    wanted = SessionFilter(agent=agent, since_ns=since_ns)
    over = (head for head in journal.heads(wanted) if head.status != "PROCESSING")
    found = [head for head in over if _TAG not in head.about.tags and head.forked_from is None]
    found.reverse()
    if sample is None or sample >= len(found):
        return found
    return [found[at * len(found) // sample] for at in range(sample)]


def _result(
    invocation: Invocation, source: Source, asked: Asked, program: Sequence[str], *, dry: bool
) -> tuple[dict[str, Any], int]:
    rules = asked.rules(source)
    unable = unreplayable(source.recording, rules)
    told: dict[str, Any] = {
        "session": source.session_id,
        "replay": None,
        "outcome": "same",
        "first": None,
        "cause": None,
    }
    if dry or any("span of another" in why for _, why in unable):
        if unable:
            attempt, why = unable[0]
            told |= {"outcome": "unreplayable", "first": f"{attempt.kind.lower()} {attempt.name}", "cause": why}
        return told, _DIVERGED if unable else 0
    agree_to_repeat(source.recording, rules, yes=asked.yes)
    done = replayed(invocation, source, rules, list(program) or recorded_program(source), asked, shows=False)
    return told | _told(done, strict=asked.strict), _code(done, strict=asked.strict)


def _told(done: Done, *, strict: bool) -> dict[str, Any]:
    report, first = done.report, done.report.first
    outcome = "diverged" if report.diverged(strict=strict) else "failed" if done.failed else "same"
    where = None
    if first is not None:
        number = first.number if first.number is not None else first.replay_number
        where = f"{first.verdict} step {number} {first.kind.lower()} {first.name}"
    return {
        "replay": report.replay,
        "outcome": outcome,
        "first": where,
        "cause": report.cause,
        "served": report.served,
        "live": report.live,
        "counts": report.counts,
    }


def _code(done: Done, *, strict: bool) -> int:
    if done.report.diverged(strict=strict):
        return _DIVERGED
    return _FAILED if done.failed else 0


def _say(output: Output, result: dict[str, Any]) -> None:
    if not output.for_people:
        output.record(result)
        return
    mark, color = ("✓", "green") if result["outcome"] == "same" else ("✗", "red")
    said = " ".join(str(result[name]) for name in ("first", "cause") if result[name])
    output.text(f"{output.paint(mark, color)} {result['session']}  {result['outcome']}  {said}".rstrip())


def _write_junit(file: Path, results: Sequence[tuple[SessionHead, dict[str, Any]]]) -> None:
    bad = sum(result["outcome"] != "same" for _, result in results)
    lines = [f'<testsuite name="agent-journal replay" tests="{len(results)}" failures="{bad}">']
    for head, result in results:
        name, kind = _attribute(head.session_id), _attribute(head.agent or "agent")
        lines.append(f"  <testcase classname={kind} name={name}>")
        if result["outcome"] != "same":
            message = _attribute(str(result["first"] or result["outcome"]))
            lines.append(f"    <failure message={message}>{escape(_xml(str(result['cause'] or '')))}</failure>")
        lines.append("  </testcase>")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        "\n".join(['<?xml version="1.0" encoding="utf-8"?>', *lines, "</testsuite>"]) + "\n", encoding="utf-8"
    )


def _attribute(text: str) -> str:
    return quoteattr(_xml(text))


def _xml(text: str) -> str:
    """Return text with what XML cannot hold replaced."""
    return text.encode("utf-8", "replace").decode().translate(_NO_XML)
