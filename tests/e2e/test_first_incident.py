"""docs/first_incident.md, walked: from `ls` to the line of code, each answer as the page gives it."""

from __future__ import annotations

import inspect
import json
import re
import sys
from typing import Any

import pytest

from otel_agent_journal.testing import demo_refunds
from tests.docs.pages import ROOT, blocks
from tests.e2e.conftest import Workdir


def rows(workdir: Workdir, *command: str) -> list[dict[str, Any]]:
    """Run a command for its JSON lines."""
    done = workdir.journal(*command, "-o", "jsonl")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.timeout(300)
def test_from_it_failed_to_here_is_why(workdir: Workdir) -> None:
    """Six commands name session, step, line, prompt, difference and extent; then the agent goes on where it stopped."""
    shown = workdir.journal("demo", "--fail", env={"AGENT_JOURNAL_DEMO_PACE": "0.005"})
    assert shown.returncode == 0, shown.stderr
    assert "ticket 1007 failed: order 1007: '1.299,00' is no amount" in shown.stdout

    # 1. Which session?
    (failed,) = rows(workdir, "ls", "--status", "error")
    session = failed["session_id"]
    assert session.startswith("refund-1007-")
    assert failed["errors"] == 1
    assert [row["status"] for row in rows(workdir, "ls")].count("COMPLETED") == 2

    # 2. Which step?
    steps = rows(workdir, "show", session)
    (cause,) = [step for step in steps if step["status"] == "error" and step["kind"].lower() == "tool"]
    assert (cause["number"], cause["name"]) == (9, "refund")
    assert [step["number"] for step in steps if step["status"] == "error"] == [1, 8, 9]

    # 3. Which line?
    in_full = workdir.journal("show", f"{session}/refund", "-o", "table").stdout
    source, first = inspect.getsourcelines(demo_refunds.cents)
    line = first + next(number for number, text in enumerate(source) if "int(part)" in text)
    assert f'demo_refunds.py", line {line}, in cents' in in_full
    assert "ValueError: invalid literal for int() with base 10: '299,00'" in in_full

    # 4. What did the model see?
    prompt = json.loads(workdir.journal("show", f"{session}/7", "--prompt", "-o", "json").stdout)
    assert [message["role"] for message in prompt["messages"]] == ["system", "user", "assistant", "tool"]
    assert json.loads(prompt["messages"][-1]["content"])["total"] == "1.299,00"

    # 5. What is different from one that went well?
    different = workdir.journal("diff", "refund-1006", "refund-1007", "-o", "table").stdout
    assert '- {"shop": "Leeds", "item": "sewing machine", "total": "1,149.00"}' in different
    assert '+ {"shop": "Berlin", "item": "camera", "total": "1.299,00"}' in different

    # 6. Who else?
    sql = "select count(*) as calls, count(*) filter (status = 'error') as failed from tools where name = 'refund'"
    assert rows(workdir, "query", sql) == [{"calls": 3, "failed": 1}]

    # And go on: what was done is not done again.
    mended = ("-m", "otel_agent_journal.testing.demo_refunds", "--fixed", "1007")
    resumed = workdir.journal("resume", session, "--", sys.executable, *mended)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout == "Order 1007 is refunded: 1299.00 are on their way.\n"
    (now,) = [row for row in rows(workdir, "ls") if row["session_id"] == session]
    assert now["status"] == "COMPLETED"
    calls = [event["name"] for event in workdir.events(session) if event["event_type"] == "TOOL_START"]
    assert calls == ["look_up_order", "refund", "refund"]


def test_the_picture_of_the_readme(workdir: Workdir) -> None:
    """The tree on the README's first screen is what the demo shows."""
    shown = workdir.journal("demo", "--fail", env={"AGENT_JOURNAL_DEMO_PACE": "0.005"}).stdout
    picture = next(block for block in blocks((ROOT / "README.md").read_text()) if block.language == "text")
    step = re.compile(r"^ *(\d+) .*?([✓✗]) (\w+) (\S+)", re.MULTILINE)
    assert len(step.findall(picture.text)) == 9
    assert step.findall(picture.text) == step.findall(shown)


def test_what_the_demo_suggests_works(workdir: Workdir) -> None:
    """Each command that `demo --fail` prints can be pasted and answers."""
    shown = workdir.journal("demo", "--fail", env={"AGENT_JOURNAL_DEMO_PACE": "0.005"}).stdout
    suggested = [line.split("  ")[1] for line in shown.partition("what to try next:")[2].splitlines() if line]
    assert len(suggested) == 5
    for command in suggested:
        tried = workdir.command("bash", "-c", command)
        assert tried.returncode == 0, tried.stderr
        assert tried.stdout.strip()
    refused = workdir.journal("demo", "--fail", "--session", "mine")
    assert refused.returncode == 2
