"""A reader's view of a writer's folder: in order, from what is acknowledged on, and never past what it cannot read."""

from __future__ import annotations

import os
import resource
import time

import pytest

from otel_agent_journal.delivery.drain import Drain
from otel_agent_journal.spool.folder import SpoolFolder
from otel_agent_journal.spool.home import segment_name
from otel_agent_journal.spool.survey import survey, writer_folders
from otel_agent_journal.store.memory import MemoryStore
from tests.spool.spooling import eventually, everything, new_writer, noted


def payloads(records):
    return [payload for _, payload in records]


def test_reading_goes_on_where_it_was_acknowledged(tmp_path):
    """A fresh reader starts after the last acknowledged record; a rewound one too."""
    writer = new_writer(tmp_path)
    for number in range(10):
        writer.append(b"%d" % number)
    first = SpoolFolder(writer.folder)
    records = first.read()
    first.acknowledge(records[3][0])
    assert everything(writer.folder) == [b"%d" % number for number in range(4, 10)]
    assert first.read() == []
    first.rewind()
    assert payloads(first.read()) == [b"%d" % number for number in range(4, 10)]


def test_a_record_is_readable_at_once(tmp_path):
    """A reader beside a live writer sees each record as soon as its append returned."""
    writer = new_writer(tmp_path)
    writer.append(b"first")
    reader = SpoolFolder(writer.folder)
    assert payloads(reader.read()) == [b"first"]
    for number in range(100):
        writer.append(b"%d" % number)
        assert payloads(reader.read()) == [b"%d" % number]


def test_what_is_wholly_acknowledged_is_deleted(tmp_path):
    """Segments that are delivered go while the writer goes on; the one in use stays."""
    writer = new_writer(tmp_path, segment_bytes=64 * 1024)
    reader = None
    for number in range(2000):
        writer.append(b"%04d" % number * 50)
        reader = reader or SpoolFolder(writer.folder)
        if records := reader.read():
            reader.acknowledge(records[-1][0])
    reader.read()
    assert len(list(writer.folder.glob("*.seg"))) <= 3
    assert reader.pending_bytes == 0


def test_a_segment_left_unsealed_is_over_when_a_later_one_is_used(tmp_path):
    """An interrupt between two segments may leave the first unsealed: the log goes on all the same."""
    writer = new_writer(tmp_path, segment_bytes=64 * 1024)
    writer.append(b"first")
    writer._segments._seal = lambda *_: None
    for _ in range(100):
        writer.append(bytes(1000))
    reader, found = SpoolFolder(writer.folder), []
    deadline = time.monotonic() + 60
    while len(found) < 101:
        found += reader.read()
        assert time.monotonic() < deadline
    assert reader.corrupt == 0


def test_an_empty_segment_is_passed_over_once_a_later_one_is_used(tmp_path):
    """A segment that was made and never used does not hold up the log."""
    writer = new_writer(tmp_path, segment_bytes=64 * 1024)
    writer.append(b"first")
    writer._segments._create(writer._segments._next_number(), 0)
    writer._segments.advance(0, 0)
    writer.append(b"second")
    reader = SpoolFolder(writer.folder)
    assert payloads(reader.read()) == [b"first", b"second"]


def test_pending_bytes_count_what_is_not_acknowledged(tmp_path):
    """What waits is known to the byte, frames included, also by somebody who reads nothing."""
    writer = new_writer(tmp_path, segment_bytes=64 * 1024)
    for _ in range(100):
        writer.append(bytes(988))
    assert SpoolFolder(writer.folder).pending_bytes == 100 * 1000
    reader = SpoolFolder(writer.folder)
    reader.acknowledge(reader.read()[59][0])
    assert SpoolFolder(writer.folder).pending_bytes == 40 * 1000
    (folder,) = survey(tmp_path).folders
    assert (folder.pending_bytes, folder.alive, folder.closed, folder.waits) == (40_000, True, False, True)
    assert folder.pid == os.getpid()


def test_who_has_no_descriptors_left_declares_nobody_dead(tmp_path):
    """A drainer that can open no file takes no live writer for dead, skips nothing and deletes nothing."""
    writer, store = new_writer(tmp_path, segment_bytes=64 * 1024), MemoryStore()
    for number in range(500):
        writer.append(noted(number, text="x" * 500))
    drain = Drain(tmp_path, store)
    drain._adoption.look()
    (folder,) = drain._adoption
    folder.read(1000)
    folder.rewind()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, limits[1]))
    try:
        assert folder.is_alive()
        done = drain._round(settle=True)
        assert (done.records, done.caught_up) == (0, False)
        assert folder.pending_bytes > 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    writer.close()
    eventually(lambda: drain._round(settle=True).caught_up and not writer_folders(tmp_path))
    assert [event.details["n"] for event in store.read("s1")] == list(range(500))


def test_what_cannot_be_read_between_two_segments_is_not_skipped(tmp_path, monkeypatch):
    """An error on the way gives what was read before it, then itself, and nothing is passed over."""
    writer = new_writer(tmp_path, segment_bytes=64 * 1024)
    for number in range(200):
        writer.append(b"%03d" % number * 200)
    writer.close()
    reader, real = SpoolFolder(writer.folder), os.open

    def fails_once(path, *rest, **options):
        if str(path).endswith(segment_name(2)):
            raise OSError(24, "Too many open files")
        return real(path, *rest, **options)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", fails_once)
        found = reader.read()
        assert 0 < len(found) < 200
        with pytest.raises(OSError, match="Too many"):
            reader.read()
    found += reader.read()
    assert payloads(found) == [b"%03d" % number * 200 for number in range(200)]


def test_a_segment_that_vanishes_is_passed_over(tmp_path):
    """Somebody deletes one segment: the others are read."""
    writer = new_writer(tmp_path, segment_bytes=64 * 1024)
    for number in range(300):
        writer.append(b"%03d" % number * 200)
    writer.close()
    (writer.folder / segment_name(2)).unlink()
    found = everything(writer.folder)
    assert 0 < len(found) < 300
    assert SpoolFolder(writer.folder).is_closed()
