"""A store or a spool that fails costs the agent nothing, and the journal nothing that the spool could keep."""

from __future__ import annotations

import contextlib
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from otel_agent_journal.delivery.drain import FAILING_S, HUNG_S
from tests.clock import by_the_clock, in_time
from tests.e2e.conftest import BIN, WALKER, Workdir
from tests.e2e.faults import damaged, forbidden, full, locked, new_journal, small_disk

pytestmark = pytest.mark.serial

SOAK = bool(os.environ.get("AGENT_JOURNAL_SOAK"))
DOORS = ("bare", "run", "configure")

AGENT = (
    """
import os, sys, time
if os.environ.get("CONFIGURED"):
    import otel_agent_journal
    otel_agent_journal.configure()
"""
    + WALKER
    + """
def worker(name):
    def work(state):
        time.sleep(0.2)
        MIDDLE
        return {"notes": [name]}
    return work
agent = build(*((name, worker(name)) for name in "abc"))
begun = time.monotonic()
print(agent.invoke({"notes": []}, {"configurable": {"thread_id": os.environ["SESSION"]}})["notes"])
with open("elapsed", "w") as file:
    file.write(str(time.monotonic() - begun))
sys.exit(7)
"""
)
STEPS = [
    ("AGENT_START", "walker"),
    *((kind, name) for name in "abc" for kind in ("NODE_START", "NODE_END")),
    ("AGENT_END", "walker"),
]


class Ran(NamedTuple):
    """A run of the agent: how it ended, what it said, and how long it and its process took."""

    code: int
    stdout: str
    stderr: str
    agent_s: float
    process_s: float


def run(workdir: Workdir, door: str, session: str, **env: str) -> Ran:
    """Run the agent as itself or journaled by one of the doors."""
    command = [sys.executable, "agent.py"]
    if door == "run":
        command = [str(BIN / "agent-journal"), "run", "--", *command]
    env |= {"SESSION": session, **({"CONFIGURED": "1"} if door == "configure" else {})}
    begun = time.monotonic()
    done = workdir.command(*command, env=env)
    took = time.monotonic() - begun
    return Ran(done.returncode, done.stdout, done.stderr, float((workdir.path / "elapsed").read_text()), took)


@contextlib.contextmanager
def locked_store(workdir: Workdir) -> Iterator[dict[str, str]]:
    with locked(workdir.path / ".agent-journal" / "journal.db"):
        yield {}


@contextlib.contextmanager
def full_store(workdir: Workdir) -> Iterator[dict[str, str]]:
    new_journal(workdir.path / "disk" / "journal.db")
    with full(workdir.path / "disk"):
        yield elsewhere("disk")


@contextlib.contextmanager
def forbidden_store(workdir: Workdir) -> Iterator[dict[str, str]]:
    (workdir.path / "closed").mkdir()
    with forbidden(workdir.path / "closed"):
        yield elsewhere("closed")


@contextlib.contextmanager
def damaged_store(workdir: Workdir) -> Iterator[dict[str, str]]:
    (workdir.path / ".agent-journal").mkdir()
    with damaged(workdir.path / ".agent-journal" / "journal.db"):
        yield {}


def elsewhere(folder: str) -> dict[str, str]:
    """Return the settings of a journal in a folder whose spool is on a sound disk."""
    return {"AGENT_JOURNAL_STORE": f"sqlite:///{folder}/journal.db", "AGENT_JOURNAL_SPOOL": "spool"}


Fault = Callable[[Workdir], contextlib.AbstractContextManager[dict[str, str]]]


@pytest.fixture
def disk(workdir: Workdir) -> Iterator[None]:
    """A small disk in the working directory."""
    with small_disk(workdir.path / "disk"):
        yield


