"""What happens to the file: made when needed, never touched when it is not ours, opened anew after trouble."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

import pytest

from otel_agent_journal.errors import EventTooLarge, NewerSchema, StoreError, StoreUnreachable
from otel_agent_journal.store.sqlite import SqliteStore, open_store
from otel_agent_journal.store.sqlite_file import SqliteFile
from otel_agent_journal.store.sqlite_tables import APPLICATION_ID, TABLES_VERSION
from otel_agent_journal.testing.builders import a_head, an_event, events
from tests.clock import by_the_clock, in_time

SOURCES = Path(__file__).parents[2] / "src"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path, timeout_s=0.2)
    yield store
    store.close()


def everything_in(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


def test_nothing_is_made_before_the_first_call(tmp_path: Path) -> None:
    """Opening by URL touches no disk; the first write makes the folder and the file."""
    store = open_store(f"sqlite:///{tmp_path}/a/b/journal.db")
    assert list(tmp_path.iterdir()) == []
    store.append(events(1))
    assert (tmp_path / "a" / "b" / "journal.db").exists()
    store.close()


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.touch()], ids=["missing", "empty"])
def test_a_reader_makes_no_journal(tmp_path: Path, path: Path, make) -> None:
    """A reader that finds no journal says where it looked and what to do, and leaves no file behind."""
    make(path)
    before = everything_in(tmp_path)
    reader = SqliteStore(path, create=False)
    with pytest.raises(StoreUnreachable, match=r"there is no journal at .*run an agent"):
        list(reader.read("s1"))
    assert everything_in(tmp_path) == before


def test_a_reader_finds_the_journal_once_it_is_there(path: Path, store: SqliteStore) -> None:
    """A reader that came too early may ask again."""
    reader = SqliteStore(path, create=False)
    with pytest.raises(StoreUnreachable):
        reader.tip()
    store.append(events(2))
    assert list(reader.read("s1")) == events(2)
    reader.close()


def test_a_blank_database_becomes_a_journal(path: Path, store: SqliteStore) -> None:
    """A database with nothing in it is no other program's: a writer makes its tables there, a reader does not."""
    with sqlite3.connect(path) as blank:
        blank.execute("PRAGMA user_version = 0")
        blank.execute("CREATE TABLE t (x)")
        blank.execute("DROP TABLE t")
    with pytest.raises(StoreUnreachable):
        SqliteStore(path, create=False).tip()
    store.append(events(1))
    assert list(store.read("s1")) == events(1)


@pytest.mark.parametrize("create", [True, False], ids=["writer", "reader"])
def test_a_newer_journal_is_left_untouched(tmp_path: Path, path: Path, store: SqliteStore, create: bool) -> None:
    """A journal of a newer version is refused, says which versions, and not a byte of it changes."""
    store.append(events(3))
    store.close()
    with sqlite3.connect(path) as newer:
        newer.execute(f"PRAGMA user_version = {TABLES_VERSION + 1}")
        newer.execute("PRAGMA journal_mode = DELETE")
    newer.close()
    before = everything_in(tmp_path)
    opened = SqliteStore(path, create=create)
    with pytest.raises(NewerSchema) as refused:
        opened.append(events(1))
    with pytest.raises(NewerSchema):
        list(opened.read("s1"))
    opened.close()
    assert (refused.value.found, refused.value.known) == (TABLES_VERSION + 1, TABLES_VERSION)
    assert everything_in(tmp_path) == before


def test_a_newer_journal_in_use_is_left_untouched(tmp_path: Path, path: Path) -> None:
    """A newer journal whose writer was killed keeps its write-ahead log as well."""
    in_use = SqliteStore(tmp_path / "in-use.db")
    in_use.append(events(3))
    with in_use._file.reading() as connection:
        connection.execute(f"PRAGMA user_version = {TABLES_VERSION + 1}")
    copy(in_use._file.path, path)
    in_use.close()
    before = path.read_bytes(), path.with_name("journal.db-wal").read_bytes()
    store = SqliteStore(path)
    with pytest.raises(NewerSchema):
        store.append(events(1))
    store.close()
    assert (path.read_bytes(), path.with_name("journal.db-wal").read_bytes()) == before


