"""What the drain does with what agents left: everything into the store, once; nothing waits for what is refused."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time

import pytest

from otel_agent_journal.delivered import Delivered
from otel_agent_journal.delivery import rounds
from otel_agent_journal.delivery.drain import HUNG_S, Drain
from otel_agent_journal.delivery.patience import Patience
from otel_agent_journal.errors import ConfigError, EventTooLarge, StoreError, StoreUnreachable, StoreUnusable
from otel_agent_journal.event import SESSION_INTERRUPTED, derived_id
from otel_agent_journal.mapping.facts import BlobKept, encode_fact
from otel_agent_journal.spool import folder as folder_module
from otel_agent_journal.spool.folder import SpoolFolder
from otel_agent_journal.spool.home import DRAIN_LOCK
from otel_agent_journal.spool.locks import FileLock, is_held
from otel_agent_journal.spool.set_aside import count, kept
from otel_agent_journal.spool.survey import writer_folders
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.sqlite import SqliteStore
from tests.spool.spooling import BASE_NS, die, ended, eventually, heartbeat, new_writer, noted, started


class FaultyStore(MemoryStore):
    """A store that fails as `fault` says, which is called with each batch before it is written."""

    def __init__(self, fault=None) -> None:
        super().__init__()
        self.fault = fault
        self.appends = 0
        self.heads_written = 0

    def append(self, events):
        self.appends += 1
        if self.fault is not None:
            self.fault(events)
        super().append(events)

    def write_head(self, head):
        self.heads_written += 1
        return super().write_head(head)


def impatient() -> Patience:
    return Patience(first_s=0.001, last_s=0.01)


def numbers(store, session_id="s1"):
    return [event.details["n"] for event in store.read(session_id)]


@pytest.fixture
def drains():
    """Start drains that are stopped at the end."""
    running: list[Drain] = []

    def start(*args, **options) -> Drain:
        drain = Drain(*args, patience=options.pop("patience", None) or impatient(), **options)
        running.append(drain)
        drain.start()
        return drain

    yield start
    for drain in running:
        drain.stop(2)


# --- delivery -----------------------------------------------------------------------------------------------------


def test_everything_is_delivered_once_and_the_folder_removed(tmp_path):
    """What a closed writer left is in the store, its head written, and its folder gone."""
    writer = new_writer(tmp_path, segment_bytes=64 * 1024)
    for number in range(3000):
        writer.append(noted(number))
    writer.close()
    store = MemoryStore()
    report = Drain(tmp_path, store).drain_once()
    assert numbers(store) == list(range(3000))
    assert (report.delivered, report.folders_finished, report.pending_bytes) == (3000, 1, 0)
    assert store.head("s1").events == 3000
    assert list(tmp_path.iterdir()) == []


def test_a_live_writer_is_followed(tmp_path, drains):
    """Events of a live writer are in the store a moment after they were appended, and its folder stays."""
    writer, store = new_writer(tmp_path), MemoryStore()
    drain = drains(tmp_path, store)
    for number in range(50):
        writer.append(noted(number))
        if number % 10 == 0:
            eventually(lambda number=number: number in numbers(store))
    assert drain.flush()
    assert numbers(store) == list(range(50))
    assert SpoolFolder(writer.folder).pending_bytes == 0
    assert writer_folders(tmp_path) == [writer.folder]


def test_flush_returns_once_everything_before_it_is_in_the_store(tmp_path, drains):
    """After a flush the store and its heads have all that was appended before, and the spool is acknowledged."""
    writer, store = new_writer(tmp_path), MemoryStore()
    drain = drains(tmp_path, store)
    for number in range(20):
        writer.append(noted(number))
        assert drain.flush()
        assert len(numbers(store)) == number + 1
        assert store.head("s1").events == number + 1


def test_stop_delivers_what_is_left(tmp_path, drains):
    """A stop after the writer's close leaves nothing behind."""
    writer, store = new_writer(tmp_path), MemoryStore()
    drain = drains(tmp_path, store)
    for number in range(500):
        writer.append(noted(number))
    writer.close()
    assert drain.stop(5)
    assert drain.stop(5)
    assert numbers(store) == list(range(500))
    assert writer_folders(tmp_path) == []


def test_a_stopped_drain_lets_go_and_starts_again(tmp_path, drains):
    """After a stop somebody else may drain; the same drain may also be started again."""
    writer, store = new_writer(tmp_path), MemoryStore()
    writer.append(noted(0))
    drain = drains(tmp_path, store)
    eventually(lambda: is_held(writer.folder / DRAIN_LOCK))
    drain.stop()
    assert not is_held(writer.folder / DRAIN_LOCK)
    writer.append(noted(1))
    drain.start()
    assert drain.flush()
    assert numbers(store) == [0, 1]


