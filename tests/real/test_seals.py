"""Seals on every store's real server: what is changed is found, and what is erased keeps its seal."""

from __future__ import annotations

import os
import random
import uuid
from pathlib import Path
from typing import Any, cast

import pytest

from otel_agent_journal.codec import decode_line, encode_line
from otel_agent_journal.errors import CodecError
from otel_agent_journal.seals.erasing import erase
from otel_agent_journal.seals.log import Log
from otel_agent_journal.seals.retention import record_deletions
from otel_agent_journal.store.deleting import delete
from tests.real.backends import Backend
from tests.real.servers import AWS, Minio
from tests.seals.sessions import NOW_NS, Tampered, a_session, instead, keep, late, seal, signer, verify

SOAK = bool(os.environ.get("AGENT_JOURNAL_SOAK"))
FLIPS = 2_000 if SOAK else 40


@pytest.mark.real
@pytest.mark.long_form
def test_sealed_sessions_on_a_server(backend: Backend, tmp_path: Path) -> None:
    """A flip in any byte is named; late events, deletions with and without a record, erased content."""
    chance = random.Random(11)
    with backend.opened(backend.fresh()) as store:
        events = keep(store, a_session())
        for one in ("pruned", "stolen"):
            keep(store, a_session(one))
        assert len(seal(store, "s", "pruned", "stolen")) == 3
        assert seal(store, "s") == []
        assert verify(store)[0] == []
        found = 0
        for _ in range(FLIPS):
            event = chance.choice(events)
            data = bytearray(encode_line(event))
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            try:
                other = decode_line(bytes(data))
            except CodecError:
                continue
            if other != event:
                told, _ = verify(cast("Any", Tampered(store, instead(event, other))), "s")
                assert event.event_id in {one.event_id for one in told}
                found += 1
        assert found
        store.append([late("s", 1, events[0].timestamp_ns)])
        assert [one.check for one in verify(store, "s")[0]] == ["unsealed"]
        assert [(one.seal, one.new) for one in seal(store, "s")] == [(2, 1)]
        record_deletions(store, ["pruned"], "pruned", signer(), lambda: NOW_NS)
        delete(store, "pruned")
        delete(store, "stolen")
        assert [(one.check, one.session_id) for one in verify(store)[0]] == [("missing", "stolen")]
        erase(store, "s", (), signer(), tmp_path, lambda: NOW_NS)
        told, verdicts = verify(store, "s")
        assert told == []
        assert (verdicts[0].sealed, verdicts[0].unsealed) == (len(events) + 1, 0)
        assert b"sky" not in b"".join(map(encode_line, store.read("s")))


@pytest.mark.real
def test_an_anchor_in_a_bucket_stays(minio_server: Minio, monkeypatch: pytest.MonkeyPatch) -> None:
    """With Object Lock: written once, read back, and the version cannot be deleted before its day."""
    import boto3
    from botocore.exceptions import ClientError

    from otel_agent_journal.store.memory import MemoryStore
    from otel_agent_journal_aws.seals import open_bucket

    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    client: Any = cast("Any", boto3).client("s3", endpoint_url=minio_server.endpoint)
    bucket = f"anchors-{uuid.uuid4().hex}"
    client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    anchor = open_bucket(f"s3://{bucket}/journal?days=1&endpoint_url={minio_server.endpoint}")
    store = MemoryStore()
    keep(store, a_session())
    seal(store, "s")
    head = Log(store).head()
    assert head is not None
    import time

    for _ in range(2):
        anchor.put(head.note, head.size, time.time_ns())
    kept = tuple(anchor.kept())
    assert [str(one.note) for one in kept] == [head.note]
    assert verify(store, anchors=kept)[0] == []
    client.delete_object(Bucket=bucket, Key=client.list_objects_v2(Bucket=bucket)["Contents"][0]["Key"])
    assert tuple(anchor.kept()) == kept  # a marker hides it from who does not look for versions
    (version,) = client.list_object_versions(Bucket=bucket)["Versions"]
    with pytest.raises(ClientError):
        client.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