def test_many_openers(tmp_path: Path) -> None:
    """Any number of writers and readers may meet at a journal that is not there yet."""

    def write(path: Path, number: int) -> None:
        store = SqliteStore(path, timeout_s=30)
        store.append([an_event(number)])
        store.close()

    def read(path: Path) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            reader = SqliteStore(path, create=False, timeout_s=30)
            with suppress(StoreUnreachable):
                reader.tip()
                return
        raise AssertionError("the journal never came")

    for turn in range(15):
        path = tmp_path / f"{turn}" / "journal.db"
        with ThreadPoolExecutor(6) as pool:
            work = [pool.submit(read, path) for _ in range(3)] + [pool.submit(write, path, n) for n in range(3)]
        for done in work:
            done.result()
        reader = SqliteStore(path, create=False)
        assert list(reader.read("s1")) == events(3)
        reader.close()


@pytest.mark.parametrize(
    "setup",
    ["CREATE TABLE users (id)", "PRAGMA user_version = 7", "PRAGMA application_id = 1234", "CREATE TABLE events (x)"],
)
def test_a_file_of_another_program_is_left_untouched(tmp_path: Path, path: Path, setup: str) -> None:
    """A SQLite file that is not a journal is refused by name, and not a byte of it changes."""
    with sqlite3.connect(path) as other:
        other.execute(setup)
    other.close()
    before = everything_in(tmp_path)
    store = SqliteStore(path)
    with pytest.raises(StoreError, match="another program") as refused:
        store.append(events(1))
    assert not isinstance(refused.value, StoreUnreachable), "a retry does not help"
    assert everything_in(tmp_path) == before


def test_our_mark_without_a_version_is_refused(path: Path) -> None:
    """A file with our application id and no version is no journal that we ever made."""
    with sqlite3.connect(path) as other:
        other.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    other.close()
    with pytest.raises(StoreError, match="another program"):
        SqliteStore(path).tip()


def test_a_file_that_is_no_database(tmp_path: Path, path: Path) -> None:
    """A file of another kind is refused, with what to do, and left as it is."""
    path.write_text("Dear diary,\n" * 500)
    before = everything_in(tmp_path)
    with pytest.raises(StoreError, match=r"not a journal, or a damaged one.*move the file away") as refused:
        SqliteStore(path).append(events(1))
    assert not isinstance(refused.value, StoreUnreachable)
    assert everything_in(tmp_path) == before


def test_a_damaged_journal(path: Path, store: SqliteStore) -> None:
    """A journal with damaged pages is reported as such, by reads and by writes, never as an empty one."""
    store.append(events(2_000))
    store.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    damaged = SqliteStore(path)
    with pytest.raises(StoreError, match="recover"):
        list(damaged.read("s1"))
    with pytest.raises(StoreError, match="recover"):
        damaged.append(events(1, first=9_000))
    damaged.close()


def test_a_directory(tmp_path: Path) -> None:
    """A path that is a directory is named in the error."""
    with pytest.raises(StoreUnreachable, match=str(tmp_path)):
        SqliteStore(tmp_path).append(events(1))


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A folder that cannot be made is a store out of reach, not a crash."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnreachable, match="folder cannot be made"):
        SqliteStore(tmp_path / "file" / "journal.db").append(events(1))


@by_the_clock
def test_locked(path: Path, store: SqliteStore) -> None:
    """While another process writes, an append waits for the timeout and is then refused; reads never wait."""
    store.append(events(1))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(StoreUnreachable, match=r"locked by another process.*waited 0.2 s"):
        store.append(events(2))
    assert in_time(time.monotonic() - began, 5) >= 0.2
    with pytest.raises(StoreUnreachable):
        store.write_head(a_head())
    assert list(store.read("s1")) == events(1)
    other.execute("ROLLBACK")
    other.close()
    store.append(events(2))
    assert list(store.read("s1")) == events(2)


def test_disk_full(store: SqliteStore) -> None:
    """On a full disk an append is refused whole, what was there stays readable, and space makes it work again."""
    store.append(events(10))
    with store._file.reading() as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    large = [an_event(number, details={"text": "x" * 5_000}) for number in range(10, 30)]
    for _ in range(2):
        with pytest.raises(StoreUnreachable, match="disk is full"):
            store.append(large)
        assert list(store.read("s1")) == events(10)
    with store._file.reading() as connection:
        connection.execute("PRAGMA max_page_count = 1000000")
    store.append(large)
    assert len(list(store.read("s1"))) == 30


