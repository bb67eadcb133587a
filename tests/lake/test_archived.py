"""A prune takes what a lake has, and nothing else."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from otel_agent_journal.errors import LakeError
from otel_agent_journal.lake.archived import Archive
from otel_agent_journal.lake.manifest import open_lake
from otel_agent_journal.lake.place import open_place
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.rules import prune
from tests.lake.lakes import NOW_NS, asked, export, more_of
from tests.query.journals import a_session, keep, rows_of


def _archive(folder: Path, store: MemoryStore) -> Archive:
    return Archive(open_lake(open_place(str(folder))), store)


def _ids(store: MemoryStore) -> list[str]:
    return [row[0] for row in rows_of(store, "SELECT session_id FROM sessions ORDER BY 1")]


def test_what_is_in_the_lake_goes_and_is_still_asked(store: MemoryStore, folder: Path) -> None:
    """Every session that was exported as it is goes from the store, and the lake answers as before."""
    export(store, folder)
    before = asked(folder, "SELECT * FROM events ORDER BY ALL")
    everything = len(_ids(store))
    assert prune(store, NOW_NS, only=_archive(folder, store).has) == everything
    assert _ids(store) == []
    assert export(store, folder).sessions == 0
    assert asked(folder, "SELECT * FROM events ORDER BY ALL") == before


def test_what_came_since_the_export_stays(store: MemoryStore, folder: Path) -> None:
    """A session that went on, and one that is new, are not in the lake as they are, and stay whole."""
    export(store, folder)
    keep(store, more_of(0))
    keep(store, a_session(3).events)
    prune(store, NOW_NS, only=_archive(folder, store).has)
    assert _ids(store) == ["s0", "s3"]
    assert rows_of(store, "SELECT count(*) FROM events WHERE session_id = 's0'") == [(11,)]


def test_what_arrives_while_a_prune_runs_stays(store: MemoryStore, folder: Path) -> None:
    """An event that comes between looking and deleting keeps its session."""
    export(store, folder)
    archive = _archive(folder, store)

    def late(head: object) -> bool:
        is_there = archive.has(head)  # type: ignore[arg-type]
        if is_there and getattr(head, "session_id", "") == "s0":
            store.append(more_of(0))
        return is_there

    prune(store, NOW_NS, only=late)
    assert "s0" in _ids(store)


def test_a_lake_that_cannot_be_trusted_keeps_everything(store: MemoryStore, folder: Path) -> None:
    """Without a file that its manifest names, without events, or of another store, nothing is deleted."""
    export(store, folder, tables=("sessions",))
    with pytest.raises(LakeError, match="has no events"):
        _archive(folder, store)
    other = folder.with_name("other")
    export(store, other)
    with pytest.raises(LakeError, match="nothing was deleted"):
        _archive(other, MemoryStore("memory://another"))
    path = next(other.rglob("events/v=1/*/*.parquet"))
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(LakeError, match="is not the file that was written"):
        _archive(other, store)
    path.unlink()
    with pytest.raises(LakeError, match="is missing"):
        _archive(other, store)


def test_a_part_of_a_session_goes_with_it(folder: Path) -> None:
    """A trace that is part of a session is in the lake as the session's, and goes when it is there as it is now."""
    store = MemoryStore("memory://parts")
    keep(store, a_session(0).events)
    export(store, folder)
    archive = _archive(folder, store)
    head = store.head("s0")
    assert head is not None
    assert archive.has(head)
    assert not archive.has(msgspec.structs.replace(head, session_id="a-trace", part_of="s0"))
