"""Descriptors that the program closes, and uses again for files of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from otel_agent_journal.descriptors import Borrowed, Descriptor


def opened(path: Path) -> int:
    """Open a file, made where it is not there."""
    return os.open(path, os.O_RDWR | os.O_CREAT)


def test_a_number_that_is_anothers_is_not_used_and_not_closed(tmp_path: Path) -> None:
    """Closed by the program, then given to its own file: neither written to nor closed by us."""
    ours = Descriptor(opened(tmp_path / "ours"))
    number = ours.number
    os.close(number)
    assert not ours.is_open
    with pytest.raises(OSError, match="closed by the program"):
        _ = ours.number
    theirs = opened(tmp_path / "theirs")
    os.dup2(theirs, number)
    try:
        assert not ours.is_open
        ours.close()
        del ours
        assert os.fstat(number).st_ino == (tmp_path / "theirs").stat().st_ino
    finally:
        os.close(number) if number != theirs else None
        os.close(theirs)


def test_what_a_library_lost_is_put_back(tmp_path: Path) -> None:
    """Numbers that are free get their files again; one that is another's by now is left alone, and so are all."""
    paths = [tmp_path / "a", tmp_path / "b"]
    numbers = [opened(path) for path in paths]
    borrowed = Borrowed(paths)
    assert sorted(borrowed.numbers) == sorted(numbers)
    for number in numbers:
        os.close(number)
    assert not borrowed.are_there
    assert borrowed.put_back()
    assert borrowed.are_there
    theirs = opened(tmp_path / "theirs")
    os.dup2(theirs, numbers[0])
    os.close(numbers[1])
    assert not borrowed.put_back()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(numbers[1])
    os.close(theirs)
    os.close(numbers[0])
