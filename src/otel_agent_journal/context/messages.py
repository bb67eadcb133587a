"""Messages as the OpenAI API has them, and the events that they are kept as. Pure.

A message is one event; each tool call of an assistant's message is an event of its own behind it. Of a message of
blocks (`blocks.py`) calls and results are parts: events behind it, whose places in it are said in `parts`. What is
large, bytes, or a text that UTF-8 has no form for is kept apart as a blob: the event has a reference in its place, and
says in `apart` where those are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, Final, NamedTuple, cast

from otel_agent_journal.codec import DIGEST_BYTES, decode_value, encode_value, valid_text
from otel_agent_journal.context.history import ASSISTANT, STATE, SYSTEM, TOOL_CALL, TOOL_RESULT, USER
from otel_agent_journal.errors import StoreError
from otel_agent_journal.mapping.media import BEFORE, BLOB, MEDIA_TYPE, UNKNOWN, as_it_stood, decoded, is_medium
from otel_agent_journal.store.protocol import Blob

INTERRUPTED: Final = "The tool was interrupted: there is no result."
_MOST_CHANGES: Final = 256  # that a state is made of; then one says all of it
LARGE: Final = 16_384  # characters of a text from which on it is kept apart
_TYPE_OF_ROLE: Final = {
    "system": SYSTEM,
    "developer": SYSTEM,
    "user": USER,
    "assistant": ASSISTANT,
    "tool": TOOL_RESULT,
}

Message = dict[str, Any]


class Draft(NamedTuple):
    """An event to be written: all of it that does not depend on when and where it is."""

    type: str
    details: dict[str, Any]
    name: str | None = None


class BadMessage(ValueError):
    """A message that no model would take; nothing was written."""


def drafts_of_state(known: Mapping[str, Any], wanted: Mapping[str, Any], changes: int) -> list[Draft]:
    """Return the event that makes one state of another, none where they are equal.

    Args:
        known: the state as it is.
        wanted: as it is to be.
        changes: how many events `known` is made of; from many on one says all of it.
    """
    changed = {key: value for key, value in wanted.items() if key not in known or known[key] != value}
    removed = [key for key in known if key not in wanted]
    if not changed and not removed:
        return []
    if changes >= _MOST_CHANGES:
        return [Draft(STATE, {"set": dict(wanted), "replaces": True})]
    return [Draft(STATE, {"set": changed} | ({"removed": removed} if removed else {}))]


def drafts_of(message: Mapping[str, Any]) -> list[Draft]:
    """Return the events that a message is kept as.

    Raises:
        BadMessage: it has no role that is known, a tool's without the id of its call, calls that are none.
    """
    role = message.get("role")
    if not isinstance(role, str) or role not in _TYPE_OF_ROLE:
        raise BadMessage(f"the role of a message is one of {', '.join(_TYPE_OF_ROLE)}, not {role!r}")
    calls = message.get("tool_calls")
    if calls and role != "assistant":
        raise BadMessage(f"a message of the role {role} has no tool calls; those are an assistant's")
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        raise BadMessage("a tool's message says which call it answers: tool_call_id")
    said = {key: value for key, value in message.items() if key != "tool_calls"}
    name = message.get("name")
    drafts = [Draft(_TYPE_OF_ROLE[role], {"message": said}, name if isinstance(name, str) else None)]
    if calls is not None:
        listed: list[Any] = [*calls] if isinstance(calls, list | tuple) else [calls]
        if not all(isinstance(call, Mapping) for call in listed):
            raise BadMessage("tool_calls is a list of calls, each a dict with id and function")
        drafts[0].details["calls"] = len(listed)
        drafts += [Draft(TOOL_CALL, {"call": dict(call)}, tool_of(call)) for call in listed]
    return drafts


class Placed(NamedTuple):
    """A message, and the numbers of its events: the first, and the one behind the last."""

    message: Message
    first: int
    last: int


def placed(said: Iterable[tuple[int, str, Mapping[str, Any]]]) -> Iterator[Placed]:
    """Yield the messages that events in view amount to, each with its calls.

    Args:
        said: number, type and details of each event, in the order in which they are in view.
    """
    waiting: Placed | None = None
    places: list[list[Any]] = []  # of its parts that are still to come
    for number, kind, details in said:
        if places and waiting is not None and waiting.last == number and details.get("part") is True:
            _put(waiting.message, places.pop(0), details.get("call", details.get("result")))
            waiting = waiting._replace(last=number + 1)
            continue
        if kind == TOOL_CALL:
            call = details.get("call")
            if waiting is not None and waiting.last == number and isinstance(call, Mapping):
                waiting.message.setdefault("tool_calls", []).append(dict(cast("Mapping[str, Any]", call)))
                waiting = waiting._replace(last=number + 1)
            continue
        if waiting is not None:
            yield _without(waiting, places)
        message = details.get("message")
        waiting, places = None, []
        if isinstance(message, Mapping):
            first = number - 1 if details.get("settles") == number - 1 else number
            waiting = Placed(dict(cast("Mapping[str, Any]", message)), first, number + 1)
            if details.get("calls") == 0:
                waiting.message["tool_calls"] = []
            if details.get("parts"):
                places = [[*place] for place in details["parts"]]
                waiting.message["content"] = [{**block} for block in waiting.message["content"]]
    if waiting is not None:
        yield _without(waiting, places)


def _without(one: Placed, places: list[list[Any]]) -> Placed:
    """Return a message without the blocks whose parts are not in view, as where a context is cut between the two."""
    for place in reversed(places):
        del one.message["content"][place[1]]
    return one


def _put(message: Message, place: list[Any], value: Any) -> None:
    """Put a part of a message in its place."""
    within: Any = message
    for key in place[:-1]:
        within = within[key]
    within[place[-1]] = value


def open_calls(messages: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the tool calls that have no result yet, in their order."""
    waiting: dict[str, Mapping[str, Any]] = {}
    for message in messages:
        for call in message.get("tool_calls") or ():
            if isinstance(call.get("id"), str):
                waiting[call["id"]] = call
        waiting.pop(str(message.get("tool_call_id")), None)
    return list(waiting.values())