def test_nothing_is_acknowledged_before_its_head_is_written(tmp_path):
    """A drain that dies between events and heads leaves both to its successor."""
    writer, store = new_writer(tmp_path), FaultyStore()
    for number in range(10):
        writer.append(noted(number))

    def fails(_head):
        raise StoreUnreachable("heads are down")

    store.write_head = fails
    with pytest.raises(StoreUnreachable):
        Drain(tmp_path, store, patience=impatient()).drain_once(patience_s=0.05)
    assert len(numbers(store)) == 10
    del store.write_head
    report = Drain(tmp_path, store).drain_once()
    assert report.delivered == 10
    assert numbers(store) == list(range(10))
    assert store.head("s1").events == 10


def test_a_redelivery_is_no_second_event(tmp_path):
    """A drainer that was killed after delivering, before acknowledging, costs no duplicate."""
    writer, store = new_writer(tmp_path, segment_bytes=64 * 1024), MemoryStore()
    for number in range(2000):
        writer.append(noted(number))
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    first = Drain(tmp_path, store)
    first._adoption.look()
    for folder in first._adoption:  # delivers, and "dies"
        first._rounds._follow(folder)
    first._adoption.let_go()
    assert len(numbers(store)) == 2000
    assert Drain(tmp_path, store).drain_once().delivered == 2000
    assert numbers(store) == list(range(2000))


def test_heads_are_written_at_most_once_a_second(tmp_path, drains):
    """A session that writes all the time costs one head a second, not one an event."""
    writer, store = new_writer(tmp_path), FaultyStore()
    drain = drains(tmp_path, store)
    end, number = time.monotonic() + 2.2, 0
    while time.monotonic() < end:
        writer.append(noted(number))
        number += 1
        time.sleep(0.005)
    assert 2 <= store.heads_written <= 5
    assert drain.flush()
    assert store.head("s1").events == number


def test_a_new_session_is_listed_at_once(tmp_path, drains):
    """A listing shows a session as soon as its first event is in the store."""
    writer, store = new_writer(tmp_path), MemoryStore()
    drains(tmp_path, store)
    for number in range(5):
        writer.append(started(number, f"session{number}"))
        eventually(lambda number=number: store.head(f"session{number}") is not None)
        assert store.head(f"session{number}").status == "PROCESSING"


def test_two_drains_of_one_session_agree_on_its_head(tmp_path, drains):
    """Two spools with events of one session, drained apart: the head counts both."""
    store = MemoryStore()
    writers = [new_writer(tmp_path / name) for name in ("a", "b")]
    both = [drains(writer.root, store) for writer in writers]
    for number in range(300):
        writers[number % 2].append(noted(number))
        time.sleep(0.002)
    assert all(drain.flush() for drain in both)
    eventually(lambda: store.head("s1").events == 300)


def test_a_heartbeat_moves_last_seen_and_is_no_event(tmp_path):
    """A heartbeat shows in the head alone."""
    writer, store = new_writer(tmp_path), MemoryStore()
    writer.append(started(1))
    writer.append(heartbeat(BASE_NS + 10**9, "s1", "never heard of"))
    Drain(tmp_path, store).drain_once()
    assert store.head("s1").writers == {writer.writer: BASE_NS + 10**9}
    assert store.head("s1").events == 1
    assert store.head("never heard of") is None


def test_blobs_come_before_the_events_that_name_them(tmp_path):
    """An oversize value is in the store no later than what refers to it."""
    writer, store = new_writer(tmp_path), MemoryStore()
    writer.append(encode_fact(BlobKept("s1", "d1", b'"long"')))
    writer.append(noted(1, blob={"$blob": "d1"}))
    report = Drain(tmp_path, store).drain_once()
    assert store.get_blob("s1", "d1") == b'"long"'
    assert report.blobs == 1


# --- what the store refuses ---------------------------------------------------------------------------------------


def test_an_unreachable_store_is_waited_for(tmp_path, drains, caplog):
    """While the store is away the spool keeps everything; once it is back, all is delivered, in order."""
    away = threading.Event()
    away.set()

    def fault(_events):
        if away.is_set():
            raise StoreUnreachable("away")

    writer, store = new_writer(tmp_path), FaultyStore(fault)
    drain = drains(tmp_path, store)
    with caplog.at_level(logging.WARNING):
        for number in range(100):
            writer.append(noted(number))
        eventually(lambda: drain.stats.retried > 5)
    assert numbers(store) == []
    assert len([record for record in caplog.records if "waiting for the store" in record.message]) == 1
    away.clear()
    assert drain.flush()
    assert numbers(store) == list(range(100))
    assert drain.stats.set_aside == 0


