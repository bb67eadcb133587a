"""What the contexts of a session's agents say, message by message, where no model step says it.

A message and its tool calls are events of their own there; here they are one message again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, cast

from otel_agent_journal.context.history import ASSISTANT, SYSTEM, TOOL_CALL, TOOL_RESULT, USER
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.prompt import messages_in

_ROLES: Final = {SYSTEM: "system", USER: "user", ASSISTANT: "assistant", TOOL_RESULT: "tool"}

Said = tuple[JournalEvent, dict[str, Any]]


def said_in_contexts(events: Iterable[JournalEvent], resolved: Callable[[str, Any], Any]) -> Iterator[Said]:
    """Yield the messages of all contexts, each with its event, as they were kept."""
    waiting: dict[str | None, tuple[JournalEvent, Any, list[Any]]] = {}  # by instance: a message, and its calls so far
    for event in events:
        if event.type == TOOL_CALL:
            call = event.details.get("call")
            if event.instance_id in waiting and call is not None:
                waiting[event.instance_id][2].append(resolved(event.session_id, call))
            elif call is not None:
                yield event, {"role": "assistant", "content": "", "tool_calls": _calls([call])}
        elif event.type in _ROLES:
            if event.instance_id in waiting:
                yield from _whole(*waiting.pop(event.instance_id))
            said: Any = resolved(event.session_id, _of(event))
            if event.type == ASSISTANT:
                waiting[event.instance_id] = (event, said, [])
            else:
                yield from _whole(event, said, [])
    for one in waiting.values():
        yield from _whole(*one)


def _of(event: JournalEvent) -> Any:
    """Return what an event has of a message."""
    details = event.details
    if "result" in details:
        return {"role": "tool", "content": [{"toolResult": details["result"]}]}
    return details.get("message", dict(details))


def _whole(event: JournalEvent, said: Any, calls: list[Any]) -> Iterator[Said]:
    """Yield what a message says, with the calls that are kept behind it; what stands for them in it is empty."""
    if isinstance(said, Mapping) and isinstance(cast("Mapping[str, Any]", said).get("content"), list):
        named = cast("Mapping[str, Any]", said)
        said = {**named, "content": [block for block in named["content"] if not _is_empty(block)]}
    found = messages_in(said, _ROLES[event.type])
    if calls and found:
        found[-1]["tool_calls"] = [*found[-1].get("tool_calls", ()), *_calls(calls)]
    for message in found:
        if message["content"] or message.get("tool_calls"):
            yield event, message


def _calls(calls: Iterable[Any]) -> list[Any]:
    (message,) = messages_in({"role": "assistant", "content": "", "tool_calls": list(calls)})
    return message["tool_calls"]


def _is_empty(block: Any) -> bool:
    """Tell whether a block only stands for a call or a result that is an event of its own."""
    named: Mapping[str, Any] = cast("Mapping[str, Any]", block) if isinstance(block, Mapping) else {}
    return bool(named) and all(key in ("toolUse", "toolResult") and value is None for key, value in named.items())
