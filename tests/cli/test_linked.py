"""A trace that turned out to be part of a session is shown, counted and sent with it, by every command."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from hashlib import blake2b
from itertools import islice
from pathlib import Path

import msgspec
import pytest

from otel_agent_journal.cli.output import Output
from otel_agent_journal.cli.tail import arriving
from otel_agent_journal.codec import DIGEST_BYTES, sealed
from otel_agent_journal.config import settings_from_env
from otel_agent_journal.delivery.heads import HeadKeeper
from otel_agent_journal.event import ErrorInfo, JournalEvent, Usage
from otel_agent_journal.reading.following import PARTS_AT_ONCE, Followed
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.store.linked import read_whole
from otel_agent_journal.store.protocol import BlobStore, JournalStore
from otel_agent_journal.testing.builders import JournalBuilder, an_event
from otel_agent_journal.testing.clocks import EPOCH_2026_NS, SteppingClock
from tests.cli.command_line import cli, rows
from tests.cli.conftest import URL, Seeded
from tests.projections.test_links import link

S, T = "chat-7", "ab" * 16
SAID = f"agent-journal: {T} is part of session {S}\n"
BLOB = blake2b(b'{"query": "news"}', digest_size=DIGEST_BYTES).hexdigest()
LINKED_NS = EPOCH_2026_NS + 60 * 10**9


def deliver(store: JournalStore, found: list[JournalEvent]) -> None:
    """Write events and heads as the drain does."""
    store.append(found)
    keeper = HeadKeeper(store, lambda call: call() and None)
    keeper.note(found)
    keeper.write()


def of_the_trace(first: int = 0) -> list[JournalEvent]:
    """What came of the trace before its session was known: a tool that failed and a model, below a step that is not."""
    trace = JournalBuilder(T, clock=SteppingClock(EPOCH_2026_NS + first * 10**6))
    root = msgspec.structs.replace(trace.start("AGENT", "helper", step_id="root"), kind="NODE")
    trace.events.clear()
    tool = trace.start("TOOL", "search", parent=root, details={"input": {"$blob": BLOB}})
    trace.end(tool, "error", error=ErrorInfo(type="TimeoutError", message="no answer"))
    trace.end(trace.start("MODEL", "m", parent=root), usage=Usage(input_tokens=100, output_tokens=20))
    return trace.events


def of_the_session() -> list[JournalEvent]:
    session = JournalBuilder(S, clock=SteppingClock(EPOCH_2026_NS))
    root = session.start("AGENT", "helper", step_id="root")
    session.clock = SteppingClock(EPOCH_2026_NS + 20 * 10**6)
    session.end(root)
    return session.events


def links(part: str = T) -> list[JournalEvent]:
    return [link(S, part, kept_in, timestamp_ns=LINKED_NS) for kept_in in (S, part)]


@pytest.fixture
def linked(journal: Seeded) -> JournalStore:
    """A journal of one other session, and of one whose steps lie partly in a trace's."""
    journal.completed()
    if isinstance(journal.store, BlobStore):
        journal.store.put_blob(T, BLOB, b'{"query": "news"}')
    deliver(journal.store, of_the_trace(first=2))
    deliver(journal.store, of_the_session() + links())
    return journal.store


def test_ls(linked: JournalStore) -> None:
    """The trace is not listed, and its steps, tokens and errors are the session's, whatever the limit."""
    assert [row["session_id"] for row in rows(cli("ls"))] == [S, "done"]
    (row,) = rows(cli("ls", "-n", "1"))
    assert (row["steps"], row["errors"], row["input_tokens"], row["status"]) == (3, 1, 100, "COMPLETED")


@pytest.mark.parametrize("name", [T, T[:5], S, "chat"])
def test_show(linked: JournalStore, name: str) -> None:
    """The trace's id, or the beginning of it, shows the session, and that is said in a line."""
    result = cli("show", name)
    assert result.exit_code == 0
    shown = [(row["name"], row["depth"], row["session_id"]) for row in rows(result)]
    assert shown == [("helper", 0, S), ("search", 1, S), ("m", 1, S)]
    assert result.stderr == (SAID if name.startswith("ab") else "")


