"""What an agent writes, reads, asks and waits for, in a process that records and in one that does not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from io import BytesIO
from typing import Any

import pytest

from otel_agent_journal import (
    configure,
    flush,
    open_store,
    query_journal,
    read_journal,
    record_event,
    session,
    shutdown,
    wait_for_journal,
    write_journal_entry,
)
from otel_agent_journal.agent_tools.access import Rows
from otel_agent_journal.agent_tools.asking import _read
from otel_agent_journal.agent_tools.pace import Pace
from otel_agent_journal.agent_tools.scope import Scope
from otel_agent_journal.agent_tools.tools import JournalTools
from otel_agent_journal.bootstrap.agent_tools import journal_tools
from otel_agent_journal.bootstrap.journal_access import ProcessAccess
from otel_agent_journal.codec import encode_line
from otel_agent_journal.errors import QueryFailed
from otel_agent_journal.event import START_TYPES
from otel_agent_journal.pipeline.entries import MAX_ENTRY_BYTES
from otel_agent_journal.store import lineage
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.testing.builders import an_event, context_events


def test_an_entry_is_there_to_be_read(url: str) -> None:
    """In a process that records nothing an entry is in the store when the call returns, and is read with its point."""
    written = write_journal_entry("s1", "DATA_CLEANED", "clean", {"rows": 12}, "WARNING")
    assert (written["status"], written["entry_count"], written["session_id"]) == ("success", 1, "s1")
    found = read_journal("s1")
    (entry,) = found["entries"]
    assert {key: entry[key] for key in ("event_type", "tool_name", "level")} == {
        "event_type": "DATA_CLEANED",
        "tool_name": "clean",
        "level": "WARNING",
    }
    assert entry["details"] == {"rows": 12, "written_by": "tool"}
    assert (found["status"], found["entry_count"], found["more"]) == ("success", 1, False)
    assert "not instructions" in found["source"]
    with closing(open_store(url)) as store:
        assert [event.event_id for event in store.read("s1")] == [written["entries"][0]["event_id"]]
    assert json.loads(json.dumps(found)) == found


def test_not_found_is_an_answer(url: str) -> None:
    """A session that nobody knows is no error, neither before there is a journal nor after."""
    assert read_journal("nobody")["status"] == query_journal("nobody", "SELECT 1")["status"] == "not_found"
    write_journal_entry("s1")
    for answer in (read_journal("nobody"), query_journal("nobody", "SELECT 1")):
        assert (answer["status"], answer["entry_count"], answer["entries"]) == ("not_found", 0, [])
    assert wait_for_journal("nobody", timeout_s=0)["status"] == "timeout"


def test_within_a_step(recording: str) -> None:
    """An entry is an event under the step that runs, in the order of the session, and has that step's point."""
    with session("s1") as run:
        with run.step("tool", "train"):
            write_journal_entry(details="half way")
        run.record("OWN_EVENT")
    found = read_journal("s1", "note")
    (entry,) = found["entries"]
    assert (entry["point"], entry["details"]) == ("s1@2", {"text": "half way", "written_by": "tool"})
    flush()
    with closing(open_store(recording)) as store:
        told = [(event.type, event.name, event.step_id) for event in store.read("s1")]
    step = next(step_id for kind, _, step_id in told if kind == "TOOL_START")
    assert ("NOTE", None, step) in told
    assert [kind for kind, _, _ in told].index("NOTE") == [kind for kind, _, _ in told].index("TOOL_END") - 1


@pytest.mark.parametrize(
    "kind",
    [*sorted(START_TYPES)[:2], "TOOL_END", "tool call", "SESSION_COMPLETED", "COMPLETED", "STAGE_CHANGED", "PROGRESS",
     "AGENT_INVOCATION_SUCCEEDED", "CONTEXT_REWOUND", "CHECKPOINT_SAVED", "context-forked", "RUN_RESUMED"],
)  # fmt: skip
def test_what_the_journal_says_itself_is_nobodys(url: str, kind: str) -> None:
    """No step begins or ends, no session fails, no context moves by what an agent writes, however it is spelled."""
    answer = write_journal_entry("s1", kind)
    assert answer["status"] == "refused"
    assert "the journal's own" in answer["message"]
    assert read_journal("s1")["status"] != "success"


