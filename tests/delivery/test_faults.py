"""Disks that are full, read-only, too small or gone: the agent goes on, what is refused is counted, and space is used
again once there is some."""

from __future__ import annotations

import errno
import logging
import mmap
import os
import resource
import shutil
import subprocess
import sys
import threading
import time

import pytest

from otel_agent_journal.spool.folder import SpoolFolder
from otel_agent_journal.spool.quota import used_bytes
from otel_agent_journal.spool.survey import survey
from tests.spool.spooling import everything, new_writer, noted

RECORD = b"r" * 1000


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting is not permitted here")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_refuses_and_never_kills(small_disk):
    """On a full disk appends are refused and counted; no hole is ever mapped, so there is no SIGBUS."""
    writer = new_writer(small_disk / "spool", retry_s=0)
    accepted = [number for number in range(2000) if writer.append(b"%06d" % number + RECORD)]
    assert 500 < len(accepted) < 1100
    assert writer.refused == 2000 - len(accepted)
    assert "No space left" in (writer.last_refusal or "")
    found = everything(writer.folder)
    assert [int(record[:6]) for record in found] == accepted


def test_space_that_comes_back_is_used(small_disk):
    """Once there is space again, appends are accepted again, and what was refused shows in the header."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(900 * 1024))
    writer = new_writer(small_disk / "spool", retry_s=0.05)
    while writer.append(RECORD):
        pass
    assert not writer.append(RECORD)
    ballast.unlink()
    time.sleep(0.06)
    assert writer.append(b"again")
    assert everything(writer.folder)[-1] == b"again"
    (folder,) = survey(small_disk / "spool").folders
    assert folder.refused == writer.refused == 2


def test_a_full_disk_is_not_asked_at_every_append(small_disk):
    """After a refusal nothing is tried until the time for it has come."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(900 * 1024))
    writer = new_writer(small_disk / "spool", retry_s=3600)
    while writer.append(RECORD):
        pass
    ballast.unlink()
    assert not writer.append(RECORD)
    assert writer.append(b"")  # what still fits is not refused


def test_a_disk_full_from_the_start_is_survived(small_disk):
    """Where there is no room for a folder, the first append is refused, and the spool opens later."""
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space"):
        ballast.write_bytes(bytes(2 * 1024 * 1024))
    writer = new_writer(small_disk / "spool", retry_s=0)
    assert not writer.append(RECORD)
    ballast.unlink()
    assert writer.append(RECORD)


def test_a_refusal_is_cheap_and_said_once(small_disk, caplog):
    """Between retries a refusal costs microseconds, and the log hears of it once a minute."""
    (small_disk / "ballast").write_bytes(bytes(1000 * 1024))
    writer = new_writer(small_disk / "spool")
    with caplog.at_level(logging.WARNING, "otel_agent_journal.spool"):
        while writer.append(RECORD):
            pass
        begun = time.process_time()
        for _ in range(1000):
            assert not writer.append(RECORD)
        assert time.process_time() - begun < 0.5
    assert len(caplog.records) == 1
    assert "No space left" in caplog.text


def test_a_read_only_file_system_refuses(small_disk):
    """On a read-only file system every append is refused; remounted, they are accepted."""
    root = small_disk / "spool"
    root.mkdir()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    writer = new_writer(root, retry_s=0)
    assert not writer.append(RECORD)
    assert "Read-only" in (writer.last_refusal or "")
    assert survey(root).folders == ()
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert writer.append(RECORD)


def test_a_spool_on_a_read_only_file_system_is_still_read(small_disk):
    """What cannot be acknowledged can still be read."""
    writer = new_writer(small_disk / "spool", segment_bytes=64 * 1024)
    writer.append(b"x")
    writer.close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    reader = SpoolFolder(writer.folder)
    ((position, payload),) = reader.read()
    reader.acknowledge(position)
    assert payload == b"x"
    assert reader.read() == []
    assert reader.drained
    assert not reader.remove()
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)


def test_a_root_that_is_a_file_refuses(tmp_path):
    """A root that cannot be a folder costs the journal, never the agent."""
    (tmp_path / "spool").write_text("")
    writer = new_writer(tmp_path / "spool")
    assert not writer.append(RECORD)
    writer.close()
    assert survey(tmp_path / "spool").folders == ()


def test_a_file_size_limit_refuses():
    """A limit on the size of files refuses as a full disk does."""
    program = (
        "import resource, sys, tempfile, pathlib, uuid\n"
        "from otel_agent_journal.spool.writer import SpoolWriter\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "writer = SpoolWriter(pathlib.Path(sys.argv[1]), writer=uuid.uuid4().hex)\n"
        "assert not writer.append(b'x'), 'accepted'\n"
        "assert 'large' in writer.last_refusal, writer.last_refusal\n"
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    folder = os.environ.get("TMPDIR", "/tmp")
    subprocess.run([sys.executable, "-c", program, f"{folder}/spool-{os.getpid()}"], check=True)
    shutil.rmtree(f"{folder}/spool-{os.getpid()}", ignore_errors=True)


@pytest.mark.parametrize("missing", ["fallocate", "mmap"])
def test_without_mapping_it_writes(tmp_path, monkeypatch, missing):
    """Where space cannot be allocated or files cannot be mapped, records are written, and read back the same."""

    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP if missing == "fallocate" else errno.ENODEV, "not here")

    monkeypatch.setattr(*((os, "posix_fallocate", refuse) if missing == "fallocate" else (mmap, "mmap", refuse)))
    writer = new_writer(tmp_path, segment_bytes=64 * 1024)
    records = [b"%06d" % number * 30 for number in range(2000)]
    assert all(writer.append(record) for record in records)
    assert not writer._segments.current.__class__.__name__.startswith("Mapped")
    assert everything(writer.folder) == records
    writer.close()
    assert everything(writer.folder) == records


