"""`store copy`: any store to any other, once each, going on where it was, and compared in the end."""

from __future__ import annotations

import io
import json
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from otel_agent_journal.cli import store_copy
from otel_agent_journal.cli.contract import CliError
from otel_agent_journal.cli.copy_state import CopyState
from otel_agent_journal.cli.output import Output
from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import BlobStore, JournalStore, SessionFilter
from otel_agent_journal.store.registry import open_store
from otel_agent_journal.store.rules import current
from otel_agent_journal.testing.builders import JournalBuilder, an_event, context_events, events
from tests.cli.command_line import PROGRAM, cli, rows, terminal
from tests.cli.conftest import URL, Seeded, absolute
from tests.clock import by_the_clock, in_time

COPY = "sqlite:///copy.db"
COPIES = Path(".agent-journal/copies")
BLOB = b'"what was too large"'


@pytest.fixture
def whole(journal: Seeded) -> Seeded:
    """A journal with all that a journal may hold: steps, context, a value kept apart, odd ids."""
    from hashlib import blake2b

    from otel_agent_journal.codec import DIGEST_BYTES

    journal.completed()
    journal.failed("../odd id/é")
    journal.running()
    journal.store.append_context("i1", 0, context_events(60, session_id="done"))
    journal.store.append_context("i2", 0, context_events(3, instance_id="i2", session_id="broken"))
    digest = blake2b(BLOB, digest_size=DIGEST_BYTES).hexdigest()
    assert isinstance(journal.store, BlobStore)
    journal.store.put_blob("broken", digest, BLOB)
    kept = {"output": {"$blob": digest, "bytes": len(BLOB)}, "nested": [{"input": {"$blob": digest}}]}
    journal.store.append([an_event(session_id="broken", event_id="b" * 32, details=kept)])
    for session_id in ("done", "broken"):
        journal.write_head(session_id)
    return journal


@pytest.fixture
def copied() -> Iterator[JournalStore]:
    store = open_store(COPY)
    yield store
    store.close()


def everything(store: JournalStore) -> dict[str, object]:
    """Return all that a store holds, but what of heads is each store's own."""
    heads = sorted(store.sessions(), key=lambda head: head.session_id)
    return {
        "heads": [msgspec.structs.replace(head, version=0, cursor=None) for head in heads],
        "events": [list(store.read(head.session_id)) for head in heads],
        "context": [list(store.read_context(instance)) for instance in ("i1", "i2")],
    }


def test_a_copy_holds_all_that_the_original_holds(whole: Seeded, copied: JournalStore) -> None:
    """Events, context, heads and values kept apart are the same in both, and the result says how many there were."""
    (row,) = rows(cli("store", "copy", URL, COPY))
    expected = {"sessions": 4, "events": 79, "blobs": 1, "heads": 4, "copied_before": 0, "verified": True}
    assert {key: row[key] for key in expected} == expected
    assert (row["source"], row["target"]) == (absolute(URL), absolute(COPY))
    assert (row["too_large"], row["differences"]) == ([], [])
    assert everything(copied) == everything(whole.store)
    assert cli("verify", "--store", COPY).exit_code == 0
    assert list(COPIES.iterdir()) == []


def test_events_arrive_in_the_order_in_which_they_arrived(journal: Seeded, copied: JournalStore) -> None:
    """The copy's order of arrival is the original's, whatever the events' times."""
    made = events(1200)
    for start in (600, 0, 900, 300):
        journal.store.append(made[start : start + 300])
    assert cli("store", "copy", URL, COPY).exit_code == 0
    assert copied.follow(None, limit=2000).events == journal.store.follow(None, limit=2000).events


def test_a_copy_repeated_changes_nothing(whole: Seeded, copied: JournalStore) -> None:
    """The same command again finds everything there: no event twice, no sequence moved, no head rewritten."""
    cli("store", "copy", URL, COPY)
    before, versions = everything(copied), [head.version for head in copied.sessions()]
    (row,) = rows(cli("store", "copy", URL, COPY))
    assert (row["events"], row["heads"], row["differences"]) == (79, 0, [])
    assert everything(copied) == before
    assert [head.version for head in copied.sessions()] == versions


def test_what_came_since_is_copied_by_the_next_copy(whole: Seeded, copied: JournalStore) -> None:
    """A journal that went on is brought up to date, context and heads included."""
    cli("store", "copy", URL, COPY)
    whole.store.append(events(5, session_id="later"))
    whole.store.append_context("i1", 60, context_events(7, first=60, session_id="done"))
    whole.write_head("done")
    whole.write_head("later")
    (row,) = rows(cli("store", "copy", URL, COPY))
    assert (row["heads"], row["differences"]) == (2, [])
    assert everything(copied) == everything(whole.store)