def test_stop_returns_in_time_while_the_store_is_away(tmp_path, drains):
    """A store that is away does not hold up the end of a program; the spool keeps what is left."""

    def fault(_events):
        raise StoreUnreachable("away")

    writer, store = new_writer(tmp_path), FaultyStore(fault)
    drain = drains(tmp_path, store, patience=Patience(first_s=30, last_s=30, jitter=lambda low, high: high))
    writer.append(noted(1))
    eventually(lambda: store.appends)
    begun = time.monotonic()
    assert drain.stop(0.5) is False
    assert time.monotonic() - begun < 10
    writer.close()
    store.fault = None
    Drain(tmp_path, store).drain_once()
    assert numbers(store) == [1]


def test_stop_returns_in_time_while_the_store_hangs(tmp_path, drains):
    """Nor does a store that never answers."""
    go = threading.Event()
    writer, store = new_writer(tmp_path), FaultyStore(lambda _events: go.wait(20))
    drain = drains(tmp_path, store)
    writer.append(noted(1))
    eventually(lambda: store.appends)
    begun = time.monotonic()
    assert drain.stop(0.3) is False
    assert time.monotonic() - begun < HUNG_S
    go.set()


@pytest.mark.parametrize("error", [EventTooLarge("x", 2, 1), StoreError("no"), RuntimeError("bug")])
def test_a_refused_event_is_set_aside_alone(tmp_path, error):
    """Of a thousand events, three are refused: they are set aside, the others are in the store."""
    poison = {7, 500, 999}

    def fault(events):
        if any(event.details["n"] in poison for event in events):
            raise error

    writer, store = new_writer(tmp_path), FaultyStore(fault)
    for number in range(1000):
        writer.append(noted(number))
    writer.close()
    report = Drain(tmp_path, store, patience=impatient()).drain_once()
    assert numbers(store) == [number for number in range(1000) if number not in poison]
    assert (report.delivered, report.set_aside) == (997, 3)
    found = [item for _, item in kept(tmp_path) if item is not None]
    assert {item.event.details["n"] for item in found if item.event} == poison
    assert all(str(error) in item.why and item.writer == writer.writer for item in found)


def test_a_record_that_is_no_fact_is_set_aside(tmp_path):
    """Bytes that nobody can read are kept as they are, and hold up nothing."""
    writer, store = new_writer(tmp_path), MemoryStore()
    for record in (noted(1), b"\xffgarbage", b"", noted(2)):
        writer.append(record)
    report = Drain(tmp_path, store).drain_once()
    assert numbers(store) == [1, 2]
    assert report.set_aside == 2
    assert [item.record for _, item in kept(tmp_path) if item] == [b"\xffgarbage", b""]


def test_a_passing_fault_that_no_store_should_raise_costs_nothing(tmp_path):
    """A bug in a store that shows once is tried again, not set aside."""
    faults = iter([RuntimeError("once"), RuntimeError("twice")])

    def fault(_events):
        for problem in faults:
            raise problem

    writer, store = new_writer(tmp_path), FaultyStore(fault)
    writer.append(noted(1))
    report = Drain(tmp_path, store, patience=impatient()).drain_once()
    assert (report.set_aside, report.retried) == (0, 2)
    assert numbers(store) == [1]


@pytest.mark.parametrize("error", [StoreError("no"), RuntimeError("bug"), EventTooLarge("x", 2, 1)])
def test_a_poisoned_event_that_comes_first_holds_up_nothing(tmp_path, drains, error):
    """It waits for a neighbour that passes; what comes after it, in its own log or another's, is one."""

    def fault(events):
        if any(event.details["n"] == 0 for event in events):
            raise error

    store, writers = FaultyStore(fault), [new_writer(tmp_path), new_writer(tmp_path)]
    writers[0].append(noted(0))
    drain = drains(tmp_path, store, patience=impatient())
    eventually(lambda: store.appends)
    writers[1].append(noted(1))
    assert drain.flush(10) == Delivered(set_aside=1)
    assert numbers(store) == [1]
    assert drain.stats.set_aside == count(tmp_path) == 1


@pytest.mark.parametrize("error", [StoreError("400 to all"), RuntimeError("bug")])
@pytest.mark.parametrize("known", [True, False])
def test_a_store_that_refuses_everything_is_ill(tmp_path, error, known):
    """Nothing is set aside, no batch is halved, whether it ever took anything or not; once it is well, all arrives."""
    writer, store = new_writer(tmp_path), FaultyStore()
    drain = Drain(tmp_path, store, patience=impatient())
    if known:
        writer.append(noted(1000))
        drain.drain_once()

    def fault(_events):
        raise error

    store.fault, store.appends = fault, 0
    for number in range(1000):
        writer.append(noted(number))
    sizes = []
    append = store.append
    store.append = lambda events: (sizes.append(len(events)), append(events))[1]
    for patience_s in (0.2, 1, 5, 20):  # on a busy machine the first attempt takes all of it
        with pytest.raises(StoreUnreachable, match=r"takes nothing of what it is given|cannot be reached"):
            drain.drain_once(patience_s=patience_s)
        if 1 in sizes:
            break
    assert set(sizes) == {1000, 1}
    assert count(tmp_path) == drain.stats.set_aside == 0
    store.fault = None
    drain.drain_once()
    assert numbers(store) == list(range(1001 if known else 1000))


