"""`store delete`: what goes, what is asked and refused; `export --jsonl` and `import`, which bring it back."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from otel_agent_journal.codec import decode_line, encode_line
from otel_agent_journal.spool.set_aside import SetAside, count
from otel_agent_journal.store.protocol import Blob, BlobStore
from otel_agent_journal.store.registry import open_store
from otel_agent_journal.testing.builders import JournalBuilder, an_event, context_events
from tests.cli.command_line import cli, program, rows, terminal
from tests.cli.conftest import Seeded

OTHER = "sqlite:///other.db"


def kept_apart(journal: Seeded, session_id: str) -> bytes:
    """Keep a session with a value of its own kept apart, and return that."""
    from hashlib import blake2b

    from otel_agent_journal.codec import DIGEST_BYTES

    data = b"\x89PNG a secret of many bytes"
    digest = blake2b(data, digest_size=DIGEST_BYTES).hexdigest()
    assert isinstance(journal.store, BlobStore)
    journal.store.put_blobs(session_id, {digest: Blob(data, "image/png")})
    builder = JournalBuilder(session_id)
    reference = {"$blob": digest, "bytes": len(data), "media_type": "image/png"}
    builder.end(builder.start("TOOL", "draw", details={"input": reference}))
    journal.keep(builder)
    return data


def listed() -> list[str]:
    return sorted(row["session_id"] for row in rows(cli("ls")))


def test_nothing_goes_unasked(journal: Seeded) -> None:
    """Where there is no terminal to ask on, it says what would go, and nothing does; --dry-run never deletes."""
    journal.completed()
    for args in (("done",), ("done", "--dry-run")):
        done = program("store", "delete", *args)
        assert done.returncode == (0 if "--dry-run" in args else 2)
        assert listed() == ["done"]
    assert "done  researcher, COMPLETED, 4 steps" in program("store", "delete", "done").stderr
    assert rows(cli("store", "delete", "done", "--dry-run"))[0]["deleted"] is False


def test_all_of_a_session_goes(journal: Seeded) -> None:
    """Events, values kept apart, what was set aside; nothing of it is in any file, and the others stay."""
    data = kept_apart(journal, "secret")
    journal.completed()
    aside = SetAside(Path(".agent-journal/spool"))
    for number, name in enumerate(("secret", "done")):
        aside.add_event(an_event(number, session_id=name), "too large", 0)
    (gone,) = rows(cli("store", "delete", "secret", "--yes"))
    assert (gone["session_id"], gone["deleted"]) == ("secret", True)
    assert listed() == ["done"]
    assert count(Path(".agent-journal/spool")) == 1
    assert all(data not in path.read_bytes() for path in Path(".agent-journal").glob("journal.db*"))
    assert cli("store", "delete", "secret", "--yes").exit_code == 3


def test_with_yes_ids_are_whole(journal: Seeded) -> None:
    """A script that gives the beginning of an id may mean another session tomorrow."""
    journal.completed("reading-7")
    refused = cli("store", "delete", "read", "--yes")
    assert refused.exit_code == 2
    assert "reading-7" in refused.stderr
    assert listed() == ["reading-7"]


def test_what_runs_stays(journal: Seeded) -> None:
    """A session that is under way is left alone, and so are all that were named with it."""
    journal.running()
    journal.completed()
    refused = cli("store", "delete", "done", "live", "--yes")
    assert refused.exit_code == 1
    assert "session live is running" in refused.stderr
    assert listed() == ["done", "live"]


def test_what_was_forked_goes_with_its_forks(journal: Seeded) -> None:
    """A fork is read through its base: it is named, and goes only where that is said."""
    journal.completed()
    journal.store.append_context("i1", 0, context_events(2, instance_id="i1", session_id="done"))
    assert cli("copy", "done", "--as", "again").exit_code == 0
    refused = cli("store", "delete", "done", "--yes")
    assert refused.exit_code == 1
    assert "again" in refused.stderr
    assert [row["session_id"] for row in rows(cli("store", "delete", "done", "--forks", "--yes"))] == ["again", "done"]
    assert listed() == []


def test_a_person_is_told_and_asked(journal: Seeded) -> None:
    """On a terminal the plan stands before the question."""
    journal.completed()
    said = terminal("store", "delete", "done", "--yes").text
    assert "to delete for good" in said
    assert "1 session deleted" in said


def test_there_and_back(journal: Seeded) -> None:
    """What is written out, deleted and taken in again is the same, values kept apart and contexts included."""
    data = kept_apart(journal, "secret")
    journal.store.append_context("i1", 0, context_events(40, instance_id="i1", session_id="secret"))
    before = list(journal.store.read("secret"))
    Path("out.jsonl").write_text(cli("export", "secret", "--jsonl").stdout)
    Path("out.gz").write_bytes(gzip.compress(Path("out.jsonl").read_bytes()))
    assert cli("store", "delete", "secret", "--yes").exit_code == 0
    for file in ("out.jsonl", "out.jsonl", "out.gz"):
        (taken,) = rows(cli("import", file))
        assert (taken["events"], taken["blobs"], taken["sessions"], taken["bad_lines"]) == (len(before), 1, 1, 0)
        assert list(journal.store.read("secret")) == before
    assert list(journal.store.read_context("i1")) == [event for event in before if event.seq is not None]
    assert isinstance(journal.store, BlobStore)
    (digest,) = [line["blob"] for line in map(json.loads, Path("out.jsonl").read_text().splitlines()) if "blob" in line]
    assert journal.store.get_blobs("secret", [digest])[digest] == Blob(data, "image/png")
    assert cli("verify").exit_code == 0


def test_bad_lines_cost_themselves_alone(journal: Seeded) -> None:
    """Each is named with its number and why; every other one is taken, and the exit code says so."""
    journal.completed()
    good = [encode_line(event) for event in journal.store.read("done")]
    changed = good[0].replace(b"researcher", b"somebody")
    blob = b'{"blob": "%s", "session_id": "done", "media_type": "x", "data": "%s"}'
    bad = [b"garbage", b'{"a": 1}', changed, blob % (b"0" * 32, b"AAAA"), blob % (b"0" * 32, b"?"), b"[]", b"\xff"]
    Path("mixed.jsonl").write_bytes(b"\n".join([bad[0], *good[:3], b"", *bad[1:], *good[3:]]))
    result = cli("import", "mixed.jsonl", "--store", OTHER)
    assert result.exit_code == 1
    (taken,) = rows(result)
    assert (taken["events"], taken["bad_lines"]) == (len(good), len(bad))
    told = [line for line in result.stderr.splitlines() if "was not taken" in line]
    assert [int(line.split()[2]) for line in told] == [1, *range(6, 6 + len(bad) - 1)]
    assert list(open_store(OTHER).read("done")) == list(journal.store.read("done"))


def test_contexts_in_any_order(journal: Seeded) -> None:
    """Of an agent's context what comes before its time waits; what never comes is named, and nothing else is lost."""
    events = context_events(60, instance_id="i1", session_id="s1")
    Path("late.jsonl").write_bytes(b"\n".join(map(encode_line, reversed(events))))
    (taken,) = rows(cli("import", "late.jsonl", "--store", OTHER))
    assert (taken["events"], taken["bad_lines"]) == (60, 0)
    Path("gap.jsonl").write_bytes(b"\n".join(map(encode_line, [*events[:5], *events[6:8]])))
    result = cli("import", "gap.jsonl", "--store", "sqlite:///gap.db")
    assert (rows(result)[0]["events"], rows(result)[0]["bad_lines"], result.exit_code) == (5, 2, 1)
    assert "comes behind event 5, which is not there" in result.stderr


def test_lines_of_stdin_and_of_show(journal: Seeded) -> None:
    """What `show --events` prints can be piped into another store."""
    journal.completed()
    lines = program("show", "done", "--events", "-o", "jsonl").stdout
    Path("events.jsonl").write_text(lines)
    assert cli("import", "events.jsonl", "--store", OTHER).exit_code == 0
    assert [decode_line(line) for line in lines.splitlines()] == list(open_store(OTHER).read("done"))


@pytest.mark.parametrize("name", ["nothing.jsonl", "."])
def test_a_file_that_is_none(name: str) -> None:
    """It is a mistake, and said."""
    assert cli("import", name).exit_code == 2
