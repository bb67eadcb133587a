"""A process introduces itself once in each session that it writes to, with the first event that it writes there."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from otel_agent_journal.bootstrap.introduction import Introduction, commit_of
from otel_agent_journal.pipeline.content import ContentEncoder
from otel_agent_journal.pipeline.recorder import Recorder
from otel_agent_journal.projections.status import fold
from otel_agent_journal.projections.verdict import head_of
from tests.pipeline.conftest import Written

TOLD = {"host": "h1", "pid": 7, "service": "s", "service_version": "1", "argv": ["--x"], "resource": {"a": "b"}}


def recorder(kept: Written, **encoder: Any) -> Recorder:
    return Recorder(kept, encoder=ContentEncoder(**encoder), introduce=lambda: dict(TOLD))


def introduced(kept: Written) -> list[tuple[str, str]]:
    """Return the events that say which process wrote them."""
    return [(event.session_id, event.type) for event in kept.events if "process" in event.details]


def test_once_a_session_with_its_first_event() -> None:
    """The first event of a session says who writes it, beside what it says itself; there is no event more."""
    kept = Written()
    made = recorder(kept)
    for session_id in ("s1", "s2", "s1"):
        made.start_step("AGENT", "a", session_id=session_id).end()
    assert introduced(kept) == [("s1", "AGENT_START"), ("s2", "AGENT_START")]
    assert len(kept.events) == 6
    assert kept.events[0].details["process"] == TOLD


def test_threads_introduce_it_once() -> None:
    """Of threads that come to a session at once one introduces the process."""
    kept = Written()
    made = recorder(kept)
    together = threading.Barrier(8)

    def begin() -> None:
        together.wait()
        made.record("s1", "NOTE")

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(introduced(kept)) == 1


def test_a_forked_child_introduces_itself() -> None:
    """What was told by the parent is not the child's: it begins anew."""
    kept = Written()
    made = recorder(kept)
    made.record("s1", "NOTE")
    made.after_fork()
    made.record("s1", "NOTE")
    assert introduced(kept) == [("s1", "NOTE")] * 2


def test_content_off() -> None:
    """With content off arguments stay out, and of the resource what is not of the conventions."""
    kept = Written()
    recorder(kept, content=False).record("s1", "NOTE")
    details = kept.events[0].details["process"]
    assert "argv" not in details
    assert (details["host"], details["resource"]) == ("h1", {})


def test_what_fails_costs_nothing() -> None:
    """A process that cannot be introduced journals all the same."""

    def fail() -> dict[str, Any]:
        raise OSError

    kept = Written()
    Recorder(kept, introduce=fail).record("s1", "NOTE")
    assert [event.type for event in kept.events] == ["NOTE"]


def test_it_is_no_sign_of_the_session() -> None:
    """An introduction moves no status; the head names the process."""
    kept = Written()
    recorder(kept).start_step("AGENT", "a", session_id="s1")
    head = head_of(fold(kept.events), "s1")
    assert (head.status, head.steps, head.events) == ("PROCESSING", 1, 1)
    (process,) = head.about.processes
    assert (process.writer, process.host, process.pid, process.service, process.version) == (
        "w" * 32,
        "h1",
        7,
        "s",
        "1",
    )


def test_what_a_process_says(monkeypatch: Any) -> None:
    """Arguments are masked, packages are those that are imported, the service is the resource's."""
    monkeypatch.setattr(sys, "argv", ["run.py", "--api-key", "k1", "--token=k2", "postgresql://u:k3@h/db", "--fast"])
    told = Introduction(lambda: {"service.name": "reader", "service.version": "3", "x.secret": "k4"})()
    assert told["argv"] == ["--api-key", "***", "--token=***", "postgresql://u:***@h/db", "--fast"]
    assert (told["pid"], told["service"], told["service_version"]) == (os.getpid(), "reader", "3")
    assert told["resource"]["x.secret"] == "***"
    assert "otel-agent-journal" in told["packages"]
    assert "k1" not in str(told)


def test_commit_of_a_working_tree(tmp_path: Path) -> None:
    """The commit is found by files: a branch, a detached head, packed refs, a worktree; elsewhere there is none."""

    def git(*command: str, cwd: Path = tmp_path) -> str:
        identity = ("-c", "user.name=n", "-c", "user.email=e", "-c", "init.defaultBranch=main")
        return subprocess.run(
            ("git", *identity, *command), cwd=cwd, check=True, capture_output=True, text=True
        ).stdout.strip()

    assert commit_of(tmp_path) is None
    git("init")
    assert commit_of(tmp_path) is None
    git("commit", "--allow-empty", "-m", "one")
    commit = git("rev-parse", "HEAD")
    (tmp_path / "below").mkdir()
    assert commit_of(tmp_path / "below") == commit
    git("worktree", "add", "-b", "other", str(tmp_path / "tree"))
    assert commit_of(tmp_path / "tree") == commit
    git("pack-refs", "--all")
    assert commit_of(tmp_path) == commit
    git("checkout", "--detach")
    assert commit_of(tmp_path) == commit
