"""`tail`: the last events, then those that arrive, none skipped."""

from __future__ import annotations

import io
import subprocess
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from otel_agent_journal.cli import tail
from otel_agent_journal.cli.cells import cell_len
from otel_agent_journal.cli.output import Output
from otel_agent_journal.cli.tail import POLL_S, arriving, last_events
from otel_agent_journal.codec import encode_line
from otel_agent_journal.config import settings_from_env
from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.event import ErrorInfo, JournalEvent
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.reading import put_by_others
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.reading.put_by_others import OthersEvents
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import JournalStore, Page
from otel_agent_journal.testing.builders import JournalBuilder, an_event
from otel_agent_journal.testing.builders import events as some_events
from tests.cli.command_line import PROGRAM, cli, rows, terminal
from tests.cli.conftest import Seeded


class Following:
    """A `tail -f` that runs beside the test; its stdout is read line by line."""

    def __init__(self, *args: str) -> None:
        self._errors = Path("errors").open("wb")  # noqa: SIM115 - closed by stop
        self.child = subprocess.Popen([*PROGRAM, "tail", "-f", *args], stdout=subprocess.PIPE, stderr=self._errors)
        assert self.child.stdout is not None
        self.lines = self.child.stdout

    def until_said(self, text: str) -> None:
        """Wait until something was said on stderr."""
        deadline = time.monotonic() + 20
        while text not in Path("errors").read_text():
            assert time.monotonic() < deadline, Path("errors").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """End it."""
        self.child.kill()
        self.child.wait()
        self.lines.close()
        self._errors.close()


@pytest.fixture
def follow() -> Generator[type[Following]]:
    """Start followers that end with the test."""
    begun: list[Following] = []

    class Kept(Following):
        def __init__(self, *args: str) -> None:
            super().__init__(*args)
            begun.append(self)

    yield Kept
    for one in begun:
        one.stop()


def test_without_a_session_the_last_ten(journal: Seeded) -> None:
    """`tail` prints the last ten events over all sessions, `-n` says otherwise, in a pipe as lines of the journal."""
    for number in range(3):
        journal.completed(f"s{number}", writer=f"{number}" * 32)
    found = cli("tail").stdout.splitlines()
    assert len(found) == 10
    written = [encode_line(event).decode() for event in journal.store.read("s2")]
    assert found == written[1:]
    assert len(cli("tail", "-n", "3").stdout.splitlines()) == 3
    assert cli("tail", "-n", "0").stdout == ""
    assert len(cli("tail", "-n", "100").stdout.splitlines()) == 33


def test_of_a_session_everything(journal: Seeded) -> None:
    """`tail SESSION` begins at the beginning, and leaves other sessions out."""
    journal.completed("s1")
    journal.completed("s2", writer="2" * 32)
    assert {row["session_id"] for row in rows(cli("tail", "s1"))} == {"s1"}
    assert len(cli("tail", "s1").stdout.splitlines()) == 11
    assert len(cli("tail", "s1", "-n", "2").stdout.splitlines()) == 2
    assert cli("tail", "s3").exit_code == 3


def test_lines_for_people_are_aligned(journal: Seeded) -> None:
    """One line an event: time, session, mark, kind, name below its parent, duration, what matters."""
    journal.completed()
    lines = terminal("tail", "-n", "20", columns=140).text.splitlines()
    assert lines[0].startswith("00:00:00.000  done      ▶ AGENT      researcher")
    assert lines[2].startswith("00:00:00.002  done      ▶ MODEL          scripted")
    assert "1.0k→200 tokens" in lines[3]
    assert "✗ TOOL         search" in lines[6]
    assert lines[6].endswith("TimeoutError: no answer after 3 s")
    assert "attempt 2" in lines[7]
    assert lines[8].endswith("3 of 10 pages")
    narrow = terminal("tail", "-n", "20", columns=70).text.splitlines()
    assert narrow[7].strip() == "TimeoutError: no answer after 3 s"
    assert max(len(line) for line in narrow) <= 70


