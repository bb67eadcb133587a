"""A model call's exact answer: what the model said, as far as the journal has it, and what of it is missing.

`output` is what people read, `raw` what the framework's own form holds more; `frameworks.langgraph.rebuilding` and
`frameworks.strands.rebuilding` make the framework's objects of both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from otel_agent_journal.mapping.genai import RESPONSE_FINISH_REASONS
from otel_agent_journal.mapping.harmless import CUT
from otel_agent_journal.projections.steps import Attempt, Step
from otel_agent_journal.reading.blobs import refers_to_blob
from otel_agent_journal.reading.values import mappings_in

_SAID: Final = ("output", "raw")  # of an ending's details

Resolved = Callable[[str, Any], Any]


def answer_of(session_id: str, step: Step, resolved: Resolved, attempt: Attempt | None = None) -> dict[str, Any] | None:
    """Return what a model answered; None for a step of another kind, and where no answer came.

    Args:
        session_id: of the session.
        step: with the details of its attempts.
        resolved: replaces blob references, given a session and a value.
        attempt: of the step; the last one unless another is named.

    Returns:
        `{session_id, step_id, model, output, raw?, usage?, cached?, finish_reasons?, complete, why?}`; `complete` is
        false with `why` where something is not in the journal.

    Raises:
        StoreUnreachable: and other errors of the store.
    """
    one = step.last if attempt is None else attempt
    details = one.details_end
    if step.kind != "MODEL" or one.outcome is None or (one.outcome != "ok" and "output" not in details):
        return None
    attributes: Any = details.get("attributes")
    reasons: Any = None
    if isinstance(attributes, Mapping):
        reasons = cast("Mapping[str, Any]", attributes).get(RESPONSE_FINISH_REASONS)
    said = {name: resolved(session_id, details[name]) for name in _SAID if name in details}
    why = _missing(said, details)
    return {
        "session_id": session_id,
        "step_id": step.step_id,
        "model": one.name,
        "output": None,
        **said,
        **({"usage": one.usage} if one.usage is not None else {}),
        **({"cached": True} if details.get("cached") else {}),
        **({"finish_reasons": reasons} if reasons else {}),
        "complete": not why,
        **({"why": "; ".join(why)} if why else {}),
    }


def _missing(said: Mapping[str, Any], details: Mapping[str, Any]) -> list[str]:
    """Return why an answer is not complete."""
    if "output" not in said:
        return ["the answer is not in the journal"]
    why = [f"of its {name} a part is in the journal" for name in details.get(CUT) or () if name in _SAID]
    apart = [one for one in mappings_in(said, lambda mapping: not refers_to_blob(mapping)) if refers_to_blob(one)]
    if apart:
        why.append(f"{len(apart)} of its values {'is' if len(apart) == 1 else 'are'} not kept")
    return why
