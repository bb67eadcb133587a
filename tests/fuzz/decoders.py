"""What bytes from anywhere go through, each as a function that raises only what is documented, whatever it is given."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final

from otel_agent_journal.codec import encode_line, encode_value
from otel_agent_journal.errors import CodecError, ConfigError
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.mapping.facts import SpansReceived, decode_fact, encode_fact, events_of
from otel_agent_journal.mapping.log_record import carried, log_records
from otel_agent_journal.mapping.received import ReceivedSpans
from otel_agent_journal.markers import MAX_ENTRIES, MAX_PROBLEMS, entries_in
from otel_agent_journal.pipeline.entries import RefusedEntry, entry_of
from otel_agent_journal.receiver.compression import MAX_MEMBERS, pieces
from otel_agent_journal.receiver.service import address_of
from otel_agent_journal.receiver.signals import LOGS, SPANS, Signal

_RECEIVED_NS: Final = 1_700_000_000_000_000_000
_ENOUGH_BYTES: Final = 8 * 1024 * 1024


def _events(request: Any) -> list[bytes]:
    """Return the events of a request for spans, as the receiver keeps it and the drain reads it: never raises."""
    SPANS.check(request)
    found: list[bytes] = []
    for part in SPANS.parts(request):
        kept: Any = decode_fact(encode_fact(SpansReceived(_RECEIVED_NS, part)))
        facts = ReceivedSpans(all_spans=True).facts(kept)
        again = [decode_fact(encode_fact(fact)) for fact in facts]
        found += [encode_line(event) for fact in again for event in events_of(fact, "writer")]
    return found


def _carried(request: Any) -> list[bytes]:
    """Return what a request for log records carries; CodecError alone says that one carries nothing."""
    LOGS.check(request)
    found: list[bytes] = []
    for part in LOGS.parts(request):
        for record in log_records(LOGS.read(part).request):
            try:
                item = carried(record)
            except CodecError:
                continue
            found.append(encode_line(item) if isinstance(item, JournalEvent) else repr(item).encode())
    return found


def _of(signal: Signal, read: Callable[[bytes], Any], amount: Callable[[Any], list[bytes]]) -> Callable[[bytes], Any]:
    def decode(data: bytes) -> list[bytes] | None:
        try:
            request = read(data).request
        except ValueError:
            return None
        signal.read(request.SerializeToString())  # what was taken can be read again, whatever it was taken from
        return amount(request)

    return decode


def decompress(data: bytes) -> int | None:
    """Return how much it is, at most."""
    size = 0
    try:
        for piece in pieces(data):
            assert len(piece) <= 1024 * 1024
            size += len(piece)
            if size > _ENOUGH_BYTES:
                break
    except ValueError:
        return None
    assert size <= 1100 * len(data) + MAX_MEMBERS
    return size


def address(data: bytes) -> str | None:
    """Return an address as it is printed, which is one again."""
    text = data.decode("utf-8", "replace")
    try:
        found = address_of(text, "--grpc")
    except ConfigError:
        return None
    assert address_of(str(found), "--grpc").port == found.port <= 65535
    return str(found)


def printed(data: bytes) -> bytes:
    """Return the entries that an output has between markers, with a nonce and without."""
    output = data.decode("utf-8", "surrogateescape")
    entries, signed = entries_in(output), entries_in(output, "k7")
    assert len(entries.problems) <= MAX_PROBLEMS
    assert len(signed) <= output.count("k7") * MAX_ENTRIES
    for entry in entries:
        with contextlib.suppress(RefusedEntry):
            entry_of(entry.get("event_type"), entry.get("tool_name"), entry.get("details"), entry.get("level"))
    return encode_value([entries, signed, [problem.kind for problem in signed.problems]])


DECODERS: Final[tuple[Callable[[bytes], Any], ...]] = (
    _of(SPANS, SPANS.read, _events),
    _of(LOGS, LOGS.read, _carried),
    _of(SPANS, SPANS.read_json, _events),
    _of(LOGS, LOGS.read_json, _carried),
    decompress,
    address,
    printed,
)


def decode(data: bytes) -> None:
    """Take an input: its first byte says for which decoder. What comes out is the same each time."""
    if not data:
        return
    decoder = DECODERS[data[0] % len(DECODERS)]
    assert decoder(data[1:]) == decoder(data[1:])