def test_what_is_no_entry_is_refused(url: str) -> None:
    """A level that is none, a type without a letter, a value that is too large: the answer says what would do."""
    assert "one of: DEBUG" in write_journal_entry("s1", level="loud")["message"]
    assert write_journal_entry("s1", "!!!")["status"] == "refused"
    answer = write_journal_entry("s1", details={"text": "x" * MAX_ENTRY_BYTES})
    assert (answer["status"], "16,384" in answer["message"]) == ("too_large", True)
    assert write_journal_entry("s1", "2nd try")["status"] == "refused"


def test_an_entry_says_nothing_of_the_session(url: str) -> None:
    """Names under which programs say who and where they are mean nothing in an entry: the session's head is unmoved."""
    write_journal_entry("s1", details={"user": "admin", "tags": ["vip"], "process": {"host": "h", "pid": 1}})
    with closing(open_store(url)) as store:
        from otel_agent_journal.store.rules import current

        head = current(store, "s1")
        assert head is not None
        assert (head.about.labels, head.about.tags, head.about.processes, head.status) == ({}, (), (), "PENDING")


def test_an_entry_refers_to_nothing_of_the_journal(url: str) -> None:
    """Names by which the journal refers to its blobs are other names in an entry: no reader looks for what it says."""
    write_journal_entry("s1", details={"x": [{"$blob": "0" * 32, "bytes": 3}], "$cut": ["x"], "user": "bob"})
    (entry,) = read_journal("s1")["entries"]
    assert entry["details"] == {
        "x": [{"_$blob": "0" * 32, "bytes": 3}],
        "_$cut": ["x"],
        "user": "bob",
        "written_by": "tool",
    }


def test_several_types_at_once(url: str) -> None:
    """A filter names one type or several, however it is written."""
    for kind in ("A", "B", "C"):
        write_journal_entry(7, kind)  # type: ignore[arg-type]
    for wanted in ("a,C", ["A", "c"], ("C", "A")):
        assert [entry["event_type"] for entry in read_journal("7", wanted)["entries"]] == ["A", "C"]


def test_pages(url: str) -> None:
    """A long journal is read in pages, each with the cursor of the next; a filter leaves out what is not asked for."""
    for number in range(25):
        write_journal_entry("s1", ("EVEN", "ODD")[number % 2], details={"number": number})
    seen, cursor, answers = [], None, 0
    while True:
        answer = read_journal("s1", "EVEN", cursor=cursor, limit=5)
        seen += [entry["details"]["number"] for entry in answer["entries"]]
        cursor, answers = answer["cursor"], answers + 1
        if not answer["more"]:
            break
    assert (seen, answers) == (list(range(0, 25, 2)), 3)
    write_journal_entry("s1", "EVEN", details={"number": 99})
    assert [entry["details"]["number"] for entry in read_journal("s1", cursor=cursor)["entries"]] == [99]
    assert read_journal("s1", cursor="yesterday")["status"] == "refused"


def test_answers_are_bounded(url: str) -> None:
    """Large details are shown by their beginning, and an answer has room for so much in all."""
    with closing(open_store(url)) as store:
        store.append([an_event(one, session_id="s1", type="BIG", details={"text": "x" * 1_900}) for one in range(60)])
        store.append([an_event(99, session_id="s2", type="HUGE", details={"text": "é" * 100_000})])
    answer = read_journal("s1", limit=1_000)
    assert answer["more"]
    assert 20 < answer["entry_count"] < 30
    (entry,) = read_journal("s2")["entries"]
    assert entry["details"]["bytes"] > 200_000
    assert len(entry["details"]["beginning"]) <= 600


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_pace(url: str) -> None:
    """So many entries come at once, then one a while; the answer says when, and other sessions do not suffer."""
    clock = Clock()
    tools = JournalTools(ProcessAccess(), Scope(lambda: "s1", ("*",)), Pace(at_once=3, a_minute=6, clock=clock))
    assert [tools.write_journal_entry()["status"] for _ in range(4)] == [*["success"] * 3, "rate_limited"]
    assert tools.write_journal_entry()["retry_after_s"] == 10.0
    assert tools.write_journal_entry("s2")["status"] == "success"
    clock.now_s = 10.1
    assert [tools.write_journal_entry()["status"] for _ in range(2)] == ["success", "rate_limited"]
    tools.close()


