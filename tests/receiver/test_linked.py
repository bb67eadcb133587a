"""Spans whose session is named late, from the wire to the commands: the receiver's journal shows one session."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.conftest import BIN
from tests.receiver.collecting import Collecting, eventually, request

TRACE, OTHER = "a" * 32, "b" * 32
WAIT_S = 30


def post(collecting: Collecting, made: ExportTraceServiceRequest) -> None:
    asked = urllib.request.Request(
        f"http://{collecting.http}/v1/traces",
        data=made.SerializeToString(),
        headers={"content-type": "application/x-protobuf"},
    )
    with urllib.request.urlopen(asked, timeout=10) as answer:
        assert answer.status == 200


def rows(collecting: Collecting, *command: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [BIN / "agent-journal", *command, "--store", collecting.url, "-o", "jsonl"],
        capture_output=True,
        text=True,
        cwd=collecting.folder,
        timeout=60,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_session_named_late(tmp_path: Path) -> None:
    """Two traces of which some spans come first and nameless are one session, in which each span is one step."""
    with Collecting(tmp_path) as collecting:
        post(collecting, request([(TRACE, "1" * 16), (TRACE, "2" * 16), (OTHER, "3" * 16)], session_id=None))
        eventually((tmp_path / "journal.db").exists)  # until then `ls` says that there is no journal
        deadline = time.monotonic() + WAIT_S
        while len(rows(collecting, "ls")) < 2:
            assert time.monotonic() < deadline
        post(collecting, request([(TRACE, "4" * 16), (OTHER, "5" * 16)]))
        post(collecting, request([(TRACE, "1" * 16)], session_id=None))  # once more: now it is in both
        while [(row["session_id"], row["steps"]) for row in rows(collecting, "ls")] != [("s1", 5)]:
            assert time.monotonic() < deadline, rows(collecting, "ls")
        collecting.stop()
        assert len(collecting.events(TRACE)) == 5
        assert {row["session_id"] for row in rows(collecting, "show", TRACE)} == {"s1"}
        assert len(rows(collecting, "show", "s1")) == 5
        assert len(rows(collecting, "tail", "s1")) >= 12
        assert rows(collecting, "verify") == []