def test_file_size_limit(path: Path) -> None:
    """Where the operating system refuses to let the file grow, the append is refused and the journal stays sound."""
    script = """
        import resource, sys
        from pathlib import Path
        from otel_agent_journal.errors import StoreUnreachable
        from otel_agent_journal.store.sqlite import SqliteStore
        from otel_agent_journal.testing.builders import an_event
        store = SqliteStore(Path(sys.argv[1]))
        written = 0
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
        try:
            while True:
                store.append([an_event(written, details={"text": "x" * 5_000})])
                written += 1
        except StoreUnreachable as error:
            assert len(list(store.read("s1"))) == written, "the store lost what it had"
            print(written)
    """
    done = run(script, str(path))
    reader = SqliteStore(path, create=False)
    assert len(list(reader.read("s1"))) == int(done.stdout) > 10
    reader.append(events(1, first=90_000))
    reader.close()


@pytest.mark.parametrize("writer_is_open", [False, True])
@pytest.mark.parametrize("create", [False, True], ids=["reader", "writer"])
def test_read_only_folder(open_folder: Path, create: bool, writer_is_open: bool) -> None:
    """In a folder that may not be written to a journal is read, beside its writer too; writing to it is refused."""
    writer = SqliteStore(open_folder / "journal.db")
    writer.append(events(3))
    if not writer_is_open:
        writer.close()
    allow(open_folder, 0o555, 0o444)

    def use() -> None:
        store = SqliteStore(open_folder / "journal.db", create=create)
        for _ in range(2):
            assert list(store.read("s1")) == events(3)
            assert len(store.follow(None).events) == 3
            with pytest.raises(StoreUnreachable, match="is read-only; make the file"):
                store.append(events(9))
        store.close()

    in_child(use, unprivileged=True)
    writer.close()


def test_a_journal_grows_in_a_read_only_folder(open_folder: Path) -> None:
    """A reader without the right to write sees what a writer adds, whether it came before or after that writer."""
    SqliteStore(open_folder / "journal.db").append(events(3))
    allow(open_folder, 0o555, 0o444)

    def follow() -> None:
        store = SqliteStore(open_folder / "journal.db", create=False)
        for seen in (3, 10, 20):
            deadline = time.monotonic() + 60
            while len(list(store.read("s1"))) < seen:
                assert time.monotonic() < deadline, seen
                time.sleep(0.01)
        store.close()

    if os.geteuid() != 0:
        pytest.skip("only root writes where others may not")
    reader = start_child(follow, unprivileged=True)
    time.sleep(0.2)
    writer = SqliteStore(open_folder / "journal.db")
    writer.append(events(10))
    time.sleep(0.2)
    writer.append(events(20))
    finish_child(reader)
    writer.close()


def test_a_copy_on_a_read_only_medium(tmp_path: Path, open_folder: Path) -> None:
    """A journal whose latest events lie in a log that cannot be read there is refused, not read without them."""
    writer = SqliteStore(tmp_path / "journal.db")
    writer.append(events(3))
    copy(tmp_path / "journal.db", open_folder / "journal.db")
    writer.close()
    allow(open_folder, 0o555, 0o444)

    def use() -> None:
        with pytest.raises(StoreUnreachable):
            list(SqliteStore(open_folder / "journal.db", create=False).read("s1"))

    in_child(use, unprivileged=True)


def test_a_journal_that_may_not_be_read(open_folder: Path) -> None:
    """A journal that this user may not open is out of reach, and says so."""
    writer = SqliteStore(open_folder / "journal.db")
    writer.append(events(3))
    writer.close()
    allow(open_folder, 0o755, 0o000)

    def use() -> None:
        with pytest.raises(StoreUnreachable, match="cannot be opened; check"):
            list(SqliteStore(open_folder / "journal.db").read("s1"))

    in_child(use, unprivileged=True)


def test_a_journal_that_was_removed(path: Path, store: SqliteStore) -> None:
    """When somebody removes the journal of a running agent, what comes next goes to a new one."""
    store.append(events(3))
    for part in path.parent.glob("journal.db*"):
        part.unlink()
    store.append(events(2, first=3))
    assert list(store.read("s1")) == events(2, first=3)
    fresh = SqliteStore(path, create=False)
    assert list(fresh.read("s1")) == events(2, first=3)
    fresh.close()


