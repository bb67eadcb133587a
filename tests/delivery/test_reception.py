"""What was received, drained: delivered once, and every span and log record counted in one place."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from otel_agent_journal.codec import sealed
from otel_agent_journal.delivery.drain import Drain
from otel_agent_journal.delivery.reception import Counted, Reception
from otel_agent_journal.errors import StoreError
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.mapping.facts import BlobKept, LogsReceived, SpansReceived, encode_fact
from otel_agent_journal.mapping.log_record import (
    WriterHeard,
    blob_record,
    event_record,
    heartbeat_record,
    request_of,
)
from otel_agent_journal.mapping.received import ReceivedSpans
from otel_agent_journal.pipeline.content import ContentEncoder
from otel_agent_journal.spool.writer import SpoolWriter
from otel_agent_journal.store.memory import MemoryStore
from tests.receiver.collecting import request

BEGAN_NS = 1000
TRACE = "a" * 32


class Receiver:
    """A spool that requests are put into, and its drain."""

    def __init__(self, folder: Path, store: MemoryStore | None = None, **options: Any) -> None:
        self.store = store or MemoryStore()
        self.told: list[int] = []
        self.reception = Reception(
            ReceivedSpans(), began_ns=BEGAN_NS, delivered=lambda _, times: self.told.extend(times), **options
        )
        self.writer = SpoolWriter(folder, writer="f" * 32)
        self.drain = Drain(folder, self.store, reception=lambda: self.reception)
        self._at_ns = BEGAN_NS

    def spans(self, *spans: tuple[str, str], session_id: str | None = "s1", at_ns: int | None = None) -> None:
        """Receive spans."""
        self._put(SpansReceived(self._now(at_ns), request(spans, session_id).SerializeToString()))

    def logs(self, *records: Any) -> None:
        """Receive log records."""
        self._put(LogsReceived(self._now(None), request_of(records, {}).SerializeToString()))

    def _now(self, at_ns: int | None) -> int:
        self._at_ns += 1
        return at_ns or self._at_ns

    def _put(self, fact: Any) -> None:
        assert self.writer.append(encode_fact(fact))

    def drained(self) -> Counted:
        """Drain, and return the counts."""
        self.drain.drain_once()
        return self.reception.counted

    def events(self, session_id: str = "s1") -> list[JournalEvent]:
        """Return a session's events."""
        return list(self.store.read(session_id))


@pytest.fixture
def receiver(tmp_path: Path) -> Receiver:
    """One with a store in memory."""
    return Receiver(tmp_path)


def note(number: int, **fields: Any) -> JournalEvent:
    """Return an event as an agent ships it."""
    return sealed(
        JournalEvent(
            session_id="s1", event_id=f"{number:032x}", type="NOTE", timestamp_ns=number + 5, writer="w", **fields
        )
    )


def test_spans_are_counted_once(receiver: Receiver) -> None:
    """What is sent again is a duplicate, whether in the next request or after other spans."""
    receiver.spans((TRACE, "1" * 16), (TRACE, "2" * 16))
    receiver.spans((TRACE, "1" * 16), (TRACE, "2" * 16), (TRACE, "3" * 16))
    assert receiver.drained() == Counted(stored=3, duplicate=2)
    assert len(receiver.events()) == 6
    receiver.spans((TRACE, "1" * 16))
    assert receiver.drained() == Counted(stored=3, duplicate=3)


def test_log_records_are_events(receiver: Receiver) -> None:
    """Events keep their writer and their digest; heartbeats and values are counted, others left out."""
    events = [note(1), note(2, details={"input": "x"})]
    value = BlobKept("s1", "d1", b"1")
    other = event_record(events[0], 1)
    other.event_name = "gen_ai.choice"
    broken = event_record(events[0], 1)
    broken.body.string_value = "{"
    heartbeat = heartbeat_record(WriterHeard("w", 99, ("s1",)), 1)
    receiver.logs(*[event_record(event, 1) for event in events], other, broken, heartbeat, blob_record(value, 1))
    counted = receiver.drained()
    assert (counted.stored, counted.left_out, counted.set_aside) == (3, 1, 2), "the value's digest is not its own"
    assert receiver.events() == events
    head = receiver.store.head("s1")
    assert head is not None
    assert head.writers == {"w": 99}
    assert receiver.reception.silent_s("w") is not None
    assert receiver.reception.silent_s("nobody") is None


def test_what_was_there_before_is_recovered(receiver: Receiver) -> None:
    """So that what was received and recovered is what became of it."""
    receiver.spans((TRACE, "1" * 16), at_ns=BEGAN_NS - 1)
    receiver.spans((TRACE, "2" * 16))
    assert receiver.drained() == Counted(stored=2, recovered=1)


def test_bytes_that_are_no_request(receiver: Receiver) -> None:
    """They are set aside, and hold up nothing."""
    receiver._put(SpansReceived(1, b"\xff\xff"))
    receiver._put(LogsReceived(1, b"\xff\xff"))
    receiver.spans((TRACE, "1" * 16))
    assert receiver.drained() == Counted(stored=1, set_aside=2)
    assert receiver.drain.stats.set_aside == 2


