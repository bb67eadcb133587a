"""`wait_for()`: the journal is polled until a session has an ending, by those who record and by those who only read."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

import otel_agent_journal
from otel_agent_journal import JournalError, JournalEvent, invocation, open_store, record_event, wait_for
from otel_agent_journal.bootstrap.waiting import Ending, _poll, _Watch
from otel_agent_journal.config import Settings
from otel_agent_journal.errors import ConfigError, WaitTimeout
from otel_agent_journal.projections.status import fold
from otel_agent_journal.projections.verdict import head_of
from otel_agent_journal.store.protocol import JournalStore
from tests.clock import by_the_clock, in_time
from tests.e2e.conftest import Workdir
from tests.processes import started
from tests.projections import told
from tests.projections.test_links import link

LONG_AGO = 1_000_000_000_000_000_000


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JournalStore]:
    """A journal that this process does not record to."""
    url = f"sqlite:///{tmp_path}/journal.db"
    monkeypatch.setenv("AGENT_JOURNAL_STORE", url)
    opened = open_store(url)
    yield opened
    opened.close()


def has(store: JournalStore, *events: JournalEvent) -> None:
    """Put events into the store."""
    store.append(events)


def later(seconds: float, store: JournalStore, *events: JournalEvent) -> threading.Thread:
    """Put events into the store a little later."""
    thread = threading.Thread(target=lambda: (time.sleep(seconds), store.append(events)))
    thread.start()
    return thread


# --- what it waits for --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event_type", "status"),
    [
        ("AGENT_INVOCATION_SUCCEEDED", "COMPLETED"),
        ("AGENT_INVOCATION_FAILED", "ERROR"),
        ("SESSION_COMPLETED", "COMPLETED"),
        ("SESSION_FAILED", "ERROR"),
    ],
)
def test_an_ending_that_is_there(store: JournalStore, event_type: str, status: str) -> None:
    """An ending that is there already is returned at once, with the session's status."""
    has(store, told.said("SESSION_INITIATED", 1), told.said(event_type, 2, output="hello"))
    begun = time.monotonic()
    ending = wait_for("s1", poll_s=30)
    assert time.monotonic() - begun < 10
    assert (ending.session_id, ending.type, ending.status) == ("s1", event_type, status)
    assert (ending.output, ending.error) == ("hello", None)


def test_an_ending_in_a_part(store: JournalStore) -> None:
    """An ending that is in a trace of the session counts, whether that is linked already or while it is waited for."""
    ended = msgspec.structs.replace(told.said("AGENT_INVOCATION_SUCCEEDED", 2, output="hello"), session_id="t1")
    has(store, told.said("SESSION_INITIATED", 1), ended)
    linking = later(0.3, store, link("s1", "t1", "s1"), link("s1", "t1", "t1"))
    for _ in range(2):
        ending = wait_for("s1", timeout_s=30)
        assert (ending.session_id, ending.type, ending.status) == ("s1", "AGENT_INVOCATION_SUCCEEDED", "COMPLETED")
        linking.join()


def test_an_invocation_that_was_cancelled(store: JournalStore) -> None:
    """One that was given up has ended, and its status tells it from one that failed."""
    has(store, told.said("AGENT_INVOCATION_STARTED", 1), told.said("AGENT_INVOCATION_FAILED", 2, reason="cancelled"))
    for until in (None, "AGENT_INVOCATION_FAILED", "INTERRUPTED"):
        ending = wait_for("s1", until, timeout_s=5)
        assert (ending.type, ending.status, ending.reason) == ("AGENT_INVOCATION_FAILED", "INTERRUPTED", "cancelled")


def test_an_ending_that_comes(store: JournalStore) -> None:
    """What comes while one waits ends the wait, though the session was not known before."""
    thread = later(0.3, store, told.said("AGENT_INVOCATION_SUCCEEDED", 2))
    assert wait_for("s1", timeout_s=20, poll_s=0.02).type == "AGENT_INVOCATION_SUCCEEDED"
    thread.join()


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        ("ok", ("COMPLETED", None, "AGENT_END")),
        ("error", ("ERROR", None, "AGENT_ERROR")),
        ("interrupted", ("INTERRUPTED", "awaiting_input", "AGENT_END")),
    ],
)
def test_an_agent_that_ends(store: JournalStore, outcome: str, expected: tuple[str, str | None, str]) -> None:
    """An instrumented agent of which nobody tells the lifecycle has ended when its root has: its ending decides."""
    below = told.start("tool", 2, under="root"), told.end("tool", 2, 9, "error", under="root")
    has(store, told.start("root", 1), *below, told.end("root", 1, 9, outcome))
    ending = wait_for("s1", timeout_s=5)
    assert (ending.status, ending.reason, ending.type) == expected
    assert (ending.error is not None) is (outcome == "error")