@pytest.mark.parametrize("gone", ["journal.db*", "journal.db", "journal.db-wal"])
def test_a_journal_that_is_removed_as_it_is_opened(path: Path, monkeypatch: pytest.MonkeyPatch, gone: str) -> None:
    """Nothing is written to a file without a name: the call is refused, and the next one makes a new file."""
    opened, removes = SqliteFile._opened, [True]

    def opened_and_removed(file: SqliteFile) -> sqlite3.Connection:
        connection = opened(file)
        if removes:
            removes.pop()
            for part in path.parent.glob(gone):
                part.unlink()
        return connection

    monkeypatch.setattr(SqliteFile, "_opened", opened_and_removed)
    store, fresh = SqliteStore(path), SqliteStore(path, create=False)
    with pytest.raises(StoreUnreachable, match="removed or replaced as it was opened"):
        store.append(events(1))
    store.append(events(1))
    assert list(fresh.read("s1")) == events(1)
    fresh.close()
    store.close()


def test_a_log_that_was_removed(path: Path, store: SqliteStore) -> None:
    """Where somebody removes the write-ahead log alone, what it had and what comes next is in the journal."""
    store.append(events(3))
    before = store.incarnation()
    path.with_name("journal.db-wal").unlink()
    assert store.incarnation() != before
    store.append(events(2, first=3))
    fresh = SqliteStore(path, create=False)
    assert list(fresh.read("s1")) == events(5)
    fresh.close()


def test_a_journal_that_was_replaced(tmp_path: Path, path: Path, store: SqliteStore) -> None:
    """When another journal takes the file's place, that one is used."""
    store.append(events(3))
    other = SqliteStore(tmp_path / "other.db")
    other.append(events(1, first=7))
    other.close()
    for part in tmp_path.glob("journal.db-*"):
        part.unlink()
    (tmp_path / "other.db").rename(path)
    assert list(store.read("s1")) == events(1, first=7)
    store.append(events(1, first=8))
    assert list(store.read("s1")) == events(2, first=7)


def test_fork(path: Path) -> None:
    """A forked child goes on with the store it inherited when its parent has long closed it; nothing is lost."""
    store = SqliteStore(path, timeout_s=10)
    store.append(events(3))

    def child() -> None:
        for number in range(20):
            store.append([an_event(number, session_id="child")])
            time.sleep(0.01)

    started = start_child(child)
    for number in range(10):
        store.append([an_event(number, session_id="parent")])
    time.sleep(0.05)
    store.close()
    finish_child(started)
    after = SqliteStore(path, create=False)
    assert [len(list(after.read(session))) for session in ("s1", "child", "parent")] == [3, 20, 10]
    after.close()


def test_fork_between_threads(path: Path) -> None:
    """Forks at any moment of other threads' writes: a child can write, or is told, and nothing of anybody's is lost."""
    store = SqliteStore(path, timeout_s=20, synchronous="normal")
    stop = Event()
    written = [0, 0, 0]

    def write(thread: int) -> None:
        while not stop.is_set():
            store.append([an_event(written[thread], session_id=f"thread-{thread}")])
            written[thread] += 1
            time.sleep(0.002)

    threads = [Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()

    def child(number: int) -> None:
        with suppress(StoreUnreachable):  # a disk that stalls for longer than a fork waits
            store.append([an_event(number, session_id="child")])
            path.with_name(f"child-{number}").touch()

    children = []
    for number in range(12):
        time.sleep(0.01)
        children.append(start_child(lambda number=number: child(number)))
    for started in children:
        finish_child(started)
    stop.set()
    for thread in threads:
        thread.join()
    assert [len(list(store.read(f"thread-{number}"))) for number in range(3)] == written
    assert len(list(store.read("child"))) == len(list(path.parent.glob("child-*"))) > 0
    store.close()


@by_the_clock
def test_fork_in_a_long_write(path: Path) -> None:
    """A fork is not held up by a write that hangs; the child has no store then, and says so instead of spoiling it."""
    store = SqliteStore(path, timeout_s=10)
    store.append(events(1))
    writing, written = Event(), Event()

    def write() -> None:
        with store._file.writing() as connection:
            connection.execute("UPDATE events SET level = 'DEBUG'")
            writing.set()
            written.wait(10)

    def child() -> None:
        with pytest.raises(StoreUnreachable, match="when this process was forked"):
            store.append([an_event(session_id="child")])
        store.close()

    thread = Thread(target=write)
    thread.start()
    writing.wait(10)
    began = time.monotonic()
    started = start_child(child)
    in_time(time.monotonic() - began, 5)
    finish_child(started)
    written.set()
    thread.join()
    assert [event.level for event in store.read("s1")] == ["DEBUG"]
    store.close()


def test_a_killed_writer(path: Path) -> None:
    """What `append` returned from is there after the process was killed, and the file is sound."""
    script = """
        import sys
        from pathlib import Path
        from otel_agent_journal.store.sqlite import SqliteStore
        from otel_agent_journal.testing.builders import events
        store = SqliteStore(Path(sys.argv[1]), synchronous="normal")
        for start in range(0, 1_000_000, 7):
            store.append(events(7, first=start))
            print(start + 7, flush=True)
    """
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), str(path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(SOURCES)},
            text=True,
        )
        assert process.stdout is not None
        returned = 0
        for _ in range(40):
            returned = int(process.stdout.readline())
        process.kill()
        returned = int((process.stdout.read().split() or [returned])[-1])
        process.wait()
        process.stdout.close()
        reader = SqliteStore(path, create=False)
        read = list(reader.read("s1"))
        assert read == events(len(read))
        assert len(read) >= returned
        with reader._file.reading() as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        reader.close()


