"""Lakes beyond this process: read by a real Spark, and kept in a real S3."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from pathlib import Path

import boto3
import pytest

from otel_agent_journal.errors import LakeError
from otel_agent_journal.lake.archived import Archive
from otel_agent_journal.lake.compacting import compact
from otel_agent_journal.lake.manifest import open_lake
from otel_agent_journal.lake.place import open_place
from otel_agent_journal.lake.schema import TABLES
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.rules import prune
from tests.lake.lakes import NOW_NS, a_journal, asked, counts, export, more_of
from tests.query.journals import a_session, keep, rows_of
from tests.real.fixtures import server_program
from tests.real.servers import Server

SPARK_S = 300  # a JVM on a machine that is busy


@pytest.mark.real
@pytest.mark.timeout(SPARK_S + 60)
def test_spark_reads_a_lake(tmp_path: Path) -> None:
    """A real Spark finds every row, the same counts as SQL over the store, times right, and types it knows."""
    store, folder = a_journal(), tmp_path / "lake"
    export(store, folder)
    keep(store, more_of(0))
    keep(store, a_session(3).events)
    export(store, folder)
    program = server_program("spark")
    done = subprocess.run(
        [str(program), str(Path(__file__).with_name("spark_counts.py")), str(folder)],
        capture_output=True,
        text=True,
        timeout=SPARK_S,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "SPARK_LOCAL_IP": "127.0.0.1"},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    for name, table in TABLES.items():
        assert found[name] == rows_of(store, f"SELECT count(*) FROM {table.name}")[0][0]
    assert found["types"]["events"]["timestamp"] == "timestamp"
    assert found["types"]["events"]["details"] == "string"
    assert found["types"]["sessions"]["tags"] == "array<string>"
    for name, sql in (
        ("by_day", "SELECT strftime(timestamp, '%Y-%m-%d') AS day, count(*) FROM events GROUP BY day ORDER BY day"),
        ("by_type", "SELECT event_type, count(*) FROM events GROUP BY event_type ORDER BY event_type"),
        ("statuses", "SELECT status, count(*) FROM sessions GROUP BY status ORDER BY status"),
        ("tokens", "SELECT name, sum(input_tokens) FROM models GROUP BY name ORDER BY name"),
        ("failed", "SELECT name, error_type, count(*) FROM tools WHERE status = 'error' GROUP BY ALL ORDER BY ALL"),
        ("first", "SELECT min(timestamp_ns) // 1000 FROM events"),
        ("times", "SELECT count(*) FROM events"),
        ("joined", "SELECT count(*) FROM sessions s JOIN steps USING (session_id) WHERE s.agent IS NOT NULL"),
        ("tags", "SELECT count(*) FROM sessions WHERE len(writers) > 0"),
    ):
        assert found[name] == [list(row) for row in rows_of(store, sql, now_ns=NOW_NS)], name
    assert ["q0"] in found["inputs"]


@pytest.fixture
def bucket(aws: None, minio_server: Server) -> str:
    """The URL of a prefix in a bucket of its own."""
    name = f"lake-{uuid.uuid4().hex}"
    boto3.client("s3", endpoint_url=minio_server.endpoint).create_bucket(Bucket=name)
    return f"s3://{name}/team/lake?region=us-east-1&endpoint_url={minio_server.endpoint}"


@pytest.mark.real
def test_a_lake_in_s3_is_that_of_a_folder(bucket: str, tmp_path: Path) -> None:
    """In a bucket everything is as in a folder: written, asked, brought up to date, compacted, trusted by a prune."""
    store, folder = a_journal(), tmp_path / "lake"
    assert export(store, bucket) == export(store, folder)
    assert export(store, bucket).files == 0
    keep(store, more_of(0))
    keep(store, a_session(3).events)
    assert export(store, bucket) == export(store, folder)
    done = compact(open_lake(open_place(bucket)), "2026-01-01")
    assert done is not None
    for sql in (
        "SELECT * FROM events ORDER BY timestamp_ns, event_id",
        "SELECT * FROM sessions ORDER BY session_id",
        "SELECT name, count(*) FROM tools WHERE session_id IN ('s0', 's3') GROUP BY name",
    ):
        assert asked(bucket, sql) == asked(folder, sql), sql
    assert asked(bucket, "SELECT count(*) FROM events") == [(counts(folder)["events"],)]
    assert prune(store, NOW_NS, only=Archive(open_lake(open_place(bucket)), store).has) > 0
    assert rows_of(store, "SELECT count(*) FROM sessions") == [(0,)]


@pytest.mark.real
def test_a_bucket_that_is_not_there_says_so(bucket: str) -> None:
    """What S3 refuses is one line that names the lake and says what to look at."""
    gone = bucket.replace("s3://lake-", "s3://gone-")
    with pytest.raises(LakeError, match="look at bucket, region and endpoint") as raised:
        export(MemoryStore("memory://lakes"), gone)
    assert "\n" not in str(raised.value)
