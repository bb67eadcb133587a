"""What is said of a model's answer whichever framework brings it."""

from __future__ import annotations

from typing import Final

from otel_agent_journal.event import WARNING
from otel_agent_journal.pipeline.step import Step

# Why an answer was not given to its end, in the words of Bedrock, OpenAI, Anthropic and Gemini.
_STOPPED: Final = frozenset(
    (
        "blocklist",
        "content_filter",
        "content_filtered",
        "guardrail_intervened",
        "prohibited_content",
        "recitation",
        "refusal",
        "safety",
        "spii",
    )
)


def say_if_stopped(step: Step, reason: str) -> None:
    """Journal a warning where a guardrail, a filter or the model itself kept the answer back."""
    if reason.lower() in _STOPPED:
        step.note(WARNING, {"message": f"the model's answer was stopped: {reason}"}, level="WARNING")