def repairs_of(calls: Iterable[Mapping[str, Any]]) -> list[Draft]:
    """Return the results that calls without one are given, so that a model takes the context again."""
    return [
        Draft(
            TOOL_RESULT,
            {"message": {"role": "tool", "tool_call_id": call["id"], "content": INTERRUPTED}, "repair": True},
            tool_of(call),
        )
        for call in calls
    ]


def tool_of(call: Mapping[str, Any]) -> str | None:
    """Return the name of the tool that a call is for."""
    function = call.get("function")
    name = cast("Mapping[str, Any]", function).get("name") if isinstance(function, Mapping) else call.get("name")
    return name if isinstance(name, str) else None


# --- what is kept apart -------------------------------------------------------------------------------------------


def taken_apart(details: dict[str, Any], blobs: dict[str, Blob]) -> dict[str, Any]:
    """Return details with references in the place of what is large or bytes, which goes into `blobs`."""
    places: list[list[Any]] = []

    def copy(value: Any, place: list[Any]) -> Any:
        if type(value) is not str and isinstance(value, dict | Mapping):  # the one that is quick comes first
            mapping = cast("Mapping[str, Any]", value)
            return {key: copy(item, [*place, key]) for key, item in mapping.items()}
        if isinstance(value, list | tuple):
            return [copy(item, [*place, index]) for index, item in enumerate(cast("list[Any]", value))]
        kept = _apart(value)
        if kept is None:
            return value
        blob, reference = kept
        digest = blake2b(blob.data, digest_size=DIGEST_BYTES).hexdigest()
        blobs[digest] = blob
        places.append(place)
        return {BLOB: digest, "bytes": len(blob.data), **reference}

    copied = {key: copy(value, [key]) for key, value in details.items()}
    return {**copied, "apart": places} if places else copied


def put_together(details: Mapping[str, Any], get: Callable[[list[str]], Mapping[str, Blob]]) -> dict[str, Any]:
    """Return details with what was kept apart in its place again.

    Raises:
        StoreError: a value is not there.
    """
    places = details.get("apart")
    if not isinstance(places, list | tuple) or not places:
        return dict(details)
    whole = decode_value(encode_value({key: value for key, value in details.items() if key != "apart"}))
    found: list[tuple[Any, Any, Mapping[str, Any]]] = []
    for place in cast("list[list[Any]]", places):
        within = whole
        for key in place[:-1]:
            within = within[key]
        found.append((within, place[-1], within[place[-1]]))
    blobs = get(list(dict.fromkeys(str(reference[BLOB]) for _, _, reference in found)))
    for within, key, reference in found:
        blob = blobs.get(str(reference[BLOB]))
        if blob is None:
            raise StoreError(f"a part of the context, {reference['bytes']:,} bytes, is not there: {reference[BLOB]}")
        within[key] = _whole(blob.data, reference)
    return whole


def _apart(value: Any) -> tuple[Blob, dict[str, str]] | None:
    """Return what a value is kept apart as, and what its reference says; None where it stays."""
    if isinstance(value, bytes | bytearray):
        return Blob(bytes(value), UNKNOWN), {MEDIA_TYPE: UNKNOWN, "as": "bytes"}
    if not isinstance(value, str):
        return None
    found = decoded(value) if len(value) >= LARGE or value.startswith("data:") else None
    if found is not None:
        media_type = found.media_type or UNKNOWN
        return Blob(found.data, media_type), {MEDIA_TYPE: media_type, BEFORE: found.before}
    if len(value) < LARGE and valid_text(value) == value:
        return None
    return Blob(json.dumps(value).encode("ascii")), {}


def _whole(data: bytes, reference: Mapping[str, Any]) -> Any:
    if reference.get("as") == "bytes":
        return data
    return as_it_stood(reference, data) if is_medium(reference) else json.loads(data)


def key_of(message: Mapping[str, Any]) -> bytes:
    """Return what two messages have in common that are the same."""
    return blake2b(encode_value(dict(sorted(message.items()))), digest_size=DIGEST_BYTES).digest()
