"""`agent-journal serve` on every store's real server: agents run, sessions watched live, listed and summed up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from otel_agent_journal.server.wire import Row
from tests.processes import started
from tests.real.backends import Backend
from tests.real.servers import AWS

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
NAME, STATUS = (Row.__struct_fields__.index(name) for name in ("name", "status"))
PATIENCE_S = 100.0  # the machine is shared

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def client(backend: Backend, tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of a server that runs agents on a store of this kind."""
    (tmp_path / "agents.toml").write_text('[agents]\ncounting = "tests.real.served_agent:counting"\n')
    command = [BIN / "agent-journal", "serve", "--port", "0", "--write", "--agents", "agents.toml"]
    environ = {**os.environ, **AWS, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    with started(
        [*command, "--store", backend.fresh()], cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = urlsplit(process.stdout.readline().strip())
        headers = {"authorization": f"Bearer {parse_qs(url.query)['token'][0]}"}
        with httpx.Client(base_url=f"{url.scheme}://{url.netloc}", headers=headers, timeout=PATIENCE_S) as client:
            yield client
        process.terminate()
        assert process.wait(PATIENCE_S) == 0


def messages(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """Yield the messages of a stream: kind and data."""
    kind = "message"
    for line in lines:
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield kind, json.loads(line.removeprefix("data: "))
            kind = "message"


def test_an_agent_is_run_and_watched(client: httpx.Client) -> None:
    """Submitted once for one key, its steps are told while it works, and list, tree, result and panels agree."""
    asked = {"agent": "counting", "input": 3, "session_id": "a/../b"}
    first, again = (
        client.post("/api/sessions", json=asked, headers={"idempotency-key": "one"}).json() for _ in range(2)
    )
    assert first == again
    name = "/api/sessions/a%2F..%2Fb"
    told: list[str] = []
    deadline = time.monotonic() + PATIENCE_S
    with client.stream("GET", "/api/stream", params={"session": "a/../b"}) as stream:
        for kind, data in messages(stream.iter_lines()):
            assert time.monotonic() < deadline, told
            told += [f"{row[NAME]} {row[STATUS]}" for row in data["rows"]] if kind == "rows" else []
            if kind == "session" and data["status"] == "COMPLETED":
                break
    done = client.get(f"{name}/result", params={"wait": 60}).json()
    assert (done["status"], done["result"]) == ("COMPLETED", {"counted": 3})
    tree = client.get(f"{name}/tree").json()
    counted = [row[NAME] for row in tree["rows"] if row[NAME].startswith("count ")]
    assert counted == ["count 0", "count 1", "count 2"]
    assert {f"{name} running" for name in counted} & set(told)
    (listed,) = client.get("/api/sessions").json()["sessions"]
    assert (listed["session_id"], listed["status"]) == ("a/../b", "COMPLETED")
    events = client.get(f"{name}/events").text.splitlines()
    assert len(events) == listed["events"]
    with client.stream("GET", f"{name}/events", headers={"accept": "text/event-stream"}) as stream:
        found = messages(stream.iter_lines())
        same = [next(found)[1] for _ in events]
    assert same == [json.loads(line) for line in events]
    while not (panels := client.get("/api/dashboard").json())["totals"]["events"]:
        assert time.monotonic() < deadline, panels
        time.sleep(0.5)
