"""From a span that somebody else opened to the facts of a step. Pure.

Our own steps do not come this way, the recorder writes their facts itself; but a span of ours that arrives here (from
another process, by OTLP) carries the step's identity and yields the very same event ids. Records are in GenAI terms:
whoever makes one of a span calls `dialects.in_genai_terms`.

An ending is a function of the span as it ended, and has all that it says. A START has what a running span says; of a
span that has ended already it has the identity alone, for its ending says the rest. The two together are enough for
`to_span.py` to give the span back, in GenAI terms. Of a span that says of no end, or that it was cut as its writer was
gone, there is no ending: nobody knows how the step would have ended.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from otel_agent_journal.event import EFFECTS, EMPTY, ErrorInfo, Usage, derived_id
from otel_agent_journal.mapping import genai
from otel_agent_journal.mapping.content import details_of_content, without_content
from otel_agent_journal.mapping.facts import StepEnded, StepOpen, StepStarted
from otel_agent_journal.mapping.numbers import count_of, number_of
from otel_agent_journal.mapping.span_record import SpanEvent, SpanRecord

_BESIDE_STEPS: Final = frozenset(("execute_event_loop_cycle",))  # operations of what frameworks open around steps
_JOURNALED_PREFIXES: Final = ("gen_ai.", "agent_journal.")
_SESSION_KEYS: Final = frozenset(genai.SESSION_KEYS)

# Exceptions that end a step without being its error, by the last part of their name.
_OUTCOME_OF_EXCEPTION: Final[Mapping[str, str]] = {
    "CancelledError": "cancelled",
    "GeneratorExit": "cancelled",
    "KeyboardInterrupt": "cancelled",
    "GraphInterrupt": "interrupted",
    "NodeInterrupt": "interrupted",
}

_PLACE: Final = re.compile(r'^ *File "(.+)", line (\d+), in (\S+)', re.MULTILINE)  # in a stack as Python prints it
_MAX_STACK: Final = 12_000  # characters; the end of it is where the exception was raised

_USAGE_KEYS: Final = frozenset(key for keys in genai.USAGE_READINGS.values() for key in keys)
# What a step itself says again, and its details therefore need not.
_DERIVABLE: Final = _USAGE_KEYS | {
    genai.USAGE_TOTAL_TOKENS,
    genai.CONVERSATION_ID,
    genai.STEP_ID,
    genai.STEP_PARENT_ID,
    genai.STEP_KIND,
    genai.STEP_NAME,
    genai.NODE_NAME,
    genai.ATTEMPT,
    genai.TOOL_EFFECTS,
    genai.PASSED_THROUGH,
    genai.RAISED_AT,
    genai.OUTCOME,
    genai.LEFT_OPEN,
    genai.WRITER,
}


def is_journaled(record: SpanRecord, *, spans: str = "genai") -> bool:
    """Tell whether a span becomes a step: one with `gen_ai.*` or `agent_journal.*`, or any with `spans="all"`.

    A cycle of a loop is none unless all are: its model call and its tools are, and it says again what they say.
    """
    if spans == "all":
        return True
    attributes = record.attributes
    if attributes.get(genai.OPERATION_NAME) in _BESIDE_STEPS:
        return False
    return any(key.startswith(_JOURNALED_PREFIXES) for key in attributes)


def tells_its_kind(record: SpanRecord) -> bool:
    """Tell whether a span says already which kind of step it is."""
    return genai.OPERATION_NAME in record.attributes or genai.STEP_KIND in record.attributes


def is_ours(record: SpanRecord) -> bool:
    """Tell whether a span carries a step's identity: the recorder opened it, or marked it as adopted."""
    return genai.STEP_ID in record.attributes


def kind_of_span(record: SpanRecord) -> str:
    """Return the kind of step a span is: as it says itself, or by its operation; STEP where neither tells."""
    said = str(record.attributes.get(genai.STEP_KIND, "")).upper()
    if said in genai.KIND_WORDS:
        return said
    return genai.KIND_OF_OPERATION.get(str(record.attributes.get(genai.OPERATION_NAME, "")), "STEP")


