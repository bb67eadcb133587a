"""What is set aside: numbered files, whole or not there, none written over, each thing once."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from otel_agent_journal.codec import sealed
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.spool.set_aside import Kept, SetAside, count, kept
from otel_agent_journal.spool.survey import survey


def event(number: int, **details: object) -> JournalEvent:
    """Return an event of writer w."""
    return sealed(
        JournalEvent(
            session_id="s", event_id=f"{number:032x}", type="NOTED", timestamp_ns=5, writer="w", details=details
        )
    )


def items(root: Path) -> list[Kept]:
    """Return what can be read of what is set aside."""
    return [item for _, item in kept(root) if item is not None]


def test_every_form_is_read_again(tmp_path: Path) -> None:
    """Events and bytes are what they were, with whose they are and why; only the user may read the files."""
    shelf = SetAside(tmp_path)
    assert shelf.add_event(event(1, input="é\ud800"), "too \udcff large", 0)
    assert shelf.add_record(b"\xff\x00", "w2", "not a fact", 0)
    assert items(tmp_path) == [
        Kept("w", r"too \udcff large", event(1, input=r"é\ud800"), b""),
        Kept("w2", "not a fact", None, b"\xff\x00"),
    ]
    files = [path for path, _ in kept(tmp_path)]
    assert [path.name.partition(".")[0] for path in files] == ["000001", "000002"]
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "set-aside", *files)] == [0o700, 0o600, 0o600]


def test_numbers_go_on_and_nothing_is_added_twice(tmp_path: Path) -> None:
    """By another drainer too, after one that died before it acknowledged; what was delivered since may come again."""
    SetAside(tmp_path).add_event(event(1), "no", 0)
    again = SetAside(tmp_path)
    assert not again.add_event(event(1), "no again", 1)
    assert again.add_event(event(2), "no", 1)
    assert again.add_record(b"same", "w", "no", 1)
    assert again.add_record(b"same", "another writer", "no", 1)
    paths = [path for path, _ in kept(tmp_path)]
    assert [path.name[:6] for path in paths] == ["000001", "000002", "000003", "000004"]
    assert count(tmp_path) == survey(tmp_path).set_aside == 4
    paths[0].unlink()
    assert again.add_event(event(1), "no", 2)
    assert count(tmp_path) == 4


def test_a_write_that_was_broken_off_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there whole or not at all, and the next one is whole."""
    shelf = SetAside(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("no space")))
        with pytest.raises(OSError, match="no space"):
            shelf.add_event(event(1), "no", 0)
    (tmp_path / "set-aside" / ".0123").write_text("{")  # of one that was killed
    assert count(tmp_path) == 0
    assert shelf.add_event(event(1), "no", 0)
    assert count(tmp_path) == len(items(tmp_path)) == 1


def test_what_cannot_be_read_is_counted_and_named(tmp_path: Path) -> None:
    """A file that somebody damaged does not hide the others."""
    shelf = SetAside(tmp_path)
    for number in (1, 2):
        shelf.add_event(event(number), "no", 0)
    first = next(path for path, _ in kept(tmp_path))
    first.write_text('{"at": ')
    assert [(path == first, item is None) for path, item in kept(tmp_path)] == [(True, True), (False, False)]
    assert count(tmp_path) == 2


def test_what_is_of_one_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted without reading a file twice. What cannot be read may be anybody's."""
    shelf = SetAside(tmp_path)
    for number, writer in enumerate(("ours", "ours", "another", "damaged")):
        shelf.add_record(bytes([number]), writer, "no", 0)
    paths = [path for path, _ in kept(tmp_path)]
    paths[-1].write_text('{"at": ')
    assert (count(tmp_path, "ours"), count(tmp_path, "another")) == (3, 2)
    paths[-1].unlink()
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} is read again"))
    assert (count(tmp_path, "ours"), count(tmp_path, "another")) == (2, 1)
    paths[0].unlink()
    assert count(tmp_path, "ours") == 1


def _add(root: Path, process: int) -> None:
    shelf = SetAside(root)
    for number in range(50):
        shelf.add_event(event(process * 1000 + number), "no", 0)


def test_several_processes_at_once_write_over_nothing(tmp_path: Path) -> None:
    """All that each has set aside is there."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_add, args=(tmp_path, process)) for process in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * 4
    assert count(tmp_path) == len({item.event.event_id for item in items(tmp_path) if item.event}) == 200
