"""What is told of an exception: its message, its stack, where it was raised, and what it came of."""

from __future__ import annotations

import gc
import os
import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from otel_agent_journal.pipeline import stack
from otel_agent_journal.pipeline.failure import message_of
from otel_agent_journal.pipeline.stack import MAX_STACK_CHARACTERS, raise_site, related, stack_of
from tests.clock import by_the_clock, in_time


def raised(function: Callable[..., object], *args: object) -> BaseException:
    try:
        function(*args)
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def deep_inside(page: int) -> None:
    raise ValueError(f"no such page: {page}")


def test_stack_names_functions_lines_and_source() -> None:
    """A stack has each frame with its file, line, function and source, and last what was raised."""
    error = raised(deep_inside, 7)
    told = stack_of(error)
    assert told is not None
    assert told.startswith("Traceback (most recent call last):\n")
    assert 'raise ValueError(f"no such page: {page}")' in told
    assert told.endswith("ValueError: no such page: 7")
    site = raise_site(error)
    assert site is not None
    assert site.startswith(__file__)
    assert site.endswith(" in deep_inside")


def test_what_was_never_raised_has_no_stack() -> None:
    """An exception that was only made has neither stack nor raise site."""
    assert (stack_of(ValueError("x")), raise_site(ValueError("x"))) == (None, None)


def test_causes() -> None:
    """What an error came of is told, the nearest first: its cause, or what was being handled unless that is denied."""

    def explicit() -> None:
        try:
            deep_inside(1)
        except ValueError as error:
            raise KeyError("a") from error

    def implicit() -> None:
        try:
            explicit()
        except KeyError:
            raise RuntimeError("b")  # noqa: B904 - on purpose

    def denied() -> None:
        try:
            deep_inside(2)
        except ValueError:
            raise OSError("c") from None

    error = raised(implicit)
    assert [type(one).__name__ for one in related(error)] == ["KeyError", "ValueError"]
    told = stack_of(error)
    assert told is not None
    assert told.index("no such page: 1") < told.index("KeyError: 'a'") < told.index("RuntimeError: b")
    assert related(raised(denied)) == []


def test_parts_of_a_group() -> None:
    """A group's parts are told with it, each with its stack."""

    def group() -> None:
        raise ExceptionGroup("two", [raised(deep_inside, 1), TypeError("second")])  # type: ignore[list-item]

    error = raised(group)
    assert [type(one).__name__ for one in related(error)] == ["ValueError", "TypeError"]
    told = stack_of(error)
    assert told is not None
    assert "Part 1:" in told
    assert "deep_inside" in told
    assert "TypeError: second" in told


def test_a_cycle_of_causes_ends() -> None:
    """Exceptions that are each other's causes are told once."""
    first, second = raised(deep_inside, 1), raised(deep_inside, 2)
    first.__cause__, second.__cause__ = second, first
    assert related(first) == [second]
    assert stack_of(first)


@by_the_clock
def test_a_deep_recursion_is_soon_told() -> None:
    """A recursion of thousands of frames is told once, in bounded time and space."""

    def turn(left: int) -> None:
        if left == 0:
            deep_inside(3)
        turn(left - 1)

    def ping(left: int) -> None:
        pong(left)

    def pong(left: int) -> None:
        if left == 0:
            deep_inside(4)
        ping(left - 1)

    before = sys.getrecursionlimit()
    sys.setrecursionlimit(30_000)
    try:
        alone, mutual = raised(turn, 8_000), raised(ping, 8_000)
    finally:
        sys.setrecursionlimit(before)
    began = time.perf_counter()
    told, other = stack_of(alone), stack_of(mutual)
    in_time(time.perf_counter() - began, 1.0)
    assert told is not None
    assert other is not None
    assert "times more]" in told
    assert len(told) < 3_000
    assert "frames left out" in other
    assert len(other) <= MAX_STACK_CHARACTERS + 100
    assert told.endswith("no such page: 3")
    assert "deep_inside" in other


def test_a_long_stack_keeps_both_ends() -> None:
    """What is too long is cut in its middle: the raise site is at the end, what it came of at the beginning."""

    def failing(text: str) -> None:
        raise ValueError(text)

    error = raised(failing, "x" * 990)
    for number in range(40):
        outer = raised(failing, f"{number}" + "y" * 990)
        outer.add_note("z" * 990)
        outer.__cause__, error = error, outer
    told = stack_of(error)
    assert told is not None
    assert len(told) < MAX_STACK_CHARACTERS + 100
    assert "characters left out" in told
    assert told.endswith("z" * 100)


class Lying(Exception):
    """Claims to be something else, and fails at whatever it is asked."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"asked for {name}")

    def __str__(self) -> str:
        raise RuntimeError("asked for its text")


def test_a_lying_exception_is_not_asked() -> None:
    """An exception whose class fails at everything has its stack all the same."""

    def lie() -> None:
        raise Lying("x")

    error = raised(lie)
    told = stack_of(error)
    assert told is not None
    assert told.endswith(".Lying: x")
    assert message_of(error) == "x"
    assert related(error) == []


def test_nothing_is_kept() -> None:
    """What is told holds neither the exception nor its frames."""

    class Held:
        pass

    def failing() -> None:
        here = Held()
        references.append(weakref.ref(here))
        raise ValueError("x")

    references: list[weakref.ref[Held]] = []
    gc.disable()
    try:
        error: BaseException | None = raised(failing)
        assert error is not None
        assert stack_of(error)
        assert raise_site(error)
        related(error)
        error = None
        assert references[0]() is None
    finally:
        gc.enable()


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    """A frame may name anything as its file: no pipe is waited for, no large file read, a missing one is no error."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large.py").write_text("x = 1\n" * 200_000)
    for name in (str(tmp_path / "pipe"), str(tmp_path / "large.py"), "/nowhere.py", "<string>", "nul\0.py", ""):
        code = compile("def f():\n    raise ValueError('x')\n", name.replace("\0", "?"), "exec")
        space: dict[str, Any] = {}
        exec(code, space)
        function = space["f"]
        function.__code__ = function.__code__.replace(co_filename=name)
        told = stack_of(raised(function))
        assert told is not None
        assert "line 2, in f\nValueError: x" in told


def test_lines_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that comes again reads no file again."""
    file = tmp_path / "once.py"
    file.write_text("def f():\n    raise ValueError('x')  # here\n")
    space: dict[str, Any] = {}
    exec(compile(file.read_text(), str(file), "exec"), space)
    assert "# here" in (stack_of(raised(space["f"])) or "")
    monkeypatch.setattr(stack, "_read", lambda name: pytest.fail(f"{name} was read again"))
    assert "# here" in (stack_of(raised(space["f"])) or "")


def test_notes_are_told() -> None:
    """Notes that were added to an exception stand behind its message."""
    error = raised(deep_inside, 1)
    error.add_note("while reading")
    assert (stack_of(error) or "").endswith("no such page: 1\nwhile reading")


def test_a_traceback_of_its_own_making() -> None:
    """A traceback that a program has put together is read as any other."""
    error = raised(deep_inside, 1)
    assert error.__traceback__ is not None
    made = TracebackType(None, error.__traceback__.tb_frame, 0, 12)
    assert (raise_site(error.with_traceback(made)) or "").endswith(":12 in raised")
