"""What a deletion takes, and what it leaves: nothing that came since the session was judged is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import msgspec
import pytest

from exporters.dynamodb.tests.sessions import LIMIT_NS, an_hour_later, cut_off, judged, settled, told
from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.rules import current_sessions, prune
from otel_agent_journal.testing.builders import an_event, context_events, events
from otel_agent_journal.testing.contract_setup import everything, ids
from otel_agent_journal_dynamodb import DynamoDBStore, open_store, settling
from otel_agent_journal_dynamodb.connection import Connection
from otel_agent_journal_dynamodb.items import item_of
from tests.real.fault_proxy import CONFLICT, Scripted
from tests.real.fault_proxy_http import DynamoDBProxy
from tests.real.servers import DynamoDB


def test_pruned_and_appended_again(store: DynamoDBStore) -> None:
    """Events that were deleted and come again are followed once, from the beginning and from where one was."""
    for number in (2, 3, 4):
        store.append(events(number))
    cursor, of_session = store.tip(), store.tip("s1")
    assert prune(store, LIMIT_NS) == 1
    assert store.tip("s1") is None
    assert everything(store, of_session, session_id="s1") == ([], of_session)
    store.append(events(4))
    for found, _ in (
        everything(store),
        everything(store, cursor),
        everything(store, session_id="s1"),
        everything(store, of_session, session_id="s1"),
    ):
        assert found == events(4)
    assert prune(store, LIMIT_NS) == 1
    assert everything(store)[0] == []


def _late(store: DynamoDBStore, head: SessionHead) -> None:
    store.append([an_event(99, timestamp_ns=LIMIT_NS)])


def _context(store: DynamoDBStore, head: SessionHead) -> None:
    store.append_context("i1", 2, context_events(1, first=2))


def _heartbeat(store: DynamoDBStore, head: SessionHead) -> None:
    assert store.write_head(msgspec.structs.replace(head, writers={"w9": LIMIT_NS})) is not None


def _value(store: DynamoDBStore, head: SessionHead) -> None:
    store.put_blob("s1", "b" * 32, b"2")


def _unlogged(store: DynamoDBStore, head: SessionHead) -> None:
    writer = open_store(store.url)
    writer._arrivals.log = cut_off  # type: ignore[assignment]
    with pytest.raises(StoreUnreachable):
        writer.append([an_event(99, timestamp_ns=LIMIT_NS)])


@pytest.mark.parametrize("what", [_late, _context, _heartbeat, _value, _unlogged])
@pytest.mark.parametrize("listed", [False, True], ids=["before it is listed", "after it was listed"])
def test_a_session_that_goes_on_is_not_deleted(
    store: DynamoDBStore, other: DynamoDBStore, monkeypatch: pytest.MonkeyPatch, listed: bool,
    what: Callable[[DynamoDBStore, SessionHead], None],
) -> None:  # fmt: skip
    """A session in which something happens between its judgement and its deletion keeps everything."""
    store.append([an_event(details={"output": "x" * 1_000_000}), *events(6, first=1)])
    store.append_context("i1", 0, context_events(2))
    store.put_blob("s1", "a" * 32, b"1")
    head = settled(store)
    real = store._settling._listed

    def meanwhile(*arguments: Any) -> Any:
        monkeypatch.setattr(store._settling, "_listed", real)
        if not listed:
            what(other, head)
        found = real(*arguments)
        if listed:
            what(other, head)
        return found

    monkeypatch.setattr(store._settling, "_listed", meanwhile)
    assert not store.delete_session("s1", head.cursor, head.version)
    assert len(list(store.read("s1"))) >= 9
    assert len(list(store.read_context("i1"))) == 2 + (what is _context)
    assert store.get_blob("s1", "a" * 32) == b"1"
    assert store.head("s1") is not None


def test_what_a_vanished_writer_left_keeps_its_session(store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that nobody has logged was not judged: it is logged, and the session stays until it is."""
    store.append(told())
    head = settled(store)
    _unlogged(store, head)
    an_hour_later(monkeypatch)
    assert not store.delete_session("s1", head.cursor, head.version)
    assert len(everything(store, session_id="s1")[0]) == len(everything(store)[0]) == 3
    assert list(store.unsettled()) == ["s1"]
    assert prune(store, LIMIT_NS) == 0


