"""A working directory of the test's own, and a journal in it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from otel_agent_journal.event import ErrorInfo, Usage
from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.store.registry import open_store
from otel_agent_journal.store.rules import current
from otel_agent_journal.testing.builders import JournalBuilder

URL = "sqlite:///.agent-journal/journal.db"


def absolute(url: str) -> str:
    """Return the URL of a file below the working directory as commands print it."""
    return url.replace("sqlite:///", f"sqlite:///{Path.cwd()}/")


S = 1_000_000_000
UNSET = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "PYTHONUNBUFFERED")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty directory, in UTC, with no variable set that changes what is printed."""
    monkeypatch.chdir(tmp_path)
    for name in [*os.environ]:
        if name.startswith(("AGENT_JOURNAL_", "OTEL_")) or name in UNSET:
            monkeypatch.delenv(name)
    monkeypatch.setenv("AGENT_JOURNAL_PAGER", "")  # nobody is there to leave it
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    return tmp_path


class Seeded:
    """The default journal of the working directory, and what a test puts into it."""

    def __init__(self) -> None:
        Path(".agent-journal").mkdir(exist_ok=True)
        self.store: JournalStore = open_store(URL)

    def keep(self, builder: JournalBuilder, *, head: bool = True) -> JournalBuilder:
        """Write a session as the drain would."""
        self.store.append(builder.events)
        if head:
            self.write_head(builder.session_id)
        return builder

    def write_head(self, session_id: str) -> None:
        """Write the head that the session's events amount to."""
        head = current(self.store, session_id)
        assert head is not None
        assert self.store.write_head(head) is not None

    def completed(self, session_id: str = "done", writer: str = "a" * 32) -> JournalBuilder:
        """Keep a session of an agent: a node, a model call in it, a tool that failed once and was retried."""
        journal = JournalBuilder(session_id, writer=writer)
        root = journal.start("AGENT", "researcher", details={"input": "what is new?"})
        plan = journal.start("NODE", "plan", parent=root)
        asked = {"messages": [{"role": "user", "content": "what is new?"}]}
        model = journal.start("MODEL", "scripted", parent=plan, details=asked)
        answer = {"role": "assistant", "content": "let me look", "tool_calls": [{"id": "c1", "name": "search"}]}
        usage = Usage(input_tokens=1020, output_tokens=200)
        journal.end(model, usage=usage, details={"output": answer})
        journal.end(plan)
        first = journal.start("TOOL", "search", parent=root, details={"input": {"query": "news"}})
        journal.end(first, "error", error=ErrorInfo(type="TimeoutError", message="no answer after 3 s"))
        again = journal.start("TOOL", "search", parent=root, step_id=first.step_id, attempt=2)
        journal.note(again, "PROGRESS", details={"message": "3 of 10 pages"})
        journal.end(again, details={"output": ["a page"]})
        journal.end(root, details={"output": "nothing"})
        return self.keep(journal)

    def running(self, session_id: str = "live", *, ago_s: float = 1, writer: str = "b" * 32) -> JournalBuilder:
        """Keep a session with two open steps, begun so long ago."""
        start = time.time_ns() - int(ago_s * S)
        clock = iter(range(start, start + 10**9, 1_000_000)).__next__
        journal = JournalBuilder(session_id, writer=writer, clock=clock)
        root = journal.start("AGENT", "helper")
        journal.start("TOOL", "fetch", parent=root)
        return self.keep(journal)

    def failed(self, session_id: str = "broken") -> JournalBuilder:
        """Keep a session whose root ended in error."""
        journal = JournalBuilder(session_id, writer="c" * 32)
        root = journal.start("AGENT", "helper")
        journal.end(root, "error", error=ErrorInfo(type="KeyError", message="'x'"))
        return self.keep(journal)


@pytest.fixture
def journal() -> Seeded:
    """An empty journal at the default place."""
    return Seeded()
