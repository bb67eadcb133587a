"""Preparing a bucket, on moto and on MinIO; the rights of each role; what a store says it holds."""

from __future__ import annotations

import json
import logging
import time
import uuid
from typing import Any

import boto3
import msgspec
import pytest
from botocore.exceptions import ReadTimeoutError

from exporters.s3.tests.wire import Send, Wire, name_of
from otel_agent_journal.errors import ConfigError
from otel_agent_journal.store.protocol import SessionFilter
from otel_agent_journal.testing.builders import a_head, an_event, events
from otel_agent_journal.testing.clocks import EPOCH_2026_NS
from otel_agent_journal_s3 import S3Store, open_store
from tests.real.servers import Minio, Moto

UPDATED_NS = EPOCH_2026_NS + 10**9
SLOT_NS = 10 * 10**9
DAY_NS = 86_400 * 10**9


@pytest.fixture
def missing(moto_server: Moto, aws: None) -> tuple[S3Store, Any, str]:
    """A store in a bucket that is not there, on a server that has all settings; a client, and the bucket's name."""
    name = f"journal-{uuid.uuid4().hex}"
    store = open_store(f"s3://{name}/team/a?region=eu-west-1&endpoint_url={moto_server.endpoint}")
    return store, boto3.client("s3", endpoint_url=moto_server.endpoint, region_name="eu-west-1"), name


def test_init(missing: tuple[S3Store, Any, str]) -> None:
    """A bucket is made with versions that expire, no public access, encrypted; the plan said each of it before."""
    store, client, name = missing
    plan = store.init_plan()
    assert len(plan) == 6
    assert name not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]], "planning changes nothing"
    store.init()
    assert store.init_plan() == []
    assert client.get_bucket_location(Bucket=name)["LocationConstraint"] == "eu-west-1"
    assert client.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    (rule,) = client.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert rule["Filter"] == {"Prefix": "team/a/"}
    assert rule["Expiration"] == {"ExpiredObjectDeleteMarker": True}, "no event expires"
    assert all(client.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"].values())
    (rule,) = client.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    store.append(events(3))
    assert list(store.read("s1")) == events(3)


def test_init_leaves_what_is_set(missing: tuple[S3Store, Any, str]) -> None:
    """Rules, encryption and suspended versioning that somebody chose stay; only what is missing is added."""
    store, client, name = missing
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Suspended"})
    theirs = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 1}}
    client.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [theirs]})
    kms = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "theirs"}}
    client.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": [kms]})
    assert len(store.init_plan()) == 3
    store.init()
    rules = client.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    assert [rule["ID"] for rule in rules] == ["theirs", "agent-journal team/a/"]
    assert client.get_bucket_versioning(Bucket=name)["Status"] == "Suspended"
    (rule,) = client.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert store.init_plan() == []


def test_init_where_settings_are_refused(minio_server: Minio, aws: None, caplog: pytest.LogCaptureFixture) -> None:
    """What a server does not know is said once and left; nobody is asked about it again."""
    store = open_store(minio_server.url(f"journal-{uuid.uuid4().hex}", "p"))
    with caplog.at_level(logging.WARNING):
        store.init()
        store.init()
    said = [record for record in caplog.records if record.name.startswith("otel_agent_journal_s3")]
    assert [record.args[1] for record in said if isinstance(record.args, tuple)] == [
        "public access block",
        "encryption",
    ]
    assert store.init_plan() == []
    assert open_store(store.url).init_plan() == []
    store.append(events(1))


def test_info(store: S3Store) -> None:
    """A store counts its sessions and bytes."""
    store.init()
    for number in range(3):
        store.append(events(10, session_id=f"s{number}"))
        store.write_head(a_head(f"s{number}"))
    info = store.info()
    assert (info.backend, info.sessions, info.events) == ("s3", 3, None)
    assert info.size_bytes is not None
    assert info.size_bytes > 3 * 10 * 200
    assert store.capabilities.prune


def test_policies(store: S3Store) -> None:
    """A reader reads, a writer deletes nothing but places in the listing, an admin prepares and prunes."""
    actions = {
        role: {action for statement in store.iam_policy(role)["Statement"] for action in statement["Action"]}
        for role in ("reader", "writer", "admin")
    }
    assert actions["reader"] == {"s3:GetObject", "s3:ListBucket"}
    assert actions["writer"] == {"s3:GetObject", "s3:ListBucket", "s3:PutObject", "s3:DeleteObject"}
    assert "s3:CreateBucket" in actions["admin"]
    assert not any("*" in action for role in actions.values() for action in role)
    deleting = [one for one in store.iam_policy("writer")["Statement"] if "s3:DeleteObject" in one["Action"]]
    assert [one["Resource"] for one in deleting] == [[f"arn:aws:s3:::{store._place.bucket}/team/a/listing/*"]]
    assert json.dumps(store.iam_policy("writer"))
    with pytest.raises(ConfigError, match="writer, reader, admin"):
        store.iam_policy("boss")


