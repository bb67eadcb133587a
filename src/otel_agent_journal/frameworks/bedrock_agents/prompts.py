"""The prompt of a model's invocation as messages, each journaled once a session.

The service tells the whole prompt as JSON text, with the system's instructions and the history so far, at every turn
of its loop. Text that is no such JSON is journaled as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.pipeline.history import Known, KnownBySession, Shown, fingerprint_of

_decode: Final = msgspec.json.Decoder().decode


class Prompts:
    """Splits prompts into what a session's journal holds already and what it does not."""

    def __init__(self) -> None:
        self._sessions: KnownBySession[Known] = KnownBySession(Known)

    def details(self, prompt: str, session_id: str) -> dict[str, Any]:
        """Return the details of a model's START: its new messages, count and digest of the others."""
        messages = messages_of(prompt)
        if messages is None:
            return {"input": prompt}
        return Shown(_read).split(messages, self._sessions.of(session_id))


def messages_of(prompt: str) -> list[dict[str, Any]] | None:
    """Return the messages of a prompt, the system's first; None where it is no JSON with messages."""
    if not prompt.lstrip().startswith("{"):
        return None
    try:
        parsed: Any = _decode(prompt)
    except msgspec.DecodeError:
        return None
    listed: Any = cast("Mapping[str, Any]", parsed).get("messages") if isinstance(parsed, dict) else None
    if not isinstance(listed, list):
        return None
    system: Any = cast("Mapping[str, Any]", parsed).get("system")
    first = [{"role": "system", "content": system}] if system else []
    return first + [
        cast("dict[str, Any]", message) if isinstance(message, dict) else {"role": "user", "content": message}
        for message in cast("list[Any]", listed)
    ]


def _read(message: dict[str, Any]) -> tuple[str, int, dict[str, Any]]:
    said = fingerprint_of(message)
    return f"text:{said:x}", said, message
