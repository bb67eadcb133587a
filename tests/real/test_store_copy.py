"""`store copy` between all backends on their real servers: there and back, killed on the way, and repeated."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import msgspec
import pytest

from otel_agent_journal.codec import DIGEST_BYTES
from otel_agent_journal.store.protocol import BlobStore, JournalStore, StoreAdmin
from otel_agent_journal.store.registry import open_store
from otel_agent_journal.store.rules import current
from otel_agent_journal.testing.builders import JournalBuilder, an_event, context_events, events
from otel_agent_journal_dynamodb.keys import session_key
from tests.cli.command_line import PROGRAM, cli, rows
from tests.real.servers import DynamoDB

RING = ("sqlite", "postgresql", "dynamodb", "s3", "sqlite")
BLOB = b'"what was too large"'
SESSIONS = ("s1", "../odd id/é#b", "x" * 700)
COPIES = Path(".agent-journal/copies")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of the test's own, where the state of copies is kept."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fresh(request: pytest.FixtureRequest, aws: None) -> Callable[[str], str]:
    """Return the URL of a new, prepared, empty store of a backend."""

    def prepared(backend: str) -> str:
        match backend:
            case "postgresql":
                url = request.getfixturevalue("postgresql_server").database()
            case "dynamodb":
                url = request.getfixturevalue("dynamodb_server").url()
            case "s3":
                url = request.getfixturevalue("minio_server").url(f"journal-{uuid4().hex}", "team/a")
            case _:
                return f"sqlite:///{uuid4().hex}.db"
        result = cli("store", "init", url, "--yes")
        assert result.exit_code == 0, result.stderr
        assert rows(cli("store", "init", url))[0]["done"] == []
        return url

    return prepared


@pytest.fixture
def opened() -> Iterator[Callable[[str], JournalStore]]:
    """Open stores, and close them when the test ends."""
    stores: list[JournalStore] = []

    def opened(url: str) -> JournalStore:
        stores.append(open_store(url))
        return stores[-1]

    yield opened
    for store in stores:
        store.close()


def seed(store: JournalStore) -> None:
    """Put into a journal all that one may hold: steps, late events, context, a value kept apart, odd ids, heads."""
    digest = blake2b(BLOB, digest_size=DIGEST_BYTES).hexdigest()
    assert isinstance(store, BlobStore)
    for number, session_id in enumerate(SESSIONS):
        journal = JournalBuilder(session_id, writer=f"{number}" * 32)
        root = journal.start("AGENT", "helper", details={"input": {"$blob": digest, "bytes": len(BLOB)}})
        journal.end(journal.start("TOOL", "search", parent=root), details={"output": [1.5, None, "é", {"": {}}]})
        journal.end(root)
        store.put_blob(session_id, digest, BLOB)
        store.append(journal.events)
        store.append_context(f"i{number}", 0, context_events(30, instance_id=f"i{number}", session_id=session_id))
        store.append([an_event(session_id=session_id, event_id="e" * 32)])
        replayed = current(store, session_id)
        assert replayed is not None
        assert store.write_head(replayed) is not None


def contents(store: JournalStore) -> dict[str, Any]:
    """Return all that a store holds of the seeded sessions, but for what tells in which order they came."""
    assert isinstance(store, BlobStore)
    digest = blake2b(BLOB, digest_size=DIGEST_BYTES).hexdigest()
    heads = [store.head(session_id) for session_id in SESSIONS]
    return {
        "listed": sorted(head.session_id for head in store.sessions()),
        "heads": [
            msgspec.structs.replace(head, version=0, cursor=None, snapshot=b"") for head in heads if head is not None
        ],
        "events": [list(store.read(session_id)) for session_id in SESSIONS],
        "context": [list(store.read_context(f"i{number}")) for number in range(len(SESSIONS))],
        "blobs": [store.get_blob(session_id, digest) for session_id in SESSIONS],
    }


@pytest.mark.parametrize("ring", [RING, RING[::-1]], ids=["there", "back"])
def test_a_journal_goes_round_all_backends(
    ring: tuple[str, ...], fresh: Callable[[str], str], opened: Callable[[str], JournalStore]
) -> None:
    """From each backend to the next, and repeated: the same everywhere, nothing twice, no head written again."""
    source = fresh(ring[0])
    first = opened(source)
    seed(first)
    expected = contents(first)
    for backend in ring[1:]:
        target = fresh(backend)
        for heads in (3, 0):
            result = cli("store", "copy", source, target)
            assert result.exit_code == 0, result.stderr + result.stdout
            (row,) = rows(result)
            found = {key: row[key] for key in ("sessions", "events", "blobs", "heads", "differences")}
            assert found == {"sessions": 3, "events": 105, "blobs": 3, "heads": heads, "differences": []}
        assert contents(opened(target)) == expected, f"{backend} holds something else"
        source = target
    assert cli("verify", "--store", source).exit_code == 0


def test_what_a_workflow_put_into_the_table(
    fresh: Callable[[str], str], opened: Callable[[str], JournalStore], dynamodb_server: DynamoDB
) -> None:
    """Events that another program put into a session are copied with it; the copy is the same as the original.

    An attribute `Seq` of theirs is no sequence of ours, and what is no event, for want of a time, stops nobody.
    """
    source, target = fresh("dynamodb"), fresh("sqlite")
    seed(opened(source))
    client = boto3.client("dynamodb", endpoint_url=dynamodb_server.endpoint)
    table = source.removeprefix("dynamodb://").partition("?")[0]
    for number, key in enumerate(("2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z", "1767225603")):
        put = {"PK": session_key(SESSIONS[0]), "SK": f"EVENT#{key}", "Status": "STAGE_CHANGED"}
        item = {name: {"S": value} for name, value in put.items()}
        client.put_item(TableName=table, Item={**item, "Seq": {"N": str(number)}, "EventId": {"N": str(number)}})
    for _ in range(2):
        result = cli("store", "copy", source, target)
        assert result.exit_code == 0, result.stderr + result.stdout
        (row,) = rows(result)
        assert (row["events"], row["differences"]) == (107, [])
    assert contents(opened(target))["events"] == contents(opened(source))["events"]


@pytest.mark.parametrize("backend", ["postgresql", "dynamodb", "s3"])
def test_a_killed_copy_goes_on_and_doubles_nothing(
    backend: str, fresh: Callable[[str], str], opened: Callable[[str], JournalStore]
) -> None:
    """SIGKILL while a copy is under way: the next one goes on, and in the end all is there once, in sequence."""
    source, target = fresh("sqlite"), fresh(backend)
    store = opened(f"{source}?synchronous=normal")
    for number in range(3):
        store.append(events(600, session_id=f"s{number}"))
        made = context_events(60, instance_id=f"i{number}", session_id=f"s{number}")
        store.append_context(f"i{number}", 0, made)
        head = current(store, f"s{number}")
        assert head is not None
        assert store.write_head(head) is not None
    child = subprocess.Popen(
        [*PROGRAM, "store", "copy", source, target],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ),
    )
    deadline = time.monotonic() + 60
    while not any(file.read_bytes().count(b"\n") >= 2 for file in COPIES.glob("*.jsonl")):
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.001)
    child.kill()
    child.communicate()
    result = cli("store", "copy", source, target)
    assert result.exit_code == 0, result.stderr + result.stdout
    row = json.loads(result.stdout)
    assert (row["events"], row["differences"]) == (1980, [])
    assert row["copied_before"] >= 500
    copy = opened(target)
    arrived = list(copy.follow(None, limit=5000).events)
    assert len({event.key for event in arrived}) == len(arrived) == 1980
    for number in range(3):
        assert [event.seq for event in copy.read_context(f"i{number}")] == list(range(60))


@pytest.mark.parametrize("backend", ["postgresql", "dynamodb", "s3"])
def test_the_operators_commands(
    backend: str, fresh: Callable[[str], str], opened: Callable[[str], JournalStore]
) -> None:
    """init is repeated without effect, info and policies are the backend's, prune deletes whole sessions."""
    url = fresh(backend)
    store = opened(url)
    assert isinstance(store, StoreAdmin)
    seed(store)
    result = cli("store", "info", url)
    assert result.exit_code == 0, result.stderr
    (info,) = rows(result)
    assert (info["backend"], info["store"]) == (backend, store.url)
    assert info["events"] in (105, None)
    assert info["sessions"] in (3, None)
    if backend == "postgresql":
        assert cli("store", "iam-policy", url, "--role", "writer").exit_code == 1
    else:
        documents = [cli("store", "iam-policy", url, "--role", role).stdout for role in ("writer", "reader", "admin")]
        assert [json.loads(text)["Version"] for text in documents] == ["2012-10-17"] * 3
        put = "dynamodb:PutItem" if backend == "dynamodb" else "s3:PutObject"
        assert [put in text for text in documents[:2]] == [True, False]
    compacted = cli("compact", "--all", "--store", url)
    assert compacted.exit_code == (0 if backend == "s3" else 1)
    if not store.capabilities.prune:
        assert cli("store", "prune", url, "--older-than", "1s", "--yes").exit_code == 1
        return
    assert rows(cli("store", "prune", url, "--older-than", "1s", "--dry-run"))[0]["sessions"] == 3
    assert rows(cli("store", "prune", url, "--older-than", "1s", "--yes"))[0] | {"before": ""} == {
        "store": store.url,
        "before": "",
        "sessions": 3,
        "deleted": True,
    }
    assert rows(cli("ls", "--store", url)) == []
    assert contents(store)["events"] == [[], [], []]
