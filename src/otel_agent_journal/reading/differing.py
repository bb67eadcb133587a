"""What is different between two sessions, step by step: prompts, arguments, answers, outcomes, tokens, time.

Of each step what it took and gave is compared by digests, so that neither session is in memory; what differs is fetched
when it is shown. Ids of messages, calls and runs are no difference, nor is which session it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, Final, NamedTuple, cast

import msgspec

from otel_agent_journal.codec import DIGEST_BYTES, UNENCODABLE, encode_value
from otel_agent_journal.event import JournalEvent, Usage
from otel_agent_journal.mapping.genai import TOOL_CALL_ID
from otel_agent_journal.projections.alignment import Pair, aligned
from otel_agent_journal.projections.outline import outline
from otel_agent_journal.projections.steps import Step, StepTree
from otel_agent_journal.reading.values import rebuilt

SAME: Final = "same"
CHANGED: Final = "changed"
ONLY_A: Final = "only_a"
ONLY_B: Final = "only_b"
_CONTENT: Final = ("input", "output")
_OF_REQUEST: Final = ("messages", "tools", "params")
_RESULTS: Final = frozenset(("output", "status", "error"))
_OF_MESSAGES: Final = frozenset(("role", "args", "arguments", "tool_call_id"))  # what has one is a message or a call
_NO_DIFFERENCE: Final = frozenset(("id", "tool_call_id", "digest", "message_id"))
_LEAST_ID: Final = 6  # characters; a shorter id stands in words that do not mean it
_encode: Final = msgspec.json.Encoder(order="deterministic").encode


class Difference(NamedTuple):
    """A pair of steps: whether they are the same, and in what they differ."""

    pair: Pair
    state: str
    what: tuple[str, ...]


def fingerprinted(event: JournalEvent, session_id: str) -> JournalEvent:
    """Return an event with digests of its content alone, and what places its step."""
    details = event.details
    kept: dict[str, Any] = {
        name: _digest(details[name], session_id) for name in _CONTENT if details.get(name) is not None
    }
    for name in ("place", "replay", "served"):
        if name in details:
            kept[name] = details[name]
    request: Any = details.get("request")
    if isinstance(request, Mapping):
        told = cast("Mapping[str, Any]", request)
        kept |= {name: _named(told[name]) for name in _OF_REQUEST if name in told}
    elif "messages" in details:
        kept["messages"] = _digest(details["messages"], session_id)
    attributes: Any = details.get("attributes")
    if isinstance(attributes, Mapping) and TOOL_CALL_ID in attributes:
        kept["call_id"] = cast("Mapping[str, Any]", attributes)[TOOL_CALL_ID]
    shown = outline(event)
    return msgspec.structs.replace(shown, details={**shown.details, **kept}) if kept else shown


def differences(left: StepTree, right: StepTree, *, since: int = 1, absolute: bool = False) -> list[Difference]:
    """Return the steps of two sessions side by side, made of `fingerprinted` events; see `alignment.aligned`."""
    found: list[Difference] = []
    for pair in aligned(left, right, _call_id, since=since, absolute=absolute):
        if pair.left is None:
            found.append(Difference(pair, ONLY_B, ()))
        elif pair.right is None:
            found.append(Difference(pair, ONLY_A, ()))
        else:
            what = tuple(_differing(pair.left, pair.right))
            holds_alone = pair.left.number < since and set(what) <= set(_CONTENT)
            found.append(Difference(pair, CHANGED if what and not holds_alone else SAME, what))
    return found


def first_of(found: Iterable[Difference]) -> Difference | None:
    """Return the first difference that did not come of another one within."""
    changed = [one for one in found if one.state != SAME]
    came_of = holding(changed)
    return min((one for one in changed if id(one) not in came_of), key=_at, default=None)


def holding(found: Iterable[Difference]) -> frozenset[int]:
    """Return by `id` the pairs that are changed, for all that is known, only as something within them is."""
    changed = [one for one in found if one.state != SAME]
    parents = {step.parent_step_id for one in changed for step in one.pair if step is not None}
    return frozenset(
        id(one)
        for one in changed
        if one.state == CHANGED
        and _RESULTS.issuperset(one.what)
        and any(step is not None and step.step_id in parents for step in one.pair)
    )


def first_within(left: Any, right: Any, pointer: str = "") -> tuple[str, Any, Any] | None:
    """Return where two values differ first, as a JSON pointer, and what each has there; None where they are equal."""
    while True:
        step: Any
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            ours, theirs = cast("Mapping[str, Any]", left), cast("Mapping[str, Any]", right)
            names = [*ours, *(name for name in theirs if name not in ours)]
            step = next((n for n in names if n not in _NO_DIFFERENCE and ours.get(n) != theirs.get(n)), None)
            if step is None:
                return None
            left, right, pointer = ours.get(step), theirs.get(step), f"{pointer}/{step}"
        elif isinstance(left, list) and isinstance(right, list):
            here, there = cast("list[Any]", left), cast("list[Any]", right)
            pairs = enumerate(zip(here, there, strict=False))
            place = next((n for n, (a, b) in pairs if _digest(a, "") != _digest(b, "")), None)
            if place is None:
                place = min(len(here), len(there))
                if len(here) == len(there):
                    return None
                ours_more = here[place] if place < len(here) else None
                theirs_more = there[place] if place < len(there) else None
                return f"{pointer}/{place}", ours_more, theirs_more
            left, right, pointer = here[place], there[place], f"{pointer}/{place}"
        else:
            return None if left == right else (pointer, cast("Any", left), right)


def _differing(left: Step, right: Step) -> Iterator[str]:
    if left.name != right.name:
        yield "model" if left.kind == "MODEL" else "name"
    ours, theirs = left.last, right.last
    for name in (*_OF_REQUEST, "input"):
        if ours.details_start.get(name) != theirs.details_start.get(name):
            yield name
    if left.status != right.status:
        yield "status"
    if (ours.error and ours.error.type) != (theirs.error and theirs.error.type):
        yield "error"
    if ours.details_end.get("output") != theirs.details_end.get("output"):
        yield "output"
    if len(left.attempts) != len(right.attempts):
        yield "attempts"
    if _tokens(ours.usage) != _tokens(theirs.usage):
        yield "usage"


def _tokens(usage: Usage | None) -> tuple[int, int]:
    return (0, 0) if usage is None else (usage.input_tokens, usage.output_tokens)


def _call_id(step: Step) -> str | None:
    found = step.attempts[0].details_start.get("call_id")
    return found if isinstance(found, str) else None


def _at(one: Difference) -> tuple[int, int]:
    left, right = one.pair
    return (left.number if left else 0) or (right.number if right else 0), right.number if right else 0


def _named(value: Any) -> Any:
    """Return the digest that names a list, or what stands in its place."""
    return cast("Mapping[str, Any]", value).get("digest") if isinstance(value, Mapping) else value


def without_ids(value: Any) -> Any:
    """Return a value without the ids of the messages and calls in it."""
    return rebuilt(value, _without_ids)


def _digest(value: Any, session_id: str) -> str:
    """Return a digest of a value without ids; nor is the session's own id a difference, where it can be told."""
    said = canonical(without_ids(value))
    if len(session_id) >= _LEAST_ID:
        said = said.replace(session_id.encode("utf-8", "surrogatepass"), b"<session>")
    return blake2b(said, digest_size=DIGEST_BYTES).hexdigest()


def canonical(value: Any) -> bytes:
    """Return plain data as JSON, the same for what is equal."""
    try:
        return _encode(value)
    except UNENCODABLE:  # half of a surrogate pair, or nested too deep
        return encode_value(value)


def _without_ids(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    if _OF_MESSAGES.isdisjoint(mapping) or _NO_DIFFERENCE.isdisjoint(mapping):
        return mapping
    return cast("Mapping[str, Any]", rebuilt(_said(mapping), _without_ids))


def _said(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name not in _NO_DIFFERENCE}
