"""A bucket of its own for each test, in a real MinIO."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import boto3
import pytest

from exporters.s3.tests.wire import Wire
from otel_agent_journal_s3 import S3Store, open_store
from tests.real.servers import Minio


@pytest.fixture
def bucket(minio_server: Minio, aws: None) -> str:
    """The name of an empty bucket."""
    name = f"journal-{uuid.uuid4().hex}"
    boto3.client("s3", endpoint_url=minio_server.endpoint).create_bucket(Bucket=name)
    return name


@pytest.fixture
def url(minio_server: Minio, bucket: str) -> str:
    """The URL of an empty store."""
    return minio_server.url(bucket, "team/a")


@pytest.fixture
def store(url: str) -> Iterator[S3Store]:
    """An empty store."""
    store = open_store(url)
    yield store
    store.close()


@pytest.fixture
def wire(store: S3Store) -> Wire:
    """What goes over the wire of the store."""
    return Wire(store)
