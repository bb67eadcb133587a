"""Preparing a bucket, on moto and on MinIO; the rights of each role; what a store says it holds."""

from __future__ import annotations

import logging
import time
import uuid
from typing import Any

import boto3
import msgspec
import pytest

from exporters.s3.tests.wire import Wire
from otel_agent_journal.store.protocol import SessionFilter
from otel_agent_journal.testing.builders import a_head, events
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
    rules = client.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    days = {rule["Filter"]["Prefix"]: rule["NoncurrentVersionExpiration"]["NoncurrentDays"] for rule in rules}
    assert days == {"team/a/": 30, "team/a/listing/": 1, "team/a/unsettled/": 1}
    assert all(rule["Expiration"] == {"ExpiredObjectDeleteMarker": True} for rule in rules), "no event expires"
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
    places = ("", "listing/", "unsettled/")
    assert [rule["ID"] for rule in rules] == ["theirs", *(f"agent-journal team/a/{place}" for place in places)]
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


@pytest.mark.parametrize("page", [1, 1000])
@pytest.mark.parametrize("late_ns", [0, SLOT_NS // 2, SLOT_NS, DAY_NS // 2])
@pytest.mark.parametrize("newest_s", [0, 10_000_000_000])
def test_session_that_moves_while_it_is_listed(
    store: S3Store, url: str, page: int, late_ns: int, newest_s: int
) -> None:
    """A session that goes on during a listing is in it, however late that is told; one may be dated in the future."""
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