@by_the_clock
@pytest.mark.long_form
@pytest.mark.usefixtures("disk")
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("fault", "said", "rounds"),
    [
        (locked_store, "is locked by another process", 3),
        (full_store, "the disk (is full|it lies on)", 1),
        (forbidden_store, "cannot be opened; check that its folder is there and may be read and written", 1),
        (damaged_store, "is not a journal, or a damaged one", 1),
    ],
)
def test_a_store_that_fails(workdir: Workdir, fault: Fault, said: str, rounds: int) -> None:
    """With a failing store an agent's output, exit code and time are those of a bare run, and the spool loses nothing.

    What is the matter is said once; `agent-journal drain` delivers once it is over.
    """
    workdir.write("agent.py", AGENT.replace("MIDDLE", "pass"))
    rounds = 5 if SOAK else rounds
    runs: dict[str, list[Ran]] = {door: [] for door in DOORS}
    with fault(workdir) as env:
        for turn in range(rounds):
            for door in DOORS:
                runs[door].append(run(workdir, door, f"{door}-{turn}", **env))
    for door in DOORS:
        assert {(one.code, one.stdout) for one in runs[door]} == {(7, "['a', 'b', 'c']\n")}, runs[door]
    for door in DOORS[1:]:
        compare(runs["bare"], runs[door])
        for one in runs[door]:
            assert len(re.findall(said, one.stderr)) == 1, one.stderr
            assert one.stderr.count("in the spool") == 1, one.stderr
            assert "agent-journal drain" in one.stderr
            assert "Traceback" not in one.stderr
            assert "nothing was journaled" not in one.stderr
    drained = workdir.journal("drain", env=env)
    assert drained.returncode == 0, drained.stderr
    for session in (f"{door}-{turn}" for door in DOORS[1:] for turn in range(rounds)):
        events = workdir.events(session, env=env)
        assert [(event["event_type"], event["name"]) for event in events] == STEPS
    assert not list((workdir.path / (env.get("AGENT_JOURNAL_SPOOL") or ".agent-journal/spool")).glob("*"))


def compare(bare: list[Ran], journaled: list[Ran]) -> None:
    """Check that the agent took its time and no more, and that its process ended soon after it."""

    def median(runs: list[Ran], field: str) -> float:
        return statistics.median(getattr(one, field) for one in runs)

    limit = 1.5 * median(bare, "agent_s") + 1
    in_time(median(journaled, "agent_s"), limit)
    # A store that is known to fail is given up after FAILING_S, and SQLite takes 2 s to say that a file is locked.
    limit = 1.5 * median(bare, "process_s") + 1 + FAILING_S + 2
    in_time(median(journaled, "process_s"), limit)


@by_the_clock
@pytest.mark.parametrize("door", DOORS[1:])
def test_a_store_that_hangs(workdir: Workdir, door: str) -> None:
    """A store that never answers is waited for at most HUNG_S at the end, and the program is done."""
    workdir.write("agent.py", AGENT.replace("MIDDLE", "pass"))
    file = workdir.path / ".agent-journal" / "journal.db"
    bare = run(workdir, "bare", "bare")
    with locked(file):
        hanging = {"AGENT_JOURNAL_STORE": f"sqlite:///{file}?timeout=60", "AGENT_JOURNAL_SPOOL": "spool"}
        done = run(workdir, door, "s1", **hanging)
    assert (done.code, done.stdout) == (7, bare.stdout)
    in_time(done.agent_s, 1.5 * bare.agent_s + 1)
    assert in_time(done.process_s, 1.5 * bare.process_s + 1 + HUNG_S) > HUNG_S - 1
    assert "in the spool" in done.stderr
    assert workdir.journal("drain", env=hanging).returncode == 0
    assert len(workdir.events("s1", env=hanging)) == len(STEPS)


@pytest.mark.parametrize("door", DOORS[1:])
def test_a_folder_that_may_not_be_written(workdir: Workdir, door: str) -> None:
    """Where neither spool nor store can be written the agent runs as ever, and one line says what is lost and why."""
    workdir.write("agent.py", AGENT.replace("MIDDLE", "pass"))
    (workdir.path / "closed").mkdir()
    with forbidden(workdir.path / "closed"):
        done = run(workdir, door, "s1", AGENT_JOURNAL_STORE="sqlite:///closed/journal.db")
    assert (done.code, done.stdout) == (7, "['a', 'b', 'c']\n"), done.stderr
    assert done.stderr.count("spool refuses events; the agent goes on") == 1, done.stderr
    assert "Operation not permitted" in done.stderr or "Permission denied" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize("door", DOORS[1:])
