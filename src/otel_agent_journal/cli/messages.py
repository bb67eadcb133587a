"""The conversation of a session: messages that models were given and gave, as they were journaled, in order.

A model's START holds the messages that were new then, its ending what it answered, the ending of a tool, or of the
node that ran it, the tool's result, so that putting them one after the other gives every message once. A call that
others traced was journaled with all that the model was given: what calls before it said is left out. Messages come
in the shape of the GenAI conventions (role and parts) or in that of a framework (role or type, and content).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import msgspec

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.lines import preview
from otel_agent_journal.codec import UNENCODABLE, encode_value, format_timestamp
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.mapping.references import TOOL, messages_of
from otel_agent_journal.projections.prompt import messages_in
from otel_agent_journal.reading.blobs import refers_to_blob
from otel_agent_journal.reading.references import is_reference, whole
from otel_agent_journal.terminal import neutral

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.projections.steps import Step

KEYS: Final = ("timestamp", "session_id", "step_id", "name", "role", "content", "tool_calls", "tool_call_id")
BRANCHES: Final = 16  # how many conversations at once are known again
_ROLES: Final = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant", "function": "tool"}
_ROLE_OF_TYPE: Final = {
    "SYSTEM_MESSAGE": "system",
    "USER_MESSAGE": "user",
    "ASSISTANT_MESSAGE": "assistant",
    "TOOL_CALL": "assistant",
    "TOOL_RESULT": "tool",
}
_RESULTS: Final = ("TOOL_END", "TOOL_ERROR", "NODE_END")  # a tool that is not there has no step, only its node's word
_encode_sorted: Final = msgspec.json.Encoder(order="sorted").encode  # the order of keys says nothing
_COLORS: Final = {"user": "cyan", "assistant": "green", "tool": "magenta", "system": "dim"}


def conversation(
    events: Iterable[JournalEvent], resolved: Callable[[str, Any], Any] = lambda _session, value: value
) -> Iterator[dict[str, Any]]:
    """Yield the messages of a session's events as data, keeping none. `resolved` replaces blob references."""
    results: dict[Any, bytes] = {}  # of what tools gave last, by the id of the call
    histories = _Histories()
    for event in events:
        said = list(_said(event, resolved))
        messages = [_message(message, role) for role, message in said]
        known = 0
        if _has_all(event):
            known = histories.known(_marks(messages), sum(role == "user" for role, _ in said))
        elif event.type == "MODEL_ERROR" and "messages" in event.details:  # failed before it gave any answer
            known = histories.known(_marks(messages), len(messages))
        for message in messages[known:]:
            call_id = message.get("tool_call_id")
            # Nodes and models are given again what the tool's ending has said; a tool that runs again says it again.
            given_before = call_id and results.get(call_id) == _digest(message)
            if not event.type.startswith("TOOL_") and given_before:
                continue
            if event.type in _RESULTS:
                results[call_id] = _digest(message)
            yield {
                "timestamp": format_timestamp(event.timestamp_ns),
                "session_id": event.session_id,
                "step_id": event.step_id,
                "name": event.name,
                **message,
            }


class _Mark(NamedTuple):
    """What a message is known again by."""

    role: Any
    digest: bytes


def _marks(messages: Iterable[Mapping[str, Any]]) -> list[_Mark]:
    return [_Mark(message["role"], _digest(message)) for message in messages]


def _digest(message: Mapping[str, Any]) -> bytes:
    try:
        text = _encode_sorted(message)
    except UNENCODABLE:
        text = encode_value(message)
    return blake2b(text, digest_size=16).digest()


class _Histories:
    """What calls that were journaled with all their messages have said, the latest of each branch."""

    def __init__(self) -> None:
        self._latest: deque[list[_Mark]] = deque(maxlen=BRANCHES)

    def known(self, messages: list[_Mark], given: int) -> int:
        """Return how many messages at the beginning were said before, and remember them all.

        The first `given` of them are what the model was given. Where these go on from no call as a whole, a beginning
        without an answer was just said once more.
        """
        longest = 0
        for history in tuple(self._latest):
            pairs = zip(history, messages[:given], strict=False)
            known = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
            if known == len(history):
                self._latest.remove(history)
            elif all(message.role != "assistant" for message in messages[:known]):
                continue
            longest = max(longest, known)
        self._latest.append(messages)
        return longest


def of_call(step: Step, prompt: Mapping[str, Any], resolved: Callable[[str, Any], Any]) -> Iterator[dict[str, Any]]:
    """Yield what a model call was given, as `--prompt` has it, and what its last attempt answered."""
    last, session_id = step.last, prompt["session_id"]
    answered = messages_in(resolved(session_id, last.details_end.get("output")), "assistant")
    for at_ns, messages in ((last.start_ns, prompt["messages"]), (last.end_ns or last.start_ns, answered)):
        for message in messages:
            yield {
                "timestamp": format_timestamp(at_ns),
                "session_id": session_id,
                "step_id": step.step_id,
                "name": step.name,
                **_message(message, message["role"]),
            }


