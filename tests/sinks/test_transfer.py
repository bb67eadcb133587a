"""Order, retries and sizes, against a sink that does whatever a script, or chance, wants."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent_journal.codec import decode_line
from otel_agent_journal.errors import SinkRefused, SinkUnreachable
from otel_agent_journal.event import ErrorInfo, JournalEvent
from otel_agent_journal.sinks.port import Limits, Record
from otel_agent_journal.sinks.records import key_of, packed
from otel_agent_journal.sinks.transfer import Transfer
from otel_agent_journal.testing.builders import an_event, events
from otel_agent_journal.testing.sink_contract import event, of

Answer = Callable[[Sequence[Record]], Sequence[str | None]]


class ScriptedSink:
    """A sink in memory. `answer` says what of a request is taken, or raises; what is taken is in `came`."""

    url = "scripted://sink"

    def __init__(self, answer: Answer | None = None, *, aggregate: bool = True, record_bytes: int = 4096) -> None:
        self.limits = Limits(records=5, record_bytes=record_bytes, request_bytes=8192, aggregate=aggregate)
        self.answer: Answer = answer or (lambda records: [None] * len(records))
        self.came: list[JournalEvent] = []
        self.requests: list[Sequence[Record]] = []

    def send(self, records: Sequence[Record]) -> Sequence[str | None]:
        self.requests.append(records)
        assert len(records) <= self.limits.records
        assert sum(record.size_bytes for record in records) <= self.limits.request_bytes
        assert all(record.size_bytes <= self.limits.record_bytes for record in records)
        assert len({record.key for record in records}) == len(records)
        said = self.answer(records)
        for record, why in zip(records, said, strict=True):
            if why is None:
                self.came.extend(map(decode_line, record.data.splitlines()))
        return said

    def close(self) -> None: ...


def transfer_to(sink: ScriptedSink) -> Transfer:
    return Transfer(sink, wait=lambda _: True, jitter=lambda low, high: 0.0)


@given(st.integers(0, 2**32), st.booleans(), st.integers(1, 60))
def test_order_is_kept_through_whatever_fails(seed: int, aggregate: bool, count: int) -> None:
    """Parts of requests fail, all of one fails, or its answer is lost: each session's events come first in order."""
    chance = random.Random(seed)
    sink = ScriptedSink(aggregate=aggregate)

    def answer(records: Sequence[Record]) -> Sequence[str | None]:
        kind = chance.random()
        if kind < 0.2:
            raise SinkUnreachable("away")
        if kind < 0.35:  # taken, and the answer is lost
            for record in records:
                sink.came.extend(map(decode_line, record.data.splitlines()))
            raise SinkUnreachable("no answer")
        return [None if chance.random() < 0.6 else "throttled" for _ in records]

    sink.answer = answer
    sent = [event(f"s{chance.randrange(9)}", number) for number in range(count)]
    transfer = transfer_to(sink)
    assert transfer.bring(sent)
    assert transfer.sent == count
    first = list({one.key: one for one in sink.came}.values())
    for session_id in {one.session_id for one in sent}:
        assert of(first, session_id) == of(sent, session_id)


def test_only_what_failed_is_sent_again() -> None:
    """Of a request that was taken in part, the rest comes again, and later records of its sessions behind it."""
    sink = ScriptedSink(aggregate=False)
    answers = iter([[None, "throttled", None]])
    sink.answer = lambda records: next(answers, [None] * len(records))
    transfer = transfer_to(sink)
    assert transfer.bring([event(session, number) for number in range(2) for session in ("a", "b", "c")])
    keys = [[record.key for record in request] for request in sink.requests]
    assert keys[0] == ["a", "b", "c"]
    assert sorted(key for request in keys[1:] for key in request) == ["a", "b", "b", "c"]
    assert (transfer.sent, transfer.failures, transfer.last_error) == (6, 1, "throttled")


def test_one_refused_record_costs_its_details_alone() -> None:
    """A record that a service never takes is found, and its event is sent without details, and marked."""
    sink = ScriptedSink()

    def answer(records: Sequence[Record]) -> Sequence[str | None]:
        if any(b"poison" in record.data for record in records):
            raise SinkRefused(sink.url, "not as we like it")
        return [None] * len(records)

    sink.answer = answer
    sent = [event("a", 0), event("b", 1), event("a", 2, text="poison"), event("a", 3)]
    transfer = transfer_to(sink)
    assert transfer.bring(sent)
    assert of(sink.came, "a") == of(sent, "a")
    assert of(sink.came, "b") == of(sent, "b")
    assert [one.details["withheld"]["why"] for one in sink.came if "withheld" in one.details] == ["not as we like it"]
    assert transfer.withheld == 1


def test_a_sink_that_refuses_everything_is_waited_for() -> None:
    """Where what is small and plain is refused too, it is the sink: nothing is given up, and it is said."""
    sink = ScriptedSink()

    def answer(records: Sequence[Record]) -> Sequence[str | None]:
        raise SinkRefused(sink.url, "closed")

    sink.answer = answer
    waits = iter([True] * 10)
    transfer = Transfer(sink, wait=lambda _: next(waits, False), jitter=lambda low, high: 0.0)
    assert not transfer.bring(events(3))
    assert (transfer.sent, transfer.is_failing, sink.came) == (0, True, [])


@pytest.mark.parametrize("long", ["details", "error", "name"])
def test_an_event_over_the_limit_keeps_its_identity(long: str) -> None:
    """Whatever makes it large, it fits without that, with its id, session, type and time."""
    text = "ü" * 10_000
    fields = {"details": {"text": text}, "error": ErrorInfo(type="E", message=text), "name": text}
    large = an_event(1, **{long: fields[long]})
    sink = ScriptedSink()
    assert transfer_to(sink).bring([large])
    (came,) = sink.came
    assert (came.key, came.type) == (large.key, large.type)
    assert came.details["withheld"]["limit"] < 4096 < came.details["withheld"]["bytes"]
    assert came.digest is None


def test_small_events_share_a_record() -> None:
    """Where a sink takes several events in one record, a session's go together, up to a quarter of a mebibyte."""
    limits = Limits(records=500, record_bytes=1024 * 1024, request_bytes=5 * 1024 * 1024, aggregate=True)
    assert packed("s1", events(300), limits).record.events == 300
    large = [event("s1", number, text="x" * 100_000) for number in range(5)]
    assert packed("s1", large, limits).record.events == 2
    assert packed("s1", events(300), Limits(records=1, record_bytes=1024, request_bytes=1024)).record.events == 1


def test_keys_are_what_services_take() -> None:
    """Between 1 and 256 characters, and the same for the same session."""
    assert key_of("s1") == "s1"
    for odd in ("", "x" * 257):
        assert 1 <= len(key_of(odd)) <= 256
        assert key_of(odd) == key_of(odd) != key_of(f"{odd}y")
