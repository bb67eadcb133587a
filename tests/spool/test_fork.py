"""Forks: a child is a writer of its own, and nothing of its parent's lives on in it."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

from otel_agent_journal.spool.folder import SpoolFolder
from otel_agent_journal.spool.home import DRAIN_LOCK
from otel_agent_journal.spool.locks import FileLock, is_held
from otel_agent_journal.spool.survey import writer_folders
from tests.processes import started
from tests.spool.spooling import eventually, everything, new_writer


def in_child(work) -> int:
    """Run `work` in a forked child; return the child's wait status."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def test_a_child_writes_a_folder_of_its_own(tmp_path):
    """A forked child appends under a new writer, and the parent's log has the parent's records alone."""
    writer = new_writer(tmp_path)
    writer.append(b"parent")
    mine = writer.writer

    def work():
        assert writer.writer != mine
        assert writer.append(b"child")
        assert writer.appended == 1
        writer.close()

    assert in_child(work) == 0
    assert writer.append(b"parent too")
    assert writer.writer == mine
    assert everything(writer.folder) == [b"parent", b"parent too"]
    (child,) = [path for path in writer_folders(tmp_path) if path != writer.folder]
    assert everything(child) == [b"child"]
    assert SpoolFolder(child).is_closed()


def test_a_child_that_journals_nothing_leaves_nothing(tmp_path):
    """A fork costs no folder until the child appends."""
    writer = new_writer(tmp_path)
    writer.append(b"parent")
    assert in_child(lambda: None) == 0
    assert writer_folders(tmp_path) == [writer.folder]


def test_a_child_does_not_keep_its_parent_alive(tmp_path):
    """A parent's death is seen at once, though a child that it forked lives on."""
    ready, say = os.pipe()
    parent = os.fork()
    if parent == 0:
        writer = new_writer(tmp_path)
        writer.append(b"parent")
        if os.fork() == 0:
            os.write(say, b"%d\n" % os.getpid())  # said by the child, so that it has begun
        time.sleep(30)
        os._exit(0)
    child = int(os.read(ready, 20))
    try:
        (folder,) = writer_folders(tmp_path)
        assert SpoolFolder(folder).is_alive()
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
        assert not SpoolFolder(folder).is_alive()
        os.kill(child, 0)
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_started_program_does_not_keep_its_parent_alive(tmp_path):
    """A program started by an agent inherits no lock."""
    writer = new_writer(tmp_path)
    writer.append(b"x")
    with started(["sleep", "30"]) as program:
        writer.close()
        assert not SpoolFolder(writer.folder).is_alive()
        program.kill()


def test_forks_while_other_threads_append(tmp_path):
    """A fork may come while another thread holds the writer's lock: the child appends all the same."""
    writer = new_writer(tmp_path, segment_bytes=64 * 1024)
    stop = threading.Event()
    counts = [0] * 3

    def work(name):
        while not stop.is_set():
            assert writer.append(b"thread%d:%d" % (name, counts[name]))
            counts[name] += 1
            if counts[name] % 500 == 0:
                time.sleep(0.002)  # else on a busy machine they leave nothing for the one that forks

    threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()

    def child():
        signal.alarm(10)
        for number in range(100):
            assert writer.append(b"child%d" % number)
        writer.close()

    try:
        statuses = [in_child(child) for _ in range(8)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert statuses == [0] * 8
    children = [path for path in writer_folders(tmp_path) if path != writer.folder]
    assert len(children) == 8
    for path in children:
        assert everything(path) == [b"child%d" % number for number in range(100)]
    found = everything(writer.folder)
    assert len(found) == sum(counts)
    assert sorted(found) == sorted(b"thread%d:%d" % (name, n) for name in range(3) for n in range(counts[name]))


def test_a_fork_of_a_fork(tmp_path):
    """Each generation has a folder of its own."""
    writer = new_writer(tmp_path)
    writer.append(b"0")

    def child():
        writer.append(b"1")
        assert in_child(lambda: writer.append(b"2")) == 0

    assert in_child(child) == 0
    assert sorted(everything(path) for path in writer_folders(tmp_path)) == [[b"0"], [b"1"], [b"2"]]


def test_a_drain_lock_stays_with_the_parent(tmp_path):
    """A child of a draining process holds no drain lock, and so keeps nobody from draining."""
    lock = FileLock.take(tmp_path / DRAIN_LOCK)
    assert lock is not None
    pid = os.fork()
    if pid == 0:
        time.sleep(600)
        os._exit(0)
    try:
        eventually(lambda: Path(f"/proc/{pid}").exists())
        assert is_held(tmp_path / DRAIN_LOCK)
        lock.close()
        eventually(lambda: not is_held(tmp_path / DRAIN_LOCK))
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
