"""What `SpoolWriter` promises an agent."""

from __future__ import annotations

import gc
import os
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest

from otel_agent_journal.spool import segments
from otel_agent_journal.spool.folder import SpoolFolder
from otel_agent_journal.spool.home import CLOSED
from otel_agent_journal.spool.survey import writer_folders
from tests.spool.spooling import everything, new_writer


@pytest.mark.parametrize("size", [0, 1, 299, 5120, 5121, 20_000, 200_000])
def test_what_was_appended_is_read_back(tmp_path, size):
    """A record of any size is read back as it was, also one larger than a segment."""
    writer = new_writer(tmp_path, segment_bytes=64 * 1024)
    records = [os.urandom(size) for _ in range(5)]
    assert all(writer.append(record) for record in records)
    assert everything(writer.folder) == records


def test_order_is_kept_over_many_segments(tmp_path):
    """Records come back in order, however many segments they fill."""
    writer = new_writer(tmp_path, segment_bytes=64 * 1024)
    records = [b"%06d" % number * 50 for number in range(3000)]
    assert all(writer.append(record) for record in records)
    assert len(list(writer.folder.glob("*.seg"))) > 10
    assert everything(writer.folder, max_bytes=10_000) == records


def test_nothing_is_made_before_the_first_append(tmp_path):
    """A process that journals nothing leaves nothing."""
    writer = new_writer(tmp_path / "spool")
    writer.close()
    assert not (tmp_path / "spool").exists()


def test_only_the_owner_can_read_a_spool(tmp_path):
    """Folders are 0700 and files 0600, whatever the umask."""
    before = os.umask(0)
    try:
        writer = new_writer(tmp_path / "spool")
        writer.append(b"secret")
        writer.close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700
    assert stat.S_IMODE(writer.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in writer.folder.iterdir()} == {0o600}


def test_odd_paths_will_do(tmp_path):
    """A root with spaces, quotes and other scripts in it is a root like any other."""
    writer = new_writer(tmp_path / "my agents' journal" / "журнал 日誌")
    assert writer.append(b"x")
    assert everything(writer.folder) == [b"x"]


def test_close_gives_the_unused_space_back(tmp_path):
    """A closed spool is as large as what it holds, is marked closed, and closes once."""
    writer = new_writer(tmp_path)
    writer.append(b"x" * 100)
    writer.close()
    writer.close()
    (segment,) = writer.folder.glob("*.seg")
    assert segment.stat().st_size == 4096 + 12 + 100
    assert (writer.folder / CLOSED).exists()
    assert not SpoolFolder(writer.folder).is_alive()


def test_an_append_after_close_is_refused_and_counted(tmp_path):
    """What comes too late is refused, never raised."""
    writer = new_writer(tmp_path)
    writer.append(b"x")
    writer.close()
    assert writer.append(b"y") is False
    assert (writer.refused, writer.last_refusal) == (1, "the writer is closed")
    assert everything(writer.folder) == [b"x"]


def test_what_is_no_bytes_is_refused(tmp_path):
    """A caller's mistake costs the record, never the agent."""
    writer = new_writer(tmp_path)
    assert writer.append("text") is False  # type: ignore[arg-type]
    assert "TypeError" in (writer.last_refusal or "")


def test_many_threads_append_at_once(tmp_path):
    """Every record of every thread is there once, each thread's in its order."""
    writer = new_writer(tmp_path, segment_bytes=64 * 1024)

    def work(name: int) -> None:
        for number in range(1000):
            assert writer.append(b"%d:%06d:" % (name, number) + b"." * 100)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = everything(writer.folder)
    assert len(found) == 8000
    for name in range(8):
        mine = [record for record in found if record.startswith(b"%d:" % name)]
        assert mine == sorted(mine)
        assert len(set(mine)) == 1000


class _Farewell:
    """Appends when it is collected."""

    def __init__(self, writer) -> None:
        self.writer = writer
        self.me = self

    def __del__(self) -> None:
        self.writer.append(b"farewell" + b"." * 300)


def test_a_finalizer_may_append(tmp_path):
    """The garbage collector may run a finalizer that appends, at any moment of an append."""
    writer = new_writer(tmp_path, segment_bytes=64 * 1024)
    threshold = gc.get_threshold()
    gc.set_threshold(3)
    try:
        for number in range(3000):
            _Farewell(writer)
            writer.append(b"%06d" % number + b"." * 300)
    finally:
        gc.set_threshold(*threshold)
    deadline = time.monotonic() + 30
    while writer.appended + writer.refused < 6000 and time.monotonic() < deadline:
        gc.collect()  # does nothing while the thread that makes segments is within a collection
    found = everything(writer.folder)
    assert found.count(b"farewell" + b"." * 300) == 3000
    assert [record for record in found if not record.startswith(b"f")] == [
        b"%06d" % number + b"." * 300 for number in range(3000)
    ]
    assert writer.refused == 0


@pytest.mark.parametrize("moment", ["made ready", "put in use"])
def test_an_append_at_the_last_moment_of_making_a_segment(tmp_path, monkeypatch, moment):
    """A finalizer that needs a segment while another one is being made leaves the log in order."""
    writer = new_writer(tmp_path, segment_bytes=64 * 1024, fsync=moment == "put in use")
    writer._prepare_next = lambda: None
    expected = []

    def append(count):
        for _ in range(count):
            expected.append(b"%06d" % len(expected) + b"." * 1000)
            assert writer.append(expected[-1])

    def interrupted(call, on):
        calls = []

        def meanwhile(*args):
            result = call(*args)
            calls.append(args)
            if len(calls) == on:
                append(130)  # more than a segment holds
            return result

        return meanwhile

    append(1)
    sequence = writer._segments
    if moment == "made ready":
        monkeypatch.setattr(segments, "used_bytes", interrupted(segments.used_bytes, on=2))
        sequence.prepare(writer._lock)
    else:
        used = sequence.in_use()
        monkeypatch.setattr(type(used), "sync", interrupted(lambda segment: None, on=1))
        with writer._lock:
            sequence.advance(0, 0)
    assert len(expected) > 130, "it was interrupted"
    append(300)
    assert everything(writer.folder) == expected


