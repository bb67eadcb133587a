"""What went wrong in a session, for people: each error where it began, with its stack, and what it passed through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from otel_agent_journal.cli import readable, steps
from otel_agent_journal.cli.wrapping import wrapped
from otel_agent_journal.projections.causes import Causes
from otel_agent_journal.reading import step_rows

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.projections.cost import Cost
    from otel_agent_journal.projections.steps import Attempt, Step, StepTree

_MAX_PASSED: Final = 8  # steps that an error passed through, named


def rows_of_failures(
    session_id: str, failed: Sequence[Step], last_seen: Any, costs: Mapping[str, Cost]
) -> Iterator[dict[str, Any]]:
    """Yield failed steps as data, those in which an error began first, each with its last failed attempt's error."""
    for step in sorted(failed, key=lambda step: not any(one.began_error for one in step.attempts)):
        found = next(one for one in reversed(step.attempts) if one.outcome == "error")
        yield {**step_rows.row(session_id, step, last_seen, costs), "error": step_rows.error_of(found)}


def causes(output: Output, tree: StepTree, failed: Sequence[Step]) -> Iterator[str]:
    """Yield each error where it began, with where it was raised, its stack, and which steps it passed through."""
    known = Causes(tree)
    passed = _passed_through(known, failed)
    for step in failed:
        for attempt in step.attempts:
            if attempt.outcome == "error" and (attempt.began_error or known.of(step, attempt) is None):
                yield ""
                yield from _cause(output, step, attempt, passed.get(attempt.key, []))


def cause_lines(output: Output, tree: StepTree) -> Iterator[str]:
    """Yield why a session failed: the step in which the error of its last failed turn began."""
    for root in reversed(tree.roots):
        if root.last.outcome == "error":
            found = Causes(tree).of(root, root.last)
            if found is None or found.step.step_id == root.step_id:
                return
            step, attempt = found
            text = f"step {step.number} {steps.label(step)}: {steps.failure_of(step, attempt)}"
            lines = wrapped(f"✗ {readable.one_line(text, 400)}", output.width)
            yield from (output.paint(line, "red") for line in lines)
            return


def _passed_through(known: Causes, failed: Sequence[Step]) -> dict[str, list[str]]:
    """Return by the attempt in which an error began the steps that it passed through, the innermost first."""
    found: dict[str, list[str]] = {}
    for step in reversed(failed):
        for attempt in step.attempts:
            cause = known.of(step, attempt) if attempt.outcome == "error" and not attempt.began_error else None
            if cause is not None:
                found.setdefault(cause.attempt.key, []).append(f"{step.number} {steps.label(step)}")
    return found


def _cause(output: Output, step: Step, attempt: Attempt, passed: Sequence[str]) -> Iterator[str]:
    of = f"  attempt {attempt.ordinal}" if len(step.attempts) > 1 else ""
    when = readable.clock(attempt.start_ns, millis=True)
    mark = output.paint("✗", "red")
    yield f"{mark} {output.paint(f'{step.number} {steps.label(step)}', 'bold')}{of}  {output.paint(when, 'dim')}"
    error = step_rows.error_of(attempt) or {}
    said = readable.failure(attempt.error) if attempt.error else "it failed and does not say why"
    yield from (output.paint(line, "red") for line in wrapped(said, output.width, "  "))
    if error.get("raised_at"):
        yield from wrapped(f"raised at {error['raised_at']}", output.width, "  ")
    if passed:
        more = f" and {len(passed) - _MAX_PASSED} more" if len(passed) > _MAX_PASSED else ""
        yield from wrapped(f"passed through {', '.join(passed[:_MAX_PASSED])}{more}", output.width, "  ")
    stack = error.get("stack", error.get("causes"))
    if stack:
        text = stack if isinstance(stack, str) else "\n".join(map(str, stack))
        yield from (output.paint(line, "dim") for line in wrapped(text, 0, "    "))
