"""The drain before a DynamoDB: heads beside events, throttled in between, and with PutItem alone."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from otel_agent_journal.delivery.drain import Drain
from otel_agent_journal_dynamodb import DynamoDBStore, open_store
from tests.real.fault_proxy import FAILED, AtRandom
from tests.real.fault_proxy_http import DynamoDBProxy, Request, Response
from tests.real.servers import DynamoDB
from tests.spool.spooling import ended, new_writer, started


class PutItemAlone(DynamoDBProxy):
    """Permits PutItem and nothing else."""

    def __init__(self, port: int) -> None:
        super().__init__(port, lambda call: None if call.name == "PutItem" else FAILED)

    def refusal(self, fault: str, request: Request) -> Response:
        return Response(400, [], b'{"__type": "x#AccessDeniedException", "message": "not authorized"}')


def spooled(root: Path, steps: int) -> None:
    writer = new_writer(root)
    for number in range(steps):
        writer.append(started(number))
        writer.append(ended(number))
    writer.close()


def behind(store: DynamoDBStore, server: DynamoDB, proxy: DynamoDBProxy) -> DynamoDBStore:
    return open_store(store.url.replace(str(server.port), str(proxy.port)))


def test_events_and_head(store: DynamoDBStore, dynamodb_server: DynamoDB, tmp_path: Path) -> None:
    """While a third of the calls fail everything of a spool arrives once, and the head is that of all of it."""
    spooled(tmp_path, 100)
    with DynamoDBProxy(dynamodb_server.port, AtRandom(0.3, seed=3), silence_s=0.02, slow_s=0.01) as proxy:
        report = Drain(tmp_path, behind(store, dynamodb_server, proxy)).drain_once(patience_s=30)
    assert (report.delivered, report.set_aside, report.pending_bytes) == (200, 0, 0)
    assert len(list(store.read("s1"))) == len(store.follow(None).events) == 200
    (head,) = store.sessions()
    assert (head.session_id, head.events, head.steps) == ("s1", 200, 100)


def test_put_item_alone(
    store: DynamoDBStore, dynamodb_server: DynamoDB, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With PutItem alone the events arrive, no head is written, and one line says so."""
    spooled(tmp_path, 10)
    with PutItemAlone(dynamodb_server.port) as proxy, caplog.at_level(logging.WARNING):
        report = Drain(tmp_path, behind(store, dynamodb_server, proxy)).drain_once()
    assert (report.delivered, report.set_aside) == (20, 0)
    assert len(list(store.read("s1"))) == 20
    assert store.head("s1") is None
    assert len(caplog.records) == 1
