"""`run --ui` from its link to the end of an agent that is killed: the real server, the real viewer, a real browser."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.processes import started
from tests.ui.conftest import OpenPage

AGENT = Path(__file__).with_name("talking_agent.py")
PROGRAM = [sys.executable, "-c", "from otel_agent_journal.cli import main; main()"]
WAIT_MS = 60_000


@pytest.fixture
def run(tmp_path: Path, viewer: None) -> Iterator[subprocess.Popen[str]]:
    """The agent, under `run --ui`."""
    command = [*PROGRAM, "run", "--ui", "--ui-stay", "--session", "talking", "--", sys.executable, str(AGENT)]
    with started(command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        yield process


@pytest.mark.timeout(240)
def test_an_agent_is_seen_at_work_and_where_it_was_killed(run: subprocess.Popen[str], open_page: OpenPage) -> None:
    """The link comes before the agent, its words with a cursor; after `kill -9` the page says so, and keeps them."""
    assert run.stderr is not None
    link = next(found[0] for line in run.stderr if (found := re.search(r"http://\S+/sessions/\S+", line)))
    page = open_page("", url=link)
    rows = page.locator("[data-step-id]")
    expect(rows).to_have_count(2, timeout=WAIT_MS)
    model = rows.nth(1)
    expect(model.get_by_role("img")).to_have_accessible_name("running")
    expect(page.get_by_role("banner")).to_contain_text("researcher is", timeout=WAIT_MS)
    expect(model.locator(".tail")).to_contain_text("I will now", timeout=WAIT_MS)
    expect(model.locator(".cursor")).to_have_count(1)
    assert run.stdout is not None
    os.kill(int(run.stdout.readline()), signal.SIGKILL)
    expect(model).to_contain_text("killed · last seen", timeout=WAIT_MS)
    expect(page.get_by_role("banner")).to_contain_text("killed · last seen", timeout=WAIT_MS)
    model.click()
    expect(page.locator(".detail")).to_contain_text("I will now compare", timeout=WAIT_MS)
    assert "token=" not in page.url
