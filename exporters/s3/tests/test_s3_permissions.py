"""What each role is permitted is what its work calls, no less and no more."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from exporters.aws.tests.iam import Iam
from exporters.aws.tests.roles import read, write_beside
from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.store.rules import current, prune
from otel_agent_journal.store.rules import settle as sweep
from otel_agent_journal.testing.builders import an_event, events
from otel_agent_journal.testing.clocks import EPOCH_2026_NS
from otel_agent_journal_s3 import S3Store, open_store
from tests.real.servers import Minio

Held = Callable[[str], tuple[S3Store, Iam]]
LATER_NS = EPOCH_2026_NS + 10**15


@pytest.fixture(params=["team/a", ""], ids=["prefix", "bucket"])
def held(request: pytest.FixtureRequest, aws: None, minio_server: Minio) -> Held:
    """Return a store in a bucket that nobody has made yet, and the policy that it is held to."""
    url = minio_server.url(f"journal-{uuid.uuid4().hex}", request.param)

    def opened(role: str) -> tuple[S3Store, Iam]:
        store = open_store(url)
        return store, Iam(store.iam_policy(role), store._bucket)

    return opened


def told(session_id: str, step: str = "root", at_s: int = 0) -> list[JournalEvent]:
    """Return an agent's start and end."""
    start_ns = EPOCH_2026_NS + at_s * 10**9
    fields = {"session_id": session_id, "step_id": step, "attempt": 1, "writer": "w1", "name": "agent"}
    return [
        an_event(event_id=f"{step}-start", type="AGENT_START", timestamp_ns=start_ns, **fields),
        an_event(event_id=f"{step}-end", type="AGENT_END", timestamp_ns=start_ns + 5, outcome="ok", **fields),
    ]


def settle(store: S3Store, session_id: str) -> None:
    head = current(store, session_id)
    assert head is not None
    assert store.write_head(head) is not None


def write(store: S3Store) -> None:
    """Do what agents and their drains do."""
    for number, step in enumerate(("root", "again", "more")):  # each moves it in the listing
        store.append(told("s1", step, 60 * number))
        settle(store, "s1")
    write_beside(store)
    store.compact()


def test_writer(held: Held) -> None:
    """A writer may do what agents and their drains do, and deletes places in listings and markers alone."""
    held("admin")[0].init()
    store, iam = held("writer")
    another = open_store(store.url)
    another.append(told("s1", "before"))
    settle(another, "s1")
    another.append(told("s1", "beyond"))
    write(store)
    assert iam.denied == []
    assert iam.unused == set()
    for work in (store.init, lambda: store._bucket.delete([store._layout.segment("s1", 0)])):
        with pytest.raises(StoreUnreachable, match="iam-policy"):
            work()


def test_reader(held: Held) -> None:
    """A reader may read everything, and write nothing."""
    admin, _ = held("admin")
    admin.init()
    write(admin)
    store, iam = held("reader")
    read(store)
    assert iam.denied == []
    assert iam.unused == set()
    for work in (lambda: store.append(events(1)), lambda: store.put_blob("s1", "c" * 32, b"1")):
        with pytest.raises(StoreUnreachable, match="iam-policy"):
            work()


def test_admin(held: Held) -> None:
    """An admin may prepare, look, sweep, prune and repair, and whatever the others may."""
    store, iam = held("admin")
    store.init()
    assert store.init_plan() == []
    store._bucket.delete([store._layout.version])  # of a bucket that is there everything is looked at
    store.init()
    write(store)
    read(store)
    assert list(store.session_ids())
    open_store(store.url).append(told("s1", "vanished"))
    assert sweep(store, LATER_NS)
    assert prune(store, 2 * LATER_NS)
    assert iam.denied == []
    assert iam.unused == set()
