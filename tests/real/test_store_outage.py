"""The whole way, agent, spool, drain and store, while the store is throttled, answers too late, is gone and is back.

The agent is not slowed nor raised into, and nothing is lost or there twice, though it is killed in the middle of it.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from otel_agent_journal.delivery.drain import Drain
from otel_agent_journal.delivery.patience import Patience
from tests.e2e.conftest import BIN, Workdir
from tests.real.backends import Backend
from tests.real.fault_proxy import OUTAGE, AtRandom, wait_until
from tests.spool.spooling import new_writer, noted

SOAK = bool(os.environ.get("AGENT_JOURNAL_SOAK"))
DOORS = ("run", "configure")
STEPS = 30
HOUR_S = 3600
HURRY = 1800  # an hour in two seconds
# The short form has each backend, each door, and a killed agent; the long one all of them together.
WAYS = (
    list(itertools.product(("dynamodb", "s3", "postgresql"), DOORS, (False, True)))
    if SOAK
    else [("dynamodb", "run", True), ("s3", "configure", True), ("postgresql", "run", False)]
)

AGENT = """
import os, signal, sys, time
if os.environ.get("CONFIGURED"):
    import otel_agent_journal
    otel_agent_journal.configure()
from otel_agent_journal import session

longest = 0.0
with session("s1", agent="worker") as root, open("witnessed", "w", buffering=1) as witnessed:
    for number in range(int(os.environ["STEPS"])):
        if number == 10:
            open("go", "w").close()
            while not os.path.exists("away"):
                time.sleep(0.01)
        begun = time.monotonic()
        with root.step("tool", f"tool-{number}", input={"n": number}) as step:
            step.complete({"n": number})
        longest = max(longest, time.monotonic() - begun)
        print(number, file=witnessed)
        if number == 20 and os.environ.get("KILLED"):
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 20 and os.environ.get("EXITS"):
            os._exit(3)
        time.sleep(0.01)