def test_writing_on_a_full_disk_refuses_too(small_disk, monkeypatch):
    """Without mapping, a full disk refuses records one by one, and whole records alone are read."""

    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "not here")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    writer = new_writer(small_disk / "spool", retry_s=0)
    accepted = [number for number in range(2000) if writer.append(b"%06d" % number + RECORD)]
    assert 500 < len(accepted) < 1100
    assert [int(record[:6]) for record in everything(writer.folder)] == accepted


def test_at_its_cap_a_spool_refuses_and_goes_on(tmp_path):
    """The root never outgrows its cap; at the cap new records are refused, none that was accepted is dropped."""
    writer = new_writer(tmp_path, segment_bytes=256 * 1024, cap_bytes=1024 * 1024, retry_s=0)
    accepted = [number for number in range(3000) if writer.append(b"%06d" % number + RECORD)]
    assert 800 < len(accepted) < 1100
    assert used_bytes(tmp_path) <= 1024 * 1024
    assert "cap of 1,048,576 bytes" in (writer.last_refusal or "")
    reader = SpoolFolder(writer.folder)
    records = list(iter(reader.read, []))
    assert [int(payload[:6]) for batch in records for _, payload in batch] == accepted
    reader.acknowledge(records[-1][-1][0])
    assert writer.append(b"again")


def test_segments_made_ahead_never_pass_the_cap(tmp_path, monkeypatch):
    """Two threads may each find room for the same next segment: the one that comes second gives its own back."""
    allocate, found_room, go_on = os.posix_fallocate, threading.Barrier(2, timeout=10), threading.Event()

    def by_turns(descriptor, offset, length):
        name = threading.current_thread().name
        if name in ("first", "second"):
            found_room.wait()
        if name == "second":
            go_on.wait(10)
        allocate(descriptor, offset, length)

    monkeypatch.setattr(os, "posix_fallocate", by_turns)
    writer = new_writer(tmp_path, segment_bytes=256 * 1024, cap_bytes=512 * 1024, retry_s=0)
    assert writer.append(RECORD)
    ahead = {
        name: threading.Thread(name=name, target=writer._segments.prepare, args=(writer._lock,))
        for name in ("first", "second")
    }
    for thread in ahead.values():
        thread.start()
    ahead["first"].join(10)
    assert all(writer.append(RECORD) for _ in range(300))  # into the segment that the first made
    go_on.set()
    ahead["second"].join(10)
    assert used_bytes(tmp_path) <= 512 * 1024
    writer.close()


def test_at_the_cap_delivered_segments_go_first(tmp_path):
    """What is acknowledged and still there makes room, whoever wrote it."""
    other = new_writer(tmp_path, segment_bytes=256 * 1024)
    for _ in range(900):
        other.append(RECORD)
    other.close()
    reader = SpoolFolder(other.folder)
    batches = list(iter(reader.read, []))
    assert batches
    for reading in list(reader._readers.values()):  # acknowledged by a drain that died before it could delete
        reading.acknowledge(reading.offset)
    reader.close()
    writer = new_writer(tmp_path, segment_bytes=256 * 1024, cap_bytes=1024 * 1024, retry_s=0)
    assert all(writer.append(RECORD) for _ in range(500))
    assert used_bytes(tmp_path) <= 1024 * 1024


def test_a_record_over_the_cap_is_refused_alone(tmp_path):
    """A record that can never fit is refused; the next small one is not made to wait for it."""
    writer = new_writer(tmp_path, cap_bytes=256 * 1024, segment_bytes=64 * 1024)
    assert writer.append(b"a")
    assert not writer.append(bytes(1024 * 1024))
    assert writer.append(b"b")
    assert everything(writer.folder) == [b"a", b"b"]


def test_a_deleted_folder_is_made_again(tmp_path):
    """Somebody deletes the spool under a running agent: it goes on, and what was not delivered is carried over."""
    writer = new_writer(tmp_path / "spool", segment_bytes=64 * 1024)
    for number in range(20):
        writer.append(b"%d" % number)
    shutil.rmtree(tmp_path / "spool")
    assert writer.append(b"20")
    writer.look_after()
    assert writer.vanished == 1
    assert writer.append(b"21")
    assert everything(writer.folder) == [b"%d" % number for number in range(22)]
    assert SpoolFolder(writer.folder).is_alive()


def test_a_deleted_folder_is_noticed_by_the_next_segment(tmp_path):
    """Even if nobody looks, a few segments later the log is in a folder again."""
    writer = new_writer(tmp_path / "spool", segment_bytes=64 * 1024)
    writer.append(b"x")
    shutil.rmtree(tmp_path / "spool")
    for _ in range(5000):
        assert writer.append(RECORD)
        time.sleep(0.0001)
    assert writer.vanished == 1
    assert writer.append(b"last")
    assert everything(writer.folder)[-1] == b"last"


@pytest.mark.parametrize("delivered", [False, True])
def test_a_close_without_a_folder_keeps_what_waits(tmp_path, delivered):
    """Closing a spool whose folder is gone raises nothing; what was not delivered is put into a new one."""
    writer = new_writer(tmp_path / "spool")
    writer.append(noted(1))
    if delivered:
        folder = SpoolFolder(writer.folder)
        folder.acknowledge(folder.read()[-1][0])
        folder.close()
    shutil.rmtree(tmp_path / "spool")
    writer.close()
    assert SpoolFolder(writer.folder).pending().records == (not delivered)
    assert writer.folder.exists() != delivered