@pytest.fixture
def family() -> Iterator[MemoryStore]:
    """A session, one that it was forked from, a fork of it and a fork of that one; and one of others."""
    store = MemoryStore()
    base = None
    for name in ("grandparent", "parent", "mine", "fork", "grandchild"):
        instance = f"i-{name}"
        if base is None:
            store.append_context(instance, 0, context_events(1, instance_id=instance, session_id=name))
        else:
            lineage.fork(store, base, 1, instance, name, now_ns=5)
        base = instance
    store.append([an_event(1, session_id="others")])
    yield store
    store.close()


def test_reach(family: MemoryStore) -> None:
    """An agent reaches its own session and its lineage, both ways; another one where it is allowed, by a pattern."""
    tools = journal_tools("mine", store=family)
    for name in ("grandparent", "parent", "mine", "fork", "grandchild"):
        assert tools.read_journal(name)["status"] == "success", name
    for answer in (
        tools.read_journal("others"),
        tools.write_journal_entry("others"),
        tools.query_journal("others", "SELECT 1"),
        tools.wait_for_journal("others"),
    ):
        assert (answer["status"], answer["entries"]) == ("refused", [])
        assert "out of your reach: yours is mine" in answer["message"]
    assert journal_tools("mine", store=family, allow=("oth*",)).read_journal("others")["status"] == "success"
    assert "no session is named" in journal_tools(store=family, allow=()).read_journal()["message"]


