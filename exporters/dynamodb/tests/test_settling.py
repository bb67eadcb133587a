"""Which sessions are unsettled, whoever is cut off, suspended or forked."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from exporters.dynamodb.tests.sessions import LIMIT_NS, an_hour_later, cut_off, judged, settled, told
from otel_agent_journal.errors import StoreUnreachable, WrongExpectedSequence
from otel_agent_journal.store.rules import current, current_sessions
from otel_agent_journal.store.rules import settle as settle_all
from otel_agent_journal.testing.builders import context_events, events
from otel_agent_journal.testing.contract_setup import everything
from otel_agent_journal_aws import Refusal
from otel_agent_journal_dynamodb import DynamoDBStore, appending, open_store
from otel_agent_journal_dynamodb.connection import Connection
from tests.real.fault_proxy import APPLIED_RESET, Scripted
from tests.real.fault_proxy_http import DynamoDBProxy
from tests.real.servers import DynamoDB

PARTITION = "SESSION#s1"


def marks_there(store: DynamoDBStore) -> int:
    return len(open_store(store.url)._marks.others(PARTITION))


def is_deletion(operation: str, body: dict[str, Any]) -> bool:
    return operation == "BatchWriteItem" and "DeleteRequest" in str(body)


def test_counted_requests(store: DynamoDBStore, dynamodb_server: DynamoDB) -> None:
    """What a first append, a later one, and a head that settles cost, as docs/stores.md has it."""
    with DynamoDBProxy(dynamodb_server.port) as proxy:
        client = open_store(store.url.replace(str(dynamodb_server.port), str(proxy.port)))
        client.append(events(1, session_id="s0"))
        client.tip()
        costs: list[dict[str, int]] = []
        calls: list[Callable[[], object]] = [
            lambda: client.append(told()),
            lambda: client.append(told(step="again", at_ns=50)),
            lambda: settled(client),
            lambda: list(client.unsettled()),
            lambda: client.append(events(1, first=99)),
        ]
        for call in calls:
            proxy.calls.clear()
            call()
            costs.append(dict(proxy.calls))
    append = {"BatchGetItem": 1, "BatchWriteItem": 1, "PutItem": 2}
    assert costs[0] == {**append, "PutItem": 3, "Query": 1}
    assert costs[1] == append
    assert costs[2]["BatchWriteItem"] == 1
    assert costs[3] == {"Query": 4}
    assert costs[4] == {**append, "PutItem": 3, "Query": 1}


def test_a_mark_of_another_stays(store: DynamoDBStore, other: DynamoDBStore) -> None:
    """A head takes the mark of who writes it; another's goes by that one's head alone."""
    store.append(told())
    other.append(told(step="again", at_ns=50))
    settled(store)
    assert list(store.unsettled()) == ["s1"]
    settled(other)
    assert list(store.unsettled()) == []


def test_no_mark_goes_while_its_holder_writes(store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """An append that is under way, in another thread, keeps the mark that it relies on."""
    store.append(told())
    head = current(store, "s1")
    assert head is not None
    real = store._arrivals.log

    def meanwhile(*arguments: Any) -> Any:
        monkeypatch.setattr(store._arrivals, "log", real)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(store.write_head, head).result() is not None
        assert list(store.unsettled()) == ["s1"]
        return real(*arguments)

    monkeypatch.setattr(store._arrivals, "log", meanwhile)
    store.append(told(step="again", at_ns=50))
    assert list(store.unsettled()) == ["s1"]
    settled(store)
    assert list(store.unsettled()) == []


def test_an_append_behind_a_settling_marks_anew(store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mark is given up before it is deleted: who appends in between has another, which that deletion spares."""
    store.append(told())
    real = store._marks._connection.call

    def meanwhile(operation: str, body: dict[str, Any]) -> dict[str, Any]:
        if is_deletion(operation, body):
            monkeypatch.setattr(store._connection, "call", real)
            store.append(told(step="again", at_ns=50))
        return real(operation, body)

    monkeypatch.setattr(store._connection, "call", meanwhile)
    settled(store)
    assert list(store.unsettled()) == ["s1"]