def test_what_the_target_has_of_its_own_stays(whole: Seeded, copied: JournalStore) -> None:
    """Other sessions of the target are neither touched nor taken for differences."""
    copied.append(events(4, session_id="own"))
    result = cli("store", "copy", URL, COPY)
    assert (result.exit_code, rows(result)[0]["differences"]) == (0, [])
    assert len(list(copied.read("own"))) == 4


def test_events_without_a_head_are_copied_and_compared(journal: Seeded, copied: JournalStore) -> None:
    """A session whose head is not written yet is one too."""
    journal.store.append(events(4, session_id="headless"))
    (row,) = rows(cli("store", "copy", URL, COPY))
    assert (row["sessions"], row["events"], row["heads"]) == (1, 4, 1)
    assert len(list(copied.read("headless"))) == 4


@pytest.mark.parametrize(
    ("spoil", "check"),
    [
        ("DELETE FROM events WHERE session_id = 'done' AND type = 'TOOL_ERROR'", "missing"),
        ("UPDATE events SET name = 'other' WHERE session_id = 'done' AND type = 'TOOL_ERROR'", "changed"),
        ("UPDATE events SET event_id = 'f' || event_id WHERE type = 'TOOL_ERROR'", "extra"),
        ("UPDATE events SET sequence_number = 99 WHERE instance_id = 'i2' AND sequence_number = 2", "sequence"),
        ("DELETE FROM blobs", "blob"),
        ("UPDATE blobs SET data = CAST('other' AS BLOB)", "blob"),
        ("UPDATE sessions SET steps = 99 WHERE session_id = 'done'", "head"),
    ],
)
def test_each_difference_is_found_and_named(whole: Seeded, spoil: str, check: str) -> None:
    """A copy that is not the same, for whatever reason, is named by session, event and kind."""
    from otel_agent_journal.reading.comparing import compare_session

    cli("store", "copy", URL, COPY)
    with sqlite3.connect("copy.db") as connection:
        assert connection.execute(spoil).rowcount >= 1
    connection.close()
    target = open_store(COPY)
    sessions = [head.session_id for head in whole.store.sessions()]
    found = [one for name in sessions for one in compare_session(whole.store, target, name).differences]
    target.close()
    assert check in {one.check for one in found}
    assert {one.session_id for one in found} <= {"done", "broken"}


def test_a_difference_ends_with_5(whole: Seeded, copied: JournalStore) -> None:
    """An event of the target under the same key, or one of its own in the same session, is told, and exits with 5."""
    theirs = msgspec.structs.replace(next(iter(whole.store.read("done"))), name="another", digest=None)
    copied.append([theirs, an_event(session_id="done", event_id="e" * 32)])
    result = cli("store", "copy", URL, COPY)
    assert result.exit_code == 5
    (row,) = rows(result)
    assert {(one["session_id"], one["check"]) for one in row["differences"]} == {("done", "changed"), ("done", "extra")}
    shown = terminal("store", "copy", URL, COPY)
    assert shown.code == 5
    assert "changed" in shown.text
    assert f"copied to {absolute(COPY)}: 79 events" in shown.text
    unverified = cli("store", "copy", URL, COPY, "--no-verify")
    assert (unverified.exit_code, rows(unverified)[0]["differences"]) == (0, None)


def test_many_differences_are_counted(journal: Seeded, copied: JournalStore) -> None:
    """Ten of a kind are named in a session, the rest is a number."""
    from otel_agent_journal.reading.comparing import compare_session

    journal.store.append(events(50))
    found = compare_session(journal.store, copied, "s1")
    assert (found.events, len(found.differences), found.differences[-1].detail) == (50, 11, "40 more")


def test_a_target_with_another_sequence_is_refused(whole: Seeded, copied: JournalStore) -> None:
    """Where the target's instance holds other events, nothing of it is overwritten, and the event is named."""
    copied.append_context("i2", 0, context_events(5, instance_id="i2", session_id="broken", text="theirs"))
    before = list(copied.read_context("i2"))
    result = cli("store", "copy", URL, COPY)
    assert (result.exit_code, "is in the store with another digest" in result.stderr) == (1, True)
    assert list(copied.read_context("i2")) == before


def test_a_bar_is_drawn_on_a_terminal(whole: Seeded) -> None:
    """People see how far it is; a pipe gets the result alone."""
    shown = terminal("store", "copy", URL, COPY)
    assert "copying 79 events" in shown.text
    assert "comparing 4 sessions" in shown.text
    assert f"copied to {absolute(COPY)}: 79 events, 1 blob, 4 sessions; the same in both" in shown.text
    assert cli("store", "copy", URL, "sqlite:///second.db").stderr == ""


