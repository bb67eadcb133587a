"""What a Strands model answered, made again of what the journal has: plain dicts, as Strands itself has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn, cast

from otel_agent_journal.frameworks.strands.messages import counted_of
from otel_agent_journal.mapping.classes import CLASSES, with_classes
from otel_agent_journal.mapping.converse import message_of


class Answered(NamedTuple):
    """What ends the stream of a model call: `ModelStopReason` has the same four."""

    stop_reason: str
    message: dict[str, Any]
    usage: dict[str, Any]
    metrics: dict[str, Any]


def answered(answer: Mapping[str, Any]) -> Answered:
    """Return how a model call ended.

    Args:
        answer: what `reading.answers.answer_of` returned.
    """
    raw = cast("Mapping[str, Any]", answer.get("raw") or {})
    plain: dict[str, Any] = {
        "message": raw["message"] if "message" in raw else message_of(answer["output"]),
        "usage": raw["usage"] if "usage" in raw else counted_of(answer.get("usage")),
        "metrics": raw.get("metrics") or {},
    }
    found, _ = with_classes(plain, cast("Mapping[str, str]", raw.get(CLASSES) or {}), _made)
    (reason,) = answer.get("finish_reasons") or ("end_turn",)
    return Answered(reason, **found)


def _made(name: str, plain: Any) -> NoReturn:
    raise LookupError(name)