def prompt_lines(output: Output, prompt: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a model call's request for people."""
    yield output.paint(f"model {readable.one_line(str(prompt['model']))}", "bold")
    if not prompt["complete"]:
        yield output.paint(f"not complete: {readable.one_line(prompt['why'])}", "yellow")
    yield ""
    if prompt["messages"]:
        yield from transcript(output, (_message(message, message["role"]) for message in prompt["messages"]))
    for tool in prompt["tools"]:
        described = readable.one_line(str(tool["description"] or ""), 80)
        yield (
            output.paint(f"tool {readable.one_line(str(tool['name']))}", "magenta", "bold") + f"  {described}".rstrip()
        )
        yield f"  {readable.one_line(preview(tool['parameters']), 400)}"
    for name, value in prompt["params"].items():
        yield f"{output.paint(readable.one_line(str(name)), 'bold')}  {readable.one_line(preview(value), 400)}"


def as_shown(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message, of whatever form, as a transcript takes it."""
    return _message(message, str(message.get("role") or "user"))


def transcript(output: Output, messages: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of a conversation for people."""
    said_any = False
    for message in messages:
        said_any = True
        role = str(message["role"])
        color = _COLORS.get(role, "yellow")
        name = readable.one_line(str(message.get("name") or ""), 40)
        yield output.paint(role, color, "bold") + (output.paint(f"  {name}", "dim") if name else "")
        for line in neutral(preview(message.get("content"))).splitlines():
            yield f"  {line}"
        for call in message.get("tool_calls") or ():
            yield output.paint(f"  → {_call(call)}", "yellow")
        yield ""
    if not said_any:
        yield "no messages were journaled (AGENT_JOURNAL_CONTENT=metadata keeps them out)"


def _said(event: JournalEvent, resolved: Callable[[str, Any], Any]) -> Iterator[tuple[str, Any]]:
    if event.type in _ROLE_OF_TYPE:
        details = dict(event.details)
        yield _ROLE_OF_TYPE[event.type], resolved(event.session_id, details.get("message", details))
        return
    if event.type in _RESULTS:
        output = event.details.get("output")
        keys = messages_of(output) if refers_to_blob(output) else None
        if keys is not None and not any(key.startswith(TOOL) for key in keys):
            return
        for found in whole(resolved(event.session_id, output)):
            if found["role"] == "tool" and found.get("tool_call_id"):
                yield "tool", found
        return
    details = event.details
    if event.type in ("MODEL_START", "REQUEST"):
        told = [("user", details.get("messages", details.get("input")))]
    elif event.type not in ("MODEL_END", "MODEL_ERROR"):
        return
    elif _has_all(event):
        told = [("user", details["messages"]), ("assistant", details["output"])]
    else:
        told = [("assistant", details.get("messages", details.get("output")))]
    for role, given in told:
        value = resolved(event.session_id, given)
        if isinstance(value, Mapping) and "messages" in value:
            value = cast("Mapping[str, Any]", value)["messages"]
        if value is None:
            continue
        for message in cast("list[Any]", value if isinstance(value, list | tuple) else [value]):
            if not is_reference(message):
                yield role, message


def _has_all(event: JournalEvent) -> bool:
    """Tell whether it is the ending of a model's call that others traced, which has the request too."""
    return event.type in ("MODEL_END", "MODEL_ERROR") and "output" in event.details and "messages" in event.details


def _message(message: Any, role: str) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        return {"role": role, "content": message}
    said = cast("Mapping[str, Any]", message)
    spoken = str(said.get("role") or said.get("type") or role)
    parts = said.get("parts")
    found: dict[str, Any] = {"role": _ROLES.get(spoken, spoken)}
    if isinstance(parts, list | tuple):
        return found | _from_parts(cast("list[Any]", parts))
    if "content" not in said and "tool_calls" not in said:
        return {"role": role, "content": dict(said)}
    found["content"] = _text(said.get("content"))
    if not found["content"] and said.get("refusal"):
        found["content"] = said["refusal"]
    if said.get("tool_calls"):
        found["tool_calls"] = [_asked(call) for call in cast("list[Any]", said["tool_calls"])]
    for call in said.get("invalid_tool_calls") or ():  # as the model wrote them, though none was made
        found.setdefault("tool_calls", []).append(_asked(call))
    if said.get("tool_call_id"):
        found["tool_call_id"] = said["tool_call_id"]
    return found


def _from_parts(parts: list[Any]) -> dict[str, Any]:
    texts: list[Any] = []
    calls: list[dict[str, Any]] = []
    found: dict[str, Any] = {}
    for part in parts:
        if not isinstance(part, Mapping):
            texts.append(part)
            continue
        piece = cast("Mapping[str, Any]", part)
        if piece.get("type") == "tool_call":
            calls.append(_asked(piece))
        elif piece.get("type") == "tool_call_response":
            found["tool_call_id"] = piece.get("id")
            texts.append(piece.get("response", piece.get("result")))
        else:
            texts.append(piece.get("content", dict(piece)))
    found["content"] = _text(texts)
    if calls:
        found["tool_calls"] = calls
    return found


def _text(content: Any) -> Any:
    """Return content blocks that are all text as one text, anything else as it is."""
    if not isinstance(content, list | tuple):
        return content
    blocks = cast("list[Any]", content)
    texts = [cast("Mapping[str, Any]", one).get("text") if isinstance(one, Mapping) else one for one in blocks]
    if all(isinstance(text, str) for text in texts):
        return "".join(cast("list[str]", texts))
    return blocks[0] if len(blocks) == 1 else blocks


def _asked(call: Any) -> dict[str, Any]:
    if not isinstance(call, Mapping):
        return {"name": str(call)}
    asked = cast("Mapping[str, Any]", call)
    if isinstance(asked.get("function"), Mapping):  # as the OpenAI API has them
        asked = {"id": asked.get("id"), **cast("Mapping[str, Any]", asked["function"])}
    return {"id": asked.get("id"), "name": asked.get("name"), "arguments": asked.get("args", asked.get("arguments"))}


def _call(call: Mapping[str, Any]) -> str:
    return readable.one_line(f"{call.get('name')}({preview(call.get('arguments'))})", 400)