def test_a_signal_handler_may_append(tmp_path):
    """A signal handler may append while the same thread appends; both records are whole."""
    writer = new_writer(tmp_path, segment_bytes=1024 * 1024)
    answers: list[bool] = []

    def handle(signum, frame):
        answers.append(writer.append(b"signal" + b"s" * 500))

    number = 0
    with Storm(handle):
        while number < 30_000 or (len(answers) <= 20 and number < 1_000_000):
            writer.append(b"%06d" % number + b"." * 200)
            number += 1
    found, accepted = everything(writer.folder), answers.count(True)
    assert accepted > 10
    assert found.count(b"signal" + b"s" * 500) == accepted
    assert len(found) == accepted + number


def test_an_append_while_a_segment_is_made_comes_before_what_waits_for_it(tmp_path, monkeypatch):
    """A signal handler that appends while its own thread makes a segment gets one of its own; nothing is lost."""
    writer, real, nested = new_writer(tmp_path, segment_bytes=64 * 1024), os.posix_fallocate, []
    found: list[bytes] = []

    def allocate(descriptor, offset, size):
        real(descriptor, offset, size)
        if not nested and writer.appended > 1:
            nested.append(1)
            assert writer.append(b"nested" * 2000)
            assert writer.append(b"nested too" * 4000)
            found.extend(payload for _, payload in reader.read())

    monkeypatch.setattr(os, "posix_fallocate", allocate)
    records = [b"%02d" % number * 10_000 for number in range(10)]
    assert writer.append(records[0])
    reader = SpoolFolder(writer.folder)
    assert all(writer.append(record) for record in records[1:])
    assert len(found) > 2
    found.extend(payload for _, payload in reader.read())
    assert sorted(found) == sorted([*records, b"nested" * 2000, b"nested too" * 4000])
    assert [record for record in found if record in records] == records


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_interrupt_while_the_folder_gets_its_name_costs_one_append(tmp_path, monkeypatch, moment):
    """A KeyboardInterrupt just before or after the folder is published: the next append makes it anew, or goes on."""
    writer, real = new_writer(tmp_path), segments.publish_home

    def interrupted(*arguments):
        monkeypatch.undo()
        if moment == "after":
            real(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(segments, "publish_home", interrupted)
    with pytest.raises(KeyboardInterrupt):
        writer.append(b"first")
    assert writer.append(b"second"), writer.last_refusal
    writer.close()
    assert everything(writer_folders(tmp_path)[0])[-1] == b"second"


INTERRUPTED = """
import signal, sys
from pathlib import Path
from uuid import uuid4
from otel_agent_journal.spool.writer import SpoolWriter

def interrupt(_signal, frame):
    while frame is not None:
        if frame.f_code is SpoolWriter.append.__code__:
            raise KeyboardInterrupt
        frame = frame.f_back

sys.unraisablehook = lambda _: None  # an interrupt may hit a finalizer
writer = SpoolWriter(Path(sys.argv[1]), writer=uuid4().hex, segment_bytes=128 * 1024, retry_s=0)
signal.signal(signal.SIGALRM, interrupt)
returned, interrupted, number = [], 0, 0
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
while number < 20_000:
    try:
        while number < 20_000:
            number += 1
            if writer.append(b"%06d" % number + b"." * 200):
                returned.append(number)
    except KeyboardInterrupt:
        interrupted += 1
signal.setitimer(signal.ITIMER_REAL, 0)
assert writer.append(b"goes on"), writer.last_refusal
assert len(returned) + interrupted >= 20_000 and writer.refused == 0, (writer.refused, writer.last_refusal)
writer.close()
print(interrupted, *returned)
"""


@pytest.mark.parametrize("time_of_day", range(5))
def test_an_interrupt_passes_and_leaves_the_log_readable(tmp_path, time_of_day):
    """A KeyboardInterrupt in the middle of an append passes; every append that returned is read back, once."""
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    interrupted, *returned = map(int, ran.stdout.split())
    (folder,) = writer_folders(tmp_path)
    *found, last = everything(folder)
    numbers = [int(record[:6]) for record in found]
    assert interrupted > 10
    assert last == b"goes on"
    assert numbers == sorted(set(numbers))
    assert set(returned) <= set(numbers)
    assert SpoolFolder(folder).is_closed()


class Storm:
    """SIGPROF every millisecond of work."""

    def __init__(self, handle) -> None:
        self.handle = handle

    def __enter__(self):
        self.before = signal.signal(signal.SIGPROF, self.handle)
        signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)

    def __exit__(self, *_):
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, self.before)


def test_two_processes_share_a_root(tmp_path):
    """Each process has a folder of its own under one root; neither sees the other's records."""
    writers = [new_writer(tmp_path) for _ in range(2)]
    for number, writer in enumerate(writers):
        writer.append(b"%d" % number)
    assert [everything(writer.folder) for writer in writers] == [[b"0"], [b"1"]]


def test_a_second_writer_of_the_same_name_is_refused(tmp_path):
    """No two live writers write one folder."""
    first = new_writer(tmp_path)
    assert first.append(b"x")
    second = type(first)(tmp_path, writer=first.writer)
    assert second.append(b"y") is False
    assert "has a writer already" in (second.last_refusal or "")
    assert everything(first.folder) == [b"x"]
