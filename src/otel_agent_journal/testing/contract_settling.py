"""The contract of what is behind a head: where events arrive, which sessions are unsettled, deleting without a loss."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import msgspec
import pytest

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.head import COMPLETED, SessionHead
from otel_agent_journal.store.protocol import JournalStore, SessionFilter, StoreAdmin
from otel_agent_journal.store.rules import current, current_sessions, prune, repair
from otel_agent_journal.testing.builders import a_head, an_event, context_events, events
from otel_agent_journal.testing.clocks import EPOCH_2026_NS
from otel_agent_journal.testing.contract_setup import THREADS, ContractSetup, everything, ids

LATER_NS = EPOCH_2026_NS + 10**15
ROUNDS = 12


def told(session_id: str = "s1", *, step: str = "root", outcome: str = "ok", at_ns: int = 0) -> list[JournalEvent]:
    """Return an agent's start and end."""
    fields: dict[str, Any] = {"session_id": session_id, "step_id": step, "attempt": 1, "writer": "w1", "name": "agent"}
    return [
        an_event(event_id=f"{step}-start", type="AGENT_START", timestamp_ns=EPOCH_2026_NS + at_ns, **fields),
        an_event(
            event_id=f"{step}-end",
            type="AGENT_END",
            timestamp_ns=EPOCH_2026_NS + at_ns + 5,
            outcome=outcome,
            duration_ns=5,
            **fields,
        ),
    ]


def settled(store: JournalStore, session_id: str = "s1") -> SessionHead:
    """Write the head that a session's events amount to."""
    head = current(store, session_id)
    assert head is not None
    written = store.write_head(head)
    assert written is not None
    return written