def name_of_span(record: SpanRecord, kind: str) -> str:
    """Return the step's name: that of its tool, agent, workflow, node or model; else the span's without its verb."""
    for key in _NAME_KEYS[kind]:
        name = record.attributes.get(key)
        if isinstance(name, str) and name:
            return name
    operation = str(record.attributes.get(genai.OPERATION_NAME) or genai.OPERATION_OF_KIND.get(kind, ""))
    verb, _, target = record.name.partition(" ")
    return target if target and verb == operation else record.name


_NAME_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "AGENT": (genai.WORKFLOW_NAME, genai.AGENT_NAME),
    "NODE": (genai.NODE_NAME,),
    "MODEL": (genai.STEP_NAME, genai.REQUEST_MODEL, genai.RESPONSE_MODEL),
    "TOOL": (genai.TOOL_NAME,),
    "RETRIEVAL": (genai.STEP_NAME, genai.DATA_SOURCE_ID),
    "STEP": (genai.STEP_NAME,),
}


def session_of(
    record: SpanRecord,
    *,
    enclosing: str | None = None,
    default: str | None = None,
) -> str:
    """Return the session a span belongs to.

    A span of ours says so itself. Otherwise the first that is there: `enclosing` (a journaled step or a `session()`
    block), `default` (`--session`), the span's own conversation or session id, its trace id.
    """
    own = session_named_in(record.attributes)
    if is_ours(record) and own:
        return own
    return enclosing or default or own or record.trace_id


def session_named_by(record: SpanRecord) -> str | None:
    """Return the session that a span names, or the resource that it is of; None where neither does."""
    return session_named_in(record.attributes) or session_named_in(record.resource)


def is_nameless(names: Collection[str]) -> bool:
    """Tell whether none of these names is one that a session goes under."""
    return _SESSION_KEYS.isdisjoint(names)


def session_named_in(carrier: Mapping[str, Any]) -> str | None:
    """Return the session that attributes name, under the first of the names in use; None where none."""
    for key in genai.SESSION_KEYS:
        value = carrier.get(key)
        if value not in (None, ""):
            return str(value)
    return None


def step_id_of(record: SpanRecord) -> str:
    """Return the step's id: the span's own, else uuid5 of its trace, span and start time.

    The start time keeps apart spans whose ids come from a seeded `random` and collide.
    """
    own = record.attributes.get(genai.STEP_ID)
    return str(own) if own else derived_id(f"{record.trace_id}:{record.span_id}:{record.start_ns}")


def attempt_of(record: SpanRecord) -> int:
    """Return which attempt at the step the span is; 1 where it does not say."""
    return count_of(record.attributes.get(genai.ATTEMPT)) or 1


def started(record: SpanRecord, *, session_id: str | None = None, parent_step_id: str | None = None) -> StepStarted:
    """Return the fact that a span's step began.

    `session_id` defaults to what the span alone says; `parent_step_id` is the step of the parent span where the
    caller knows it, and gives way to the span's own. The parent span of a foreign span, which need not be that step's,
    is kept in `details.parent_span_id`. What a running span says is kept too; what one that has ended says, its ending
    keeps.
    """
    kind = kind_of_span(record)
    session = session_id or session_of(record)
    return StepStarted(
        session_id=session,
        kind=kind,
        name=name_of_span(record, kind),
        step_id=step_id_of(record),
        parent_step_id=_parent_of(record, parent_step_id),
        attempt=attempt_of(record),
        start_ns=record.start_ns,
        trace_id=record.trace_id,
        span_id=record.span_id,
        details=_start_details(record, kind, session),
    )


def is_open(record: SpanRecord) -> bool:
    """Tell whether a span says nothing of how its step ended: it runs, or its writer was gone before that."""
    return record.end_ns is None or genai.LEFT_OPEN in record.attributes


