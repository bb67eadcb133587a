"""How anything of ours waits: for a bell, without a lock, never for itself, and for nothing as the interpreter ends."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from otel_agent_journal.threads import (
    Bell,
    Changes,
    Condition,
    Lock,
    Thread,
    Turns,
    is_collecting,
    may_wait,
    side_by_side,
    start_thread,
    watch_collections,
)
from tests.clock import by_the_clock, in_time

GREEN = """
import sys, time
if sys.argv[1] == "first":
    from gevent import monkey; monkey.patch_all()
import otel_agent_journal as journal
if sys.argv[1] == "late":
    journal.configure(instrument=False)
    from gevent import monkey; monkey.patch_all()
else:
    journal.configure(instrument=False)
from gevent.pool import Pool
def work(number):
    with journal.session(f"g{number:02}", agent="helper") as session:
        with session.step("tool", "search") as step:
            time.sleep(0.01)
            step.complete("found")
Pool(20).map(work, range(40))
print(journal.flush(20))
journal.shutdown()
store = journal.open_store("sqlite:///.agent-journal/journal.db")
print(sum(len(list(store.read(f"g{number:02}"))) for number in range(40)))
"""


def test_a_bell_rings_before_or_while_one_waits() -> None:
    """A ring is heard once, whether it came before the wait or during it; without one the wait is over in time."""
    bell = Bell()
    bell.ring()
    bell.ring()
    assert bell.wait(5)
    assert not bell.wait(0.01)
    threading.Timer(0.05, bell.ring).start()
    assert bell.wait(5)


@by_the_clock
def test_changes_are_seen_whenever_they_come() -> None:
    """Who waits for a state sees it as soon as it is told, by any number of threads, and gives up in time."""
    changes, state, seen = Changes(), [0], Turns()
    told: list[bool] = []

    def wait() -> None:
        held = changes.wait_until(lambda: state[0] == 3, 10)
        seen.bring(lambda: told.append(held))

    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        state[0] += 1
        changes.tell()
    for thread in threads:
        thread.join(10)
    assert told == [True] * 4
    began = time.monotonic()
    assert not changes.wait_until(lambda: False, 0.05)
    in_time(time.monotonic() - began, 5)


def test_work_that_interrupts_work_is_done_after_it() -> None:
    """What is brought while something is done does not wait for it: whoever is at work does it then, in order."""
    turns, done = Turns(), list[str]()

    def outer() -> None:
        turns.bring(lambda: done.append("inner"))
        turns.bring(lambda: done.append("last"))
        done.append("outer")

    turns.bring(outer)
    assert done == ["outer", "inner", "last"]


def test_work_that_raises_holds_up_nothing() -> None:
    """An exception passes to who is at work, and the next one is done."""
    turns, done = Turns(), list[int]()

    def fails() -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError):
        turns.bring(fails)
    turns.bring(lambda: done.append(1))
    assert done == [1]


def test_what_was_left_is_not_done_yet() -> None:
    """What stands behind work that raised is done before anybody is told that all is."""
    turns, done = Turns(), list[int]()

    def fails() -> None:
        turns.bring(lambda: done.append(1))
        raise LookupError("gone")

    with pytest.raises(LookupError):
        turns.bring(fails)
    assert done == []
    assert turns.settle(10)
    assert done == [1]


def test_work_that_nobody_does_is_not_kept() -> None:
    """Where nobody is there, whoever brings work does it himself: it is not done again by those who come later."""
    there, done = [False], list[str]()
    turns = Turns(lambda work: there[0] and (work(), True))
    assert not turns.bring(lambda: done.append("refused"))
    there[0] = True
    assert turns.bring(lambda: done.append("taken"))
    assert done == ["taken"]


def test_every_piece_of_work_is_done_once() -> None:
    """Brought by many threads, everything is done, once, and never two things at a time."""
    turns = Turns(start_thread)
    counted, within, together = [0], [0], list[int]()

    def count() -> None:
        within[0] += 1
        together.append(within[0])
        counted[0] += 1
        within[0] -= 1

    def bring() -> None:
        for _ in range(500):
            assert turns.bring(count)

    threads = [threading.Thread(target=bring) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert turns.settle(20)
    assert (counted[0], set(together)) == (2000, {1})


def test_who_works_does_not_wait_for_itself() -> None:
    """What is at work may ask whether all is done: it is not, and it is told so at once."""
    turns = Turns(start_thread)
    told: list[bool] = []
    began = time.monotonic()
    turns.bring(lambda: told.append(turns.settle(30)))
    assert turns.settle(10)
    assert told == [False]
    assert time.monotonic() - began < 10


class Dropped:
    """Garbage in a cycle, that does something as it is collected."""

    def __init__(self, ends: Callable[[], object]) -> None:
        self.itself = self
        self.ends = ends

    def __del__(self) -> None:
        self.ends()


def test_a_finalizer_knows_that_it_interrupts() -> None:
    """Within a collection, in the thread that collects, nothing is waited for; before and after it is."""
    watch_collections()
    told: list[tuple[bool, bool]] = []
    Dropped(lambda: told.append((is_collecting(), may_wait())))
    assert (is_collecting(), may_wait()) == (False, True)
    gc.collect()
    assert told == [(True, False)]
    assert (is_collecting(), may_wait()) == (False, True)


def test_a_finalizers_work_is_left_to_a_thread() -> None:
    """What a finalizer brings is done by a thread, since it may need what the code has that was interrupted."""
    watch_collections()
    turns, threads = Turns(), list[int]()
    Dropped(lambda: turns.bring(lambda: threads.append(threading.get_ident())))
    gc.collect()
    assert turns.settle(10)
    assert threads != [threading.get_ident()]


def test_a_thread_of_ours_waits_for_no_other() -> None:
    """In a thread of ours, unless that is its task, nothing waits for another one."""
    told: list[bool] = []
    thread = start_thread(lambda: told.append(may_wait()))
    assert thread is not None
    thread.join(10)
    assert told == [False]


AT_THE_END = """
import os, time
from otel_agent_journal.threads import Bell, Changes, start_thread

