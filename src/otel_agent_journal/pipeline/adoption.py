"""How a framework's own spans find their steps.

An instrumentor names its framework's scope with `adopt_scope` and puts a `Claim` for a step into the context that the
framework opens the step's span in; `JournalSpanProcessor` calls `belongs` as any span of that scope begins. What the
framework opens beside its steps (the cycles of a loop) is marked with the session, and ended with the step around it
where the framework forgets to.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final

from opentelemetry import context as context_api
from opentelemetry.context import Context

from otel_agent_journal.mapping.genai import CONVERSATION_ID, STEP_ID
from otel_agent_journal.pipeline.adopted_span import set_status
from otel_agent_journal.pipeline.step import STEP_KEY, Step
from otel_agent_journal.pipeline.step_span import Ending

CLAIM_KEY: Final = context_api.create_key("agent-journal-claim")

_MAX_BESIDE: Final = 100  # open spans beside a step that are remembered


class Claim:
    """A step's claim on the next span of its framework whose name begins so. Holds once.

    Args:
        step: made with `waits`.
        prefix: of the span's name.
        outlives: as for `Step.adopt`.
    """

    __slots__ = ("held", "outlives", "prefix", "step")

    def __init__(self, step: Step, prefix: str, *, outlives: bool = False) -> None:
        self.step = step
        self.prefix = prefix
        self.outlives = outlives
        self.held = True


def belongs(span: Any, context: Context) -> bool:
    """Let a step take its framework's span as it begins; return whether it is a step's, or beside the steps of one."""
    claim: Any = context.get(CLAIM_KEY)
    if isinstance(claim, Claim) and claim.held and span.name.startswith(claim.prefix):
        claim.held = False
        claim.step.adopt(span, outlives=claim.outlives)
        return True
    around: Any = context.get(STEP_KEY)
    if not isinstance(around, Step) or around.ended:
        return False
    span.set_attribute(CONVERSATION_ID, around.session_id)
    beside = [other for other in around.beside or () if other.is_recording()]
    around.beside = [*beside[-_MAX_BESIDE:], span]
    return True


def is_marked(span: Any) -> bool:
    """Tell whether a framework's span is a step's, or beside the steps of one: the recorder journals those."""
    return CONVERSATION_ID in (span.attributes or ())


def end_beside(step: Step, ending: Ending) -> None:
    """End the spans beside a step that its framework has left open."""
    beside, step.beside = step.beside, None
    for span in reversed(beside or ()):
        if span.is_recording() and STEP_ID not in span.attributes:  # else a step has taken it since, and ends it
            with contextlib.suppress(Exception):
                set_status(span, ending)
                span.end(ending.end_ns)