def left_open(record: SpanRecord, *, session_id: str | None = None, parent_step_id: str | None = None) -> StepOpen:
    """Return the fact of a step that was open as its span was sent. Arguments are those of `started`.

    Its writer is the one that the span names; that of a foreign span is known by its trace alone.
    """
    began = started(msgspec.structs.replace(record, end_ns=None), session_id=session_id, parent_step_id=parent_step_id)
    reason = str(record.attributes.get(genai.LEFT_OPEN, genai.NOT_KNOWN))
    return StepOpen(
        *msgspec.structs.astuple(began),
        writer=str(record.attributes.get(genai.WRITER) or derived_id(f"writer:{record.trace_id}")),
        reason="" if reason == genai.NOT_KNOWN else reason,
        last_seen_ns=max(record.start_ns, record.end_ns or 0),
    )


def ended(record: SpanRecord, *, session_id: str | None = None, parent_step_id: str | None = None) -> StepEnded:
    """Return the fact that a span's step is over; where the clock stepped back it is over as it starts.

    It has everything that the span says, whether or not its START had some of it: through every door the same.
    """
    kind = kind_of_span(record)
    outcome, error = outcome_of(record)
    return StepEnded(
        session_id=session_id or session_of(record),
        kind=kind,
        name=name_of_span(record, kind),
        step_id=step_id_of(record),
        parent_step_id=_parent_of(record, parent_step_id),
        attempt=attempt_of(record),
        start_ns=record.start_ns,
        trace_id=record.trace_id,
        span_id=record.span_id,
        end_ns=max(record.start_ns, record.end_ns or 0),
        outcome=outcome,
        error=error,
        usage=usage_of(record.attributes),
        details=_end_details(record, genai.span_status(outcome, error)),
    )


def _parent_of(record: SpanRecord, known: str | None) -> str | None:
    own = record.attributes.get(genai.STEP_PARENT_ID)
    return str(own) if own else known


def _said(record: SpanRecord) -> dict[str, Any]:
    """Return what a span's attributes amount to: its content, and those that do not follow from the step."""
    details = details_of_content(record.attributes)
    attributes = without_content(record.attributes, _DERIVABLE)
    for key in genai.NUMBERS & attributes.keys():
        number = number_of(attributes[key])
        attributes[key] = attributes[key] if number is None else number
    cost = cost_of(attributes)
    if cost is not None:
        attributes[genai.USAGE_COST] = cost
    if attributes:
        details["attributes"] = attributes
    return details


def cost_of(attributes: Mapping[str, Any]) -> int | float | None:
    """Return the US dollars that attributes say a call cost, under any of the names in use; None where none says it."""
    for key in genai.COST_READINGS:
        found = number_of(attributes.get(key))
        if found is not None and found >= 0:
            return found
    return None


def _start_details(record: SpanRecord, kind: str, session_id: str) -> dict[str, Any]:
    details: dict[str, Any] = {}
    operation: Any = None
    if record.end_ns is None:
        details = _said(record)
        operation = record.attributes.get(genai.OPERATION_NAME)
    if kind == "TOOL" and record.attributes.get(genai.TOOL_EFFECTS) in EFFECTS:
        details["effects"] = record.attributes[genai.TOOL_EFFECTS]
    plain_name = genai.span_name(kind, name_of_span(record, kind), None if operation is None else str(operation))
    if record.name != plain_name:
        details["span_name"] = record.name
    if record.kind != genai.span_kind(kind, record.attributes if record.end_ns is None else {}):
        details["span_kind"] = record.kind
    if record.scope_name and record.scope_name != genai.SCOPE_NAME:
        details["scope"] = {"name": record.scope_name, "version": record.scope_version}
    if record.parent_span_id is not None and genai.STEP_PARENT_ID not in record.attributes:
        details["parent_span_id"] = record.parent_span_id
    if record.trace_state:
        details["trace_state"] = record.trace_state
    if record.links:
        details["links"] = [_link(link.trace_id, link.span_id, link.attributes) for link in record.links]
    own_session = session_named_in(record.attributes)
    if own_session is not None and own_session != session_id:
        details["framework_session_id"] = own_session
    return details