def test_a_store_that_falls_ill_for_a_moment_costs_no_event(tmp_path):
    """What was refused meanwhile is tried again once something passes, and taken."""
    refusing = iter([True] * 7)

    def fault(_events):
        if next(refusing, False):
            raise StoreError("no")

    writer, store = new_writer(tmp_path), FaultyStore(fault)
    for number in range(8):
        writer.append(noted(number))
    report = Drain(tmp_path, store, patience=impatient()).drain_once()
    assert numbers(store) == list(range(8))
    assert report.set_aside == count(tmp_path) == 0


def test_what_is_damaged_is_set_aside_as_it_is(tmp_path):
    """Between good records: all others are delivered, and the bytes are kept for who wants to look at them."""
    writer, store = new_writer(tmp_path), MemoryStore()
    for number in range(3):
        writer.append(noted(number, text="here" if number == 1 else ""))
    writer.close()
    (segment,) = writer.folder.glob("*.seg")
    segment.write_bytes(segment.read_bytes().replace(b"here", b"HERE"))
    report = Drain(tmp_path, store).drain_once()
    assert numbers(store) == [0, 2]
    assert (report.corrupt, report.set_aside, count(tmp_path)) == (1, 1, 1)
    ((_, item),) = kept(tmp_path)
    assert item.why == "damaged in the spool"
    assert noted(1, text="HERE") in item.record


def test_what_cannot_be_set_aside_is_not_acknowledged(tmp_path):
    """A full disk loses nothing: the record is read again."""
    (tmp_path / "set-aside").write_text("in the way")
    writer, store = new_writer(tmp_path), MemoryStore()
    writer.append(b"\xffgarbage")
    with pytest.raises(StoreUnreachable, match="cannot be set aside"):
        Drain(tmp_path, store, patience=impatient()).drain_once(patience_s=0.1)
    (tmp_path / "set-aside").unlink()
    assert Drain(tmp_path, store).drain_once().set_aside == 1


def test_a_head_that_cannot_be_written_holds_up_no_event(tmp_path):
    """A head is a cache: a store that refuses one still gets all events."""
    writer, store = new_writer(tmp_path), FaultyStore()

    def refuses(_head):
        raise StoreError("no heads today")

    store.write_head = refuses
    writer.append(noted(1))
    writer.close()
    Drain(tmp_path, store, patience=impatient()).drain_once()
    assert numbers(store) == [1]
    assert writer_folders(tmp_path) == []


@pytest.mark.parametrize("error", [StoreUnreachable, StoreUnusable, ConfigError])
def test_drain_once_says_when_the_store_is_away(tmp_path, error):
    """A drain asked for by hand fails with the reason, which may be a setting, and everything is still there."""

    def fault(_events):
        raise error("away")

    writer, store = new_writer(tmp_path), FaultyStore(fault)
    writer.append(noted(1))
    writer.close()
    with pytest.raises(StoreUnreachable, match="away"):
        Drain(tmp_path, store, patience=impatient()).drain_once(patience_s=0.1)
    assert not is_held(writer.folder / DRAIN_LOCK)
    store.fault = None
    assert Drain(tmp_path, store).drain_once().delivered == 1


def test_progress_reaches_its_end(tmp_path):
    """Whoever watches a drain sees it reach all of what there was."""
    writer, seen = new_writer(tmp_path), []
    for number in range(5000):
        writer.append(noted(number, text="x" * 500))
    Drain(tmp_path, MemoryStore()).drain_once(progress=lambda done, total: seen.append((done, total)))
    assert len(seen) > 2
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1] > 5000 * 500


# --- forwarding ---------------------------------------------------------------------------------------------------


def test_events_are_forwarded_in_order_with_their_writer(tmp_path):
    """Whoever forwards gets every event once, in order, with what is known of the process that wrote it."""
    taken = []
    writer = new_writer(tmp_path, resource={"service.name": "agent"})
    for number in range(10):
        writer.append(noted(number))
    report = Drain(
        tmp_path, MemoryStore(), forward=lambda events, info: taken.append((list(events), info))
    ).drain_once()
    assert [event.details["n"] for events, _ in taken for event in events] == list(range(10))
    assert {info.writer for _, info in taken} == {writer.writer}
    assert taken[0][1].resource == {"service.name": "agent"}
    assert taken[0][1].pid == os.getpid()
    assert report.forwarded == 10