def test_a_write_within_a_write(store: SqliteStore) -> None:
    """A signal handler that writes in the middle of this thread's own write is asked to come back."""
    with store._file.writing() as connection:
        connection.execute("DELETE FROM events")
        with pytest.raises(StoreUnreachable, match="in the middle of a write"):
            store.append(events(1))
    store.append(events(1))
    assert list(store.read("s1")) == events(1)


def test_an_interrupted_write(store: SqliteStore) -> None:
    """A write that is broken off, by Ctrl-C say, leaves nothing behind and the store in order."""
    store.append(events(1))
    with pytest.raises(KeyboardInterrupt), store._file.writing() as connection:  # noqa: PT012
        connection.execute("DELETE FROM events")
        raise KeyboardInterrupt
    assert list(store.read("s1")) == events(1)
    store.append(events(2))
    assert list(store.read("s1")) == events(2)


def test_too_large(store: SqliteStore) -> None:
    """An event over SQLite's limit is named with its size, and its batch is not written."""
    store.init()
    with store._file.reading() as connection:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 100_000)
    large = an_event(5, details={"text": "x" * 200_000})
    with pytest.raises(EventTooLarge) as refused:
        store.append([an_event(1), large, an_event(9)])
    assert (refused.value.event_id, refused.value.limit_bytes) == (large.event_id, 100_000)
    assert refused.value.size_bytes > 200_000
    assert list(store.read("s1")) == []


def test_settings(path: Path, store: SqliteStore) -> None:
    """By default a commit is synced, to a write-ahead log; `normal` leaves the sync to SQLite."""
    store.init()
    with store._file.reading() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    relaxed = open_store(f"sqlite:///{path}?synchronous=normal")
    with relaxed._file.reading() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (1,)
    relaxed.close()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user can reach; pytest's own are private."""
    folder = Path(tempfile.mkdtemp(prefix="journal-"))
    folder.chmod(0o755)
    yield folder
    allow(folder, 0o755, 0o644)
    shutil.rmtree(folder)


def copy(journal: Path, to: Path) -> None:
    """Copy a journal as it is after a power loss: the file and its log."""
    for suffix in ("", "-wal"):
        shutil.copyfile(f"{journal}{suffix}", f"{to}{suffix}")


def allow(folder: Path, folder_mode: int, file_mode: int) -> None:
    for entry in folder.iterdir():
        entry.chmod(file_mode)
    folder.chmod(folder_mode)


def in_child(work: Callable[[], object], *, unprivileged: bool = False) -> None:
    """Do something in a forked child; as nobody where we are root, to whom nothing is read-only."""
    finish_child(start_child(work, unprivileged=unprivileged))


def start_child(work: Callable[[], object], *, unprivileged: bool = False) -> tuple[int, int]:
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    code = 1
    try:
        if unprivileged and os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
        work()
        code = 0
    except BaseException:
        os.write(writing, traceback.format_exc().encode()[-60_000:])
    finally:
        os._exit(code)


def finish_child(started: tuple[int, int]) -> None:
    child, reading = started
    with os.fdopen(reading) as report:
        said = report.read()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, said


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script with the package in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done
