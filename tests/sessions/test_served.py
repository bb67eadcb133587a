"""`agent-journal serve --write --agents`: callers run agents through the server that shows their sessions."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.processes import started
from tests.sessions.conftest import LONG_S, ROOT

pytestmark = pytest.mark.timeout(240)
BIN = Path(sys.executable).parent


@pytest.fixture
def served(tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """A client with the token of a server that runs agents."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=":")
    (tmp_path / "agents.toml").write_text(
        '[agents]\necho = "tests.sessions.scripted:echo"\n'
        '[agents.staged]\ncall = "tests.sessions.scripted:staged"\nstages = {plan = 30}\n'
    )
    Path(store_url.removeprefix("sqlite:///")).touch()
    command = ["serve", "--port", "0", "--write", "--agents", "agents.toml", "--store", store_url]
    with started([BIN / "agent-journal", *command], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = urlsplit(process.stdout.readline().strip())
        (token,) = parse_qs(url.query)["token"]
        headers = {"authorization": f"Bearer {token}"}
        with httpx.Client(base_url=f"{url.scheme}://{url.netloc}", headers=headers, timeout=LONG_S) as client:
            yield client
        process.terminate()
        assert process.wait(LONG_S) == 0


def test_a_caller_runs_an_agent_through_the_server(served: httpx.Client) -> None:
    """Submitted, run, its next turn taken, and each step of it where the server shows sessions."""
    known = {one["name"]: one for one in served.get("/api/agents").json()["agents"]}
    assert {name: one["runs"] for name, one in known.items()} == {"echo": True, "staged": True}
    done = served.post("/api/sessions", json={"agent": "staged", "input": "it", "session_id": "a/../b"})
    assert done.status_code == 202, done.text
    place = done.headers["location"]
    deadline = time.monotonic() + LONG_S
    while (told := served.get(place).json())["status"] != "COMPLETED":
        assert time.monotonic() < deadline, told
        time.sleep(0.2)
    assert (told["session_id"], told["stage"]) == ("a/../b", "look back")
    assert served.post(f"{place}/input", json={"input": "more"}).status_code == 202
    assert served.post("/api/sessions", json={"agent": "nobody"}).status_code == 422
    assert served.post("/api/sessions", content=b"{}").status_code == 415
    assert "/api/sessions/{id}/input" in served.get("/openapi.json").json()["paths"]
    bare = httpx.post(f"{served.base_url}/api/sessions", json={"agent": "echo"}, timeout=LONG_S)
    assert bare.status_code == 401
