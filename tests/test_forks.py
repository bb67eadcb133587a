"""The one list of what must happen around a fork: in order, weakly held, left by what is closed."""

from __future__ import annotations

import gc
import json
import os
from typing import Any

import pytest

from otel_agent_journal import forks
from otel_agent_journal.forks import Place


class Owner:
    """Writes down when it is told."""

    def __init__(self, name: str, told: list[str]) -> None:
        self.name = name
        self.told = told

    def before_fork(self) -> None:
        """Note it."""
        self.told.append(f"before {self.name}")

    def after_fork_in_parent(self) -> None:
        """Note it."""
        self.told.append(f"parent {self.name}")

    def after_fork(self) -> None:
        """Note it."""
        self.told.append(f"child {self.name}")


def forked(told: list[str]) -> tuple[list[str], list[str]]:
    """Fork; return what was told in the parent and in the child."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, json.dumps(told).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        child = json.loads(answer.read())
    os.waitpid(pid, 0)
    return list(told), child


def test_in_order() -> None:
    """The child tells ids first and threads last, those of one place as they joined; before the fork it is reversed."""
    told: list[str] = []
    owners = [Owner(name, told) for name in ("threads", "ids", "first", "second")]
    places = (Place.THREADS, Place.IDS, Place.SPOOL, Place.SPOOL)
    for owner, place in zip(owners, places, strict=True):
        forks.join(owner, place)
    parent, child = forked(told)
    before = ["before threads", "before second", "before first", "before ids"]
    assert parent == [*before, "parent ids", "parent first", "parent second", "parent threads"]
    assert child == [*before, "child ids", "child first", "child second", "child threads"]


def test_who_left_or_is_gone_is_not_told() -> None:
    """Who leaves is told no more, who is forgotten is not kept for it, and neither is on the list any longer."""
    told: list[str] = []
    before = len(forks._registry._owners)
    left, gone = Owner("left", told), Owner("gone", told)
    forks.join(left, Place.LOCKS)
    forks.join(gone, Place.LOCKS)
    forks.leave(left)
    forks.leave(left)
    del gone
    gc.collect()
    assert forked(told) == ([], [])
    assert len(forks._registry._owners) <= before


def test_a_fault_of_one_is_not_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one owner raises keeps neither the fork nor the others."""
    told: list[str] = []
    bad, good = Owner("bad", told), Owner("good", told)

    def fails() -> Any:
        raise RuntimeError("no")

    monkeypatch.setattr(bad, "after_fork", fails)
    forks.join(bad, Place.IDS)
    forks.join(good, Place.THREADS)
    assert forked(told)[1][-1] == "child good"