def test_following_prints_what_arrives_in_any_order_of_time(journal: Seeded, follow: type[Following]) -> None:
    """Events come as they arrive at the store, late ones too, each once and line by line."""
    journal.completed("s1")
    following = follow("-n", "1")
    assert b"AGENT_END" in following.lines.readline()
    journal.store.append([an_event(5, session_id="late")])
    assert following.lines.readline() == encode_line(an_event(5, session_id="late")) + b"\n"
    journal.store.append([an_event(1, session_id="late")])  # its time lies before what was printed
    assert following.lines.readline() == encode_line(an_event(1, session_id="late")) + b"\n"
    journal.store.append([an_event(1, session_id="late"), an_event(6, session_id="late")])
    assert following.lines.readline() == encode_line(an_event(6, session_id="late")) + b"\n"


def test_following_waits_for_a_journal_that_is_not_there_yet(follow: type[Following]) -> None:
    """-f says that it waits, and then prints the journal from its first event on."""
    following = follow()
    following.until_said("/.agent-journal/journal.db; make one with")
    journal = Seeded()
    journal.store.append(some_events(30))
    assert [following.lines.readline() for _ in range(30)] == [encode_line(event) + b"\n" for event in some_events(30)]


def test_following_waits_for_a_session_that_is_not_there_yet(journal: Seeded, follow: type[Following]) -> None:
    """-f SESSION waits for it; a prefix that several have is an error at once."""
    journal.completed("s1")
    following = follow("mine")
    following.until_said("waiting for session mine")
    journal.store.append(some_events(3, session_id="mine"))
    lines = [encode_line(event) + b"\n" for event in some_events(3, session_id="mine")]
    assert [following.lines.readline() for _ in range(3)] == lines
    journal.completed("s2", writer="2" * 32)
    assert cli("tail", "-f", "s").exit_code == 3


def test_a_session_that_is_waited_for_is_meant_by_its_whole_id(journal: Seeded, follow: type[Following]) -> None:
    """Another one that comes first, and whose id begins so, is not followed in its place."""
    journal.completed("s1")
    following = follow("ticket-1")
    following.until_said("waiting for session ticket-1")
    journal.keep(_session("ticket-10", first=0, count=3))
    time.sleep(5 * POLL_S)
    journal.store.append(some_events(1, session_id="ticket-1"))
    assert following.lines.readline() == encode_line(some_events(1, session_id="ticket-1")[0]) + b"\n"


class Away(MemoryStore):
    """A store that others put events into, too; `outages` says how many calls of each kind are to fail yet."""

    def __init__(self) -> None:
        super().__init__()
        self.others: list[JournalEvent] = []
        self.outages = {"head": 2, "follow": 0, "put_by_others": 2}

    def head(self, session_id: str) -> SessionHead | None:
        self._reach("head")
        return super().head(session_id)

    def follow(self, cursor: str | None, *, session_id: str | None = None, limit: int = 1000) -> Page:
        self._reach("follow")
        return super().follow(cursor, session_id=session_id, limit=limit)

    def put_by_others(self, session_id: str, since_ns: int | None = None) -> Iterator[JournalEvent]:
        self._reach("put_by_others")
        yield from sorted(self.others, key=lambda event: event.key)

    def _reach(self, what: str) -> None:
        if self.outages[what]:
            self.outages[what] -= 1
            raise StoreUnreachable(f"no answer to {what}")