@by_the_clock
@pytest.mark.parametrize(
    ("source", "target", "code"),
    [(URL, URL, 2), ("sqlite:///none.db", COPY, 4), (URL, "foo://x", 2), ("nothing", COPY, 2)],
)
def test_stores_that_cannot_be_copied(whole: Seeded, source: str, target: str, code: int) -> None:
    """A store onto itself, one that is not there, one of no backend: an error at once, and nothing is made."""
    started = time.monotonic()
    assert cli("store", "copy", source, target).exit_code == code
    in_time(time.monotonic() - started, 5)
    assert not COPIES.exists()


def test_a_copy_that_was_killed_goes_on_where_it_was(journal: Seeded, copied: JournalStore) -> None:
    """SIGKILL at any moment: the next copy goes on from the last page, and in the end everything is there once."""
    for session in range(4):
        journal.store.append(events(2_000, session_id=f"s{session}"))
        journal.store.append_context(
            f"i{session}", 0, context_events(150, instance_id=f"i{session}", session_id=f"s{session}")
        )
        journal.write_head(f"s{session}")
    kept = 0
    for pages in (2, 4):
        child = subprocess.Popen([*PROGRAM, "store", "copy", URL, COPY], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        kept = _killed_after(child, kept + pages)
    result = cli("store", "copy", URL, COPY)
    assert "going on after " in result.stderr
    (row,) = rows(result)
    assert (row["events"], row["sessions"], row["differences"]) == (8_600, 4, [])
    assert row["copied_before"] >= 2_000
    assert len(copied.follow(None, limit=10_000).events) == 8_600
    assert list(COPIES.iterdir()) == []


def _killed_after(child: subprocess.Popen[bytes], lines: int) -> int:
    """Kill a copy once its state has so many lines of pages; return how many there are."""
    deadline = time.monotonic() + 30
    while (found := _pages()) < lines:
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.001)
    child.kill()
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    return max(found, _pages())


def _pages() -> int:
    return sum(file.read_bytes().count(b"\n") - 1 for file in COPIES.glob("*.jsonl"))


def test_ctrl_c_says_where_it_stopped(journal: Seeded, copied: JournalStore) -> None:
    """SIGINT ends a copy with 130 and a line that says the same command goes on; and it does."""
    for session in range(8):
        journal.store.append(events(1_000, session_id=f"s{session}"))
    child = subprocess.Popen(
        [*PROGRAM, "store", "copy", URL, COPY], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 30
    while _pages() < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=30)
    assert child.returncode == 130
    assert "events; the same command goes on from there\n" in said
    (row,) = rows(cli("store", "copy", URL, COPY))
    assert (row["copied_before"] >= 1_000, row["events"], row["differences"]) == (True, 8_000, [])


def test_a_torn_state_is_cut_off(tmp_path: Path) -> None:
    """A line that a crash tore is no line; a file that is not ours begins anew."""
    state = CopyState(tmp_path, "a", "b")
    state.add("7", 10, 1, frozenset({"s1"}))
    state.add("9", 5, 0, frozenset({"s1", "s2"}))
    state.close()
    whole = state.path.read_bytes()
    state.path.write_bytes(whole + b'{"cursor":"12","ev')
    again = CopyState(tmp_path, "a", "b")
    assert (again.cursor, again.events, again.blobs, again.sessions) == ("9", 15, 1, {"s1", "s2"})
    again.add("11", 1, 0, frozenset())
    again.close()
    assert [json.loads(line).get("cursor") for line in state.path.read_text().splitlines()] == [None, "7", "9", "11"]
    state.path.write_bytes(b"something else\n")
    other = CopyState(tmp_path, "a", "b")
    assert (other.cursor, other.events, other.sessions) == (None, 0, set())
    other.finish()
    assert list(tmp_path.iterdir()) == []


def test_one_copy_at_a_time(tmp_path: Path) -> None:
    """A second copy between the same stores is refused while the first one runs; others are not."""
    state = CopyState(tmp_path, "a", "b")
    with pytest.raises(CliError, match="a is being copied to b by another process"):
        CopyState(tmp_path, "a", "b")
    CopyState(tmp_path, "b", "a").close()
    state.close()
    CopyState(tmp_path, "a", "b").close()


