"""An append that is interrupted at any line of it, also twice, passes the interrupt on and costs no later append."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any
from uuid import uuid4

import pytest

from otel_agent_journal.descriptors import Descriptor
from otel_agent_journal.spool.writer import SpoolWriter
from tests.spool.spooling import everything

LONG = bool(os.environ.get("AGENT_JOURNAL_SOAK"))
PAIRS = 10_000 if LONG else 300


class Interrupting:
    """Raises KeyboardInterrupt at a line of what is called, the standard library among it, and once more after that.

    Args:
        at: which line, counted from 1; None: none.
        again: how many calls and returns later.
    """

    def __init__(self, at: int | None, again: int | None) -> None:
        self.at = at
        self.again = again
        self.lines = 0

    def line(self, _frame: FrameType, event: str, _: Any) -> Any:
        """A function for `sys.settrace`, which is forgotten as it raises."""
        if event == "line":
            self.lines += 1
            if self.lines == self.at:
                if self.again is not None:
                    sys.setprofile(self.call)
                raise KeyboardInterrupt
        return self.line

    def call(self, frame: FrameType | None, *_: Any) -> None:
        """A function for `sys.setprofile`, as above."""
        assert self.again is not None
        self.again -= 1
        while self.again < 0 and frame is not None:
            if frame.f_code is SpoolWriter.append.__code__:  # else it is over
                raise KeyboardInterrupt
            frame = frame.f_back


def lines_of(call: Callable[[], object], at: int | None = None, again: int | None = None) -> int:
    """Call it, with interrupts; return how many lines there were."""
    interrupting = Interrupting(at, again)
    sys.settrace(interrupting.line)
    try:
        call()
    except KeyboardInterrupt:
        pass
    finally:
        sys.setprofile(None)
        sys.settrace(None)
    return interrupting.lines


def apart(work: Callable[[], None]) -> None:
    """Do something in a thread of its own.

    One that is interrupted as it leaves a handler goes on as if it handled that exception for ever, and whatever is
    raised in it later, by another test, has it for a context.
    """
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


def full_writer(root: Path) -> SpoolWriter:
    """A writer whose next append begins another segment."""
    writer = SpoolWriter(root, writer=uuid4().hex, segment_bytes=64 * 1024, retry_s=0)
    assert writer.append(b"." * 60_000)
    writer._prepare_next = lambda: None  # no thread makes it ready
    return writer


def check(root: Path, at: int, again: int | None = None) -> None:
    """Interrupt the first append of a writer, which makes its folder and segment; the next one must be taken."""
    writer = SpoolWriter(root / f"{at}-{again}", writer=uuid4().hex, segment_bytes=64 * 1024, retry_s=0)
    lines_of(lambda: writer.append(b"interrupted"), at, again)
    assert writer.append(b"goes on"), f"interrupted at {at}, {again}: {writer.last_refusal}"
    assert writer.refused == 0, f"interrupted at {at}, {again}: {writer.last_refusal}"
    writer.close()
    records = everything(writer.folder)
    assert records[-1] == b"goes on", (at, again)
    assert records[:-1] in ([], [b"interrupted"]), (at, again)


@pytest.fixture(autouse=True)
def finalizers_that_are_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python says so and goes on: here it need not be said."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)


@pytest.fixture
def lines(tmp_path: Path) -> int:
    """How many lines a first append is."""
    writer = SpoolWriter(tmp_path / "whole", writer=uuid4().hex, segment_bytes=64 * 1024)
    count = lines_of(lambda: writer.append(b"whole"))
    writer.close()
    return count


@pytest.mark.long_form
def test_an_interrupt_at_any_line(tmp_path: Path, lines: int) -> None:
    """Each line once; of every third in the short form."""
    assert lines > 100

    def work() -> None:
        for line in range(1, lines + 1, 1 if LONG else 3):
            check(tmp_path, line)

    apart(work)


@pytest.mark.long_form
def test_an_interrupt_at_any_line_of_a_rotation(tmp_path: Path) -> None:
    """As above, of an append for which another segment is made; of every ninth line in the short form."""
    whole = full_writer(tmp_path / "whole")
    lines = lines_of(lambda: whole.append(b"x" * 8000))
    whole.close()
    assert lines > 50

    def work() -> None:
        for line in range(1, lines + 1, 1 if LONG else 9):
            writer = full_writer(tmp_path / str(line))
            lines_of(lambda writer=writer: writer.append(b"x" * 8000), line)
            assert writer.append(b"goes on"), f"interrupted at {line}: {writer.last_refusal}"
            writer.close()
            records = everything(writer.folder)
            assert [records[0], records[-1]] == [b"." * 60_000, b"goes on"], line
            assert records[1:-1] in ([], [b"x" * 8000]), line

    apart(work)


def test_a_close_within_a_close(tmp_path: Path) -> None:
    """Whoever closes a file while it is being closed, a signal handler say, has no number closed that is another's."""
    for line in range(1, 10):
        mine = Descriptor(os.open(tmp_path / "mine", os.O_RDWR | os.O_CREAT))
        others: list[int] = []
        lines = 0

        def trace(
            frame: FrameType, event: str, _: Any, at: int = line, mine: Descriptor = mine, others: list[int] = others
        ) -> Any:
            nonlocal lines
            lines += event == "line" and frame.f_code is Descriptor.close.__code__
            if lines == at and not others:
                sys.settrace(None)
                mine.close()
                others.append(os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT))
            return trace

        sys.settrace(trace)
        try:
            mine.close()
        finally:
            sys.settrace(None)
        for other in others:
            os.close(other)  # which is open still


@pytest.mark.long_form
@pytest.mark.timeout(600)
def test_an_interrupt_of_what_an_interrupt_has_left_to_do(tmp_path: Path, lines: int) -> None:
    """A second one, while what the first left half done is put away."""
    chance = random.Random(4711)

    def work() -> None:
        for _ in range(PAIRS):
            check(tmp_path, chance.randint(1, lines), chance.randint(0, 120))

    apart(work)