def _link(trace_id: str, span_id: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    link: dict[str, Any] = {"trace_id": trace_id, "span_id": span_id}
    return link | {"attributes": dict(attributes)} if attributes else link


def _end_details(record: SpanRecord, status: tuple[int, str | None]) -> dict[str, Any]:
    details = _said(record)
    if record.attributes.get(genai.PASSED_THROUGH) is True:
        details["passed_through"] = True
    raised_at = record.attributes.get(genai.RAISED_AT)
    if isinstance(raised_at, str):
        details["raised_at"] = raised_at
    details.update(_raised(record))
    if record.events:
        details["events"] = [
            {"name": event.name, "timestamp_ns": event.timestamp_ns, "attributes": dict(event.attributes)}
            for event in record.events
        ]
    if (record.status_code, record.status_description) != status:
        details["status"] = {"code": record.status_code, "description": record.status_description}
    return details


def raised_at_of(record: SpanRecord) -> str | None:
    """Return where in the code the exception was raised that a span tells of; None where it does not say."""
    return _raised(record).get("raised_at")


def _raised(record: SpanRecord) -> dict[str, Any]:
    """Return the stack of the exception that a span tells of last, as the recorder would have it of its own."""
    if record.status_code != genai.STATUS_ERROR:
        return {}
    recorded = _exception_of(record)
    stack = EMPTY if recorded is None else recorded.attributes.get("exception.stacktrace")
    if not isinstance(stack, str) or not stack.strip():
        return {}
    places = _PLACE.findall(stack[-_MAX_STACK:])
    site = {"raised_at": f"{places[-1][0]}:{places[-1][1]} in {places[-1][2]}"} if places else {}
    return {**site, "stack": stack if len(stack) <= _MAX_STACK else f"...\n{stack[-_MAX_STACK:]}"}


def _exception_of(record: SpanRecord) -> SpanEvent | None:
    return next((event for event in reversed(record.events) if event.name == "exception"), None)


def usage_of(attributes: Mapping[str, Any]) -> Usage | None:
    """Return the tokens that attributes count, under any of the names in use; None where they count none."""
    counts: dict[str, int] = {}
    for field, keys in genai.USAGE_READINGS.items():
        found = next((count for key in keys if (count := count_of(attributes.get(key))) is not None), None)
        if found is not None:
            counts[field] = found
    return Usage(**counts) if counts else None


def outcome_of(record: SpanRecord) -> tuple[str, ErrorInfo | None]:
    """Return how a span's step ended, and its error.

    `agent_journal.outcome` decides where it is set. Otherwise status ERROR is an error, and so is an `error.type`,
    whatever the status, unless the exception is one that cancels or interrupts; anything else is ok.
    """
    said = record.attributes.get(genai.OUTCOME)
    if record.status_code != genai.STATUS_ERROR and (said or not record.attributes.get(genai.ERROR_TYPE)):
        return (str(said) if said else "ok"), None
    error = _error_of(record, _exception_of(record))
    return str(said or _OUTCOME_OF_EXCEPTION.get(error.type.rpartition(".")[2], "error")), error


def _error_of(record: SpanRecord, exception: SpanEvent | None) -> ErrorInfo:
    recorded: Mapping[str, Any] = {} if exception is None else exception.attributes
    kind = record.attributes.get(genai.ERROR_TYPE) or recorded.get("exception.type") or "Error"
    message = record.status_description
    if message in (None, "", kind):  # the type alone, where content is off
        message = recorded.get("exception.message") or ""
    return ErrorInfo(type=str(kind), message=str(message))
