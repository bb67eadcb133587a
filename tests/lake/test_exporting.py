"""A journal becomes files: once, again with nothing new, and again when something has changed."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from otel_agent_journal.errors import LakeError
from otel_agent_journal.lake import exporting
from otel_agent_journal.lake.compacting import compact
from otel_agent_journal.lake.exporting import Export
from otel_agent_journal.lake.manifest import Lake, Part, open_lake
from otel_agent_journal.lake.place import Place, open_place
from otel_agent_journal.lake.schema import TABLES
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.rules import current
from otel_agent_journal.testing.builders import JournalBuilder
from otel_agent_journal.testing.clocks import EPOCH_2026_NS, SteppingClock
from tests.lake.lakes import DAY_NS, NOW_NS, NUMBERS, asked, counts, export, files, more_of, part_names
from tests.query.journals import a_session, keep, rows_of


def _counted(store: MemoryStore) -> dict[str, int]:
    said = {name: rows_of(store, f"SELECT count(*) FROM {table.name}")[0][0] for name, table in TABLES.items()}
    return dict(said)


def test_a_lake_has_every_row_of_the_journal(store: MemoryStore, folder: Path) -> None:
    """Each table has as many rows as SQL over the store finds, in files that engines find by table and day."""
    said = export(store, folder)
    assert counts(folder) == _counted(store)
    assert said.events == counts(folder)["events"]
    assert said.rows == sum(counts(folder).values())
    days = {path.parent.name for path in folder.rglob("events/v=1/*/*.parquet")}
    assert days == {"dt=2026-01-01", "dt=2026-01-02", "dt=2026-01-03"}


def test_rows_are_on_the_day_of_their_event(store: MemoryStore, folder: Path) -> None:
    """An event is in the partition of its own day in UTC, whenever its session began; a step in that of its start."""
    export(store, folder)
    for name, column in (("events", "timestamp_ns"), ("steps", "started_ns"), ("tool_calls", "started_ns")):
        for path in folder.rglob(f"{name}/v=1/*/*.parquet"):
            first_ns = EPOCH_2026_NS + (int(path.parent.name[-2:]) - 1) * DAY_NS
            times = pq.ParquetFile(path).read([column])[column].to_pylist()
            assert all(first_ns <= one < first_ns + DAY_NS for one in times), path


def test_types_are_those_that_every_engine_reads(store: MemoryStore, folder: Path) -> None:
    """Times are microseconds in UTC beside exact nanoseconds, JSON is text, and nothing is Arrow's own."""
    export(store, folder)
    path = next(folder.rglob("events/v=1/*/*.parquet"))
    file = pq.ParquetFile(path)
    schema = file.schema_arrow
    assert schema.field("timestamp").type == pa.timestamp("us", tz="UTC")
    assert (schema.field("timestamp_ns").type, schema.field("details").type) == (pa.int64(), pa.string())
    assert not schema.metadata
    column = file.metadata.row_group(0).column(file.schema_arrow.names.index("event_type"))
    assert column.compression == "ZSTD"
    assert "RLE_DICTIONARY" in column.encodings
    table = file.read(["timestamp", "timestamp_ns"])
    exact = table["timestamp_ns"].to_pylist()
    assert table["timestamp"].cast(pa.int64()).to_pylist() == [one // 1000 for one in exact]
    sessions = file.read(["session_id"])["session_id"].to_pylist()
    assert sessions == sorted(sessions)


def test_a_second_run_writes_nothing(store: MemoryStore, folder: Path) -> None:
    """Exported again, nothing of the lake is touched, manifest and times of files among it."""
    export(store, folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert export(store, folder).files == 0
    assert export(store, folder, since_ns=0).files == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_the_same_journal_makes_the_same_files(store: MemoryStore, tmp_path: Path) -> None:
    """Two lakes of one journal are the same, byte for byte."""
    export(store, tmp_path / "one")
    export(store, tmp_path / "two")
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_what_has_changed_takes_the_place_of_what_was(store: MemoryStore, folder: Path) -> None:
    """A session that went on is read anew, alone, and is in the lake once; files of other days stay untouched."""
    export(store, folder)
    before = files(folder)
    keep(store, more_of(0))
    said = export(store, folder)
    assert said.sessions == 1
    assert counts(folder) == _counted(store)
    assert asked(folder, "SELECT events FROM sessions WHERE session_id = 's0'") == [(11,)]
    assert {path: data for path, data in files(folder).items() if "dt=2026-01-03" in path} == {
        path: data for path, data in before.items() if "dt=2026-01-03" in path
    }


def test_a_new_session_comes_into_files_of_its_own(store: MemoryStore, folder: Path) -> None:
    """What began since is written beside what is there, which stays as it is."""
    export(store, folder)
    before = files(folder)
    keep(store, a_session(3).events)
    assert export(store, folder).sessions == 1
    after = files(folder)
    assert {path: after[path] for path in before if path.endswith(".parquet")} == {
        path: data for path, data in before.items() if path.endswith(".parquet")
    }
    assert counts(folder) == _counted(store)


def test_a_silent_session_is_written_again_when_it_is_held_for_lost(folder: Path, store: MemoryStore) -> None:
    """A verdict that time alone changes is brought up to date, without an event."""
    running_ns = EPOCH_2026_NS + DAY_NS + 100 * 10**9
    export(store, folder, now_ns=running_ns)
    assert asked(folder, "SELECT status FROM sessions WHERE session_id = 'silent'") == [("PROCESSING",)]
    assert export(store, folder).sessions == 1
    assert asked(folder, "SELECT status, reason FROM sessions WHERE session_id = 'silent'") == [("INTERRUPTED", "lost")]


def test_bounds_take_sessions_by_their_last_update(store: MemoryStore, folder: Path) -> None:
    """With a span of time only sessions updated in it are written; a run without one brings the others."""
    said = export(store, folder, since_ns=EPOCH_2026_NS + DAY_NS, until_ns=EPOCH_2026_NS + 2 * DAY_NS - 1)
    assert asked(folder, "SELECT session_id FROM sessions ORDER BY 1") == [("s25",), ("silent",)]
    assert said.sessions == 2
    assert export(store, folder).sessions == len(NUMBERS)
    assert counts(folder) == _counted(store)


def test_a_lake_may_have_some_tables_alone(store: MemoryStore, folder: Path) -> None:
    """Tables that were not asked for are not there, and later runs keep to those that are."""
    export(store, folder, tables=("sessions", "events"))
    keep(store, a_session(3).events)
    export(store, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["_journal", "events", "sessions"]
    with pytest.raises(LakeError, match="leave --tables out"):
        export(store, folder, tables=("steps",))


def test_large_days_become_several_parts(
    store: MemoryStore, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A part has so many events at most; compacting a day makes one of its parts, with the same rows in order."""
    export(store, tmp_path / "whole")
    monkeypatch.setattr(exporting, "PART_EVENTS", 20)
    export(store, folder)
    assert len(part_names(folder)) > len(part_names(tmp_path / "whole"))
    done = compact(open_lake(open_place(str(folder))), "2026-01-01")
    assert done is not None
    assert done.files < done.files_before
    assert part_names(folder).count("2026-01-01-0001") == 1
    assert len([one for one in part_names(folder) if one.startswith("2026-01-01")]) == 1
    assert counts(folder) == counts(tmp_path / "whole")
    for sql in ("SELECT * FROM events", "SELECT * FROM steps", "SELECT * FROM sessions"):
        assert asked(folder, sql + " ORDER BY ALL") == asked(tmp_path / "whole", sql + " ORDER BY ALL")
    for path in folder.rglob("dt=2026-01-01/*.parquet"):
        sessions = pq.ParquetFile(path).read(["session_id"])["session_id"].to_pylist()
        assert sessions == sorted(sessions)
    assert compact(open_lake(open_place(str(folder))), "2026-01-01") is None
    keep(store, more_of(0))
    assert export(store, folder).sessions == 1
    assert counts(folder) == _counted(store)


class _Breaking(Place):
    """A place at which the process ends after so many moves or deletions."""

    left = 0

    def move(self, path: str, to: str) -> None:
        self._count()
        super().move(path, to)

    def delete(self, path: str) -> None:
        self._count()
        super().delete(path)

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("steps", range(0, 18, 3))
def test_what_was_broken_off_is_repeated(store: MemoryStore, folder: Path, steps: int) -> None:
    """Wherever an export ends early, the same command makes the lake that it would have made."""
    export(store, folder)
    keep(store, more_of(0))
    keep(store, a_session(3).events)
    whole = open_place(str(folder))
    broken = _Breaking(whole.url, whole._files, whole._root, whole._folder)
    broken.left = steps
    with pytest.raises(KeyboardInterrupt):
        Export(store, broken, now_ns=NOW_NS).run()
    export(store, folder)
    assert counts(folder) == _counted(store)
    assert not list((folder / "_journal").rglob("staged/*"))
    assert asked(folder, "SELECT count(*) FROM events") == rows_of(store, "SELECT count(*) FROM events")


def test_a_session_that_was_deleted_and_begins_anew_replaces_nothing(store: MemoryStore, folder: Path) -> None:
    """What the store has no more stays in the lake, also where a session of that id begins again."""
    export(store, folder)
    head = current(store, "s0")
    assert head is not None
    assert store.delete_session("s0", head.cursor, head.version)
    assert export(store, folder).sessions == 0
    keep(store, more_of(0))
    assert export(store, folder).sessions == 1
    assert asked(folder, "SELECT events FROM sessions WHERE session_id = 's0' ORDER BY 1") == [(2,), (9,)]
    assert asked(folder, "SELECT count(DISTINCT event_id) FROM events WHERE session_id = 's0'") == [(11,)]


def test_no_part_takes_the_name_of_another(folder: Path) -> None:
    """A part whose sessions have all begun anew since keeps its name, and what is in it."""
    store = MemoryStore("memory://lakes")
    keep(store, a_session(0).events)
    export(store, folder)
    head = current(store, "s0")
    assert head is not None
    assert store.delete_session("s0", head.cursor, head.version)
    later = JournalBuilder("s0", clock=SteppingClock(EPOCH_2026_NS + DAY_NS))
    later.end(later.start("AGENT", "researcher"))
    keep(store, later.events)
    export(store, folder)
    keep(store, a_session(1).events)
    export(store, folder)
    assert part_names(folder) == ["2026-01-01-0001", "2026-01-01-0002", "2026-01-02-0001"]
    assert asked(folder, "SELECT session_id, events FROM sessions ORDER BY ALL") == [("s0", 2), ("s0", 9), ("s1", 9)]


def test_a_lake_is_of_one_store(store: MemoryStore, folder: Path) -> None:
    """Another store's journal, files that no manifest names, and a newer lake are refused, and nothing is touched."""
    export(store, folder)
    before = files(folder)
    with pytest.raises(LakeError, match="a lake is of one store"):
        export(MemoryStore("memory://another"), folder)
    assert files(folder) == before
    root = folder / "_journal" / "lake.json"
    root.rename(folder / "kept")
    with pytest.raises(LakeError, match="has events/"):
        export(store, folder)
    root.write_bytes((folder / "kept").read_bytes().replace(b'"version":1', b'"version":2'))
    with pytest.raises(Exception, match="schema version 2"):
        export(store, folder)


def test_a_part_says_what_is_in_it(store: MemoryStore, folder: Path) -> None:
    """The manifest names every file with its rows and bytes, and every session with its cursor."""
    export(store, folder)
    lake: Lake = open_lake(open_place(str(folder)))
    parts: list[Part] = list(lake.parts())
    named = {file.path(part.name): file.size_bytes for part in parts for file in part.files}
    there = {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*.parquet")}
    assert named == there
    assert sum(part.rows for part in parts) == sum(counts(folder).values())
    for part in parts:
        for entry in part.sessions:
            head = current(store, entry.session_id)
            assert head is not None
            assert (entry.cursor, entry.events) == (head.cursor, head.events)