class Failing:
    """Content rules that fail on one span."""

    content = True

    def told(self, said: Any) -> Any:
        if "strange" in said.details.get("attributes", ()):
            raise RecursionError("too strange")
        return said

    def fitting(self, said: Any) -> tuple[Any, Sequence[BlobKept]]:
        return said, ()


def test_a_span_that_nothing_can_be_made_of(tmp_path: Path) -> None:
    """It costs itself alone, and is counted once."""
    receiver = Receiver(tmp_path, content=Failing())
    made = request([(TRACE, "1" * 16), (TRACE, "2" * 16), (TRACE, "3" * 16)])
    made.resource_spans[0].scope_spans[0].spans[1].attributes.add(key="strange").value.bool_value = True
    receiver._put(SpansReceived(2000, made.SerializeToString()))
    assert receiver.drained() == Counted(stored=2, set_aside=1)
    assert receiver.drain.stats.set_aside == 1
    endings = [event.span_id for event in receiver.events() if event.type == "MODEL_END"]
    assert endings == ["1" * 16, "3" * 16]


def test_who_waits_is_told(receiver: Receiver) -> None:
    """By when it was received, once it is in the store."""
    receiver.spans((TRACE, "1" * 16), at_ns=2000)
    receiver.logs(event_record(note(1), 1))
    assert receiver.told == []
    receiver.drained()
    assert receiver.told[0] == 2000
    assert len(receiver.told) == 2


class Refusing(MemoryStore):
    """Refuses the events of one span for good."""

    def append(self, events: Sequence[JournalEvent]) -> None:
        if any(event.span_id == "2" * 16 for event in events):
            raise StoreError("not this one")
        super().append(events)


def test_what_the_store_refuses_is_not_stored(tmp_path: Path) -> None:
    """Its span is set aside, the others are stored."""
    receiver = Receiver(tmp_path, Refusing())
    receiver.spans((TRACE, "1" * 16), (TRACE, "2" * 16), (TRACE, "3" * 16))
    assert receiver.drained() == Counted(stored=2, set_aside=1)
    assert len(receiver.events()) == 4


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        (ContentEncoder(), lambda details: details == {"input": "x" * 300, "reason": "r"}),
        (ContentEncoder(content=False), lambda details: details == {"reason": "r"}),
        (ContentEncoder(field_limit_bytes=256), lambda details: details["input"]["bytes"] == 302),
        (ContentEncoder(redactor=lambda field, value: f"<{field}>"), lambda details: details["input"] == "<input>"),
    ],
)
def test_content_is_journaled_as_the_receiver_is_told(
    tmp_path: Path, rules: ContentEncoder, kept: Callable[[Mapping[str, Any]], bool]
) -> None:
    """Of events that come as log records too; what is changed has a digest of its own."""
    receiver = Receiver(tmp_path, content=rules)
    receiver.logs(event_record(note(1, details={"input": "x" * 300, "reason": "r"}), 1))
    receiver.drained()
    (event,) = receiver.events()
    assert kept(event.details), event.details
    assert sealed(msgspec.structs.replace(event, digest=None)).digest == event.digest


def test_an_event_tells_the_session_of_its_trace(receiver: Receiver) -> None:
    """Spans of the trace that name none belong there, too."""
    receiver.logs(event_record(note(1, trace_id=TRACE), 1))
    receiver.spans((TRACE, "1" * 16), session_id=None)
    receiver.drained()
    assert [event.type for event in receiver.events()] == ["NOTE", "MODEL_START", "MODEL_END"]


def test_what_is_remembered_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many others a span that comes again counts as stored; the store has it once all the same."""
    monkeypatch.setattr("otel_agent_journal.delivery.reception._REMEMBERED_ITEMS", 4)
    receiver = Receiver(tmp_path)
    for number in (1, 2, 3, 4, 5, 1):
        receiver.spans((TRACE, f"{number:016x}"))
    assert receiver.drained() == Counted(stored=6)
    assert len(receiver.events()) == 10


def test_an_agents_drain_takes_what_a_receiver_left(tmp_path: Path) -> None:
    """Any drain of that spool delivers it."""
    receiver = Receiver(tmp_path)
    receiver.spans((TRACE, "1" * 16))
    receiver.writer.close()
    store = MemoryStore()
    Drain(tmp_path, store).drain_once()
    assert len(list(store.read("s1"))) == 2


def test_the_round_up_is_called_when_all_is_delivered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the drain's thread, now and then, and never instead of delivering."""
    monkeypatch.setattr("otel_agent_journal.delivery.drain.ROUND_UP_S", 0.05)
    called: list[float] = []
    drain = Drain(tmp_path, MemoryStore(), rounds_up=lambda: called.append(time.monotonic()))
    drain.start()
    deadline = time.monotonic() + 20
    while len(called) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert drain.stop()
    assert len(called) >= 2
    assert called[1] - called[0] >= 0.05