def test_what_failed_keeps_its_mark(store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an append that failed any part may be there: the session is settled once the same has succeeded."""
    store.append(told())
    with monkeypatch.context() as patch:
        patch.setattr(store._arrivals, "log", cut_off)
        with pytest.raises(StoreUnreachable):
            store.append(told(step="again", at_ns=50))
    settled(store)
    assert list(store.unsettled()) == ["s1"]
    store.append(told(step="again", at_ns=50))
    settled(store)
    assert list(store.unsettled()) == []
    assert store.head("s1") == current(store, "s1")


def test_what_was_refused_owes_nothing(store: DynamoDBStore) -> None:
    """A context event that came at the wrong place was not written, and unsettles nothing."""
    store.append(told())
    with pytest.raises(WrongExpectedSequence):
        store.append_context("i1", 4, context_events(1, first=4))
    settled(store)
    assert list(store.unsettled()) == []


@pytest.mark.parametrize("operation", ["PutItem", "BatchWriteItem"])
def test_lost_answers(store: DynamoDBStore, dynamodb_server: DynamoDB, operation: str) -> None:
    """Where the answer to a mark, or to its deletion, is lost, it is as if it had come."""
    with DynamoDBProxy(dynamodb_server.port) as proxy:
        client = open_store(store.url.replace(str(dynamodb_server.port), str(proxy.port)))
        proxy.plan = Scripted(*[APPLIED_RESET] * (operation == "PutItem"), on={operation})
        client.append(told())
        head = judged(client)
        proxy.plan = Scripted(*[APPLIED_RESET] * (operation != "PutItem"), on={operation})
        assert client.write_head(head) is not None
        assert proxy.injected[APPLIED_RESET] == 1
    assert list(store.unsettled()) == []


def test_a_mark_that_cannot_be_deleted(
    store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A head is written though its mark cannot be deleted; the session stays unsettled, and the log says so once."""
    real = store._connection.call

    def refusing(operation: str, body: dict[str, Any]) -> dict[str, Any]:
        if is_deletion(operation, body):
            raise Refusal(operation, "InternalServerError", "", 500, {})
        return real(operation, body)

    monkeypatch.setattr(store._connection, "call", refusing)
    for step in ("one", "two"):
        store.append(told(step=step))
        assert settled(store).steps == 1 + (step == "two")
    assert list(store.unsettled()) == ["s1"]
    assert len(caplog.records) == 1


def test_a_forked_child_has_marks_of_its_own(store: DynamoDBStore) -> None:
    """What a child appends is under its own mark: its parent's head settles nothing of it."""
    store.append(told())
    child = multiprocessing.get_context("fork").Process(target=store.append, args=(told(step="child", at_ns=50),))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert marks_there(store) == 2
    settled(store)
    assert list(store.unsettled()) == ["s1"]


def test_vanished_holders(store: DynamoDBStore, other: DynamoDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mark whose holder has vanished goes with the head of who comes by an hour later; a renewed one stays."""
    for client in (open_store(store.url), open_store(store.url), other):
        client.append(told())
    settled(store)
    assert marks_there(store) == 3
    an_hour_later(monkeypatch)
    other.append(told(step="again", at_ns=50))  # it lives
    assert settle_all(store, LIMIT_NS) == 1
    assert marks_there(store) == 1
    settled(other)
    assert list(store.unsettled()) == []


def test_a_holder_that_vanished_between_events_and_log(store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a vanished writer has left unlogged is logged before its mark goes: heads and followers learn of it."""
    store.append(told())
    vanished = open_store(store.url)
    monkeypatch.setattr(vanished._arrivals, "log", cut_off)
    with pytest.raises(StoreUnreachable):
        vanished.append(told(step="last", at_ns=50))
    settled(store)
    an_hour_later(monkeypatch)
    assert settle_all(store, LIMIT_NS) == 1
    assert list(store.unsettled()) == ["s1"]
    assert settle_all(store, LIMIT_NS) == 1
    assert list(store.unsettled()) == []
    head = store.head("s1")
    assert head is not None
    assert head.events == len(everything(store)[0]) == len(list(store.read("s1"))) == 4


def test_a_writer_that_was_suspended(store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was suspended in an append, for so long that others took its mark away, has put it again as it returns."""
    store.append(told())
    real = appending.write_all

    def suspended(connection: Connection, requests: Sequence[dict[str, object]]) -> None:
        monkeypatch.setattr(appending, "write_all", real)
        an_hour_later(monkeypatch)
        settled(open_store(store.url))
        assert list(store.unsettled()) == []
        real(connection, requests)

    monkeypatch.setattr(appending, "write_all", suspended)
    store.append(told(step="again", at_ns=50))
    assert list(store.unsettled()) == ["s1"]


def test_put_item_alone_is_listed(store: DynamoDBStore) -> None:
    """A session of a writer with PutItem alone, who logs nothing and keeps no head, is unsettled and so listed."""
    limited = open_store(store.url)
    limited._appending.only_put, limited._appending.try_all_at = True, float("inf")
    assert limited.append(told()) == {}
    assert [(head.session_id, head.status) for head in current_sessions(store)] == [("s1", "COMPLETED")]


def test_no_count_of_what_comes_behind_the_cursor(store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that is written and not logged yet is not in a head: it comes behind its cursor, and counts once."""
    writer = open_store(store.url)
    real = writer._arrivals.log

    def meanwhile(*arguments: Any) -> Any:
        settled(store)
        return real(*arguments)

    store.append(told())
    monkeypatch.setattr(writer._arrivals, "log", meanwhile)
    writer.append(told(step="again", at_ns=50))
    assert settled(store).events == 4
