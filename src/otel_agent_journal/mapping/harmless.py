"""What is content and what is not: the one place that says it, for the journal and for spans. Pure.

Content is what anybody said or made up: it may be anything, so what is on no list, here or in `metadata.py`, is
content. Metadata is what names, counts, times and places are: see `docs/configuration.md`. With content off a fact is
journaled as `harmless_fact` returns it, and a span leaves as `harmless_span` does; both go by field, never by the type
of an event.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

import msgspec

from otel_agent_journal.event import EMPTY, PROCESS, ErrorInfo
from otel_agent_journal.foreign import is_a
from otel_agent_journal.mapping import genai
from otel_agent_journal.mapping.metadata import COUNTED, KNOWN_EVENTS, OF_EVENTS, OF_NOTES, OF_SPANS
from otel_agent_journal.mapping.processes import harmless_process, without_arguments
from otel_agent_journal.mapping.span_record import SpanEvent, SpanLink, SpanRecord

CUT: Final = "$cut"  # of details: the fields of which a part is journaled
REDACTED: Final = "$redacted"  # of details: the fields that a redactor has changed
SAID: Final = "$said"  # of details: fields that a program gave an event by hand, under names that are else ours
WITHHELD: Final = "message not kept: content is off"  # in the place of an error's message

_OTHER_EVENT: Final = "event"  # in the place of a span event's name that nobody knows
_CANCELLED: Final = "cancelled"
_NUMBERS: Final = (bool, int, float)
_SCALARS: Final = (str, *_NUMBERS)
_WORD: Final = re.compile(r"[\w.:<>\[\]$/#+-]{1,200}")  # what a class or a code of a service is called

Told = TypeVar("Told")

# --- of spans -----------------------------------------------------------------------------------------------------


def harmless_attributes(attributes: Mapping[str, Any], names: frozenset[str] = OF_SPANS) -> dict[str, Any]:
    """Return what may leave of a span's attributes; themselves, where that is all of them."""
    if names.issuperset(attributes):
        return cast("dict[str, Any]", attributes)
    return {key: value for key, value in attributes.items() if key in names or _is_count(key, value)}


def _is_count(key: str, value: Any) -> bool:
    return key.startswith(COUNTED) and is_a(value, int, float)


