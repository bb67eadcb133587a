"""One step with everything that the journal knows of it, for people; as data it is `reading.steps_in_full`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from otel_agent_journal.cli import readable, steps
from otel_agent_journal.cli.attempt_in_full import attempt_lines
from otel_agent_journal.cli.wrapping import wrapped
from otel_agent_journal.projections.causes import Causes
from otel_agent_journal.projections.times import worked_ns

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.projections.steps import Step, StepTree
    from otel_agent_journal.reading.journal import Journal


def lines(
    output: Output,
    journal: Journal,
    head: SessionHead,
    tree: StepTree,
    step: Step,
    record: Mapping[str, Any],
    *,
    full: bool = False,
) -> Iterator[str]:
    """Yield a step for people: which it is, why it failed, then attempt by attempt what it took and gave."""
    now_ns = journal.clock()
    mark, color = steps.MARKS[step.status]
    waits = steps.waits_of(step)
    took = "  ".join(filter(None, (readable.duration(worked_ns(step, now_ns)), waits)))
    yield f"{output.paint(mark, color)} {step.number} {output.paint(steps.label(step), 'bold')}  {took}"
    yield output.paint(f"session {readable.one_line(head.session_id)}  step {readable.one_line(step.step_id)}", "dim")
    if above := record["above"]:
        way = " › ".join(f"{one['number']} {one['kind'].lower()} {readable.one_line(one['name'], 60)}" for one in above)
        yield from (output.paint(line, "dim") for line in wrapped(f"in {way}", output.width))
    process = next((one for one in head.about.processes if one.writer == step.last.writer), None)
    if process is not None:
        yield output.paint(readable.process(process), "dim")
    if record["effects"]:
        yield f"effects {readable.one_line(str(record['effects']), 60)}"
    remark = steps.remark_of(step, head.writers, now_ns, Causes(tree))
    if remark and step.status != "error":  # that says the attempt, and with its stack
        yield from (output.paint(line, color) for line in wrapped(readable.one_line(remark), output.width))
    given = None if record["prompt"] is None else record["prompt"]["messages"]
    for attempt, told in zip(step.attempts, record["attempts"], strict=True):
        yield ""
        last = attempt is step.last
        yield from attempt_lines(output, told, attempt, given=given if last else None, full=full)
        for warning in (one for one in attempt.notes if one.level in ("WARNING", "ERROR")):
            said = str(warning.details.get("message") or warning.type.lower())
            yield from (output.paint(line, "yellow") for line in wrapped(f"⚠ {said}", output.width, "  "))