class Last:
    def __del__(self, bell=Bell(), changes=Changes(), start=start_thread, clock=time.monotonic, write=os.write):
        began = clock()
        said = start(print), bell.wait(60), changes.wait_until(lambda: False, 60), clock() - began < 5
        write(1, repr(said).encode())

last = Last()
"""


def test_at_the_interpreters_end_nothing_is_started_or_waited_for() -> None:
    """A finalizer that runs as the interpreter ends gets no thread, and waits for no time at all."""
    done = subprocess.run([sys.executable, "-c", AT_THE_END], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("(None, False, False, True)", "", 0)


def test_a_thread_ends_and_is_waited_for() -> None:
    """It runs at once, knows itself, and is joined within the time given."""
    go_on, known = Lock(), list[bool]()
    go_on.acquire()

    def work() -> None:
        go_on.acquire()
        known.append(thread.is_current)

    thread = Thread(work)
    assert thread.is_alive()
    assert not thread.join(0.05)
    go_on.release()
    assert thread.join(5)
    assert (known, thread.is_alive(), thread.is_current) == ([True], False, False)


def test_a_condition_is_waited_for_by_a_thread_that_holds_it_twice() -> None:
    """A wait lets go of the whole lock, ends when it is notified or in time, and has the lock again."""
    changed, seen = Condition(), list[int]()

    def work() -> None:
        with changed:
            seen.append(1)
            changed.notify_all()

    with changed, changed:
        began = time.monotonic()
        assert not changed.wait(0.05)
        assert time.monotonic() - began >= 0.05
        Thread(work)
        assert changed.wait_for(lambda: bool(seen), 5)


@pytest.mark.parametrize("when", ["first", "late"])
@pytest.mark.parametrize("durability", ["spool", "store"])
def test_under_gevent(tmp_path: object, when: str, durability: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether everything is patched before us or while our threads run, all is delivered and nothing is printed."""
    pytest.importorskip("gevent")
    monkeypatch.setenv("AGENT_JOURNAL_DURABILITY", durability)
    done = subprocess.run(
        [sys.executable, "-c", GREEN, when], cwd=str(tmp_path), capture_output=True, text=True, timeout=90, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n240\n", "")


def test_work_side_by_side_is_given_in_its_order() -> None:
    """What takes longest first is given first all the same, and so many are at work at a time, no more."""
    at_work, most, lock = 0, 0, threading.Lock()

    def work(number: int) -> int:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        time.sleep(0.02 * (number % 3))
        with lock:
            at_work -= 1
        return number

    assert list(side_by_side(work, range(20), 4)) == list(range(20))
    assert 2 <= most <= 4


def test_work_side_by_side_is_taken_no_further_than_it_must() -> None:
    """Whoever wants the first few has few more begun, and an error is raised in its turn."""
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 2:
            raise ValueError(str(number))
        return number

    results = side_by_side(work, iter(range(1000)), 3)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="2"):
        next(results)
    assert max(begun) <= 4


def test_work_side_by_side_has_ended_when_it_is_left() -> None:
    """Where nobody asks for more, nothing more is begun, and no thread is left at work."""
    at_work = [0]

    def work(number: int) -> int:
        at_work[0] += 1
        time.sleep(0.02)
        at_work[0] -= 1
        return number

    results = side_by_side(work, iter(range(1000)), 4)
    assert next(results) == 0
    results.close()
    assert at_work == [0]


def test_one_at_a_time_is_done_here() -> None:
    """Where nothing is to be gained by threads there are none."""
    assert set(side_by_side(lambda _: threading.get_ident(), range(3), 1)) == {threading.get_ident()}


def test_where_no_thread_can_be_had_the_work_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many threads as there may be leave the work to who asks for it."""

    def full(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("otel_agent_journal.threads._start", full)
    assert list(side_by_side(lambda number: number + 1, range(3), 2)) == [1, 2, 3]