def test_show_what_is_in_the_trace(linked: JournalStore) -> None:
    """Events come in one order, and a step of the trace is found in the session, its large values as well."""
    shown = rows(cli("show", S, "--events"))
    assert [(row["event_type"], row["session_id"]) for row in shown] == [
        ("AGENT_START", S),
        *((kind, T) for kind in ("TOOL_START", "TOOL_ERROR", "MODEL_START", "MODEL_END")),
        ("AGENT_END", S),
        ("SESSION_LINKED", S),
    ]
    for name in (S, T):
        (step,) = rows(cli("show", f"{name}/search"))
        assert step["attempts"][0]["details"]["input"] == {"query": "news"}


def test_status(linked: JournalStore) -> None:
    """The trace stands where its session stands."""
    result = cli("status", T)
    (row,) = rows(result)
    assert (row["session_id"], row["status"], row["steps"], result.stderr) == (S, "COMPLETED", 3, SAID)


def test_verify(linked: JournalStore) -> None:
    """Steps and their parents may lie in two places: that is right. A head of either that is wrong is found."""
    result = cli("verify")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "verified 2 sessions, 18 events: nothing wrong\n"
    assert cli("verify", T).stderr == SAID + "verified 1 session, 7 events: nothing wrong\n"
    for session_id in (S, T):
        head = linked.head(session_id)
        assert head is not None
        linked.write_head(msgspec.structs.replace(head, steps=77))
    for command in (("verify",), ("verify", S)):
        assert [(row["session_id"], row["check"]) for row in rows(cli(*command))] == [(S, "head"), (T, "head")]


def test_verify_an_event_of_the_trace(linked: JournalStore) -> None:
    """An event of the trace that was changed is found with the session."""
    changed = msgspec.structs.replace(sealed(an_event(5, session_id=T)), level="DEBUG")
    deliver(linked, [changed])
    (row,) = rows(cli("verify", S))
    assert (row["check"], row["event_id"]) == ("digest", changed.event_id)


def test_export(linked: JournalStore) -> None:
    """What of a session is exported is all of it."""
    found = list(Journal(linked, settings_from_env({}).spool).events(S))
    assert found == list(read_whole(linked, S))
    assert len({event.step_id for event in found if event.step_id}) == 3


def test_query(linked: JournalStore) -> None:
    """In the tables what the trace has is the session's, and the trace has no rows of its own."""
    pytest.importorskip("duckdb")
    for table, expected in (("sessions", 1), ("events", 7), ("steps", 3), ("tools", 1), ("models", 1)):
        for session_id, count in ((S, expected), (T, 0)):
            (row,) = rows(cli("query", f"SELECT count(*) AS n FROM {table} WHERE session_id = '{session_id}'"))
            assert (table, session_id, row["n"]) == (table, session_id, count)
    sql = "SELECT session_id, count(*) AS n FROM events GROUP BY session_id ORDER BY n"
    assert [(row["session_id"], row["n"]) for row in rows(cli("query", sql))] == [(S, 7), ("done", 11)]


