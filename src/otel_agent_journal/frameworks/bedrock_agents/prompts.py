"""The prompt of a model's invocation as a request, each message journaled once a session.

The service tells the whole prompt as JSON text, with the system's instructions and the history so far, at every turn
of its loop. Text that is no such JSON is journaled as it is.
"""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.pipeline.conversation import Conversation, request_details
from otel_agent_journal.pipeline.history import Histories

_MAX_SESSIONS: Final = 1_000
_decode: Final = msgspec.json.Decoder().decode


class Prompts:
    """Tells requests by what a session's journal does not hold yet."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, Conversation] = OrderedDict()

    def details(
        self,
        prompt: str | None,
        params: Mapping[str, Any],
        *,
        model: str,
        session_id: str,
        histories: Histories,
        content: bool,
    ) -> dict[str, Any]:
        """Return the details of a model's START."""
        history = histories.of(session_id)
        parsed = _parsed(prompt or "")
        messages = messages_in(parsed)
        details = request_details(
            history,
            model=model,
            content=content,
            messages=None if messages is None else self._of(session_id).request(messages, history, content=content),
            tools=parsed.get("tools"),
            params=dict(params),
        )
        if messages is None and prompt and content:
            details["input"] = prompt
        return details

    def _of(self, session_id: str) -> Conversation:
        conversation = self._sessions.get(session_id)
        if conversation is None:
            read = Conversation(lambda message: (dict(message),), same=operator.eq)
            conversation = self._sessions.setdefault(session_id, read)
            if len(self._sessions) > _MAX_SESSIONS:
                self._sessions.popitem(last=False)
        return conversation


def _parsed(prompt: str) -> Mapping[str, Any]:
    """Return a prompt that is a JSON object; an empty one for any other."""
    if not prompt.lstrip().startswith("{"):
        return {}
    try:
        parsed: Any = _decode(prompt)
    except msgspec.DecodeError:
        return {}
    return cast("Mapping[str, Any]", parsed)


def messages_of(prompt: str) -> list[dict[str, Any]] | None:
    """Return the messages of a prompt, the system's first; None where it is no JSON with messages."""
    return messages_in(_parsed(prompt))


def messages_in(parsed: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the messages of a prompt that was read, the system's first; None where it has none."""
    listed: Any = parsed.get("messages")
    if not isinstance(listed, list):
        return None
    system: Any = parsed.get("system")
    first = [{"role": "system", "content": system}] if system else []
    return first + [
        cast("dict[str, Any]", message) if isinstance(message, dict) else {"role": "user", "content": message}
        for message in cast("list[Any]", listed)
    ]