def test_following_waits_for_a_store_that_cannot_be_reached(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At the beginning as later, each outage said once, and no event is missing or there twice for it."""
    for name in ("AWAY_POLL_S", "POLL_S"):
        monkeypatch.setattr(tail, name, 0.001)
    monkeypatch.setattr(put_by_others, "EVERY_S", 0.0)
    store = Away()
    made = some_events(9)
    store.append(made[:4])
    store.others.append(made[4])
    reader = Journal(store, settings_from_env({}).spool)
    assert tail._session(reader, "s1", wait=True) == "s1"
    found = arriving(Output("jsonl", io.BytesIO()), reader, "s1", None, forever=True)
    assert [next(found) for _ in range(5)] == made[:5]
    store.append(made[5:8])
    store.others.append(made[8])
    store.outages |= {"follow": 1, "put_by_others": 3}
    assert [next(found) for _ in range(4)] == made[5:]
    said = capsys.readouterr().err.splitlines()
    assert [line.removeprefix("agent-journal: waiting: no answer to ") for line in said] == ["head", "follow"]
    store.outages["follow"] = 1
    with pytest.raises(StoreUnreachable):
        list(arriving(Output("jsonl", io.BytesIO()), reader, "s1", None, forever=False))


def test_following_takes_in_processes_that_die_meanwhile(journal: Seeded, follow: type[Following]) -> None:
    """A process killed together with whoever drained it shows within seconds."""
    from tests.cli.test_spool_commands import agent

    journal.completed("s1")
    following = follow("-n", "1", "-o", "table")
    following.lines.readline()
    agent("s2", "killed")
    said = [following.lines.readline().decode() for _ in range(3)]
    assert "▶ AGENT" in said[0]
    assert "▶ TOOL" in said[1]
    assert "SESSION_INTERRUPTED" in said[2]
    assert "killed, last seen" in said[2]


def test_the_last_events_of_a_large_journal_are_found_from_its_heads(journal: Seeded) -> None:
    """Beyond a certain size the journal is not read whole; the last events by time come out the same."""
    for number in range(6):
        journal.keep(_session(f"s{number}", first=number * 40, count=40))
    reader = Journal(journal.store, settings_from_env({}).spool)
    nobody = OthersEvents(journal.store, None)
    _, everything = last_events(reader, None, 100, nobody)
    for last in (0, 1, 7, 45, 100):
        cursor, found = last_events(reader, None, last, nobody, scanned=0)
        assert found == everything[100 - last :]
        assert cursor == journal.store.tip()
    assert last_events(reader, "s3", 5, nobody, scanned=0)[1] == list(journal.store.read("s3"))[-5:]


def _session(session_id: str, *, first: int, count: int) -> JournalBuilder:
    builder = JournalBuilder(session_id)
    builder.events += some_events(count, first=first, session_id=session_id)
    return builder


class EarlyTip:
    """A store whose tip was asked for a moment before the latest events came."""

    def __init__(self, store: JournalStore, cursor: str) -> None:
        self._store = store
        self._cursor = cursor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def tip(self, session_id: str | None = None) -> str | None:
        return self._cursor if session_id is None else self._store.tip(session_id)


def test_an_event_that_arrives_while_the_last_ones_are_read_is_printed_once(journal: Seeded) -> None:
    """It is among the last events and after the cursor too."""
    journal.keep(_session("s1", first=0, count=5))
    cursor = journal.store.tip()
    journal.keep(_session("s1", first=5, count=3))
    reader = Journal(cast("JournalStore", EarlyTip(journal.store, cursor)), settings_from_env({}).spool)
    found = list(arriving(Output("jsonl", io.BytesIO()), reader, None, 4, forever=False, scanned=0))
    assert [event.details["number"] for event in found] == [4, 5, 6, 7]


def test_output_formats_of_a_tail(journal: Seeded) -> None:
    """CSV and JSON too, as everywhere."""
    journal.completed()
    assert cli("tail", "-o", "csv").stdout.startswith("timestamp,session_id,event_type,")
    assert cli("tail", "-o", "json").stdout.startswith("[\n")


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_lines_fit_the_terminal_by_its_cells(journal: Seeded, columns: int) -> None:
    """Whatever ids and names are made of: no line is wider, each session has a label of its own, columns stand."""
    arn = "arn:aws:bedrock-agentcore:eu-central-1:123456789012:runtime/support-agent/session/000"
    for session_id in (f"{arn}1", f"{arn}2", "会议记录-二〇二六年十一月三十日-东京大阪名古屋"):
        builder = JournalBuilder(session_id)
        builder.end(builder.start("AGENT", "研究助手" * 9), details={"output": "二〇二六" * 80})
        failed = builder.start("TOOL", "t")
        builder.end(failed, "error", error=ErrorInfo(type="KeyError", message="no such key, " * 20))
        journal.keep(builder)
    lines = terminal("tail", "-n", "12", columns=columns).text.splitlines()
    assert max(map(cell_len, lines)) <= columns
    starts = [line for line in lines if "AGENT" in line and "▶" in line]
    assert len({line.partition("▶")[0].split("  ")[1] for line in starts}) == len(starts) == 3
    assert len({cell_len(line.partition("▶")[0]) for line in starts}) == 1
