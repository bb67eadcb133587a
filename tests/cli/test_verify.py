"""`verify`: each check finds what it is for, and nothing in a journal that is right."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from threading import Lock

import msgspec
import pytest

from otel_agent_journal.cli.verify import CHECKS, check_events, findings_of
from otel_agent_journal.codec import DIGEST_BYTES, sealed
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import BlobStore
from otel_agent_journal.store.rules import current
from otel_agent_journal.testing.builders import JournalBuilder, an_event, context_events
from tests.cli.command_line import cli, rows, terminal
from tests.cli.conftest import Seeded


def findings(events: list[JournalEvent]) -> list[str]:
    return [finding.check for finding in check_events("s1", events, lambda *_: None)]


def built() -> JournalBuilder:
    builder = JournalBuilder("s1")
    root = builder.start("AGENT", "a")
    builder.end(builder.start("TOOL", "t", parent=root))
    builder.end(root)
    return builder


def test_a_right_journal_has_no_findings(journal: Seeded) -> None:
    """Sessions that ended, failed, run or were cut off are right; exit code 0 and nothing on stdout."""
    journal.completed()
    journal.failed()
    journal.running()
    journal.running("silent", ago_s=3600, writer="d" * 32)
    result = cli("verify")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "verified 4 sessions, 17 events: nothing wrong\n"
    assert cli("verify", "done").stderr == "verified 1 session, 11 events: nothing wrong\n"


def test_a_changed_event_is_found(journal: Seeded) -> None:
    """An event whose body was changed in the database does not match its digest: exit code 5."""
    journal.completed()
    with sqlite3.connect(Path(".agent-journal/journal.db")) as connection:
        changed = connection.execute("UPDATE events SET level = 'DEBUG' WHERE type = 'TOOL_ERROR'").rowcount
    connection.close()
    assert changed == 1
    result = cli("verify")
    assert result.exit_code == 5
    (finding,) = rows(result)
    assert list(finding) == ["session_id", "check", "event_id", "detail"]
    assert (finding["session_id"], finding["check"]) == ("done", "digest")
    assert result.stderr == "verified 1 session, 11 events: 1 finding\n"
    text = terminal("verify").text
    assert "digest" in text
    assert "verifying 1 session" in text
    assert "100%" in text


def test_a_head_that_is_not_its_events_is_found(journal: Seeded) -> None:
    """A cache that lies is said to, with what it says and what a replay says."""
    journal.completed()
    head = journal.store.head("done")
    assert head is not None
    journal.store.write_head(msgspec.structs.replace(head, steps=77))
    (finding,) = rows(cli("verify", "done"))
    assert finding["check"] == "head"
    assert finding["detail"] == "stored and replayed differ in steps (stored 77, replayed 4)"


def test_each_check_finds_what_it_is_for() -> None:
    """Digest, order, duplicate, start, parent: one defect each, one finding each."""
    events = built().events
    assert findings(events) == []
    changed = msgspec.structs.replace(events[1], name="other")
    assert findings([events[0], changed, *events[2:]]) == ["digest"]
    assert findings([events[1], events[0], *events[2:]]) == ["order"]
    assert findings([*events, events[-1]]) == ["duplicate"]
    assert findings([events[0], *events[2:]]) == ["start", "parent"][:1]
    assert findings(events[1:3]) == ["parent"]


def test_an_interrupted_step_without_an_ending_is_right() -> None:
    """A START without an ending is what a crash leaves, and no finding."""
    assert findings(built().events[:2]) == []


def test_a_gap_in_a_sequence_is_found() -> None:
    """An agent instance's numbers run from 0 without a gap, whatever order their times have."""
    events = context_events(4)
    assert findings(events) == []
    assert findings([events[0], events[1], events[3]]) == ["sequence"]
    assert findings(events[1:]) == ["sequence"]


def test_a_missing_or_wrong_blob_is_found(journal: Seeded) -> None:
    """A value kept apart must be there and be the one referred to."""
    journal.store.append([sealed(an_event(1, details={"input": {"$blob": "d" * 32, "bytes": 3, "preview": ""}}))])
    journal.write_head("s1")
    assert [row["check"] for row in rows(cli("verify", "s1"))] == ["blob"]
    assert isinstance(journal.store, BlobStore)
    journal.store.put_blob("s1", "d" * 32, b"[]")
    (finding,) = rows(cli("verify", "s1"))
    assert finding["detail"].startswith("'input': what is kept is not")


def test_media_are_checked_however_deep(journal: Seeded) -> None:
    """Media in a message, and those named by a value that is itself kept apart, must be there too."""
    assert isinstance(journal.store, BlobStore)
    text = b"[1]"
    outer = blake2b(text, digest_size=DIGEST_BYTES).hexdigest()
    journal.store.put_blob("s1", outer, text)
    within = {"messages": [{"content": [{"data": {"$blob": "e" * 32, "bytes": 3, "media_type": "image/png"}}]}]}
    apart = {"output": {"$blob": outer, "bytes": 3, "preview": "", "media": ["f" * 32]}}
    journal.store.append([sealed(an_event(1, details=within)), sealed(an_event(2, details=apart))])
    journal.write_head("s1")
    assert sorted(row["detail"].split()[3].rstrip(",") for row in rows(cli("verify", "s1"))) == ["e" * 32, "f" * 32]


def test_every_check_is_documented_in_the_code() -> None:
    """The names of checks in findings are those of CHECKS."""
    assert set(CHECKS) == {"digest", "order", "duplicate", "start", "parent", "sequence", "blob", "head", "part"}


@pytest.mark.parametrize("form", ["json", "csv"])
def test_findings_in_every_format(journal: Seeded, form: str) -> None:
    """No finding is an empty array, or a header alone."""
    journal.completed()
    found = cli("verify", "-o", form).stdout
    assert (json.loads(found) == []) if form == "json" else found == "session_id,check,event_id,detail\n"


def test_sessions_are_verified_side_by_side(tmp_path: Path) -> None:
    """A store that may be read so is read for several sessions at a time; what is found comes in their order."""
    together, most, changing = [0], [0], Lock()

    class Waiting(MemoryStore):
        def read(self, session_id: str, after: tuple[int, str] | None = None) -> Iterator[JournalEvent]:
            with changing:
                together[0] += 1
                most[0] = max(most[0], together[0])
            time.sleep(0.02)
            yield from super().read(session_id, after)
            with changing:
                together[0] -= 1

    store, moved = Waiting(), [0]
    journal = Journal(store, tmp_path)
    for number in range(20):
        made = [
            an_event(1, session_id=f"s{number:02}", type="AGENT_START", step_id="a", attempt=1),
            an_event(2, session_id=f"s{number:02}", type="AGENT_END", step_id="a", attempt=1, outcome="ok"),
        ]
        store.append(made)
        head = current(store, f"s{number:02}")
        assert head is not None
        assert store.write_head(msgspec.structs.replace(head, steps=77 if number % 3 == 0 else head.steps)) is not None
    heads = sorted(store.sessions(), key=lambda head: head.session_id)
    journal.clock = lambda: 2 * heads[0].updated_ns

    def move(events: int) -> None:
        moved[0] += events

    found = list(findings_of(journal, heads, move))
    assert [one.session_id for one in found] == [f"s{number:02}" for number in range(0, 20, 3)]
    assert {one.check for one in found} == {"head"}
    assert moved == [40]
    assert 2 <= most[0] <= store.capabilities.threads