def test_event_types_that_one_names(store: JournalStore) -> None:
    """`until` names one type or several, or statuses, and nothing else ends the wait."""
    has(store, told.said("SESSION_COMPLETED", 3), told.said("TICKET_OPENED", 2))
    assert wait_for("s1", "TICKET_OPENED").type == "TICKET_OPENED"
    assert wait_for("s1", until=("NEVER", "TICKET_OPENED")).type == "TICKET_OPENED"
    assert wait_for("s1", "COMPLETED").type == "SESSION_COMPLETED"
    with pytest.raises(WaitTimeout):
        wait_for("s1", "NEVER", timeout_s=0.1)


def test_what_was_before_is_no_ending(store: JournalStore) -> None:
    """With `since_ns` a session that ended before is waited for again."""
    has(store, told.said("AGENT_INVOCATION_SUCCEEDED", 5))
    with pytest.raises(WaitTimeout):
        wait_for("s1", since_ns=6, timeout_s=0.1)
    has(store, told.said("AGENT_INVOCATION_FAILED", 7))
    assert wait_for("s1", since_ns=6).type == "AGENT_INVOCATION_FAILED"


# --- a wait in vain -----------------------------------------------------------------------------------------------


@by_the_clock
def test_it_gives_up_in_time(store: JournalStore) -> None:
    """A wait ends in time, with an error that is a TimeoutError too and says what was seen last."""
    has(store, told.said("SESSION_INITIATED", 1), told.said("AGENT_INVOCATION_STARTED", 2))
    begun = time.monotonic()
    with pytest.raises(TimeoutError, match="last seen: AGENT_INVOCATION_STARTED, status PENDING") as caught:
        wait_for("s1", timeout_s=0.5, poll_s=30)
    assert in_time(time.monotonic() - begun, 5) > 0.4
    assert isinstance(caught.value, JournalError)
    assert (caught.value.session_id, caught.value.status) == ("s1", "PENDING")


def test_a_journal_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is not there yet is waited for, and not made; if it never comes the error says so."""
    monkeypatch.setenv("AGENT_JOURNAL_STORE", f"sqlite:///{tmp_path}/none.db")
    with pytest.raises(WaitTimeout, match="nothing was heard of it; there is no journal at"):
        wait_for("s1", timeout_s=0.2)
    assert list(tmp_path.iterdir()) == []

    def appear() -> None:
        time.sleep(0.3)
        made = open_store(f"sqlite:///{tmp_path}/none.db")
        made.append([told.said("SESSION_COMPLETED", 1)])
        made.close()

    thread = threading.Thread(target=appear)
    thread.start()
    assert wait_for("s1", timeout_s=20, poll_s=0.05).status == "COMPLETED"
    thread.join()


@pytest.mark.parametrize(("session_id", "until"), [("", None), (None, None), ("s1", "completed"), ("s1", ())])
def test_a_call_that_can_never_be_right(session_id: Any, until: Any) -> None:
    """An empty session id, a type in lower case and no type at all are refused at once."""
    with pytest.raises(ValueError, match=r"session id is|not upper snake case|until is empty"):
        wait_for(session_id, until)


def test_settings_that_are_malformed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Malformed settings are told at once."""
    monkeypatch.setenv("AGENT_JOURNAL_STORE", "nowhere")
    with pytest.raises(ConfigError):
        wait_for("s1")


# --- who is gone --------------------------------------------------------------------------------------------------


def test_a_silent_caller_is_lost(store: JournalStore) -> None:
    """A process that has not been heard of for a minute has lost its invocation: INTERRUPTED, and no event says so."""
    has(store, told.said("AGENT_INVOCATION_STARTED", LONG_AGO, invocation="i1"))
    assert wait_for("s1", timeout_s=5) == Ending(session_id="s1", status="INTERRUPTED", reason="lost")


