"""The contract of `append` and `read`, and of blobs."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest

from otel_agent_journal.codec import intact, sealed
from otel_agent_journal.errors import EventTooLarge, StoreError
from otel_agent_journal.event import ErrorInfo, JournalEvent, Usage
from otel_agent_journal.store.protocol import Blob, BlobStore, JournalStore, StoreAdmin
from otel_agent_journal.testing.builders import JournalBuilder, an_event, context_events, events
from otel_agent_journal.testing.clocks import EPOCH_2026_NS
from otel_agent_journal.testing.contract_setup import ContractSetup, ids, in_order

ODD_IDS = (
    "s1", "S1", "s1 ", "s1/a", "../s1", ".", "..", "s%31", "s_1", "s*", "'; DROP TABLE events; --", "é", "e\u0301",
    "日本", "a#b?c=d", "with\nline", "nul\x00nul", "SESSION#s1", "x" * 700, "trace:0123",
)  # fmt: skip

STRANGE_VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "integers": [0, -1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 2**200],
    "floats": [0.1, -0.0, 1e300, 5e-324, 1e22],
    "text": "naïve 日本語 😀 \x00 \x1f \u2028 \\ \" ' \ufffd",
    "empty": ["", [], {}],
    "keys": {"": 1, " ": 2, "$blob": 3, "a.b": 4, "é": 5},
    "nested": [[[[{"deep": [1, [2, [3]]]}]]]],
}


class EventContract(ContractSetup):
    """Events are kept as they are, once, in order."""

    def test_ports(self, store: JournalStore) -> None:
        """A store has the methods of the ports it declares."""
        assert isinstance(store, JournalStore)
        assert isinstance(store, StoreAdmin)
        assert isinstance(store, BlobStore) or not store.capabilities.blobs

    def test_every_field(self, store: JournalStore) -> None:
        """An event with every field set is read back equal, its digest still that of its body."""
        event = sealed(
            an_event(
                type="MODEL_ERROR",
                level="ERROR",
                name="claude",
                step_id="5" * 32,
                parent_step_id="6" * 32,
                attempt=3,
                trace_id="7" * 32,
                span_id="8" * 16,
                outcome="error",
                duration_ns=123_456_789,
                error=ErrorInfo(type="ClientError", message="slow down", code="ThrottlingException"),
                usage=Usage(
                    input_tokens=5, output_tokens=4, cache_read_tokens=3, cache_write_tokens=2, reasoning_tokens=1
                ),
                details={"input": {"messages": ["hello"]}, "attributes": {"gen_ai.request.model": "claude"}},
            )
        )
        store.append([event])
        (read,) = store.read("s1")
        assert read == event
        assert intact(read)

    def test_absent_and_empty_fields(self, store: JournalStore) -> None:
        """An absent field stays absent, an empty text empty, a usage of zeros a usage."""
        bare = JournalEvent(session_id="s1", event_id="a" * 32, type="NOTE", timestamp_ns=1)
        empty = JournalEvent(
            session_id="s1",
            event_id="b" * 32,
            type="NOTE",
            timestamp_ns=2,
            name="",
            error=ErrorInfo(type="", message="", code=""),
            usage=Usage(),
        )
        store.append([bare, empty])
        assert list(store.read("s1")) == [bare, empty]

    def test_every_json_value(self, store: JournalStore) -> None:
        """Details hold every JSON value exactly, integers of any size among them."""
        event = an_event(details=STRANGE_VALUES)
        store.append([event])
        (read,) = store.read("s1")
        assert read.details == STRANGE_VALUES
        assert intact(read)

    def test_what_json_cannot_hold(self, store: JournalStore) -> None:
        """NaN and infinities are kept as null, lone surrogates as their escapes, and the digest is still right."""
        event = sealed(
            an_event(
                name="file-\udc80",
                error=ErrorInfo(type="OSError", message="no \ud800 file"),
                details={"number": float("nan"), "far": [float("inf")], "text": "\udcff", "\udc00": 1},
            )
        )
        store.append([event])
        (read,) = store.read("s1")
        assert read.details == {"number": None, "far": [None], "text": "\\udcff", "\\udc00": 1}
        assert (read.name, read.error) == ("file-\\udc80", ErrorInfo(type="OSError", message="no \\ud800 file"))
        assert intact(read)

    def test_unknown_types(self, store: JournalStore) -> None:
        """An event of a type or level that nobody knows is read back unchanged."""
        event = an_event(type="TRAINING_JOB_STARTED", level="NOTICE", outcome="undecided")
        store.append([event])
        assert list(store.read("s1")) == [event]

    @pytest.mark.parametrize("timestamp_ns", [0, 1, EPOCH_2026_NS + 1, 7_258_118_400_123_456_789])
    def test_times(self, store: JournalStore, timestamp_ns: int) -> None:
        """A time keeps its nanoseconds, in 1970 as in 2200."""
        store.append([an_event(timestamp_ns=timestamp_ns)])
        assert [event.timestamp_ns for event in store.read("s1")] == [timestamp_ns]

    def test_odd_session_ids(self, store: JournalStore) -> None:
        """Any text is a session id, and no two are taken for one another."""
        store.append([an_event(session_id=session_id) for session_id in ODD_IDS])
        for session_id in ODD_IDS:
            assert [event.session_id for event in store.read(session_id)] == [session_id]

    def test_large_event(self, store: JournalStore) -> None:
        """An event up to the declared limit is kept whole, one over it is EventTooLarge and never cut."""
        event = an_event(details={"output": "x" * 1_000_000})
        limit = store.capabilities.max_event_bytes
        if limit is not None and limit < 1_001_000:
            with pytest.raises(EventTooLarge) as refused:
                store.append([event])
            assert refused.value.limit_bytes == limit
            event = an_event(details={"output": "x" * (limit // 2)})
        store.append([event])
        assert list(store.read("s1")) == [event]

    def test_repeated_append(self, store: JournalStore) -> None:
        """Appending the same events again changes nothing."""
        made = events(30)
        store.append(made)
        store.append(made)
        store.append(made[10:20])
        assert list(store.read("s1")) == made

    def test_partly_written_batch(self, store: JournalStore) -> None:
        """A batch that is partly there already is completed."""
        made = events(30)
        store.append(made[5:20])
        store.append(made)
        assert list(store.read("s1")) == made

    def test_repetition_within_a_batch(self, store: JournalStore) -> None:
        """One event twice in one batch is one event."""
        store.append([an_event(1), an_event(0), an_event(1)])
        assert list(store.read("s1")) == events(2)

    def test_first_copy_stays(self, store: JournalStore) -> None:
        """Of two events with one key and other contents the first stays."""
        first, second = an_event(details={"copy": 1}), an_event(details={"copy": 2})
        store.append([first])
        store.append([second])
        assert list(store.read("s1")) == [first]

    def test_key(self, store: JournalStore) -> None:
        """Session, time and id are an event's key: where one of them differs, it is another event."""
        event = an_event()
        others = [
            msgspec.structs.replace(event, timestamp_ns=event.timestamp_ns + 1),
            msgspec.structs.replace(event, event_id="f" * 32),
        ]
        elsewhere = msgspec.structs.replace(event, session_id="s2")
        store.append([event, *others, elsewhere])
        assert list(store.read("s1")) == in_order([event, *others])
        assert list(store.read("s2")) == [elsewhere]

    def test_nothing(self, store: JournalStore) -> None:
        """Appending nothing does nothing, and a session nobody wrote to yields nothing."""
        store.append([])
        assert list(store.read("s1")) == []
        assert store.follow(None).events == ()

    def test_order(self, store: JournalStore) -> None:
        """A session is read in order of time and id, in whatever order it arrived."""
        made = [an_event(number, timestamp_ns=EPOCH_2026_NS + number // 7) for number in range(200)]
        for start in range(0, 200, 23):
            store.append(sorted(made, key=lambda event: event.event_id)[start : start + 23])
        assert list(store.read("s1")) == in_order(made)

    def test_sessions_apart(self, store: JournalStore) -> None:
        """One batch may be of many sessions, each of which is read alone."""
        store.append([an_event(number, session_id=f"s{number % 5}") for number in range(50)])
        for number in range(5):
            read = list(store.read(f"s{number}"))
            assert len(read) == 10
            assert {event.session_id for event in read} == {f"s{number}"}

    def test_read_after(self, store: JournalStore) -> None:
        """`after` is a position: what comes behind it is read, whether an event stands there or not."""
        made = events(30)
        store.append(made)
        for number, event in enumerate(made):
            assert ids(store.read("s1", (event.timestamp_ns, event.event_id))) == ids(made[number + 1 :])
        between = (made[3].timestamp_ns + 1, "")
        assert ids(store.read("s1", between)) == ids(made[4:])
        assert ids(store.read("s1", (0, ""))) == ids(made)

    def test_read_after_among_equal_times(self, store: JournalStore) -> None:
        """Among events of one time, `after` goes by the id."""
        made = in_order([an_event(number, timestamp_ns=EPOCH_2026_NS) for number in range(9)])
        store.append(made)
        assert ids(store.read("s1", (EPOCH_2026_NS, made[4].event_id))) == ids(made[5:])

    def test_long_session(self, store: JournalStore) -> None:
        """A session longer than any page is read whole, each event once, in order."""
        made = events(2_500)
        for start in range(0, 2_500, 500):
            store.append(made[start : start + 500])
        read = list(store.read("s1"))
        assert ids(read) == ids(made)
        assert all(first.timestamp_ns < second.timestamp_ns for first, second in pairwise(read))

    def test_prefix_stability(self, store: JournalStore) -> None:
        """What was read once is read again in the same order; late events come in between."""
        made = events(40)
        store.append(made[::2])
        before = ids(store.read("s1"))
        store.append(made[1::2])
        after = ids(store.read("s1"))
        assert [one for one in after if one in before] == before
        assert after == ids(made)

    def test_append_while_reading(self, store: JournalStore) -> None:
        """A reader that is under way is not disturbed by an append, nor the append by the reader."""
        made = events(1_200)
        store.append(made[:1_100])
        reader = store.read("s1")
        first = [next(reader) for _ in range(10)]
        store.append(made[1_100:])
        read = first + list(reader)
        assert ids(read)[:1_100] == ids(made[:1_100])

    def test_steps(self, store: JournalStore) -> None:
        """The journal of a run, as the drain delivers it, is read back event by event."""
        journal = JournalBuilder()
        root = journal.start("agent", "researcher", details={"input": {"topic": "sea level"}})
        tool = journal.start("tool", "search", parent=root)
        journal.note(tool, "PROGRESS", details={"message": "3 of 10"})
        journal.end(tool, "error")
        journal.end(journal.start("tool", "search", parent=root, step_id=tool.step_id, attempt=2))
        journal.end(root, usage=Usage(input_tokens=10))
        store.append(journal.events)
        assert list(store.read("s1")) == journal.events

    def test_numbered_events_are_refused(self, store: JournalStore) -> None:
        """An event with a sequence number is refused by `append`, which could leave gaps."""
        with pytest.raises(StoreError):
            store.append(context_events(1))
        assert list(store.read("s1")) == []

    def test_durable(self, store: JournalStore) -> None:
        """What `append` has returned from is seen by any other client at once."""
        store.append(events(3))
        other = self.another(store)
        assert list(other.read("s1")) == events(3)
        if other is not store:
            other.close()

    def test_close(self, store: JournalStore) -> None:
        """Closing twice is allowed; whatever is called afterwards is refused."""
        store.append(events(1))
        store.close()
        store.close()
        with pytest.raises(StoreError):
            store.append(events(1))
        with pytest.raises(StoreError):
            list(store.read("s1"))

    def test_blobs(self, store: JournalStore) -> None:
        """A blob is kept under its session and digest as it is, the first of a digest staying."""
        if not isinstance(store, BlobStore) or not store.capabilities.blobs:
            pytest.skip("the store declares no capability 'blobs'")
        large = bytes(range(256)) * 4_000
        store.put_blob("s1", "a" * 32, large)
        store.put_blob("s1", "a" * 32, large)
        store.put_blob("s1", "b" * 32, b"")
        store.put_blob("s1", "b" * 32, b"another")
        assert store.get_blob("s1", "a" * 32) == large
        assert store.get_blob("s1", "b" * 32) == b""
        assert store.get_blob("s1", "c" * 32) is None
        assert store.get_blob("s2", "a" * 32) is None

    def test_many_blobs(self, store: JournalStore) -> None:
        """Many blobs are kept and fetched in one call, each as what it is; those that are not there are left out."""
        if not isinstance(store, BlobStore) or not store.capabilities.blobs:
            pytest.skip("the store declares no capability 'blobs'")
        given = {f"{number:032x}": Blob(b"\x89PNG\0" * number, "image/png") for number in range(120)}
        given["a" * 32] = Blob(b"x" * 900_000, "application/octet-stream")
        given["b" * 32] = Blob(b'{"a":1}')
        store.put_blobs("s/1 é", given)
        store.put_blobs("s/1 é", {"b" * 32: Blob(b"another", "text/plain"), "c" * 32: Blob(b"")})
        given["c" * 32] = Blob(b"")
        assert store.get_blobs("s/1 é", [*given, "d" * 32]) == given
        assert store.get_blobs("s/1 é", ["b" * 32]) == {"b" * 32: given["b" * 32]}
        assert store.get_blobs("s2", list(given)) == {}
        assert store.get_blobs("s/1 é", []) == {}
        store.put_blobs("s2", {})
