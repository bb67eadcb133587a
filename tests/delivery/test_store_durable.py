"""`AGENT_JOURNAL_DURABILITY=store`: in the store before the step runs, but never for long."""

from __future__ import annotations

import os
import threading
import time

import pytest

from otel_agent_journal.delivery.drain import Drain
from otel_agent_journal.delivery.store_durable import DurableAppend
from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.mapping.facts import BlobKept, encode_fact
from otel_agent_journal.store.memory import MemoryStore
from tests.spool.spooling import ended, eventually, everything, heartbeat, new_writer, noted, started


class SlowStore(MemoryStore):
    def __init__(self, gate: threading.Event) -> None:
        super().__init__()
        self.gate = gate

    def append(self, events):
        self.gate.wait(20)
        super().append(events)


@pytest.fixture
def gate():
    event = threading.Event()
    yield event
    event.set()


def numbers(store):
    return [event.details["n"] for event in store.read("s1")]


def test_what_was_appended_is_in_the_store(tmp_path):
    """When append returns, the event is in the spool and in the store; draining it later adds nothing."""
    store = MemoryStore()
    durable = DurableAppend(new_writer(tmp_path), lambda: store)
    for number in range(20):
        assert durable.append(noted(number))
        assert numbers(store) == list(range(number + 1))
    assert len(everything(durable.folder)) == 20
    assert durable.overdue == 0
    durable.close()
    Drain(tmp_path, store).drain_once()
    assert numbers(store) == list(range(20))


def test_the_head_is_there_when_a_root_has_ended(tmp_path):
    """Who vanishes right after its root has ended leaves a head that says so."""
    store = MemoryStore()
    durable = DurableAppend(new_writer(tmp_path), lambda: store)
    for turn in range(3):
        assert durable.append(started(turn))
        assert (store.head("s1") is None) is (turn == 0)
        assert durable.append(ended(turn))
        assert (store.head("s1").status, store.head("s1").events) == ("COMPLETED", 2 * turn + 2)
        assert not list(store.unsettled())


def test_blobs_and_heartbeats(tmp_path):
    """An oversize value is in the store too; a heartbeat is the drain's alone."""
    store = MemoryStore()
    durable = DurableAppend(new_writer(tmp_path), lambda: store)
    assert durable.append(encode_fact(BlobKept("s1", "d1", b"1")))
    assert store.get_blob("s1", "d1") == b"1"
    assert durable.append(heartbeat(1, "s1"))


def test_a_slow_store_is_waited_for_once(tmp_path, gate, caplog):
    """Past the limit the agent goes on; while the store is behind it does not wait the whole limit for each event."""
    store = SlowStore(gate)
    durable = DurableAppend(new_writer(tmp_path), lambda: store, timeout_s=1)
    begun = time.monotonic()
    assert durable.append(noted(0))
    assert time.monotonic() - begun >= 1
    begun = time.monotonic()
    for number in range(1, 50):
        assert durable.append(noted(number))
    assert time.monotonic() - begun < 10
    assert durable.overdue == 50
    assert len([record for record in caplog.records if "in time" in record.message]) == 1
    gate.set()
    eventually(lambda: numbers(store) == list(range(50)))
    time.sleep(0.2)  # and the helper has seen that it did
    assert durable.append(noted(50))
    assert numbers(store) == list(range(51))
    assert durable.overdue == 50
    durable.close()


def test_a_store_that_refuses_holds_up_nothing(tmp_path):
    """A store that is away, or cannot even be opened, costs the spool nothing."""

    def cannot():
        raise StoreUnreachable("away")

    durable = DurableAppend(new_writer(tmp_path), cannot, timeout_s=30)
    begun = time.monotonic()
    assert durable.append(noted(1))
    assert time.monotonic() - begun < 10
    assert durable.overdue == 1
    assert len(everything(durable.folder)) == 1


def test_threads_share_a_batch(tmp_path):
    """Many threads wait for the store together, not one after the other."""

    class Counting(MemoryStore):
        calls = 0

        def append(self, events):
            self.calls += 1
            time.sleep(0.02)
            super().append(events)

    store = Counting()
    durable = DurableAppend(new_writer(tmp_path), lambda: store)

    def work(name):
        for number in range(5):
            assert durable.append(noted(name * 100 + number))
            assert name * 100 + number in numbers(store)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.calls < 30
    assert durable.overdue == 0


def test_a_child_goes_on(tmp_path):
    """A forked child has a helper and a store of its own."""
    stores = []

    def open_store():
        stores.append(MemoryStore())
        return stores[-1]

    durable = DurableAppend(new_writer(tmp_path), open_store)
    durable.append(noted(1))
    pid = os.fork()
    if pid == 0:
        ok = durable.append(noted(2)) and len(stores) == 2 and numbers(stores[-1]) == [2]
        os._exit(0 if ok else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert durable.append(noted(3))
    assert numbers(stores[0]) == [1, 3]


def test_a_store_whose_client_is_instrumented_does_not_wait_for_itself(tmp_path):
    """Events that the helper's own store client gives rise to go to the spool alone."""

    class Instrumented(MemoryStore):
        def append(self, events):
            if len(events) == 1 and events[0].details["n"] < 100:
                durable.append(noted(100 + events[0].details["n"]))
            super().append(events)

    store = Instrumented()
    durable = DurableAppend(new_writer(tmp_path), lambda: store, timeout_s=30)
    begun = time.monotonic()
    assert durable.append(noted(1))
    assert time.monotonic() - begun < 10
    assert len(everything(durable.folder)) == 2