def test_a_heartbeat_keeps_it(store: JournalStore) -> None:
    """A heartbeat in the head, which is no event, keeps the wait up."""
    started = told.said("AGENT_INVOCATION_STARTED", LONG_AGO, invocation="i1")
    has(store, started)
    state = fold([started])
    state.seen_ns["w1"] = time.time_ns()
    assert store.write_head(head_of(state, "s1")) is not None
    with pytest.raises(WaitTimeout, match="status PROCESSING"):
        wait_for("s1", timeout_s=0.3)


def test_a_killed_caller(workdir: Workdir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a caller that was killed on this machine the spool is taken in: the session is INTERRUPTED, killed."""
    program = workdir.write(
        "caller.py",
        """
import time, otel_agent_journal
from otel_agent_journal import invocation
otel_agent_journal.configure()
with invocation("s1", agent="helper", input="hi"):
    print("in", flush=True)
    time.sleep(60)
""",
    )
    monkeypatch.chdir(workdir.path)
    monkeypatch.delenv("AGENT_JOURNAL_STORE", raising=False)
    with started([sys.executable, program], cwd=workdir.path, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"in\n"
        with pytest.raises(WaitTimeout):
            wait_for("s1", timeout_s=1)
        process.send_signal(signal.SIGKILL)
    ending = wait_for("s1", timeout_s=20)
    assert (ending.status, ending.reason, ending.type) == ("INTERRUPTED", "killed", "SESSION_INTERRUPTED")
    assert [event["event_type"] for event in workdir.events("s1")] == [
        "SESSION_INITIATED",
        "AGENT_INVOCATION_STARTED",
        "SESSION_INTERRUPTED",
    ]


# --- how it reads -------------------------------------------------------------------------------------------------


class Counting:
    """A store that counts what it gives out."""

    def __init__(self, store: JournalStore) -> None:
        self._store = store
        self.looks = self.given = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def follow(self, cursor: str | None, **options: Any) -> Any:
        """As the store's."""
        page = self._store.follow(cursor, **options)
        self.looks += 1
        self.given += len(page.events)
        return page

    def close(self) -> None:
        """The fixture closes the store."""


def watched(store: JournalStore, session_id: str, wanted: Sequence[str]) -> tuple[_Watch, Counting]:
    """A watch over a store that counts."""
    watch, counting = _Watch(Settings(), session_id, frozenset(wanted), 0, own=True, store=None), Counting(store)
    watch._store = counting  # type: ignore[assignment]
    return watch, counting


def test_each_event_is_read_once(store: JournalStore) -> None:
    """However often it looks, an event is read once."""
    has(store, *(told.said("NOTED", at) for at in range(50)))
    watch, counting = watched(store, "s1", ["NEVER"])
    assert [watch.look() for _ in range(5)] == [None] * 5
    assert counting.given == 50
    has(store, told.said("NEVER", 3))  # a late one, by its time
    assert watch.look() is not None
    assert counting.given == 51


def test_it_looks_ever_more_rarely(store: JournalStore) -> None:
    """While nothing comes the pauses grow; once something comes they are short again."""
    watch, counting = watched(store, "s1", ["NEVER"])
    with pytest.raises(WaitTimeout):
        _poll(watch, 1.0, 0.01)
    assert 3 < counting.looks < 20


# --- in a process that records ------------------------------------------------------------------------------------


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[None]:
    """This process records."""
    otel_agent_journal.configure(f"sqlite:///{tmp_path}/journal.db", instrument=False)
    yield
    otel_agent_journal.shutdown()


@pytest.mark.usefixtures("recording")
def test_in_a_process_that_records() -> None:
    """It waits for what a thread of this very process does, and is not hindered by its drain."""

    def call() -> None:
        with invocation("s1", agent="helper") as made:
            time.sleep(0.3)
            made.fail("out of stock")

    thread = threading.Thread(target=call)
    thread.start()
    ending = wait_for("s1", timeout_s=30, poll_s=0.05)
    thread.join()
    assert (ending.type, ending.status) == ("AGENT_INVOCATION_FAILED", "ERROR")
    assert ending.error is not None
    assert ending.error.message == "out of stock"


@pytest.mark.usefixtures("recording")
async def test_from_a_coroutine() -> None:
    """In a coroutine it runs in a thread, beside whatever else the loop does."""
    waiting = asyncio.create_task(asyncio.to_thread(wait_for, "s1", timeout_s=30, poll_s=0.05))
    await asyncio.sleep(0.1)
    record_event("s1", "AGENT_INVOCATION_SUCCEEDED")
    assert (await waiting).status == "COMPLETED"
