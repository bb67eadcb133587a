"""Streams of their own for each test, at a real moto, behind a proxy that breaks what a test wants broken."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import boto3
import pytest

from exporters.kinesis.tests.streams import KinesisProxy, Stream
from tests.real.servers import Moto


@pytest.fixture
def proxy(moto_server: Moto) -> Iterator[KinesisProxy]:
    """A proxy in front of moto, which lets everything pass until its plan says otherwise."""
    with KinesisProxy(moto_server.port) as proxy:
        yield proxy


@pytest.fixture
def stream(moto_server: Moto, proxy: KinesisProxy, aws: None) -> Stream:
    """An empty stream of two shards."""
    client = boto3.client("kinesis", endpoint_url=moto_server.endpoint)
    name = f"journal-{uuid.uuid4().hex}"
    client.create_stream(StreamName=name, ShardCount=2)
    return Stream(client, name, proxy)


@pytest.fixture
def firehose(moto_server: Moto, proxy: KinesisProxy, aws: None) -> Iterator[Stream]:
    """An empty stream of Firehose, and the bucket that it writes to."""
    client = boto3.client("firehose", endpoint_url=moto_server.endpoint)
    name = f"journal-{uuid.uuid4().hex}"
    boto3.client("s3", endpoint_url=moto_server.endpoint).create_bucket(Bucket=name)
    role = "arn:aws:iam::123456789012:role/firehose"
    client.create_delivery_stream(
        DeliveryStreamName=name,
        DeliveryStreamType="DirectPut",
        ExtendedS3DestinationConfiguration={"RoleARN": role, "BucketARN": f"arn:aws:s3:::{name}"},
    )
    yield Stream(client, name, proxy)
    client.delete_delivery_stream(DeliveryStreamName=name)
