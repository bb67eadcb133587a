"""The contract of `follow` and `tip`: every event once, in order of arrival, whoever writes meanwhile."""

from __future__ import annotations

import time
from threading import Event, Thread

import pytest

from otel_agent_journal.errors import StoreError
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.store.rules import Opened, follow_heads, open_session
from otel_agent_journal.testing.builders import an_event, context_events, events
from otel_agent_journal.testing.contract_setup import THREADS, ContractSetup, everything, ids, in_order, start_process


class CatchUpContract(ContractSetup):
    """A reader with a cursor misses nothing."""

    def test_arrival(self, store: JournalStore) -> None:
        """Events are followed in order of arrival, whatever their times."""
        made = events(20)
        for event in reversed(made):
            store.append([event])
        found, _ = everything(store)
        assert found == list(reversed(made))

    @pytest.mark.parametrize("limit", [1, 7, 1000])
    def test_pages(self, store: JournalStore, limit: int) -> None:
        """Pages of any size give each event once."""
        made = [an_event(number, session_id=f"s{number % 3}") for number in range(40)]
        store.append(made)
        found, _ = everything(store, limit=limit)
        assert sorted(ids(found)) == sorted(ids(made))

    def test_behind_a_full_page(self, store: JournalStore) -> None:
        """A page that ends with the last event there was is followed by what has come since."""
        store.append(events(2))
        page = store.follow(None, limit=2)
        store.append(events(2, first=2))
        assert ids(store.follow(page.cursor, limit=2).events) == ids(events(2, first=2))

    def test_late_event(self, store: JournalStore) -> None:
        """An event that arrives late is followed when it arrives, however old its time."""
        store.append(events(10, first=10))
        _, cursor = everything(store)
        late = an_event(0, timestamp_ns=1)
        store.append([late])
        assert everything(store, cursor)[0] == [late]

    def test_nothing_yet(self, store: JournalStore) -> None:
        """Where there is nothing new a page is empty, and its cursor goes on from there."""
        page = store.follow(None)
        assert page.events == ()
        assert store.follow(page.cursor).events == ()
        store.append(events(2))
        assert ids(store.follow(page.cursor).events) == ids(events(2))

    def test_tip(self, store: JournalStore) -> None:
        """From the tip only what arrives later is followed."""
        store.append(events(5))
        tip = store.tip()
        assert store.follow(tip).events == ()
        store.append(events(3, first=5))
        assert ids(store.follow(tip).events) == ids(events(3, first=5))

    def test_repetition_is_not_news(self, store: JournalStore) -> None:
        """An event that was appended again is not followed again."""
        store.append(events(5))
        tip = store.tip()
        store.append(events(6))
        assert ids(everything(store, tip)[0]) == ids(events(1, first=5))

    @pytest.mark.parametrize("limit", [1, 4, 1000])
    def test_one_session(self, store: JournalStore, limit: int) -> None:
        """One session among many is followed alone, each of its events once."""
        made = [an_event(number, session_id=f"s{number % 5}") for number in range(100)]
        for start in range(0, 100, 9):
            store.append(made[start : start + 9])
        found, cursor = everything(store, session_id="s3", limit=limit)
        assert sorted(ids(found)) == sorted(ids(event for event in made if event.session_id == "s3"))
        store.append([an_event(500, session_id="s3"), an_event(500, session_id="s4")])
        assert [event.session_id for event in everything(store, cursor, session_id="s3")[0]] == ["s3"]

    def test_cursor_is_a_place(self, store: JournalStore) -> None:
        """A cursor may be used again, later, and by another client, and means the same."""
        store.append(events(10))
        cursor = store.follow(None, limit=4).cursor
        expected = everything(store, cursor)[0]
        assert len(expected) == 6
        assert everything(store, cursor)[0] == expected
        other = self.another(store)
        assert everything(other, cursor)[0] == expected
        if other is not store:
            other.close()

    def test_context_events(self, store: JournalStore) -> None:
        """Context events are followed like any other."""
        self.needs(store, "context", lambda: store.append_context("i1", 0, context_events(1)))
        store.append(events(2))
        store.append_context("i1", 0, context_events(2))
        assert len(everything(store)[0]) == 4

    def test_open_session(self, store: JournalStore) -> None:
        """A session is opened as what it has, in order, and a cursor behind which is what comes."""
        assert open_session(store, "s1") == Opened([], None)
        made = [an_event(number, session_id=f"s{number % 2}") for number in range(40)]
        store.append(list(reversed(made)))
        opened = open_session(store, "s1")
        assert opened.events == [event for event in made if event.session_id == "s1"]
        assert store.follow(opened.cursor, session_id="s1").events == ()
        store.append([an_event(100, session_id="s1"), an_event(100, session_id="s0")])
        assert everything(store, opened.cursor, session_id="s1")[0] == [an_event(100, session_id="s1")]

    def test_open_session_while_threads_append(self, store: JournalStore) -> None:
        """Whoever opens a session while it is written, and follows it, has all of it in the end."""
        made, over = events(120), Event()

        def append() -> None:
            client = self.another(store)
            for event in made:
                client.append([event])
            over.set()
            if client is not store:
                client.close()

        thread = Thread(target=append)
        thread.start()
        opened = [open_session(store, "s1")]
        while not over.wait(0.01) and len(opened) < 30:
            opened.append(open_session(store, "s1"))
        thread.join(60)
        assert not thread.is_alive()
        for one in opened:
            came, _ = everything(store, one.cursor, session_id="s1")
            assert {event.key for event in (*one.events, *came)} == {event.key for event in made}
            assert one.events == in_order(one.events)

    def test_follow_heads(self, store: JournalStore) -> None:
        """Who follows heads is given those of the sessions in which something arrived, as their events have them."""
        nothing = follow_heads(store, store.tip())
        assert nothing.heads == []
        store.append([*events(3), *events(2, session_id="s2")])
        page = follow_heads(store, nothing.cursor)
        assert sorted((head.session_id, head.events) for head in page.heads) == [("s1", 3), ("s2", 2)]
        store.append(events(5))
        (head,) = follow_heads(store, page.cursor).heads
        assert (head.session_id, head.events) == ("s1", 5)

    def test_foreign_cursor(self, store: JournalStore) -> None:
        """A cursor that this store never gave is refused, not taken for the beginning or the end."""
        for cursor in ("", "soon", "-1"):
            with pytest.raises(StoreError):
                store.follow(cursor)

    def test_follow_while_threads_append(self, store: JournalStore) -> None:
        """A follower misses nothing while eight threads append at once."""
        count = 60
        found, done = self._followed(store, "thread-")

        def append(client: JournalStore, number: int) -> None:
            made = events(count, session_id=f"thread-{number}")
            for start in range(0, count, 3):
                client.append(made[start : start + 3])

        self.in_threads(store, append)
        self._finish(done)
        assert len(found) == THREADS * count
        assert len({event.key for event in found}) == THREADS * count

    def test_follow_while_processes_append(self, store: JournalStore) -> None:
        """A follower misses nothing while two other processes append at once."""
        url = self.process_url(store)
        if url is None:
            pytest.skip("the store is of one process")
        count = 200
        store.append(events(1, session_id="here"))
        found, done = self._followed(store, "process-")
        processes = [start_process(url, f"process-{number}", count) for number in range(2)]
        for process in processes:
            process.join(60)
        self._finish(done)
        assert [process.exitcode for process in processes] == [0, 0]
        assert len({event.key for event in found}) == len(found) == 2 * count

    def _followed(self, store: JournalStore, prefix: str) -> tuple[list[JournalEvent], tuple[Event, Thread]]:
        """Follow in a thread until told that the last append has returned, and then to the end."""
        client, found, over = self.another(store), list[JournalEvent](), Event()

        def follow() -> None:
            cursor: str | None = None
            while True:
                last = over.is_set()
                more, cursor = everything(client, cursor, limit=37)
                found.extend(event for event in more if event.session_id.startswith(prefix))
                if last:
                    break
                time.sleep(0.002)
            if client is not store:
                client.close()

        thread = Thread(target=follow)
        thread.start()
        return found, (over, thread)

    def _finish(self, follower: tuple[Event, Thread]) -> None:
        over, thread = follower
        over.set()
        thread.join(60)
        assert not thread.is_alive()
