"""A session as teams have them: a human was asked, a call throttled, a tool failed deep below, in several scripts."""

from __future__ import annotations

from typing import Any, Final

from otel_agent_journal.event import ErrorInfo, Usage
from otel_agent_journal.testing.builders import JournalBuilder, OpenStep
from otel_agent_journal.testing.clocks import EPOCH_2026_NS
from tests.cli.conftest import Seeded

SECOND: Final = 1_000_000_000
LONG_ID: Final = "tenant-42/customer-" + "0123456789" * 8 + "-x"
PASSED: Final = {"passed_through": True}
STACK: Final = """Traceback (most recent call last):
  File "/srv/agent/tools.py", line 41, in book
    return client.book(city)
ConnectionError: 予約サーバーに接続できません

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/srv/agent/tools.py", line 43, in book
    raise BookingError("no booking") from error
BookingError: no booking"""


class Clock:
    """A clock that stands where it is put, and moves a millisecond a look."""

    def __init__(self) -> None:
        self.ns = EPOCH_2026_NS

    def __call__(self) -> int:
        self.ns += 1_000_000
        return self.ns

    def after(self, seconds: float) -> None:
        """Let time pass."""
        self.ns += round(seconds * SECOND)


def a_story(session_id: str = LONG_ID) -> JournalBuilder:
    """Return two turns: the first asks a human, who answers after two hours; in the second a tool fails."""
    clock = Clock()
    journal = JournalBuilder(session_id, writer="a" * 32, clock=clock)
    process = {"process": {"host": "worker-7", "pid": 4121, "service": "travel", "service_version": "1.4.2"}}
    agent = "旅行エージェント"
    root = journal.start("AGENT", agent, details={"input": "京都のホテルを予約して 🏯", **process})
    _planned(journal, clock, root)
    node = journal.start("NODE", "approve", parent=root, details={"input": {"hotel": "花の家", "nights": 2}})
    clock.after(0.2)
    journal.end(node, "interrupted")
    journal.end(root, "interrupted")
    clock.after(7200)
    journal.writer = "b" * 32
    second = journal.start("AGENT", agent, details=process)
    again = journal.start("NODE", "approve", parent=second, step_id=node.step_id, attempt=1)
    clock.after(0.1)
    journal.end(again, details={"output": {"approved": True}})
    _booked(journal, clock, second)
    journal.end(second, "error", error=ErrorInfo(type="BookingError", message="no booking"), details=PASSED)
    return journal


def _planned(journal: JournalBuilder, clock: Clock, root: OpenStep) -> None:
    asked = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "京都のホテルを予約して 🏯"},
    ]
    model = journal.start("MODEL", "claude-sonnet", parent=root, details={"messages": asked})
    clock.after(1)
    said = "throttled; attempt 2 of 5 follows in 3 s"
    journal.note(model, "WARNING", level="WARNING", details={"message": said, "backoff_s": 3})
    clock.after(4)
    call = {"id": "c1", "name": "search", "args": {"city": "京都", "stars": 4}}
    usage = Usage(input_tokens=1200, output_tokens=80)
    answer = {"role": "assistant", "content": "探してみます。", "tool_calls": [call]}
    journal.end(model, usage=usage, details={"output": answer})
    tool = journal.start("TOOL", "search", parent=root, details={"input": {"city": "京都", "stars": 4}})
    clock.after(0.6)
    found = "مرحبا, 花の家 👩‍👩‍👧 — three rooms left, the cheapest at ¥18,000"
    journal.end(tool, details={"output": {"role": "tool", "content": found, "tool_call_id": "c1"}})


def _booked(journal: JournalBuilder, clock: Clock, root: OpenStep) -> None:
    node = journal.start("NODE", "book", parent=root, details={"input": {"hotel": "花の家"}})
    details: dict[str, Any] = {"raised_at": "/srv/agent/tools.py:43 in book", "stack": STACK}
    tool = journal.start("TOOL", "book_hotel", parent=node, details={"input": {"hotel": "花の家"}, "effects": "write"})
    clock.after(1.5)
    journal.end(tool, "error", error=ErrorInfo(type="BookingError", message="no booking"))
    clock.after(2)
    again: Any = {"step_id": tool.step_id, "attempt": 2, "details": {"effects": "write"}}
    retried = journal.start("TOOL", "book_hotel", parent=node, **again)
    clock.after(1.2)
    journal.end(retried, "error", error=ErrorInfo(type="BookingError", message="no booking"), details=details)
    journal.end(node, "error", error=ErrorInfo(type="BookingError", message="no booking"), details=PASSED)


def keep(journal: Seeded) -> None:
    """Keep it."""
    journal.keep(a_story())