def test_a_full_disk_under_spool_and_store(workdir: Workdir, door: str) -> None:
    """On a full disk the agent runs as ever, and what finds no room is counted and said."""
    workdir.write("agent.py", AGENT.replace("MIDDLE", "pass"))
    with full(workdir.path / "disk"):
        done = run(workdir, door, "s1", AGENT_JOURNAL_STORE="sqlite:///disk/journal.db")
    assert (done.code, done.stdout) == (7, "['a', 'b', 'c']\n"), done.stderr
    assert re.search(r"No space left on device.*spool refuses events; the agent goes on", done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    again = run(workdir, door, "s2", AGENT_JOURNAL_STORE="sqlite:///disk/journal.db")
    assert again.code == 7
    assert len(workdir.events("s2", env={"AGENT_JOURNAL_STORE": "sqlite:///disk/journal.db"})) == len(STEPS)


FORBID = """
def forbid():
    import glob
    (folder,) = glob.glob("spool/*")
    os.chmod(folder, 0o500) if os.geteuid() else os.system(f"chattr +i {folder}")
def worker"""


@pytest.mark.parametrize("door", DOORS[1:])
def test_a_spool_that_becomes_forbidden(workdir: Workdir, door: str) -> None:
    """A spool's folder that may not be written any more, while the agent runs, loses nothing: its log is open."""
    workdir.write("agent.py", AGENT.replace("MIDDLE", "if name == 'a': forbid()").replace("def worker", FORBID, 1))
    env = {"AGENT_JOURNAL_SPOOL": "spool"}
    try:
        done = run(workdir, door, "s1", **env)
    finally:
        for folder in (workdir.path / "spool").glob("*"):
            folder.chmod(0o700) if os.geteuid() else subprocess.run(["chattr", "-i", folder], check=True)
    assert (done.code, done.stdout) == (7, "['a', 'b', 'c']\n"), done.stderr
    assert "Traceback" not in done.stderr
    assert workdir.journal("drain", env=env).returncode == 0
    events = workdir.events("s1", env=env)
    assert [(event["event_type"], event["name"]) for event in events] == STEPS


@pytest.mark.parametrize("door", DOORS[1:])
def test_a_spool_that_vanishes(workdir: Workdir, door: str) -> None:
    """A spool that is deleted under a running agent is made again, and no step that comes after is missing."""
    vanish = "if name == 'a': import shutil; shutil.rmtree('spool'); time.sleep(2.5)"
    workdir.write("agent.py", AGENT.replace("MIDDLE", vanish))
    env = {"AGENT_JOURNAL_SPOOL": "spool"}
    done = run(workdir, door, "s1", **env)
    assert (done.code, done.stdout) == (7, "['a', 'b', 'c']\n"), done.stderr
    assert "Traceback" not in done.stderr
    events = workdir.events("s1", env=env)
    assert [(event["event_type"], event.get("name")) for event in events] == STEPS
    assert workdir.journal("status", "s1", "-o", "json", env=env).returncode == 0


def test_a_store_that_cannot_be_opened(workdir: Workdir) -> None:
    """A backend that cannot open its store keeps no program from running; a store that nothing answers to does."""
    workdir.write("agent.py", AGENT.replace("MIDDLE", "pass"))
    workdir.write(
        "site/broken-1.dist-info/entry_points.txt", "[otel_agent_journal.stores]\nbroken = broken_store:open_store\n"
    )
    workdir.write("site/broken-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    workdir.write(
        "site/broken_store.py",
        "from otel_agent_journal.errors import StoreUnreachable\n"
        "def open_store(url, *, create=True):\n    raise StoreUnreachable('broken is away')\n",
    )
    env = {"PYTHONPATH": str(workdir.path / "site"), "AGENT_JOURNAL_SPOOL": "spool"}
    for door in DOORS[1:]:
        done = run(workdir, door, door, AGENT_JOURNAL_STORE="broken://here", **env)
        assert (done.code, done.stdout) == (7, "['a', 'b', 'c']\n"), done.stderr
        assert done.stderr.count("broken is away") == 1, done.stderr
        assert "agent-journal drain" in done.stderr
    assert workdir.journal("drain", env={"AGENT_JOURNAL_SPOOL": "spool"}).returncode == 0
    for door in DOORS[1:]:
        assert len(workdir.events(door)) == len(STEPS)
    (workdir.path / "elapsed").unlink()
    for store in ("nothing://here", "dynamodb://t", "sqlite://relative"):
        done = workdir.run("agent.py", env={**env, "AGENT_JOURNAL_STORE": store, "SESSION": "s"})
        assert done.returncode == 2, done.stderr
        assert not (workdir.path / "elapsed").exists()


def test_the_runner_goes_on_when_the_store_does(workdir: Workdir) -> None:
    """A store that is back before the program ends has everything when it has ended, and nothing more is said."""
    workdir.write("agent.py", AGENT.replace("MIDDLE", "if name == 'b': open('go', 'w').close(); time.sleep(4)"))
    file = workdir.path / ".agent-journal" / "journal.db"
    with locked(file):
        runner = subprocess.Popen(
            [BIN / "agent-journal", "run", "--", sys.executable, "agent.py"],
            cwd=workdir.path,
            env={**workdir.env, "SESSION": "s1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for(workdir.path / "go")
    _, said = runner.communicate(timeout=60)
    assert runner.returncode == 7
    assert "in the spool" not in said, said
    assert "session s1  COMPLETED  4 steps" in said


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