def test_store_copy(linked: JournalStore) -> None:
    """A copy has the trace, its values and both heads, and both stores are found to be the same."""
    result = cli("store", "copy", URL, "sqlite:///copy.db", "-o", "json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["differences"] == []
    shown = rows(cli("ls", "--store", "sqlite:///copy.db"))
    assert shown == rows(cli("ls"))
    assert rows(cli("show", f"{T}/search", "--store", "sqlite:///copy.db")) == rows(cli("show", f"{T}/search"))
    assert cli("verify", "--store", "sqlite:///copy.db").exit_code == 0


def test_prune(linked: JournalStore) -> None:
    """The trace goes with its session and is not counted."""
    result = cli("store", "prune", "--older-than", "1d", "--yes", "-o", "json")
    assert result.exit_code == 0, result.output
    assert list(linked.sessions()) == []
    assert list(linked.read(T)) == []
    assert "2" in result.stdout


def followed(store: JournalStore, last: int | None = None, *, forever: bool = False) -> Iterator[JournalEvent]:
    return arriving(
        Output("jsonl", io.BytesIO()),
        Journal(store, settings_from_env({}).spool),
        S,
        last,
        forever=forever,
        scanned=1000,
    )


def test_tail(linked: JournalStore) -> None:
    """Without end: the session's events and the trace's, each once; the last ones are the last of both."""
    assert [row["event_type"] for row in rows(cli("tail", T))] == [
        "AGENT_START",
        "AGENT_END",
        "SESSION_LINKED",
        *("TOOL_START", "TOOL_ERROR", "MODEL_START", "MODEL_END"),
    ]
    whole = list(read_whole(linked, S))
    for last in (0, 1, 4, 7, 100):
        assert list(followed(linked, last)) == whole[len(whole) - min(last, len(whole)) :]


def test_tail_of_many_parts(linked: JournalStore) -> None:
    """All parts are looked at before a tail ends, however many there are."""
    many = [f"{number:032x}" for number in range(3 * PARTS_AT_ONCE + 1)]
    deliver(linked, [event for part in many for event in (*links(part), an_event(3, session_id=part))])
    found = [event.session_id for event in followed(linked)]
    assert set(found) == {S, T, *many}
    assert len(found) == len(list(read_whole(linked, S)))


def test_tail_follows_what_turns_out_to_be_a_part(journal: Seeded) -> None:
    """Followed, the trace's events come as soon as it is known whose they are, and then as they arrive."""
    deliver(journal.store, of_the_session())
    deliver(journal.store, of_the_trace(first=2))
    found = followed(journal.store, forever=True)
    assert [event.type for event in islice(found, 2)] == ["AGENT_START", "AGENT_END"]
    deliver(journal.store, links())
    wanted = ["SESSION_LINKED", "TOOL_START", "TOOL_ERROR", "MODEL_START", "MODEL_END"]
    assert [event.type for event in islice(found, 5)] == wanted
    for number in range(3):
        deliver(journal.store, [an_event(40 + number, session_id=T)])
        assert next(found).details["number"] == 40 + number


def test_tail_from_the_end(linked: JournalStore) -> None:
    """Begun at the end, what comes for session and trace is shown, and of another that is linked then all it has."""
    tail = Followed(linked, S)
    tail.go_to(linked.tip(), tail.known_parts())
    deliver(linked, [an_event(30, session_id=T), an_event(31, session_id="later"), an_event(32, session_id=S)])
    deliver(linked, links("later"))
    found: list[JournalEvent] = []
    while not tail.at_end:
        found += tail.look()[0]
    assert [(event.session_id, event.type) for event in found] == [
        (S, "NOTE"),
        (S, "SESSION_LINKED"),
        (T, "NOTE"),
        ("later", "NOTE"),
    ]


def test_tail_of_what_is_in_both(linked: JournalStore) -> None:
    """An event that came twice, once before its session was known and once after, is shown once."""
    twice = [msgspec.structs.replace(an_event(30), session_id=session_id) for session_id in (S, T, "later")]
    deliver(linked, [*twice, *links("later"), an_event(31, session_id="later")])
    found = [event.details.get("number") for event in followed(linked)]
    assert (found.count(30), found.count(31)) == (1, 1)
    assert len(found) == len(list(read_whole(linked, S)))


def test_a_part_whose_session_is_gone(journal: Seeded) -> None:
    """A trace whose session is not in the journal stands for itself, and is a finding."""
    deliver(journal.store, [*of_the_trace(), links()[1]])
    assert [row["session_id"] for row in rows(cli("show", T))] == [T, T]
    assert (T, "part") in [(row["session_id"], row["check"]) for row in rows(cli("verify"))]
    assert Path(".agent-journal").exists()