def test_a_forwarder_that_raises_holds_up_nothing(tmp_path):
    """What forwarding raises is counted, and the journal is whole."""

    def broken(_events, _info):
        raise ValueError("no backend")

    writer, store = new_writer(tmp_path), MemoryStore()
    writer.append(noted(1))
    report = Drain(tmp_path, store, forward=broken).drain_once()
    assert numbers(store) == [1]
    assert (report.forwarded, report.forward_failures) == (0, 1)


# --- dead writers -------------------------------------------------------------------------------------------------


def test_a_dead_writers_open_steps_are_interrupted(tmp_path):
    """The journal says who died in which session, when it was last seen, and the step shows as interrupted."""
    writer, store, forwarded = new_writer(tmp_path), MemoryStore(), []
    writer.append(started(1, "open"))
    writer.append(started(2, "done"))
    writer.append(ended(2, "done"))
    writer.append(heartbeat(BASE_NS + 5 * 10**9, "open"))
    die(writer)
    report = Drain(tmp_path, store, forward=lambda events, _: forwarded.extend(events)).drain_once()
    (event,) = [event for event in store.read("open") if event.type == SESSION_INTERRUPTED]
    last_seen_ns = BASE_NS + 5 * 10**9
    assert event.event_id == derived_id(f"open:{writer.writer}:{last_seen_ns}")
    assert event.timestamp_ns == last_seen_ns + 1
    assert (event.level, event.writer) == ("WARNING", writer.writer)
    assert event.details["reason"] == "killed"
    assert event.details["last_seen"] == "2025-10-09T08:53:25.000000000Z"
    head = store.head("open")
    assert (head.status, head.reason, head.open_writers) == ("INTERRUPTED", "killed", ())
    assert store.head("done").status == "COMPLETED"
    assert [event.type for event in store.read("done")] == ["TOOL_START", "TOOL_END"]
    assert forwarded[-1] == event
    assert report.interrupted == 1
    assert writer_folders(tmp_path) == []


def test_a_dead_writer_is_noticed_by_its_drain(tmp_path, drains):
    """A drain that follows a live writer notices its death by itself, soon."""
    writer, store = new_writer(tmp_path), MemoryStore()
    drains(tmp_path, store)
    writer.append(started(1))
    eventually(lambda: store.head("s1") is not None)
    die(writer)
    eventually(lambda: store.head("s1").status == "INTERRUPTED")


def test_what_an_earlier_drain_delivered_is_interrupted_too(tmp_path):
    """The START was delivered and acknowledged by a drain long gone: its session is still found."""
    writer, store = new_writer(tmp_path), MemoryStore()
    writer.append(started(1))
    Drain(tmp_path, store).drain_once()
    die(writer)
    Drain(tmp_path, store).drain_once()
    assert store.head("s1").status == "INTERRUPTED"


def test_a_writer_that_closed_leaves_no_interruption(tmp_path):
    """Who ended in order was not killed, whatever is still open."""
    writer, store = new_writer(tmp_path), MemoryStore()
    writer.append(started(1))
    writer.close()
    assert Drain(tmp_path, store).drain_once().interrupted == 0
    assert [event.type for event in store.read("s1")] == ["TOOL_START"]


def test_a_parent_says_that_its_child_died(tmp_path, drains):
    """A parent that saw its child end needs no lock to know, and says why."""
    writer, store = new_writer(tmp_path), MemoryStore()
    drain = drains(tmp_path, store)
    writer.append(started(1))
    drain.writer_died(writer.writer, "killed")
    eventually(lambda: (head := store.head("s1")) is not None and head.status == "INTERRUPTED")
    eventually(lambda: writer_folders(tmp_path) == [])


def test_other_steps_of_the_same_session_stay_open(tmp_path):
    """Of two processes in one session one dies: the other's step is not interrupted."""
    dead, alive, store = new_writer(tmp_path), new_writer(tmp_path), MemoryStore()
    dead.append(started(1))
    alive.append(started(2))
    die(dead)
    Drain(tmp_path, store).drain_once()
    assert store.head("s1").open_writers == (alive.writer,)
    assert store.head("s1").status == "PROCESSING"


def test_an_interruption_is_written_once_however_often_it_is_found(tmp_path):
    """A drain that dies between the event and the folder's removal has a successor that changes nothing."""
    writer, store = new_writer(tmp_path), MemoryStore()
    writer.append(started(1))
    die(writer)
    kept = {path.name: path.read_bytes() for path in writer.folder.iterdir()}
    Drain(tmp_path, store).drain_once()
    before = list(store.read("s1"))
    writer.folder.mkdir()
    for name, data in kept.items():
        (writer.folder / name).write_bytes(data)
    Drain(tmp_path, store).drain_once()
    assert list(store.read("s1")) == before


