"""`agent-journal serve --rules`: the server judges alerts, sends them, and shows what fires."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from otel_agent_journal.store.registry import open_store
from otel_agent_journal.store.rules import current
from otel_agent_journal.testing.builders import JournalBuilder
from tests.alerts.conftest import SECRET, hook
from tests.alerts.receiver import LocalReceiver
from tests.processes import started

BIN = Path(sys.executable).parent
PATIENCE_S = 60.0
RULE = """[[alert]]
name = "fails"
severity = "critical"
kind = "error_rate"
by = "agent"
at_least = 1
send = ["ops"]
"""


@pytest.mark.timeout(180)
def test_a_server_judges_and_shows(tmp_path: Path, receiver: LocalReceiver) -> None:
    """What fires is sent to its receiver, and stands in the dashboard and under /api/alerts."""
    (tmp_path / "alerts.toml").write_text(RULE + hook(receiver))
    url = f"sqlite:///{tmp_path}/journal.db"
    store = open_store(url)
    builder = JournalBuilder("s1", clock=time.time_ns)
    builder.end(builder.start("AGENT", "clerk"), "error")
    store.append(builder.events)
    head = current(store, "s1")
    assert head is not None
    store.write_head(head)
    store.close()
    command = [BIN / "agent-journal", "serve", "--port", "0", "--store", url, "--alerts"]
    environ = {**os.environ, "HOOK_SECRET": SECRET}
    with started(command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        link = urlsplit(process.stdout.readline().strip())
        headers = {"authorization": f"Bearer {parse_qs(link.query)['token'][0]}"}
        with httpx.Client(base_url=f"{link.scheme}://{link.netloc}", headers=headers, timeout=PATIENCE_S) as client:
            deadline = time.monotonic() + PATIENCE_S
            while not (client.get("/api/dashboard").json()["alerts"] and receiver.got):
                assert time.monotonic() < deadline
                time.sleep(0.2)
            (shown,) = client.get("/api/dashboard").json()["alerts"]
            assert (shown["rule"], shown["severity"]) == ("fails", "critical")
            (listed,) = client.get("/api/alerts").json()["alerts"]
            assert (listed["rule"], listed["state"], listed["summary"]) == ("fails", "firing", shown["summary"])
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    assert receiver.got[0].json["data"]["rule"] == "fails"


def test_rules_that_are_none_are_said_before_anything_is_served(tmp_path: Path) -> None:
    """The line is named, and the server does not start."""
    (tmp_path / "rules.toml").write_text("[[alert]]\nname = 7\n")
    open_store(f"sqlite:///{tmp_path}/journal.db").close()
    command = [BIN / "agent-journal", "serve", "--port", "0", "--store", f"sqlite:///{tmp_path}/journal.db"]
    command += ["--rules", "rules.toml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 2
    assert "rules.toml" in done.stderr
    assert done.stdout == ""
