"""`AGENT_JOURNAL_FSYNC=always`: threads that want their record on the disk share one sync."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from otel_agent_journal.spool.group_commit import GroupCommit
from tests.spool.spooling import everything, new_writer


class Disk:
    """A segment whose sync takes a while, and knows what it covered."""

    def __init__(self, takes_s: float = 0.01) -> None:
        self.takes_s = takes_s
        self.written = 0
        self.durable = 0
        self.syncs = 0

    def sync(self) -> None:
        self.syncs += 1
        covers = self.written
        time.sleep(self.takes_s)
        self.durable = max(self.durable, covers)


def test_threads_share_a_sync():
    """Twenty threads cost few syncs, and each returns only when its own write is durable."""
    commit, disk, lock = GroupCommit(), Disk(), threading.Lock()

    def work():
        for _ in range(5):
            with lock:
                disk.written += 1
                mine = disk.written
            commit.sync(lambda: disk)
            assert disk.durable >= mine

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert disk.durable == 100
    assert disk.syncs < 40


def test_a_failed_sync_is_told_and_the_next_goes_on():
    """A disk that fails is no reason to hang: the error passes, later syncs are tried."""

    class Broken(Disk):
        def sync(self):
            super().sync()
            raise OSError("broken")

    commit = GroupCommit()
    with pytest.raises(OSError, match="broken"):
        commit.sync(Broken)
    disk = Disk()
    commit.sync(lambda: disk)
    assert disk.syncs == 1


def test_a_signal_handler_may_sync_within_a_sync():
    """A handler that appends while its thread syncs does not wait for itself."""
    commit, disk = GroupCommit(), Disk(0.1)
    handled = []

    def handle(*_):
        commit.sync(lambda: disk)
        handled.append(1)

    before = signal.signal(signal.SIGUSR1, handle)
    sender = threading.Timer(0.03, os.kill, (os.getpid(), signal.SIGUSR1))
    try:
        sender.start()
        commit.sync(lambda: disk)
        sender.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert handled == [1]
    assert disk.syncs == 2


def test_appends_are_synced(tmp_path, monkeypatch):
    """With fsync, an append returns after a sync of the segment that it is in, also over segments."""
    synced, real = [], os.fdatasync

    def fdatasync(descriptor):
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    writer = new_writer(tmp_path, fsync=True, segment_bytes=64 * 1024)
    records = [b"%03d" % number * 500 for number in range(100)]
    for record in records:
        before = len(synced)
        assert writer.append(record)
        assert len(synced) > before
    assert len(set(synced)) >= 3
    assert everything(writer.folder) == records


def test_an_append_that_cannot_be_synced_is_refused(tmp_path, monkeypatch):
    """With fsync, what is not on the disk is not accepted."""
    writer = new_writer(tmp_path, fsync=True)
    assert writer.append(b"x")

    def fails(_descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fails)
    assert writer.append(b"y") is False
    assert "Input/output error" in (writer.last_refusal or "")
