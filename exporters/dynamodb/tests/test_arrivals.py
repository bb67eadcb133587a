"""Nothing is skipped and nothing comes twice, wherever a writer is cut off and whoever else writes the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

import msgspec
import pytest

from exporters.dynamodb.tests.sessions import cut_off
from otel_agent_journal.errors import ConflictError, StoreError, StoreUnreachable, WrongExpectedSequence
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.store.protocol import Arrived, Page
from otel_agent_journal.store.rules import current
from otel_agent_journal.testing.builders import an_event, context_events, events
from otel_agent_journal.testing.contract_setup import everything, ids
from otel_agent_journal_dynamodb import DynamoDBStore, logs, open_store
from otel_agent_journal_dynamodb import appending as module
from otel_agent_journal_dynamodb.connection import Connection
from otel_agent_journal_dynamodb.items import item_of
from otel_agent_journal_dynamodb.keys import record_key
from tests.real.fault_proxy import APPLIED_RESET, APPLIED_SILENT, CONFLICT, PARTIAL, THROTTLED, AtRandom, Scripted
from tests.real.fault_proxy_http import DynamoDBProxy
from tests.real.servers import DynamoDB

SOAK = bool(os.environ.get("AGENT_JOURNAL_SOAK"))
PROCESSES = 16 if SOAK else 4
APPENDS = 40 if SOAK else 6


@pytest.fixture
def proxy(dynamodb_server: DynamoDB) -> Iterator[DynamoDBProxy]:
    """A proxy in front of the server, faultless until it gets a plan."""
    with DynamoDBProxy(dynamodb_server.port, silence_s=0.02, slow_s=0.01) as proxy:
        yield proxy


@pytest.fixture
def behind(store: DynamoDBStore, dynamodb_server: DynamoDB, proxy: DynamoDBProxy) -> Iterator[DynamoDBStore]:
    """A second client of the table of `store`, through the proxy."""
    client = open_store(store.url.replace(str(dynamodb_server.port), str(proxy.port)))
    yield client
    client.close()


def interrupt(monkeypatch: pytest.MonkeyPatch, where: str, what: Callable[[], object]) -> None:
    """Do something once, right before `where` (a function of the store's module) is done."""
    real = getattr(module, where)

    def first(connection: Connection, requests: Sequence[object]) -> None:
        monkeypatch.setattr(module, where, real)
        what()
        real(connection, requests)

    monkeypatch.setattr(module, where, first)


@pytest.mark.parametrize("others", [0, 3])
def test_cut_off_before_the_log(store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch, others: int) -> None:
    """Events that are written and not logged are logged when they are appended again, by whomever."""
    broken = open_store(store.url)
    monkeypatch.setattr(broken._arrivals, "log", cut_off)
    with pytest.raises(StoreUnreachable):
        broken.append(events(5))
    assert list(store.read("s1")) == events(5)
    assert everything(store)[0] == []
    for number in range(others):
        store.append([an_event(100 + number)])
    successor = open_store(store.url)
    successor.append(events(8))
    successor.append(events(8))
    assert sorted(ids(everything(store)[0])) == sorted(ids([*events(8), *events(others, first=100)]))


def test_a_writer_is_overtaken(store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that was slow, and overtaken by another with the same events, does not log them again."""
    slow = open_store(store.url)
    slow.append(events(1, first=50))
    interrupt(monkeypatch, "write_all", lambda: store.append(events(7)))
    slow.append(events(9))
    assert ids(everything(store)[0]) == ids([*events(1, first=50), *events(7), *events(2, first=7)])
    assert list(store.read("s1")) == [*events(9), *events(1, first=50)]


@pytest.mark.parametrize("by", ["others", "a writer that was cut off"])
def test_what_was_there_is_no_news(store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    """An append with an event that was there, logged or not, does not say that all of it has arrived right there."""
    if by == "others":
        store._appending.put_new(_item(an_event(1)))
    else:
        with monkeypatch.context() as patch:
            patch.setattr(store._arrivals, "log", cut_off)
            with pytest.raises(StoreUnreachable):
                store.append([an_event(1)])
    assert store.append(events(3)) == {}
    assert store.append(events(2, first=3)) == {"s1": Arrived("1", "2")}


def test_many_bring_the_same(store: DynamoDBStore) -> None:
    """Eight clients that bring the same events at once: each is read once and followed once."""
    clients = [open_store(store.url) for _ in range(8)]

    def bring(client: DynamoDBStore) -> None:
        for start in range(0, 60, 10):
            client.append(events(15, first=start))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(bring, clients))
    assert list(store.read("s1")) == events(65)
    assert sorted(ids(everything(store)[0])) == sorted(ids(events(65)))


@pytest.mark.parametrize("again", ["by itself", "by another", "after another's"])
def test_cut_off_before_the_announcement(store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch, again: str) -> None:
    """What the log has and nobody has announced is announced by whoever appends next, once."""
    broken = open_store(store.url)
    with monkeypatch.context() as patch:
        patch.setattr(broken._arrivals.activity, "put", cut_off)
        with pytest.raises(StoreUnreachable):
            broken.append(events(5))
    assert everything(store, session_id="s1")[0] == events(5)
    assert everything(store)[0] == []
    if again == "after another's":
        store.append([an_event(100)])
        assert sorted(ids(everything(store)[0])) == sorted(ids([*events(5), an_event(100)]))
    (store if again == "by another" else broken).append(events(5))
    broken.append(events(8))
    expected = [*events(8), *([an_event(100)] if again == "after another's" else [])]
    assert sorted(ids(everything(store)[0])) == sorted(ids(expected))


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_pages_of_many_sessions(store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """Pages end anywhere, within a session's record and between two: nothing is skipped, also where one is deleted."""
    monkeypatch.setattr(logs, "RECORD_BYTES", 300)
    made = [event for number in range(3) for one in "abcde" for event in events(4, first=4 * number, session_id=one)]
    for start in range(0, len(made), 20):
        store.append(made[start : start + 20])
    assert sorted(event.key for event in everything(store, limit=limit)[0]) == sorted(event.key for event in made)
    page = store.follow(None, limit=7)
    assert prune_one(store, page.events[-1].session_id)
    gone = {page.events[-1].session_id}
    found = [*page.events, *everything(store, page.cursor, limit=limit)[0]]
    assert len({event.key for event in found}) == len(found)
    assert {event.key for event in found} >= {event.key for event in made if event.session_id not in gone}


def prune_one(store: DynamoDBStore, session_id: str) -> bool:
    """Delete a session as it is now."""
    head = current(store, session_id)
    assert head is not None
    return store.delete_session(session_id, head.cursor, head.version)


def test_following_a_session_from_a_cursor_of_all(store: DynamoDBStore) -> None:
    """A cursor of everything is one for a session too, and stays where nothing comes."""
    store.append(events(3))
    tip = store.tip()
    assert store.follow(tip, session_id="s1") == Page((), tip)
    store.append([*events(2, session_id="s2"), *events(5)])
    found, cursor = everything(store, tip, session_id="s1", limit=1)
    assert ids(found) == ids(events(2, first=3))
    assert store.follow(cursor, session_id="s1").events == ()
    with pytest.raises(StoreError, match="is one of a session"):
        store.follow(store.tip("s1"))


def test_no_reader_passes_a_gap(store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that shows up before the one below it waits until that one was looked for: nothing is passed over."""
    store.append(events(2))
    _, cursor = everything(store, session_id="s1")
    for number in (2, 3):
        store.append(events(1, first=number))
    real = store._connection.call
    hidden = record_key(2)

    def no_snapshot(operation: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = real(operation, body)
        if operation == "Query" and any(item["SK"]["S"] == hidden for item in answer["Items"]):
            monkeypatch.setattr(store._connection, "call", real)
            answer["Items"] = [item for item in answer["Items"] if item["SK"]["S"] != hidden]
        return answer

    monkeypatch.setattr(store._connection, "call", no_snapshot)
    assert everything(store, cursor, session_id="s1")[0] == events(2, first=2)


def test_records_that_have_expired(store: DynamoDBStore) -> None:
    """Who comes to a place in a log whose records have expired goes on behind them, wherever DynamoDB left one."""
    for number in range(6):
        store.append(events(1, first=number))
    for number in (1, 2, 4):
        store._connection.call(
            "DeleteItem",
            {
                "TableName": store._connection.place.table,
                "Key": {"PK": {"S": "SESSION#s1"}, "SK": {"S": record_key(number)}},
            },
        )
    left = [*events(1, first=2), *events(2, first=4)]
    assert everything(store, session_id="s1", limit=1)[0] == left
    assert everything(store, "1", session_id="s1")[0] == left
    assert everything(store)[0] == left


def test_a_session_costs_what_is_new_in_it(store: DynamoDBStore, behind: DynamoDBStore, proxy: DynamoDBProxy) -> None:
    """Who looks behind a session's cursor reads nothing of others, however much they have written since."""
    store.append(events(3))
    cursor = behind.tip("s1")
    for number in range(30):
        store.append(events(2, session_id=f"other{number}"))
    proxy.calls.clear()
    assert behind.follow(cursor, session_id="s1") == Page((), cursor)
    assert behind.tip("s1") == cursor
    assert proxy.calls == {"Query": 2}


def _item(event: JournalEvent) -> dict[str, dict[str, str]]:
    return item_of(event, "SESSION#s1")


@pytest.mark.parametrize("put_by", ["append", "append_context"])
@pytest.mark.parametrize("others", [0, 1, 30])
def test_a_table_that_was_made_anew(
    store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch, put_by: str, others: int
) -> None:
    """A writer that was idle while its table was deleted and made anew leaves no gap in the new one's log."""
    monkeypatch.setattr(logs, "SURE_S", 0.0)
    for number in range(9):
        store.append(events(1, first=number))
    store._connection.call("DeleteTable", {"TableName": store._connection.place.table})
    another = open_store(store.url)
    another.init()
    for number in range(others):
        another.append(events(1, first=100 + number))
    if put_by == "append":
        store.append(events(5))
        added = events(5)
    else:
        store.append_context("i1", 0, context_events(2))
        added = context_events(2)
    assert sorted(ids(everything(another)[0])) == sorted(ids([*events(others, first=100), *added]))
    assert list(another.unsettled()) == ["s1"]
    assert store._marks.settle("SESSION#s1", 1_000)
    assert bool(list(another.unsettled())) == bool(others)  # each has had a mark of its own


def test_a_writer_at_work_asks_nothing_more(
    store: DynamoDBStore, behind: DynamoDBStore, proxy: DynamoDBProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the table is still the same is asked after a pause alone, and with the keys of the events."""
    behind.append(events(1, first=900))
    behind.append_context("i1", 0, context_events(1))
    proxy.calls.clear()
    monkeypatch.setattr(logs, "SURE_S", 3_600.0)
    behind.append(events(100))
    behind.append_context("i1", 1, context_events(1, first=1))
    assert proxy.calls == {"BatchGetItem": 1, "BatchWriteItem": 4, "PutItem": 2, "TransactWriteItems": 1}
    proxy.calls.clear()
    monkeypatch.setattr(logs, "SURE_S", 0.0)
    behind.append(events(25, first=100))
    assert proxy.calls == {"BatchGetItem": 1, "BatchWriteItem": 1, "PutItem": 2}


def test_cursor_of_another_table(store: DynamoDBStore, dynamodb_server: DynamoDB) -> None:
    """A cursor that is ahead of this journal is refused: it is another's."""
    store.append(events(1))
    empty = open_store(dynamodb_server.url())
    empty.init()
    with pytest.raises(Exception, match="is not one of store"):
        empty.follow(store.tip())


def test_large_records(store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an append has written is named in as many records as it takes, in order."""
    monkeypatch.setattr(logs, "RECORD_BYTES", 1_000)
    store.append(events(100))
    assert store._arrivals.logs.last("SESSION#s1").number > 5
    assert everything(store, limit=7)[0] == events(100)


@pytest.mark.parametrize("operation", ["PutItem", "BatchWriteItem", "BatchGetItem", "Query"])
@pytest.mark.parametrize("fault", [APPLIED_RESET, APPLIED_SILENT, THROTTLED])
def test_faults_of_an_append(store: DynamoDBStore, behind: DynamoDBStore, proxy: DynamoDBProxy, operation: str,
                             fault: str) -> None:  # fmt: skip
    """An answer that is lost, or a refusal that passes, leaves no second copy and no second record."""
    times = 3 if operation == "PutItem" else 1  # of its mark, its record and its announcement
    behind.put_blob("s2", "a" * 32, b"1")
    proxy.plan = Scripted(*[fault] * times, on={operation})
    behind.append(events(30))
    assert proxy.injected[fault] == times
    assert list(store.unsettled()).count("s1") == 1
    assert list(store.read("s1")) == events(30)
    assert everything(store)[0] == events(30)


def test_partial_batches(store: DynamoDBStore, behind: DynamoDBStore, proxy: DynamoDBProxy) -> None:
    """What a batch leaves over is written and read to the end."""
    proxy.plan = Scripted(*[PARTIAL] * 12, on={"BatchWriteItem", "BatchGetItem"})
    behind.append(events(60))
    assert list(store.read("s1")) == events(60)
    proxy.plan = Scripted(*[PARTIAL] * 6, on={"BatchGetItem"})
    assert list(behind.follow(None).events) == events(60)


def test_nothing_is_taken_for_long(
    store: DynamoDBStore, behind: DynamoDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where batches are handed back whole again and again it is StoreUnreachable, not a silent loss."""
    behind._connection.sleep = lambda _: None
    real = behind._connection.call

    def handed_back(operation: str, body: dict[str, object]) -> dict[str, object]:
        return {"UnprocessedItems": body["RequestItems"]} if operation == "BatchWriteItem" else real(operation, body)

    monkeypatch.setattr(behind._connection, "call", handed_back)
    with pytest.raises(StoreUnreachable, match="25 items were not written in 8 attempts"):
        behind.append(events(30))
    assert everything(store)[0] == []


@pytest.mark.parametrize("fault", [APPLIED_RESET, APPLIED_SILENT, THROTTLED, CONFLICT])
def test_faults_of_a_transaction(store: DynamoDBStore, behind: DynamoDBStore, proxy: DynamoDBProxy, fault: str) -> None:
    """A transaction whose answer is lost is read back: it counts once, and is followed once."""
    for seq in (0, 3):
        proxy.plan = Scripted(fault, on={"TransactWriteItems"})
        behind.append_context("i1", seq, context_events(3, first=seq))
    assert proxy.injected[fault] == 2
    assert list(store.read_context("i1")) == context_events(6)
    assert everything(store)[0] == context_events(6)


def test_context_and_its_log_are_one(store: DynamoDBStore) -> None:
    """A transaction whose log number was taken is done with the next one; a conflict leaves no record."""
    slow = open_store(store.url)
    slow.append(events(1, first=90))
    store.append(events(3))  # slow does not know of it
    slow.append_context("i1", 0, context_events(2, text="hello"))
    with pytest.raises(ConflictError):
        slow.append_context("i1", 0, context_events(2, text="another"))
    with pytest.raises(WrongExpectedSequence):
        store.append_context("i1", 5, context_events(1, first=5))
    assert len(everything(store)[0]) == 6


@pytest.mark.parametrize("later_ns", [0, 5])
def test_one_id_twice_in_a_call(store: DynamoDBStore, later_ns: int) -> None:
    """Two events of one id in a call are a conflict, at one time or at two, and nothing is written."""
    (first,) = context_events(1)
    second = msgspec.structs.replace(first, seq=1, timestamp_ns=first.timestamp_ns + later_ns, digest=None)
    with pytest.raises(ConflictError):
        store.append_context("i1", 0, [first, second])
    assert list(store.read_context("i1")) == []
    with pytest.raises(WrongExpectedSequence):
        store.append_context("i1", 3, [msgspec.structs.replace(one, seq=3 + seq, digest=None)
                                       for seq, one in enumerate((first, second))])  # fmt: skip
    assert everything(store)[0] == []


def test_the_most_of_one_call(store: DynamoDBStore) -> None:
    """48 context events go in one call, one more is refused with what to do."""
    store.append_context("i1", 0, context_events(48))
    with pytest.raises(Exception, match="a transaction of DynamoDB takes 48"):
        store.append_context("i1", 48, context_events(49, first=48))
    store.append_context("i1", 48, context_events(1, first=48))
    assert list(store.read_context("i1")) == context_events(49)


@pytest.mark.long_form
@pytest.mark.timeout(900 if SOAK else 120)
def test_processes_behind_faults(store: DynamoDBStore, behind: DynamoDBStore, proxy: DynamoDBProxy) -> None:
    """Processes that write one session and one instance while 30 % of the calls fail: all once, without a gap."""
    proxy.plan = AtRandom(0.3, seed=7)
    context = get_context("spawn")
    with context.Pool(PROCESSES) as pool:
        pool.starmap(write, [(behind.url, number, APPENDS) for number in range(PROCESSES)])
    expected = sorted(
        event.event_id for number in range(PROCESSES) for event in events(5 * APPENDS, first=number * 1_000)
    )
    read = list(store.read("s1"))
    assert sorted(event.event_id for event in read if event.seq is None) == expected
    sequence = list(store.read_context("i1"))
    assert [event.seq for event in sequence] == list(range(PROCESSES * APPENDS))
    assert len({event.event_id for event in sequence}) == len(sequence)
    followed, _ = everything(store)
    assert sorted(ids(followed)) == sorted(ids(read))
    assert proxy.injected.total() > 10 * PROCESSES


def write(url: str, number: int, appends: int) -> None:
    """One process's work: as the drain does, a call is repeated until it succeeds."""
    store = open_store(url)
    for turn in range(appends):
        made = events(5, first=number * 1_000 + turn * 5)
        _insisted(lambda made=made: store.append(made))
        _insisted(lambda turn=turn: _appended(store, f"{number:016x}{turn:016x}"))
    store.close()


def _appended(store: DynamoDBStore, event_id: str) -> None:
    sequence = list(store.read_context("i1"))
    if any(event.event_id == event_id for event in sequence):
        return
    (event,) = context_events(1, first=len(sequence))
    store.append_context("i1", len(sequence), [msgspec.structs.replace(event, event_id=event_id, digest=None)])


def _insisted(call: Callable[[], None]) -> None:
    for _ in range(500):
        try:
            call()
        except (StoreUnreachable, WrongExpectedSequence):
            continue
        return
    raise AssertionError