print(longest)
sys.exit(7)
"""


def command(door: str) -> list[str]:
    """Return what runs the agent."""
    python = [sys.executable, "agent.py"]
    return [str(BIN / "agent-journal"), "run", "--", *python] if door == "run" else python


def start(workdir: Workdir, door: str, url: str, **env: str) -> subprocess.Popen[str]:
    """Start the agent on a store."""
    workdir.write("agent.py", AGENT)
    settings = {
        "AGENT_JOURNAL_STORE": url,
        "AGENT_JOURNAL_SPOOL": "spool",
        "STEPS": str(STEPS),
        **({"CONFIGURED": "1"} if door == "configure" else {}),
        **env,
    }
    return subprocess.Popen(
        command(door),
        cwd=workdir.path,
        env=workdir.env | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def check(backend: Backend, url: str, workdir: Workdir) -> None:
    """Check that each step that was witnessed is in the store, start and end, and no event is there twice."""
    witnessed = [f"tool-{number}" for number in (workdir.path / "witnessed").read_text().split()]
    assert len(witnessed) >= 20
    with backend.opened(url) as store:
        found = list(store.read("s1"))
        assert not [event_id for event_id, count in Counter(event.event_id for event in found).items() if count > 1]
        for kind in ("TOOL_START", "TOOL_END"):
            assert [event.name for event in found if event.type == kind] == witnessed
        head = store.head("s1")
        assert head is not None
        assert head.events == len(found)


@pytest.mark.long_form
@pytest.mark.serial
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("backend", "door", "killed"), WAYS, indirect=["backend"])
def test_an_agent_goes_through_faults_and_an_outage(backend: Backend, tmp_path: Path, door: str, killed: bool) -> None:
    """Three calls of ten fail, the store is gone, the agent dies or ends meanwhile: its journal has every step once."""
    workdir = Workdir(tmp_path)
    url = backend.fresh()
    with backend.proxy(AtRandom(0.3, seed=3), silence_s=0.1, slow_s=0.05) as proxy:
        through = backend.through(url, proxy)
        agent = start(workdir, door, through, **({"KILLED": "1"} if killed else {}))
        try:
            wait_until((tmp_path / "go").exists, 60)
            with proxy.outage():
                (tmp_path / "away").touch()
                last = STEPS - 1 if not killed else 20
                wait_until(lambda: (tmp_path / "witnessed").read_text().endswith(f"{last}\n"), 30)
                time.sleep(0.5)
            stdout, stderr = agent.communicate(timeout=120)
        finally:
            agent.kill()
            agent.wait()
        if killed:
            assert agent.returncode == (128 + signal.SIGKILL if door == "run" else -signal.SIGKILL), stderr
        else:
            assert agent.returncode == 7, stderr
            assert float(stdout.splitlines()[0]) < 0.5, "a step was slowed"
        assert "Traceback" not in stderr
        drained = workdir.journal("drain", env={"AGENT_JOURNAL_STORE": through, "AGENT_JOURNAL_SPOOL": "spool"})
        assert drained.returncode == 0, drained.stderr
        assert proxy.injected[OUTAGE] == 1
        assert proxy.injected.total() > 2
    check(backend, url, workdir)
    assert not list((tmp_path / "spool").glob("*"))


@pytest.mark.timeout(120)
def test_an_hour_without_the_store(backend: Backend, tmp_path: Path) -> None:
    """What was recorded before, in and after an outage of an hour, in compressed time, is there in order, once."""
    url = backend.fresh()
    spool = new_writer(tmp_path)
    with backend.proxy() as proxy, backend.opened(backend.through(url, proxy)) as store:
        drain = Drain(
            tmp_path, store, only_writer=spool.writer, patience=Patience(first_s=0.1 / HURRY, last_s=10 / HURRY)
        )
        drain.start()
        for number in range(100):
            spool.append(noted(number))
        assert drain.flush(30)
        with proxy.outage():
            end = time.monotonic() + HOUR_S / HURRY
            for number in range(100, 300):
                spool.append(noted(number))
                time.sleep(max(0.0, (end - time.monotonic()) / (300 - number)))
        for number in range(300, 400):
            spool.append(noted(number))
        assert drain.flush(30)
        spool.close()
        assert drain.stop(30)
        assert drain.stats.set_aside == 0
        # Clients of AWS may wait as long by themselves.
        assert drain.stats.retried > 0 or backend.name in ("dynamodb", "s3")
    with backend.opened(url) as store:
        assert [event.details["n"] for event in store.read("s1")] == list(range(400))


@pytest.mark.timeout(120)
def test_written_through(backend: Backend, tmp_path: Path) -> None:
    """With AGENT_JOURNAL_DURABILITY=store an end right after a step loses nothing, though the spool goes with it."""
    workdir = Workdir(tmp_path)
    url = backend.fresh()
    (tmp_path / "away").touch()
    durable = {"AGENT_JOURNAL_DURABILITY": "store", "AGENT_JOURNAL_STORE_TIMEOUT": "30"}
    agent = start(workdir, "configure", url, EXITS="1", **durable)
    _, stderr = agent.communicate(timeout=100)
    assert agent.returncode == 3, stderr
    assert "did not take events in time" not in stderr
    shutil.rmtree(tmp_path / "spool")
    with backend.opened(url) as store:
        found = list(store.read("s1"))
    assert [event.name for event in found if event.type == "TOOL_END"] == [f"tool-{number}" for number in range(21)]
    assert len({event.event_id for event in found}) == len(found)


@pytest.mark.serial
@pytest.mark.timeout(120)
def test_written_through_to_a_store_that_is_gone(backend: Backend, tmp_path: Path) -> None:
    """With the store away a step goes on after AGENT_JOURNAL_STORE_TIMEOUT, said once; later the drain delivers."""
    workdir = Workdir(tmp_path)
    url = backend.fresh()
    with backend.proxy() as proxy:
        through = backend.through(url, proxy)
        proxy.go_away()
        (tmp_path / "away").touch()
        agent = start(
            workdir, "configure", through, AGENT_JOURNAL_DURABILITY="store", AGENT_JOURNAL_STORE_TIMEOUT="0.4"
        )
        stdout, stderr = agent.communicate(timeout=100)
        assert agent.returncode == 7, stderr
        assert float(stdout.splitlines()[0]) < 2 * 0.4 + 0.5, "one step waits at most twice, for its start and its end"
        assert stderr.count("did not take events in time; the agent goes on") == 1, stderr
        assert "Traceback" not in stderr
        proxy.come_back()
        drained = workdir.journal("drain", env={"AGENT_JOURNAL_STORE": through, "AGENT_JOURNAL_SPOOL": "spool"})
        assert drained.returncode == 0, drained.stderr
    check(backend, url, workdir)


QUICK = """
import otel_agent_journal
from otel_agent_journal import session
otel_agent_journal.configure()
for number in range(5):
    with session(f"quick-{number}") as root, root.step("tool", "search") as step:
        step.complete(number)
"""


@pytest.mark.parametrize("backend", ["dynamodb", "s3", "postgresql"], indirect=True)
def test_a_program_that_is_over_at_once(backend: Backend, tmp_path: Path) -> None:
    """What a program journals that ends before its drain has begun is delivered as it leaves, heads and all."""
    url = backend.fresh()
    workdir = Workdir(tmp_path)
    workdir.write("quick.py", QUICK)
    done = workdir.python("quick.py", env={"AGENT_JOURNAL_STORE": url, "AGENT_JOURNAL_SPOOL": "spool"})
    assert (done.returncode, done.stderr) == (0, "")
    with backend.opened(url) as store:
        assert sorted(head.session_id for head in store.sessions()) == [f"quick-{number}" for number in range(5)]
        assert all(len(list(store.read(f"quick-{number}"))) >= 4 for number in range(5))
