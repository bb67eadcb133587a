"""What became of a replay, on a terminal or as a record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from otel_agent_journal.cli import readable
from otel_agent_journal.pasting import pasted

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.replays.report import Divergence, Report

_MAX_SAID: Final = 100  # characters of a value that differs
_MAX_SHOWN: Final = 20
_MARKS: Final = {
    "SAME": ("✓", "green"),
    "DRIFT": ("≈", "yellow"),
    "MISSING": ("○", "red"),
    "REORDERED": ("↕", "yellow"),
}


def show(output: Output, report: Report) -> None:
    """Say step by step what became of a replay; for programs, one record."""
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
