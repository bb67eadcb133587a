"""Where fuzzing begins, and how it goes on: real requests of every decoder, and changes that keep them requests."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from typing import Any, Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.mapping.facts import BlobKept
from otel_agent_journal.mapping.log_record import (
    WriterHeard,
    blob_record,
    event_record,
    heartbeat_record,
    request_of,
)
from tests.receiver.asking import as_json, spans

KINDS: Final = 7  # of decoders; the first byte of an input says for which it is
_NUMBERS: Final = (0, 1, 2**31 - 1, 2**31, 2**62, 2**63 - 1, 10**18)
_TEXTS: Final = (
    "",
    "\0",
    "\ud7ff",
    "0",
    "null",
    "[",
    "{}",
    '[{"role": "user", "parts": [{"type": "text"}]}]',
    "x" * 999,
)
_ATTRIBUTES: Final[dict[str, Any]] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "m",
    "gen_ai.usage.input_tokens": 5,
    "gen_ai.usage.output_tokens": 2**63 - 1,
    "gen_ai.conversation.id": "s1",
    "gen_ai.input.messages": '[{"role": "user", "parts": [{"type": "text", "content": "hello"}]}]',
    "gen_ai.output.messages": '[{"role": "assistant", "parts": [{"type": "tool_call", "name": "t", "arguments": {}}]}]',
    "gen_ai.tool.name": "t",
    "gen_ai.tool.call.arguments": '{"a": 1}',
    "gen_ai.response.finish_reasons": "stop",
    "agent_journal.step.id": "1" * 32,
    "agent_journal.step.kind": "model",
    "agent_journal.progress": 0.5,
    "session.id": "s2",
    "error.type": "KeyError",
    "exception.stacktrace": "at line 1",
}

_OUTPUTS: Final = (
    b'3 rows\n===JOURNAL_ENTRY===\n{"event_type": "CLEANED", "details": {"rows": 3}}\n===JOURNAL_END===\ndone\n',
    b'===JOURNAL_ENTRY=== k7\n{"level": "ERROR",\n "details": {}}\n===JOURNAL_END===\n===JOURNAL_ENTRY===\n{"a":',
    b'===JOURNAL_ENTRY=== {"nonce": "k7", "tool_name": "t"} ===JOURNAL_END===\n===JOURNAL_END===\n[[[\n',
)


def seeds() -> list[bytes]:
    """Return inputs, each for the decoder that its first byte says."""
    traces, records = _traces(), _records()
    plain = [traces.SerializeToString(), records.SerializeToString(), as_json(traces), as_json(records)]
    found = [bytes([number]) + data for number, data in enumerate(plain)]
    found += [b"\4" + packed for packed in (gzip.compress(plain[0]), zlib.compress(plain[2]), gzip.compress(b"") * 3)]
    found += [b"\5" + text for text in (b"127.0.0.1:4317", b"[::1]:0", b"localhost:65536", b"a:b:1")]
    found += [b"\6" + output for output in _OUTPUTS]
    return found


def _traces() -> ExportTraceServiceRequest:
    request = spans("chat m", "execute_tool t")
    request.resource_spans[0].resource.attributes.add(key="service.name").value.string_value = "agent"
    for span in request.resource_spans[0].scope_spans[0].spans:
        for key, value in _ATTRIBUTES.items():
            _set(span.attributes.add(key=key).value, value)
        event = span.events.add(name="exception", time_unix_nano=1_700_000_000_500_000_000)
        event.attributes.add(key="exception.type").value.string_value = "KeyError"
        span.links.add(trace_id=b"\1" * 16, span_id=b"\2" * 8)
    return request


def _records() -> ExportLogsServiceRequest:
    event = JournalEvent(
        event_id="e1", session_id="s1", type="MODEL_START", timestamp_ns=1_700_000_000_000_000_000, step_id="1" * 32
    )
    heard = WriterHeard("w", 1_700_000_000_000_000_000, ("s1",))
    blob = BlobKept("s1", "", b"value")
    return request_of([event_record(event, 1), heartbeat_record(heard, 1), blob_record(blob, 1)], {"service.name": "a"})


def changed(data: bytes, seed: int) -> bytes | None:
    """Return a request changed in some place, as a request: what a change of bytes hardly ever is. None: it is none."""
    chance = random.Random(seed)
    number, body = data[0] % KINDS, data[1:]
    try:
        if number in (2, 3):
            return data[:1] + json.dumps(_changed_json(json.loads(body), chance)).encode()
        request: Any = (ExportTraceServiceRequest if number == 0 else ExportLogsServiceRequest).FromString(body)
    except (ValueError, RecursionError, DecodeError):
        return None
    for _ in range(chance.randint(1, 3)):
        _change(request, chance)
    return data[:1] + request.SerializeToString()


def _change(message: Any, chance: random.Random) -> None:
    """Change one field of a message, or of one within it."""
    field = chance.choice(list(message.DESCRIPTOR.fields))
    within = field.message_type is not None
    if field.is_repeated:
        items = getattr(message, field.name)
        if within and items and chance.random() < 0.85:
            _change(chance.choice(items), chance)
        elif items and chance.random() < 0.4:
            del items[chance.randrange(len(items))]
        elif within and items and chance.random() < 0.5:
            items.add().CopyFrom(chance.choice(items))
        elif within:
            items.add()
        return
    if within:
        _change(getattr(message, field.name), chance)
    elif field.type == field.TYPE_STRING:
        setattr(message, field.name, chance.choice((*_TEXTS, *_ATTRIBUTES)))
    elif field.type == field.TYPE_BYTES:
        setattr(message, field.name, chance.randbytes(chance.choice((0, 8, 16, 16, 3))))
    elif field.type == field.TYPE_BOOL:
        setattr(message, field.name, chance.random() < 0.5)
    elif field.type == field.TYPE_DOUBLE:
        setattr(message, field.name, chance.choice((0.0, -0.0, float("nan"), float("inf"), 5e-324, 1e308)))
    else:
        value = chance.choice(_NUMBERS)
        small = field.type in (field.TYPE_ENUM, field.TYPE_UINT32, field.TYPE_INT32, field.TYPE_FIXED32)
        setattr(message, field.name, value % 2**31 if small else value)


def _changed_json(value: Any, chance: random.Random) -> Any:
    """Return a JSON value with something in it changed."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(list(value))
        return {**value, key: _changed_json(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.9:
        at = chance.randrange(len(value))
        return [*value[:at], _changed_json(value[at], chance), *value[at + chance.randint(0, 1) :]]
    strange = (None, True, -1, 1.5, 2**64, 10**400, "1" * 5000, "NaN", [], {}, [[]], "é" * 20, "00", "f" * 32)
    return chance.choice((*strange, *_TEXTS, *_NUMBERS))


def _set(value: Any, given: Any) -> None:
    kinds = {str: "string_value", int: "int_value", float: "double_value"}
    setattr(value, kinds[type(given)], given)
