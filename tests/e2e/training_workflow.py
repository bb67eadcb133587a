"""The example of tools that synchronise through the journal, run on a store, and what its journal has to say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Workdir

FOLDER = Path(__file__).parents[2] / "examples" / "training_workflow"


def check(workdir: Workdir, url: str, *, pace_s: float = 0.05) -> None:
    """Run the workflow for a job that succeeds, and for one that fails, each in a session of its own."""
    for session, job, epochs in (("training-1", "sentiment", 4), ("training-2", "diverges", 0)):
        env = {"AGENT_JOURNAL_STORE": url, "EXAMPLE_PACE_S": str(pace_s)}
        done = workdir.run(FOLDER / "workflow.py", job, options=("--session", session), env=env)
        assert done.returncode == 0, done.stdout + done.stderr
        ended = "JOB_DONE" if epochs else "JOB_FAILED"
        assert re.search(f"{job}: {ended} after {epochs} epochs, loss", done.stdout), done.stdout
        events = workdir.events(session, env=env)
        entries = [one for one in events if one.get("details", {}).get("written_by") == "tool"]
        assert [one["event_type"] for one in entries] == [
            "JOB_STARTED",
            *["EPOCH_TRAINED"] * epochs,
            ended,
            "JOB_CHECKED",
            "REPORT_WRITTEN",
        ]
        _each_in_a_process_of_its_own(events, entries)


def _each_in_a_process_of_its_own(events: list[dict[str, Any]], entries: list[dict[str, Any]]) -> None:
    writer_of = {one["event_type"]: one["writer"] for one in entries}
    assert len({writer_of[kind] for kind in ("JOB_STARTED", "JOB_CHECKED", "REPORT_WRITTEN")}) == 3
    steps = {one["step_id"]: one["name"] for one in events if one["event_type"] == "TOOL_START"}
    assert sorted(steps.values()) == ["check_status", "report", "start_job", "train"]
    under = {one["event_type"]: steps.get(one.get("step_id")) for one in entries}
    assert (under["JOB_STARTED"], under["JOB_CHECKED"]) == ("start_job", "check_status")