def test_a_cursor_of_another_source_begins_anew(whole: Seeded, copied: JournalStore) -> None:
    """A state whose source was replaced is not gone on from."""
    state = CopyState(COPIES, absolute(URL), absolute(COPY))
    state.add("999999", 999_999, 0, frozenset())
    state.close()
    result = cli("store", "copy", URL, COPY)
    assert "beginning anew: cursor '999999' is not one of store" in result.stderr
    assert rows(result)[0]["differences"] == []
    assert everything(copied) == everything(whole.store)


def test_the_url_of_another_source_begins_anew(journal: Seeded, copied: JournalStore) -> None:
    """A file that was made anew, of the same name and with more in it, is not gone on with in the middle."""
    journal.store.append(events(2_000, session_id="new"))
    copied.append(events(2_000, session_id="old"))
    state = CopyState(COPIES, absolute(URL), absolute(COPY))
    state.add("500", 500, 0, frozenset({"old"}), events(500, session_id="old")[-1].key)
    state.close()
    result = cli("store", "copy", URL, COPY)
    assert f"beginning anew: {absolute(URL)} does not have the event that was copied last" in result.stderr
    (row,) = rows(result)
    assert (row["events"], row["copied_before"], row["sessions"], row["differences"]) == (2_000, 0, 1, [])


def test_the_url_of_another_target_begins_anew(journal: Seeded, copied: JournalStore) -> None:
    """A target that was made anew gets everything; one that has the last event is gone on with."""
    made = events(2_000)
    journal.store.append(made)
    for there, before in ((made[:500], 500), ([], 0)):
        target = f"sqlite:///target{before}.db"
        store = open_store(target)
        store.append(there)
        store.close()
        state = CopyState(COPIES, absolute(URL), absolute(target))
        state.add(journal.store.follow(None, limit=500).cursor, 500, 0, frozenset({"s1"}), made[499].key)
        state.close()
        result = cli("store", "copy", URL, target)
        assert (f"beginning anew: {absolute(target)} does not have" in result.stderr) == (not before)
        (row,) = rows(result)
        assert (row["events"], row["copied_before"], row["differences"]) == (2_000, before, [])


def copying(source: JournalStore, target: JournalStore) -> tuple[int, dict[str, object]]:
    """Copy between two open stores; return the exit code and what is printed."""
    printed = io.BytesIO()
    code = store_copy._Copying(source, target, Output("jsonl", printed), Path(COPIES)).run(verify=True)
    return code, json.loads(printed.getvalue())


class EndsMeanwhile(MemoryStore):
    """A journal whose session ends while its head is being copied."""

    def __init__(self) -> None:
        super().__init__()
        self._session = JournalBuilder("s1")
        self._root = self._session.start("AGENT", "helper")
        self._ended = False
        self._keep()

    def sessions(self, wanted: SessionFilter | None = None) -> Iterator[SessionHead]:
        """Yield the heads; after the first of them to be copied, the session is over."""
        yield from super().sessions(wanted)
        if not self._ended:
            self._ended = True
            self._session.end(self._root)
            self._keep()

    def _keep(self) -> None:
        self.append(self._session.events)
        head = current(self, "s1")
        assert head is not None
        assert self.write_head(head) is not None


def test_a_session_that_ends_meanwhile_is_the_same_in_both() -> None:
    """A head that was copied a moment before its session ended is brought up to date, and is no difference."""
    code, row = copying(EndsMeanwhile(), target := MemoryStore())
    assert (code, row["differences"]) == (0, [])
    head = target.head("s1")
    assert head is not None
    assert head.status == "COMPLETED"


class Shared(MemoryStore):
    """A journal into which other programs put events by themselves."""

    def put_by_others(self, session_id: str, since_ns: int | None = None) -> Iterator[JournalEvent]:
        """Yield none."""
        yield from ()


def test_what_a_copy_cannot_find_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a store into which others put events it is said, on one line, which of those are not copied."""
    code, _ = copying(Shared(), MemoryStore())
    (line,) = capsys.readouterr().err.splitlines()
    assert (code, "not copied is what programs put by themselves" in line) == (0, True)


@by_the_clock
def test_a_store_that_stops_answering_is_tried_for_a_while(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What passes is waited out, said once; what does not is given up after a bounded time."""
    monkeypatch.setattr(store_copy, "PATIENCE_S", 0.5)
    answers = iter((False, False, True))

    def call() -> str:
        if not next(answers, False):
            raise StoreUnreachable("the disk is full; free space")
        return "done"

    assert store_copy._insist(call) == "done"
    assert capsys.readouterr().err == "agent-journal: trying for 0.5 s: the disk is full; free space\n"
    started = time.monotonic()
    with pytest.raises(StoreUnreachable):
        store_copy._insist(call)
    in_time(time.monotonic() - started, 5)