def harmless_note(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return what may leave of the details of an event within a step."""
    said = _said_by_hand(details)
    return {key: value for key, value in details.items() if key in OF_NOTES and key not in said and _is_scalar(value)}


def harmless_events(events: tuple[SpanEvent, ...]) -> tuple[SpanEvent, ...]:
    """Return a span's events as they may leave: when they were, and their names where these are known."""
    return tuple(
        SpanEvent(
            event.name if event.name.startswith(KNOWN_EVENTS) else _OTHER_EVENT,
            event.timestamp_ns,
            harmless_attributes(event.attributes, OF_EVENTS),
        )
        for event in events
    )


def harmless_links(links: tuple[SpanLink, ...]) -> tuple[SpanLink, ...]:
    """Return a span's links as they may leave: which spans they lead to."""
    return tuple(SpanLink(link.trace_id, link.span_id) for link in links)


def harmless_trace_state(state: str) -> str:
    """Return of a trace's state what OpenTelemetry's own samplers say: all else may be anything of anybody's."""
    return ",".join(member for member in state.split(",") if member.strip().startswith("ot="))


def harmless_span(record: SpanRecord) -> SpanRecord:
    """Return a span of another library as it may leave."""
    said = record.attributes.get(genai.ERROR_TYPE)
    return msgspec.structs.replace(
        record,
        attributes=harmless_attributes(record.attributes),
        events=harmless_events(record.events),
        links=harmless_links(record.links),
        resource=without_arguments(record.resource),
        status_description=said if record.status_description and isinstance(said, str) and _is_word(said) else None,
        trace_state=harmless_trace_state(record.trace_state),
    )


def harmless_error(error: ErrorInfo | None, message: str = "") -> ErrorInfo | None:
    """Return of an error its type and its code; `message`: what is said where it had one."""
    if error is None:
        return None
    return ErrorInfo(
        type=error.type if _is_word(error.type) else "Error",
        message=message if error.message else "",
        code=error.code if error.code is not None and _is_word(error.code) else None,
    )


def _is_word(text: str) -> bool:
    return _WORD.fullmatch(text) is not None


# --- of events ----------------------------------------------------------------------------------------------------


def _is_scalar(value: Any) -> bool:
    return is_a(value, str, int, float)


def _scalar(value: Any) -> Any:
    return value if type(value) in _SCALARS or _is_scalar(value) else None


def _as_it_is(value: Any) -> Any:
    return value


def _process(value: Any) -> Any:
    return harmless_process(_mapping(value)) or None


def _within(*names: str) -> Callable[[Any], Any]:
    """Return a rule that keeps these fields of a mapping."""

    def rule(value: Any) -> Any:
        return {name: one for name, one in _mapping(value).items() if name in names} or None

    return rule


def _each(rule: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a rule for a list of what a rule is for."""

    def rule_of_list(value: Any) -> Any:
        return [kept for one in _items(value) if (kept := rule(one)) is not None] or None

    return rule_of_list


def _names_of_fields(value: Any) -> Any:
    return [name for name in _items(value) if type(name) is str and name in _DETAILS] or None


def _attributes(value: Any) -> Any:
    return harmless_attributes(_mapping(value)) or None


def _trace_state(value: Any) -> Any:
    return (type(value) is str and harmless_trace_state(value)) or None


# Of an event's details what is journaled with content off, and what of it. What a rule makes None goes, too.
_DETAILS: Final[Mapping[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(
        (
            "agent",
            "agent_id",
            "attempt",
            "backoff_s",
            "base",
            "by_hand",
            "cached",
            "checkpoint_id",
            "code",
            "effects",
            "exported",
            "fork",
            "framework_session_id",
            "from_checkpoint_id",
            "invocation",
            "last_seen",
            "max_attempts",
            "operation",
            "other",
            "parent_span_id",
            "passed_through",
            "phase",
            "progress",
            "raised_at",
            "reason",
            "remote",
            "request_id",
            "resumes",
            "run",
            "sampled",
            "servable",
            "served",
            "session",
            "span_kind",
            "span_name",
            "stage",
            "task_id",
            "tenant",
            "trace",
            "user",
            "writer",
            "written_by",
        ),
        _scalar,
    ),
    "attributes": _attributes,
    "causes": _each(_within("type", "raised_at")),
    "context": _within("instance", "seq"),
    "links": _each(_within("trace_id", "span_id")),
    "place": _as_it_is,
    "replay": _within("of", "attempt", "verdict", "live", "session"),
    "request": _as_it_is,
    "scope": _within("name", "version"),
    "service": _as_it_is,
    "status": _within("code"),
    "tags": _each(_scalar),
    "trace_state": _trace_state,
    CUT: _names_of_fields,
    REDACTED: _names_of_fields,
    PROCESS: _process,
}
_USUAL: Final = frozenset(("attributes", "place", "request"))  # of most steps: nothing need be looked at one by one
METADATA: Final = frozenset((*_DETAILS, SAID))
# Names and ids that a program gives an event by hand are names and ids.
_NAMED_BY_HAND: Final = frozenset(
    (
        "agent",
        "agent_id",
        "checkpoint_id",
        "framework_session_id",
        "from_checkpoint_id",
        "invocation",
        "request_id",
        "run",
        "stage",
        "task_id",
        "tags",
        "tenant",
        "user",
    )
)


def by_hand(details: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the details that a program gives an event of its own, marked where they go under names of ours.

    What we say under those names is no content; what a program says may be. Numbers, names and ids are none.
    """
    if not isinstance(cast("Any", details), Mapping) or METADATA.isdisjoint(details):
        return details
    theirs = [
        name
        for name, value in details.items()
        if name in METADATA
        and name not in _NAMED_BY_HAND
        and type(value) not in _NUMBERS
        and not (name == "reason" and type(value) is str and value == _CANCELLED)
    ]
    return {**details, SAID: theirs} if theirs else details


def harmless_details(details: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return of an event's details what is journaled with content off; themselves, where that is all of them."""
    if _USUAL.issuperset(details):
        attributes = details.get("attributes")
        if attributes is None or (type(attributes) is dict and OF_SPANS.issuperset(cast("Any", attributes))):
            return details
    said = _said_by_hand(details)
    kept: dict[str, Any] = {}
    whole = True
    for name, value in details.items():
        rule = _DETAILS.get(name)
        harmless = None if rule is None or name in said else rule(value)
        if harmless is not None:
            kept[name] = harmless
        whole = whole and harmless is value
    return details if whole else kept


def harmless_fact(told: Told) -> Told:
    """Return a fact or an event as it is journaled with content off."""
    said = cast("Any", told)
    changed: dict[str, Any] = {}
    details: Mapping[str, Any] = getattr(said, "details", EMPTY)
    kept = harmless_details(details) if details else details
    if kept is not details:
        changed["details"] = kept
    error: ErrorInfo | None = getattr(said, "error", None)
    if error is not None and error != (unsaid := harmless_error(error, WITHHELD)):
        changed["error"] = unsaid
    return msgspec.structs.replace(said, **changed) if changed else told


def _said_by_hand(details: Mapping[str, Any]) -> Any:
    return _items(details.get(SAID))


def _items(value: Any) -> Sequence[Any]:
    return cast("Sequence[Any]", value) if type(value) in (list, tuple) else ()


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if type(value) is dict else EMPTY
