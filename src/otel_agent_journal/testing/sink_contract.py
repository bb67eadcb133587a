"""The contract of every sink, as tests: subclass `SinkContract`, give it a sink and what that has received.

Run it against the real service, or what is nearest to it.
"""

from __future__ import annotations

from collections.abc import Sequence

from otel_agent_journal.codec import decode_line
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.sinks.port import Record, Sink
from otel_agent_journal.sinks.records import line_of, packed
from otel_agent_journal.sinks.transfer import Transfer
from otel_agent_journal.testing.builders import an_event

ODD_IDS = ("plain", "with/slash and space", "🤖" * 40, "x" * 1000, ".", "a,b&c=d?e#f")


class SinkContract:
    """What holds of every sink."""

    def received(self, sink: Sink) -> Sequence[bytes]:
        """Return the lines that the sink has, those of one session in their order, without their line feeds."""
        raise NotImplementedError

    def test_url_is_its_own(self, sink: Sink) -> None:
        """It says which it is."""
        assert "://" in sink.url

    def test_limits_are_of_use(self, sink: Sink) -> None:
        """A request takes a record at least, and the largest record fits in a request."""
        limits = sink.limits
        assert limits.records >= 1
        assert 1024 <= limits.record_bytes <= limits.request_bytes

    def test_what_it_took_is_there(self, sink: Sink) -> None:
        """Records that were taken are there, byte by byte."""
        records = [Record(f"s{number}", line_of(event(f"s{number}", number)), 1) for number in range(3)]
        assert list(sink.send(records)) == [None, None, None]
        assert sorted(self.received(sink)) == sorted(record.data.rstrip(b"\n") for record in records)

    def test_any_session_id(self, sink: Sink) -> None:
        """Ids of any form: slashes, emoji, a thousand characters."""
        events = [event(session_id, 1) for session_id in ODD_IDS]
        assert Transfer(sink, wait=lambda _: True).bring(events)
        assert {decode_line(line).session_id for line in self.received(sink)} == set(ODD_IDS)

    def test_a_session_keeps_its_order(self, sink: Sink) -> None:
        """Events of a session come in the order in which they were sent, also over several requests."""
        events = [event("s1" if number % 3 else "s2", number) for number in range(120)]
        assert Transfer(sink, wait=lambda _: True).bring(events)
        came = [decode_line(line) for line in self.received(sink)]
        for session_id in ("s1", "s2"):
            assert of(came, session_id) == of(events, session_id)

    def test_the_largest_record(self, sink: Sink) -> None:
        """A record as large as the limit is taken; an event beyond it comes without its details."""
        limits = sink.limits
        large = event("s1", 1, text="x" * (limits.record_bytes - 600))
        larger = event("s1", 2, text="x" * limits.record_bytes)
        assert packed("s1", [large], limits).withheld == 0
        transfer = Transfer(sink, wait=lambda _: True)
        assert transfer.bring([large, larger])
        first, second = (decode_line(line) for line in self.received(sink))
        assert first == large
        assert second.event_id == larger.event_id
        assert set(second.details) == {"withheld"}
        assert transfer.withheld == 1

    def test_it_is_closed_twice(self, sink: Sink) -> None:
        """Closing it again is no error."""
        sink.close()
        sink.close()


def event(session_id: str, number: int, text: str = "") -> JournalEvent:
    """Return an event of a session."""
    return an_event(number, session_id=session_id, details={"number": number, "text": text})


def of(events: Sequence[JournalEvent], session_id: str) -> list[str]:
    """Return the ids of a session's events, in order."""
    return [one.event_id for one in events if one.session_id == session_id]