def test_prune_leaves_what_is_being_written(store: S3Store) -> None:
    """A session to which somebody is first to append while it is pruned stays whole."""
    store.append(events(3))
    store.write_head(a_head(updated_ns=UPDATED_NS, status="COMPLETED"))
    put_new = store._bucket.put_new

    def another_is_first(name: str, data: bytes, metadata: Any = None) -> str | None:
        if metadata and "pruned" in metadata:
            other = open_store(store.url)
            other.append(events(4))
            other.close()
        return put_new(name, data, metadata)

    store._bucket.put_new = another_is_first
    assert store.prune(UPDATED_NS + 1) == 0
    assert list(store.read("s1")) == events(4)
    assert store.head("s1") is not None


@pytest.mark.parametrize("head_too", [True, False])
def test_prune_leaves_what_went_on(store: S3Store, url: str, head_too: bool) -> None:
    """A session that goes on between the listing and its deletion keeps everything, its head rewritten or not yet."""
    store.append(events(3))
    store.put_blob("s1", "d", b"1")
    head = store.write_head(a_head(updated_ns=UPDATED_NS, status="COMPLETED"))
    assert head is not None
    listed, later_ns = store._heads.sessions, UPDATED_NS + 10**9

    def go_on(wanted: Any) -> list[Any]:
        heads = list(listed(wanted))
        other = open_store(url)
        other.append([an_event(3, timestamp_ns=later_ns)])
        if head_too:
            other.write_head(msgspec.structs.replace(head, updated_ns=later_ns))
        other.close()
        return heads

    store._heads.sessions = go_on
    assert store.prune(UPDATED_NS + 1) == 0
    assert list(store.read("s1")) == [*events(3), an_event(3, timestamp_ns=later_ns)]
    assert store.head("s1") is not None
    assert store.get_blob("s1", "d") == b"1"


def test_prune_whose_answer_is_lost(store: S3Store, wire: Wire) -> None:
    """A prune that is applied without an answer deletes the session all the same, and says so."""
    store.append(events(3))
    store.write_head(a_head(updated_ns=UPDATED_NS, status="COMPLETED"))

    def lost(request: Any, send: Send) -> Any:
        if request.method == "PUT" and "segments/" in name_of(request):
            wire.fault = None
            send(request)
            raise ReadTimeoutError(endpoint_url=request.url)
        return send(request)

    wire.fault = lost
    assert store.prune(UPDATED_NS + 1) == 1
    assert store.head("s1") is None
    assert [item.size_bytes for item in store._bucket.list(store._layout.session("s1"))] == [0, 0]


def test_prune_while_a_session_begins_anew(store: S3Store, url: str) -> None:
    """What is put into a session from the moment on at which a prune has it stays: a blob, its event, the head."""
    store.append(events(3))
    head = store.write_head(a_head(updated_ns=UPDATED_NS, status="COMPLETED"))
    assert head is not None
    put_new, other = store._bucket.put_new, open_store(url)

    def begin_anew(name: str, data: bytes, metadata: Any = None) -> Any:
        if not (metadata and "pruned" in metadata):
            return put_new(name, data, metadata)
        other.put_blob("s1", "d", b"1")
        put = put_new(name, data, metadata)
        other.append([an_event(7)])
        other.write_head(msgspec.structs.replace(head, events=1))
        return put

    store._bucket.put_new = begin_anew
    assert store.prune(UPDATED_NS + 1) == 1
    assert list(store.read("s1")) == [an_event(7)]
    assert store.get_blob("s1", "d") == b"1"
    assert [head.events for head in store.sessions()] == [1]
    other.close()


@pytest.mark.parametrize(("page", "late_ns"), [(1, 0), (1000, 0), (1000, SLOT_NS)])
@pytest.mark.parametrize("newest_s", [0, 10_000_000_000])
def test_session_that_moves_while_it_is_listed(
    store: S3Store, url: str, page: int, late_ns: int, newest_s: int
) -> None:
    """A session that goes on during a listing is in it, whatever its name, and if one is dated in the future."""
    now_ns = time.time_ns() // SLOT_NS * SLOT_NS
    for session_id, updated_ns in (("a", now_ns + newest_s * 10**9), ("m", now_ns - SLOT_NS), ("z", now_ns - DAY_NS)):
        moving = store.write_head(a_head(session_id, updated_ns=updated_ns))
    assert moving is not None
    whole = store._bucket.page
    store._bucket.page = lambda prefix, after="", limit=page: whole(prefix, after, limit)
    listing, other = store.sessions(), open_store(url)
    assert next(listing).session_id == "a"
    other.write_head(msgspec.structs.replace(moving, updated_ns=now_ns - late_ns))
    other.close()
    assert sorted(head.session_id for head in listing) == ["m", "z"]


def test_listing_of_a_few(store: S3Store, wire: Wire) -> None:
    """A listing that is limited reads no more heads than it has to."""
    for number in range(5):
        store.write_head(a_head(f"s{number}", updated_ns=EPOCH_2026_NS + number * SLOT_NS))
    wire.requests.clear()
    assert [head.session_id for head in store.sessions(SessionFilter(limit=2))] == ["s4", "s3"]
    assert wire.requests == {"LIST": 1, "GET": 2}