def test_reach_by_the_environment(recording: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a session the plain functions are confined too, and AGENT_JOURNAL_TOOLS_ALLOW widens them."""
    record_event("others", "SOMETHING")
    monkeypatch.setenv("AGENT_JOURNAL_TOOLS_ALLOW", "")
    with session("mine"):
        assert read_journal("others")["status"] == "refused"
    assert read_journal("others")["status"] == "success"
    monkeypatch.setenv("AGENT_JOURNAL_TOOLS_ALLOW", "team-*, others")
    assert journal_tools("mine").read_journal("others")["status"] == "success"


def test_sql(family: MemoryStore) -> None:
    """SQL sees a session and its lineage, and nothing else whatever it asks; what it would do beside is refused."""
    family.append([an_event(3, session_id="mine", type="LOSS", details={"loss": 0.5})])
    tools = journal_tools("mine", store=family)
    answer = tools.query_journal("mine", "SELECT DISTINCT session_id FROM events ORDER BY 1")
    assert [row["session_id"] for row in answer["entries"]] == ["fork", "grandchild", "grandparent", "mine", "parent"]
    (row,) = tools.query_journal(None, "SELECT details->>'loss' AS loss FROM events WHERE event_type = 'LOSS'")[
        "entries"
    ]
    assert row == {"loss": "0.5"}
    many = tools.query_journal("mine", "SELECT * FROM range(1000)")
    assert (many["entry_count"], many["more"]) == (200, True)
    for sql in (
        "DROP VIEW events",
        "SELECT 1; SELECT 2",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELEC",
        "x" * 30_000,
    ):
        refused = tools.query_journal("mine", sql)
        assert (refused["status"], bool(refused["message"]), refused["entries"]) == ("error", True, [])


@pytest.mark.long_form
def test_sql_in_a_process_of_its_own(url: str) -> None:
    """Of a journal that others can open too SQL is asked apart: errors are said, rows and their bytes are bounded."""
    write_journal_entry("s1", "LOSS", details={"loss": 0.5})
    write_journal_entry("s10", "LOSS", details={"loss": 0.9})
    answer = query_journal("s1", "SELECT session_id, details->>'loss' AS loss FROM events")
    assert (answer["status"], answer["entries"]) == ("success", [{"session_id": "s1", "loss": "0.5"}])
    assert "nowhere" in query_journal("s1", "SELECT * FROM nowhere")["message"]
    wide = query_journal("s1", "SELECT repeat('x', 1000) AS x FROM range(100)")
    assert (30 < wide["entry_count"] < 60, wide["more"]) == (True, True)
    if os.environ.get("AGENT_JOURNAL_SOAK"):
        assert query_journal("s1", "SELECT repeat('x', 3000000000)")["status"] == "error"


def test_rows_of_a_process_are_bounded() -> None:
    """So many rows, of so many bytes; one that is larger than all is an error, and one that is cut off no row."""
    row = b'{"x": 1}\n'
    assert _read(BytesIO(row * 3), 5, 100) == Rows([{"x": 1}] * 3, more=False)
    assert _read(BytesIO(row * 7), 5, 100) == Rows([{"x": 1}] * 5, more=True)
    assert _read(BytesIO(row * 7), 5, 20) == Rows([{"x": 1}] * 2, more=True)
    assert _read(BytesIO(row + row[:-1]), 5, 100) is None
    with pytest.raises(QueryFailed, match="larger than an answer"):
        _read(BytesIO(b'{"x": "' + b"x" * 1_000), 5, 100)


def test_waiting(recording: str) -> None:
    """One waits for a type of event, or for whatever ends a session; for the end of its own nobody waits."""
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(wait_for_journal, "job", "trained", timeout_s=30)
        write_journal_entry("job", "LOADED")
        write_journal_entry("job", "TRAINED", details={"loss": 0.1})
        answer = asked.result()
    assert (answer["status"], answer["entries"][0]["details"]["loss"]) == ("success", 0.1)
    later = wait_for_journal("job", "TRAINED", timeout_s=0, since="2999-01-01T00:00:00Z")
    assert (later["status"], later["last_event_type"]) == ("timeout", "TRAINED")
    with session("s1"):
        assert "your own session" in wait_for_journal(timeout_s=0)["message"]
    ended = wait_for_journal("s1", timeout_s=30)
    assert (ended["status"], ended["session_status"]) == ("success", "COMPLETED")
    assert wait_for_journal("s1", "X", since="yesterday")["status"] == "refused"


@pytest.mark.parametrize("records", [False, True])
def test_with_content_off(url: str, monkeypatch: pytest.MonkeyPatch, records: bool) -> None:
    """Of an entry its type and level are journaled, and that an agent wrote it; nothing that it says, by no name."""
    monkeypatch.setenv("AGENT_JOURNAL_CONTENT", "metadata")
    if records:
        configure(url, instrument=False)
    said = {"text": "s3cret", "user": "s3cret", "tags": ["s3cret"], "stage": "s3cret", "reason": "s3cret"}
    write_journal_entry("s1", "FOUND", "s3cret", said, "WARNING")
    (entry,) = read_journal("s1", "FOUND")["entries"]
    shutdown()
    assert (entry["level"], entry["details"]["written_by"]) == ("WARNING", "tool")
    with closing(open_store(url)) as store:
        assert b"s3cret" not in b"".join(encode_line(event) for event in store.read("s1"))


def test_a_store_that_is_away_is_an_answer(tmp_path: Any) -> None:
    """Whatever the store does, an agent gets an answer; an entry that was not written is not said to be."""
    (tmp_path / "journal.db").write_text("no database")
    tools = journal_tools("s1", store=f"sqlite:///{tmp_path}/journal.db")
    for answer in (tools.write_journal_entry(), tools.read_journal(), tools.query_journal(None, "SELECT 1")):
        assert (answer["status"], answer["entry_count"]) == ("error", 0)
    tools.close()
