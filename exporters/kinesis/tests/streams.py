"""A stream as its consumer sees it, and the faults that its service has."""

from __future__ import annotations

import base64
import json
import random
import socket
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import boto3

from otel_agent_journal.codec import decode_line
from otel_agent_journal.event import JournalEvent
from tests.real.fault_proxy import (
    APPLIED,
    APPLIED_RESET,
    APPLIED_SILENT,
    FAILED,
    MIDWAY,
    PARTIAL,
    RESET,
    SLOW,
    THROTTLED,
    UNAVAILABLE,
    Call,
    Plan,
    nothing,
)
from tests.real.fault_proxy_http import HttpProxy, Request, Response, ask

FAULTS: Final = (THROTTLED, FAILED, UNAVAILABLE, RESET, MIDWAY, SLOW, APPLIED_RESET, APPLIED_SILENT, PARTIAL)
PUTS: Final = ("PutRecords", "PutRecordBatch")


class Stream(NamedTuple):
    """A stream, and what is in it."""

    client: Any
    name: str
    proxy: KinesisProxy

    def url(self, scheme: str = "kinesis", **options: str) -> str:
        """Return the URL of the sink, through the proxy."""
        more = "".join(f"&{name}={value}" for name, value in options.items())
        return f"{scheme}://{self.name}?region=us-east-1&endpoint_url={self.proxy.endpoint}&timeout=20{more}"

    def lines(self) -> list[bytes]:
        """Return the lines of all shards, each shard's in its order."""
        found: list[bytes] = []
        for shard in self.client.list_shards(StreamName=self.name)["Shards"]:
            asked = {"StreamName": self.name, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
            at = self.client.get_shard_iterator(**asked)["ShardIterator"]
            while True:
                page = self.client.get_records(ShardIterator=at, Limit=10_000)
                found += [line for record in page["Records"] for line in record["Data"].splitlines()]
                at = page["NextShardIterator"]
                if not page["Records"]:
                    break
        return found

    def delivered(self) -> list[bytes]:
        """Return the lines that Firehose has written to its bucket."""
        s3 = boto3.client("s3", endpoint_url=self.client.meta.endpoint_url)
        listed = s3.list_objects_v2(Bucket=self.name).get("Contents", [])
        bodies = [s3.get_object(Bucket=self.name, Key=one["Key"])["Body"].read() for one in listed]
        lines = [line for body in bodies for line in body.splitlines()]
        passed = {line: number for number, line in reversed(list(enumerate(self.proxy.passed)))}
        return sorted(lines, key=passed.__getitem__)  # moto names its objects by second and chance


def first_of_each(lines: list[bytes]) -> dict[str, list[JournalEvent]]:
    """Return by session what came, in order, each event where it came first: as a consumer that goes by ids has it."""
    found: dict[str, dict[str, JournalEvent]] = {}
    for event in map(decode_line, lines):
        found.setdefault(event.session_id, {}).setdefault(event.event_id, event)
    return {session_id: list(events.values()) for session_id, events in found.items()}


class KinesisProxy(HttpProxy):
    """Faults of Kinesis and Firehose: parts of a request that fail among them."""

    def __init__(self, port: int, plan: Plan = nothing, *, seed: int = 0, **options: float) -> None:
        super().__init__(port, plan, **options)
        self._random = random.Random(seed)
        self.passed: list[bytes] = []  # lines of requests that reached the server

    def _answer(self, request: Request, fault: str | None, server: socket.socket) -> Response:
        if fault in (None, SLOW, *APPLIED):
            self._note(json.loads(request.body).get("Records", ()))
        with socket.create_connection(self.server, timeout=60) as fresh:  # moto closes each when it has answered
            return super()._answer(request, fault, fresh)

    def _note(self, records: Iterable[dict[str, Any]]) -> None:
        self.passed += [line for record in records for line in base64.b64decode(record["Data"]).splitlines()]

    def call(self, request: Request) -> Call:
        """Return the operation of a request."""
        name = (request.header("x-amz-target") or "").partition(".")[2]
        return Call(name, request.path, frozenset(FAULTS if name in PUTS else FAULTS[:-1]))

    def refusal(self, fault: str, request: Request) -> Response:
        """Return the error of the service."""
        status, kind = {
            THROTTLED: (400, "ProvisionedThroughputExceededException"),
            FAILED: (500, "InternalFailure"),
            UNAVAILABLE: (503, "ServiceUnavailableException"),
        }[fault]
        return _json({"__type": kind, "message": f"made by a test: {fault}"}, status)

    def in_part(self, request: Request, server: socket.socket) -> Response:
        """Forward some records of a request, at random, and say of the rest that they failed."""
        body, target = json.loads(request.body), request.header("x-amz-target") or ""
        records = body["Records"]
        kept = sorted(self._random.sample(range(len(records)), len(records) // 2))
        count, place = (
            ("FailedRecordCount", "Records") if "Kinesis" in target else ("FailedPutCount", "RequestResponses")
        )
        failed = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "made by a test"}
        said: list[dict[str, Any]] = [failed] * len(records)
        if kept:
            done = {**body, "Records": [records[number] for number in kept]}
            self._note(done["Records"])
            response = ask(request.with_body(json.dumps(done).encode()), server)
            if response.status != 200:
                return response
            for number, answer in zip(kept, json.loads(response.body)[place], strict=True):
                said[number] = answer
        return _json({count: len(records) - len(kept), place: said})


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(status, [("Content-Type", "application/x-amz-json-1.1")], json.dumps(body).encode())
