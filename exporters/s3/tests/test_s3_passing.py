"""What comes and goes with each session leaves nothing in a bucket with versions, and what it deletes is gone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from botocore.exceptions import ReadTimeoutError

from exporters.s3.tests.simulated import Server, store_at
from exporters.s3.tests.wire import Send, Wire, answer, body_of, name_of, said
from otel_agent_journal.store.protocol import SessionFilter
from otel_agent_journal.store.rules import current
from otel_agent_journal.testing.builders import a_head
from otel_agent_journal.testing.contract_settling import told
from otel_agent_journal_s3 import S3Store, open_store, passing

PASSING = ("listing/", "unsettled/")
TURNS = 3


@pytest.fixture
def versioned(store: S3Store) -> S3Store:
    """An empty store in a bucket with versions."""
    store.init()
    return store


def turn(store: S3Store, number: int, session_id: str = "s1") -> None:
    """Let a session begin or go on, and end."""
    store.append(told(session_id, step=f"t{number}", at_ns=number * 60 * 10**9))
    for status in ("PROCESSING", "COMPLETED"):
        head = current(store, session_id)
        assert head is not None
        stored = store.head(session_id)
        version = stored.version if stored else 0
        assert store.write_head(msgspec.structs.replace(head, status=status, version=version, open_writers=()))


def left(store: S3Store) -> list[str]:
    """Return the names of deletion's markers below what passes, and of versions of what is not there."""
    client, bucket = store._bucket.client, store._bucket.place.bucket
    found: list[str] = []
    for prefix in PASSING:
        answer = client.list_object_versions(Bucket=bucket, Prefix=f"team/a/{prefix}")
        there = {item.name for item in store._bucket.list(f"team/a/{prefix}")}
        found += [one["Key"] for one in answer.get("DeleteMarkers", ())]
        found += [one["Key"] for one in answer.get("Versions", ()) if one["Key"] not in there]
    return found


def statuses(store: S3Store, *, brief: bool = True) -> list[tuple[str, str]]:
    return [(head.session_id, head.status) for head in store.sessions(SessionFilter(brief=brief))]


def test_nothing_is_left(versioned: S3Store) -> None:
    """After some turns of some sessions the sessions' places are all there is, with nothing behind them."""
    for number in range(TURNS):
        for session_id in ("s1", "s2"):
            turn(versioned, number, session_id)
    assert left(versioned) == []
    assert list(versioned.unsettled()) == []
    assert sorted(statuses(versioned)) == [("s1", "COMPLETED"), ("s2", "COMPLETED")]
    assert statuses(versioned) == statuses(versioned, brief=False)


def test_what_another_made_is_deleted_with_a_marker(versioned: S3Store) -> None:
    """A client knows its own versions alone; what it deletes of another's is gone all the same, and can be had back."""
    turn(versioned, 0)
    turn(open_store(versioned.url), 1)
    assert statuses(versioned) == statuses(versioned, brief=False) == [("s1", "COMPLETED")]
    (name,) = set(left(versioned))
    assert "/COMPLETED/" in name


@pytest.mark.parametrize("how", ["whole", "each"])
def test_without_the_right(versioned: S3Store, how: str, caplog: pytest.LogCaptureFixture) -> None:
    """Where versions may not be deleted, or a lock keeps them, markers are put, and that is said once."""
    wire = Wire(versioned)

    def refused(request: Any, send: Send) -> Any:
        if request.method != "POST" or b"VersionId" not in body_of(request):
            return send(request)
        if how == "whole":
            return answer(request, 403, "AccessDenied")
        error = b"<Error><Key>k</Key><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        return said(request, 200, b"<DeleteResult>" + error + b"</DeleteResult>", {"content-type": "application/xml"})

    wire.fault = refused
    for number in range(TURNS):
        for session_id in ("s1", "s2"):
            versioned.append(told(session_id, step=f"begin{number}", at_ns=number * 60 * 10**9))
        for session_id in ("s1", "s2"):  # both are remembered as the first is refused
            turn(versioned, number, session_id)
    assert sorted(statuses(versioned)) == [("s1", "COMPLETED"), ("s2", "COMPLETED")]
    assert statuses(versioned) == statuses(versioned, brief=False)
    assert list(versioned.unsettled()) == []
    assert left(versioned)
    warnings = [one for one in caplog.messages if "s3:DeleteObjectVersion" in one]
    assert len(warnings) == 1


@pytest.mark.parametrize("part", PASSING)
def test_an_answer_that_was_lost(versioned: S3Store, part: str) -> None:
    """A request that was made twice has left two versions, one of them unknown: what is deleted does not come back."""
    wire, lost = Wire(versioned), set[str]()

    def twice(request: Any, send: Send) -> Any:
        name = name_of(request)
        found = send(request)
        if request.method == "PUT" and part in name and name not in lost:
            lost.add(name)
            raise ReadTimeoutError(endpoint_url=request.url)
        return found

    wire.fault = twice
    for number in range(TURNS):
        turn(versioned, number)
        assert list(versioned.unsettled()) == []
        assert statuses(versioned) == statuses(versioned, brief=False) == [("s1", "COMPLETED")]
    assert lost
    assert len([*versioned._bucket.list(f"team/a/{PASSING[0]}")]) == 1
    assert len([*versioned._bucket.list(f"team/a/{PASSING[1]}")]) == 0


def test_a_bucket_without_versions(store: S3Store) -> None:
    """Where there are no versions things are deleted as ever."""
    for number in range(TURNS):
        turn(store, number)
    assert statuses(store) == [("s1", "COMPLETED")]
    assert len([*store._bucket.list(f"team/a/{PASSING[0]}")]) == 1
    assert store._heads._listing._passing._versions == {}


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more names than a client remembers the last are deleted for good, the others with markers."""
    monkeypatch.setattr(passing, "_REMEMBERED", 10)
    server = Server(versioned=True)
    store = store_at(server)
    for number in range(30):
        store.write_head(a_head(f"s{number}", status="PROCESSING", updated_ns=number))
    assert len(store._heads._listing._passing._versions) == 10
    for number in reversed(range(30)):
        head = store.head(f"s{number}")
        assert head is not None
        store.write_head(msgspec.structs.replace(head, status="COMPLETED", open_writers=()))
    markers = [name for name in server.left("listing/") if "/PROCESSING/" in name]
    assert len(markers) == 21, "the first that ends was remembered in the place of one that has not"
    assert len(list(store.sessions(SessionFilter(brief=True)))) == 30