@pytest.mark.parametrize("attempt", range(3))
def test_adopters_race_and_one_wins(tmp_path, attempt):
    """However many drains open a spool at once, each folder is drained by one of them, and none is misjudged."""
    for session in range(10):
        writer = new_writer(tmp_path)
        writer.append(started(1, f"s{session}"))
        for number in range(100):
            writer.append(noted(number, f"s{session}"))
        writer.close()
    store, reports = MemoryStore(), []
    barrier = threading.Barrier(4)

    def adopt():
        barrier.wait()
        reports.append(Drain(tmp_path, store).drain_once())

    threads = [threading.Thread(target=adopt) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(report.delivered for report in reports) == 1010
    assert sum(report.folders_finished for report in reports) == 10
    assert sum(report.interrupted for report in reports) == 0
    assert writer_folders(tmp_path) == []
    for session in range(10):
        assert len(list(store.read(f"s{session}"))) == 101


class Unlisted(MemoryStore):
    """A store whose listing fails while `fault` is set; events and heads are written and read as ever."""

    def __init__(self, fault=None) -> None:
        super().__init__()
        self.fault = fault
        self.listings = 0

    def sessions(self, wanted=None):
        self.listings += 1
        if self.fault is not None:
            raise self.fault
        return super().sessions(wanted)


def left_by_the_dead(root, store, *sessions):
    """A killed writer's folder; the STARTs of `sessions` were delivered by a drain long gone."""
    writer = new_writer(root)
    for number, session in enumerate(sessions):
        writer.append(started(number, session))
    Drain(root, store).drain_once()
    die(writer)
    return writer


@pytest.mark.parametrize(
    "error", [StoreUnreachable("denied"), StoreUnusable("broken"), StoreError("no"), RuntimeError("bug")]
)
def test_a_listing_that_fails_holds_up_no_other_writer(tmp_path, drains, caplog, monkeypatch, error):
    """What a dead writer left open is found once the store can list it; until then all others are delivered."""
    monkeypatch.setattr(rounds, "LIST_AGAIN_S", 0.2)
    store = Unlisted()
    dead, alive = left_by_the_dead(tmp_path, store, "open"), new_writer(tmp_path)
    store.fault, store.listings = error, 0
    with caplog.at_level(logging.WARNING):
        drain = drains(tmp_path, store, only_writer=alive.writer)
        eventually(lambda: store.listings)
        for number in range(20):
            alive.append(noted(number))
            assert drain.flush()
        eventually(lambda: store.listings > 2)
    assert numbers(store) == list(range(20))
    assert (store.head("open").status, dead.folder.exists()) == ("PROCESSING", True)
    (said,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "cannot be listed" in said.message
    store.fault = None
    eventually(lambda: store.head("open").status == "INTERRUPTED")
    eventually(lambda: not dead.folder.exists())


def test_what_is_known_without_a_listing_is_interrupted_at_once(tmp_path, drains):
    """A session that this drain has delivered itself needs no listing to be interrupted; the folder waits for one."""
    writer, store = new_writer(tmp_path), Unlisted(StoreUnreachable("denied"))
    drains(tmp_path, store)
    writer.append(started(1, "open"))
    eventually(lambda: store.head("open") is not None)
    die(writer)
    eventually(lambda: store.head("open").status == "INTERRUPTED")
    assert writer.folder.exists()


@pytest.mark.parametrize("at_once", [True, False])
def test_the_end_of_a_drain_waits_for_a_listing(tmp_path, at_once):
    """A listing that fails for a moment, as a program ends or its spool is drained by hand, costs no interruption."""
    store = Unlisted()
    left_by_the_dead(tmp_path, store, "one", "two")
    store.fault, store.listings = StoreUnreachable("throttled"), 0
    drain = Drain(tmp_path, store, patience=impatient())
    back = threading.Thread(target=lambda: (eventually(lambda: store.listings > 5), setattr(store, "fault", None)))
    back.start()
    if at_once:
        assert drain.drain_once().interrupted == 2
    else:
        drain.start()
        assert drain.stop(10)
    back.join()
    assert {store.head(name).status for name in ("one", "two")} == {"INTERRUPTED"}
    assert writer_folders(tmp_path) == []


def test_a_drain_by_hand_delivers_all_before_it_gives_up_on_a_listing(tmp_path):
    """A store that cannot list says so in the end: by then all is delivered, and the folders that closed are gone."""
    store = Unlisted()
    dead, other = left_by_the_dead(tmp_path, store, "open"), new_writer(tmp_path)
    for number in range(5000):
        other.append(noted(number, text="x" * 500))
    other.close()
    store.fault = StoreUnusable("damaged index")
    with pytest.raises(StoreUnreachable, match="damaged index"):
        Drain(tmp_path, store, patience=impatient()).drain_once(patience_s=0.2)
    assert len(numbers(store)) == 5000
    assert writer_folders(tmp_path) == [dead.folder]
    store.fault = None
    assert Drain(tmp_path, store).drain_once().interrupted == 1


def test_a_half_removed_folder_is_no_dead_writer(tmp_path):
    """A drainer that died while it removed a finished folder leaves nothing that looks like a killed writer."""
    writer, store = new_writer(tmp_path), MemoryStore()
    writer.append(started(1))
    writer.close()
    kept = writer.folder / "drain.lock"
    Drain(tmp_path, store).drain_once()
    writer.folder.mkdir()
    kept.touch()
    report = Drain(tmp_path, store).drain_once()
    assert (report.interrupted, writer_folders(tmp_path)) == (0, [])
    assert [event.type for event in store.read("s1")] == ["TOOL_START"]


def test_a_deleted_folder_that_its_writer_makes_anew_is_left_to_it(tmp_path, monkeypatch):
    """Whoever held the deleted one neither removes the new one, nor says that its writer was killed."""
    monkeypatch.setattr(folder_module, "writes_here", lambda _: False)  # the writer is in another process
    writer = new_writer(tmp_path)
    deletes, makes_anew = [shutil.rmtree], [writer.look_after]

    class Meanwhile(FaultyStore):
        def append(self, events):
            if deletes:
                deletes.pop()(writer.folder)
            return super().append(events)

        def write_head(self, head):
            if makes_anew:
                writer.append(started(2))
                makes_anew.pop()()
            return super().write_head(head)

    writer.append(started(1))
    store = Meanwhile()
    Drain(tmp_path, store).drain_once()
    assert (deletes, makes_anew) == ([], [])
    assert writer_folders(tmp_path) == [writer.folder]
    Drain(tmp_path, store, only_writer=writer.writer).drain_once()
    assert [event.type for event in store.read("s1")] == ["TOOL_START", "TOOL_START"]


@pytest.mark.parametrize("after_the_head", [False, True])
def test_what_went_with_a_deleted_store_is_delivered_again(tmp_path, drains, after_the_head):
    """What is acknowledged is in a file that has its name: a flush says True of nothing that was deleted before."""
    path, deletes = tmp_path / "journal.db", [True]

    class Deleted(SqliteStore):
        def write_head(self, head):
            written = super().write_head(head) if after_the_head else None
            if deletes:
                deletes.pop()
                for part in tmp_path.glob("journal.db*"):
                    part.unlink()
            return super().write_head(head) if written is None else written

    store, writer = Deleted(path), new_writer(tmp_path / "spool")
    for number in range(3):
        writer.append(noted(number))
    assert drains(writer.root, store, only_writer=writer.writer).flush(20)
    assert not deletes
    fresh = SqliteStore(path, create=False)
    assert numbers(fresh) == [0, 1, 2]
    assert fresh.head("s1").events == 3
    fresh.close()


def test_a_folder_that_somebody_drains_is_left_to_them(tmp_path):
    """A drain lock that is held keeps others away, and they say so."""
    writer, store = new_writer(tmp_path), MemoryStore()
    writer.append(noted(1))
    lock = FileLock.take(writer.folder / DRAIN_LOCK)
    report = Drain(tmp_path, store).drain_once()
    assert (report.delivered, report.folders_held_by_others) == (0, 1)
    assert report.pending_bytes > 0
    lock.close()
    assert Drain(tmp_path, store).drain_once().delivered == 1


def test_only_our_own_writer_is_followed(tmp_path, drains):
    """Under `configure()` a thread follows its own process, finishes the dead, and leaves other live ones alone."""
    mine, other, dead, store = new_writer(tmp_path), new_writer(tmp_path), new_writer(tmp_path), MemoryStore()
    for name, writer in (("mine", mine), ("other", other), ("dead", dead)):
        writer.append(noted(1, name))
    die(dead)
    drain = drains(tmp_path, store, only_writer=mine.writer)
    assert drain.flush()
    assert [bool(numbers(store, name)) for name in ("mine", "other", "dead")] == [True, False, True]


def test_the_dead_may_be_left_alone(tmp_path, drains):
    """Without `adopt_dead` nothing but our own writer's folder is touched."""
    mine, dead, store = new_writer(tmp_path), new_writer(tmp_path), MemoryStore()
    mine.append(noted(1, "mine"))
    dead.append(noted(1, "dead"))
    die(dead)
    drain = drains(tmp_path, store, only_writer=mine.writer, adopt_dead=False)
    assert drain.flush()
    assert numbers(store, "dead") == []


def test_a_writer_knows_whether_it_is_drained(tmp_path):
    """A writer sees another process drain its folder, and sees it gone; its own process does not count."""
    writer = new_writer(tmp_path)
    writer.append(noted(1))
    assert writer.drained_by_other() is False
    mine = FileLock.take(writer.folder / DRAIN_LOCK)
    assert writer.drained_by_other() is False
    mine.close()
    ready, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        kept = FileLock.take(tmp_path / "x")
        kept = FileLock.take(writer_folders(tmp_path)[0] / DRAIN_LOCK)
        os.write(say, b"." if kept else b"!")
        time.sleep(30)
        os._exit(0)
    assert os.read(ready, 1) == b"."
    assert writer.drained_by_other() is True
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    eventually(lambda: writer.drained_by_other() is False)


# --- what is not ours ---------------------------------------------------------------------------------------------


def test_what_is_not_a_writers_folder_is_never_touched(tmp_path):
    """A root that is somebody's home folder loses nothing."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    lookalike = tmp_path / ("ab" * 16)
    lookalike.mkdir()
    (lookalike / "thesis.txt").write_bytes(b"years")
    assert writer_folders(tmp_path) == []
    Drain(tmp_path, MemoryStore()).drain_once()
    assert (tmp_path / "photos" / "cat.jpg").exists()
    assert sorted(path.name for path in lookalike.iterdir()) == ["thesis.txt"]


def test_a_newer_versions_spool_is_left_untouched(tmp_path, caplog):
    """What a newer version of this package wrote stays, byte for byte."""
    writer, store = new_writer(tmp_path), MemoryStore()
    writer.append(noted(1))
    writer.close()
    (segment,) = writer.folder.glob("*.seg")
    data = bytearray(segment.read_bytes())
    data[10:12] = (99).to_bytes(2, "little")
    segment.write_bytes(data)
    report = Drain(tmp_path, store).drain_once()
    assert segment.read_bytes() == data
    assert numbers(store) == []
    assert report.set_aside == 0
    assert "newer version" in caplog.text


def test_a_stop_says_that_a_fault_left_something(tmp_path, drains):
    """A drain that ends with a fault has not delivered everything, and its stop says so."""
    writer, store = new_writer(tmp_path), MemoryStore()
    drain = drains(tmp_path, store)
    writer.append(noted(1))
    assert drain.flush()

    def broken(*_arguments, **_named):
        raise RuntimeError("bug")

    drain._rounds.go = broken
    writer.append(noted(2))
    assert drain.stop(5) is False
    assert not drain.is_running


def test_a_fault_is_not_met_again_at_once(tmp_path, drains, caplog):
    """After a fault the drain rests a moment, whoever waits for a flush meanwhile."""
    writer, store, rounds_made = new_writer(tmp_path), MemoryStore(), []
    writer.append(noted(1))

    def broken(*_arguments, **_named):
        rounds_made.append(1)
        raise RuntimeError("bug")

    drain = Drain(tmp_path, store, patience=impatient())
    drain._rounds.go = broken
    drain.start()
    try:
        assert drain.flush(0.5) == Delivered(pending=1)
        assert len(rounds_made) <= 2
    finally:
        del drain._rounds.go
    assert drain.stop(5)
    assert numbers(store) == [1]


def test_an_absent_spool_is_an_empty_one(tmp_path):
    """Draining what is not there is no error, and makes nothing."""
    report = Drain(tmp_path / "none", MemoryStore()).drain_once()
    assert report.delivered == 0
    assert not (tmp_path / "none").exists()


def test_a_clock_that_steps_back_changes_nothing(tmp_path, drains):
    """Only facts carry the wall clock: one that jumps back by years delays no event and no acknowledgement."""
    writer, store, now = new_writer(tmp_path), MemoryStore(), [BASE_NS]
    drain = drains(tmp_path, store, clock=lambda: now[0])
    writer.append(noted(1))
    assert drain.flush()
    now[0] -= 10**18
    writer.append(noted(2))
    writer.append(b"\xff")
    assert drain.flush() == Delivered(set_aside=1)
    assert numbers(store) == [1, 2]


def test_a_forked_child_drains_nothing_of_its_parents(tmp_path, drains):
    """A drain inherited by a forked child is stopped there, holds no lock, and can be started for the child."""
    writer, store = new_writer(tmp_path), MemoryStore()
    drain = drains(tmp_path, store)
    writer.append(noted(1))
    assert drain.flush()
    pid = os.fork()
    if pid == 0:
        ok = drain._thread is None and list(drain._adoption) == [] and not drain.flush(0.1)
        os._exit(0 if ok else 1)
    assert os.waitpid(pid, 0)[1] == 0
    writer.append(noted(2))
    assert drain.flush()
    assert numbers(store) == [1, 2]


def test_a_stop_delivers_more_than_one_reading_of_small_records(tmp_path, drains):
    """However many records there are, and however small, a stop that says that all is delivered is right."""
    writer, store = new_writer(tmp_path), MemoryStore()
    for number in range(12_000):
        writer.append(noted(number))
    writer._segments.drop()
    drain = drains(tmp_path, store)
    assert drain.stop(30)
    assert len(numbers(store)) == 12_000
    assert writer_folders(tmp_path) == []