class SettlingContract(ContractSetup):
    """A head is never taken for more than it is."""

    @pytest.fixture(autouse=True)
    def _settling_store(self, request: pytest.FixtureRequest) -> None:
        if "store" in request.fixturenames and request.function.__name__.startswith("test_settling"):
            store = request.getfixturevalue("store")
            self.needs(store, "read", lambda: store.tip("s1"))
            self.needs(store, "heads", lambda: store.write_head(a_head()))

    def test_settling_where_events_arrive(self, store: JournalStore) -> None:
        """An append says where its events arrived: behind those before them, and in front of those that follow."""
        made = events(5)
        first = (store.append(made[:2]) or {}).get("s1")
        store.append(events(3, session_id="s2"))
        second = (store.append(made[2:]) or {}).get("s1")
        for arrived, start, end in ((first, 0, 2), (second, 2, 5)):
            if arrived is not None:  # a store need not know
                page = store.follow(arrived.after, session_id="s1", limit=end - start)
                assert (ids(page.events), page.cursor) == (ids(made[start:end]), arrived.cursor)
        assert first is None or (first.after, second and second.after) == (None, first.cursor)

    def test_settling_of_what_was_there(self, store: JournalStore) -> None:
        """An append that repeats an event, or follows another client's, does not say that it came right behind."""
        made = events(6)
        first = (store.append(made[:2]) or {}).get("s1")
        assert "s1" not in (store.append(made[:3]) or {})
        other = self.another(store)
        other.append(made[3:4])
        arrived = (store.append(made[4:]) or {}).get("s1")
        assert arrived is None or first is None or arrived.after not in (None, first.cursor)
        if other is not store:
            other.close()

    def test_settling_cursors_of_one_session(self, store: JournalStore) -> None:
        """A session's cursor stands behind its last event, however it was come by, and stays where nothing comes."""
        assert store.tip("s1") is None
        store.append(events(5))
        store.append(events(2, session_id="s2"))
        found, cursor = everything(store, session_id="s1", limit=2)
        assert len(found) == 5
        assert store.tip("s1") == cursor == store.follow(cursor, session_id="s1").cursor
        store.append_context("i1", 0, context_events(1))
        assert ids(everything(store, cursor, session_id="s1")[0]) == ids(context_events(1))

    def test_settling_head_keeps_what_to_go_on_from(self, store: JournalStore) -> None:
        """A head keeps its cursor and its snapshot, of any bytes; a listing has no snapshots."""
        store.append(events(1))
        head = a_head(cursor=store.tip("s1"), snapshot=bytes(range(256)) * 150)
        assert store.write_head(head) == store.head("s1") == msgspec.structs.replace(head, version=1)
        assert list(store.sessions()) == [msgspec.structs.replace(head, version=1, snapshot=b"")]

    def test_settling_begins_with_the_first_event(self, store: JournalStore) -> None:
        """A session is unsettled from its first event until a head knows of all, and from the next event on again."""
        assert list(store.unsettled()) == []
        for number in range(3):
            store.append(told(step=f"r{number}", at_ns=number * 100))
            assert list(store.unsettled()) == ["s1"]
            settled(store)
            assert list(store.unsettled()) == []
        store.append(told(step="r0"))  # a repetition is no news
        settled(store)
        assert list(store.unsettled()) == []

    def test_settling_takes_all_events(self, store: JournalStore) -> None:
        """A head that does not know the last event settles nothing, nor does one that does not say what it knows."""
        store.append(told())
        head = current(store, "s1")
        assert head is not None
        store.append(told(step="again", at_ns=50))
        written = store.write_head(head)
        assert list(store.unsettled()) == ["s1"]
        assert written is not None
        store.write_head(msgspec.structs.replace(written, cursor=None, snapshot=b""))
        assert list(store.unsettled()) == ["s1"]

    def test_settling_of_context(self, store: JournalStore) -> None:
        """Context events are events: a session that has none but those is unsettled, and found."""
        self.needs(store, "context", lambda: store.append_context("i1", 0, context_events(1)))
        store.append_context("i1", 0, context_events(2))
        assert list(store.unsettled()) == ["s1"]
        assert [(head.session_id, head.events) for head in current_sessions(store)] == [("s1", 2)]

    def test_settling_of_strange_ids(self, store: JournalStore) -> None:
        """Sessions of any id are found by it, long and strange ones too."""
        strange = ["a/b", "..", "é😀", "x" * 600, "a#b%2F", " ", "A", "a"]
        for session_id in strange:
            store.append(told(session_id))
        assert sorted(store.unsettled()) == sorted(strange)
        assert sorted(head.session_id for head in current_sessions(store)) == sorted(strange)
        if isinstance(store, StoreAdmin):
            assert sorted(store.session_ids()) == sorted(strange)

    def test_settling_by_another_client(self, store: JournalStore) -> None:
        """What another client appends to a settled session unsettles it, for all, before the append returns."""
        store.append(told())
        settled(store)
        other = self.another(store)
        other.append(told(step="again", at_ns=50))
        for client in (store, other):
            assert list(client.unsettled()) == ["s1"]
        head = current(store, "s1")
        assert head is not None
        assert (head.events, head.steps) == (4, 2)
        if other is not store:
            other.close()

    def test_settling_races(self, store: JournalStore) -> None:
        """While clients append and write heads as they please, no session whose head lacks an event is settled."""
        numbers = count()

        def work(client: JournalStore, number: int) -> None:
            for _ in range(ROUNDS):
                step = next(numbers)
                client.append(told(step=f"r{step}", at_ns=step))
                head = current(client, "s1")
                if head is not None and number % 2:
                    client.write_head(head)

        self.in_threads(store, work)
        stored = store.head("s1")
        assert stored is not None
        head = current(store, "s1")
        assert head is not None
        assert (head.steps, head.events) == (THREADS * ROUNDS, 2 * THREADS * ROUNDS)
        assert stored.events == head.events or list(store.unsettled()) == ["s1"]

    def test_settling_and_listing(self, store: JournalStore) -> None:
        """Sessions are listed as their events have them: without a head, behind one, in order, as they are wanted."""
        for number, session_id in enumerate(("a", "b", "c", "d")):
            store.append(told(session_id, outcome="error" if session_id == "b" else "ok", at_ns=number * 100))
            if session_id in "ac":
                settled(store, session_id)
        store.append(told("a", step="again", outcome="error", at_ns=1000))
        listed = [(head.session_id, head.status) for head in current_sessions(store)]
        assert listed == [("a", "ERROR"), ("d", "COMPLETED"), ("c", "COMPLETED"), ("b", "ERROR")]
        for wanted, expected in (
            (SessionFilter(statuses=("ERROR",)), "ab"),
            (SessionFilter(statuses=("COMPLETED",)), "dc"),
            (SessionFilter(limit=3), "adc"),
            (SessionFilter(limit=0), ""),
            (SessionFilter(since_ns=EPOCH_2026_NS + 300), "ad"),
            (SessionFilter(until_ns=EPOCH_2026_NS + 300), "cb"),
            (SessionFilter(id_prefix="b"), "b"),
            (SessionFilter(agent="agent", limit=1), "a"),
        ):
            assert "".join(head.session_id for head in current_sessions(store, wanted)) == expected

    def test_settling_delete(self, store: JournalStore) -> None:
        """A session is deleted where nothing has happened since it was judged, and where something has, it stays."""
        assert isinstance(store, StoreAdmin)
        self.needs(store, "prune", lambda: store.delete_session("s1", None, 0))
        assert not store.delete_session("s1", None, 0)
        store.append(told())
        before = settled(store)
        store.append(told(step="again", at_ns=50))
        assert not store.delete_session("s1", before.cursor, before.version)
        assert len(list(store.read("s1"))) == 4
        assert [head.events for head in current_sessions(store)] == [4]  # what stays is judged by its events, as before
        now = settled(store)
        store.write_head(msgspec.structs.replace(now, writers={"w9": LATER_NS}))
        assert not store.delete_session("s1", now.cursor, now.version)
        assert len(list(store.read("s1"))) == 4
        assert store.delete_session("s1", now.cursor, now.version + 1)
        assert not list(store.read("s1"))
        assert store.head("s1") is None
        assert list(store.unsettled()) == list(store.session_ids()) == list(current_sessions(store)) == []

    def test_settling_delete_without_a_head(self, store: JournalStore) -> None:
        """A session that never got a head is pruned by what its events say, and one that came alive stays."""
        assert isinstance(store, StoreAdmin)
        self.needs(store, "prune", lambda: prune(store, LATER_NS))
        for session_id, at_ns in (("old", 0), ("new", 2 * 10**15), ("back", 0)):
            store.append(told(session_id, at_ns=at_ns))
        settled(store, "back")
        new = told("back", step="again", at_ns=3 * 10**15)
        store.append(new)
        assert prune(store, LATER_NS, dry_run=True) == prune(store, LATER_NS) == 1
        assert not list(store.read("old"))
        assert {event.event_id for event in new} <= {event.event_id for event in store.read("back")}
        assert sorted(head.session_id for head in current_sessions(store)) == ["back", "new"]

    def test_settling_delete_races(self, store: JournalStore) -> None:
        """Events appended while a session is pruned, time and again, are all there in the end, and listed."""
        assert isinstance(store, StoreAdmin)
        self.needs(store, "prune", lambda: prune(store, LATER_NS))
        other = self.another(store)
        new: list[JournalEvent] = []

        def write() -> None:
            for number in range(ROUNDS):
                batch = told(step=f"new{number}", at_ns=10**15 + number * 10)
                other.append(batch)
                new.extend(batch)

        store.append(told())
        settled(store)
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(write)
            while not writing.done():
                prune(store, LATER_NS)
            writing.result()
        assert {event.event_id for event in new} <= {event.event_id for event in store.read("s1")}
        listed = [head for head in current_sessions(store) if head.session_id == "s1"]
        assert [head.status for head in listed] == [COMPLETED]
        assert listed[0].events == len(list(store.read("s1")))
        if other is not store:
            other.close()

    def test_settling_repairs(self, store: JournalStore) -> None:
        """A head that is missing, behind or another one is put right, and it is said what was found."""
        for session_id in ("missing", "behind", "other", "right"):
            store.append(told(session_id))
        for session_id in ("behind", "other", "right"):
            settled(store, session_id)
        store.append(told("behind", step="again", at_ns=50))
        head = store.head("other")
        assert head is not None
        store.write_head(msgspec.structs.replace(head, status="ERROR"))
        store.write_head(a_head("empty"))
        found = [one for name in _names(store) if (one := repair(store, name))]
        assert {one.session_id: (one.found, one.written) for one in found} == {
            "missing": ("no head", True),
            "behind": ("2 events behind", True),
            "other": ("other than its events", True),
            "empty": ("a head without events", False),
        }
        assert not any(repair(store, name) for name in _names(store) - {"empty"})
        assert [head.status for head in store.sessions() if head.session_id != "empty"] == ["COMPLETED"] * 4


def _names(store: JournalStore) -> set[str]:
    assert isinstance(store, StoreAdmin)
    return {*store.session_ids(), *(head.session_id for head in store.sessions())}