def test_what_arrives_while_a_session_is_deleted(
    store: DynamoDBStore, other: DynamoDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes after the last look is a session of its own: read, followed, unsettled and listed, with its value."""
    store.append(told())
    store.append_context("i1", 0, context_events(2))
    cursor, head = store.tip("s1"), settled(store)
    new = [an_event(99, details={"output": "x" * 600_000}), *told(step="again", at_ns=50)]
    more = context_events(1, first=2)
    real = store._settling._delete

    def meanwhile(*arguments: Any) -> bool:
        other.append(new)
        other.append_context("i1", 2, more)
        return real(*arguments)

    monkeypatch.setattr(store._settling, "_delete", meanwhile)
    assert store.delete_session("s1", head.cursor, head.version)
    expected = sorted(ids([*new, *more]))
    for found in (
        list(store.read("s1")),
        everything(store, cursor, session_id="s1")[0],
        everything(store, session_id="s1")[0],
        everything(store)[0],
    ):
        assert sorted(ids(found)) == expected
        assert not any("lost" in event.details for event in found)
    assert list(store.read_context("i1", 2)) == more
    assert list(store.unsettled()) == ["s1"]
    assert [(one.session_id, one.events) for one in current_sessions(store)] == [("s1", 4)]


def test_an_instance_that_is_busy(store: DynamoDBStore, dynamodb_server: DynamoDB) -> None:
    """Where an instance cannot be deleted for a moment, the prune is broken off, not the instance left behind."""
    store.append_context("i1", 0, context_events(2))
    settled(store)
    with DynamoDBProxy(dynamodb_server.port, Scripted(CONFLICT, on={"TransactWriteItems"})) as proxy:
        client = open_store(store.url.replace(str(dynamodb_server.port), str(proxy.port)))
        with pytest.raises(StoreUnreachable, match="repeat it"):
            prune(client, LIMIT_NS)
        assert prune(client, LIMIT_NS) == 1
    store.append_context("i1", 0, context_events(2))


@pytest.mark.parametrize("at_ns", [LIMIT_NS - 1, LIMIT_NS])
def test_what_others_put_behind_the_head(store: DynamoDBStore, at_ns: int) -> None:
    """What others put goes with its session where it is older than the time, and keeps it where it is not."""
    store.append(events(3))
    settled(store)
    store._appending.put_new(_item(an_event(50, timestamp_ns=at_ns)))
    assert prune(store, LIMIT_NS) == (at_ns < LIMIT_NS)
    assert len(list(store.read("s1"))) == (0 if at_ns < LIMIT_NS else 4)


def _item(event: JournalEvent) -> dict[str, dict[str, str]]:
    return item_of(event, "SESSION#s1")


def test_a_prune_that_is_broken_off(store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a prune is broken off, no event is without its value; repeated, it deletes the rest."""
    store.append([an_event(number, details={"output": "x" * 400_000}) for number in range(4)])
    store.append(events(30, first=10))
    store.append_context("i1", 0, context_events(20))
    store.write_head(judged(store))
    real = settling.write_all
    for last in range(1, 12):
        calls = count()

        def some(connection: Connection, requests: Sequence[dict[str, object]], last: int = last) -> None:
            if next(calls) >= last:  # noqa: B023 - called in this turn alone
                raise StoreUnreachable("broken off")
            real(connection, requests)

        monkeypatch.setattr(settling, "write_all", some)
        try:
            pruned = prune(store, LIMIT_NS)
            break
        except StoreUnreachable:
            pass
        found = list(store.read("s1"))
        assert not any("lost" in event.details for event in found)
        assert len(store.follow(None).events) == len(found)
        assert list(store.unsettled()) == ["s1"]
    else:
        pruned = 0
    assert pruned == 1 or not list(current_sessions(store))
    assert store.head("s1") is None
    assert list(store.read("s1")) == list(store.read_context("i1")) == []
