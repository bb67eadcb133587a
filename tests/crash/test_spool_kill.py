"""SIGKILL at random moments: what was appended is in the store exactly once, and the journal says who died.

Twenty moments; two hundred with AGENT_JOURNAL_SOAK=1.
"""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest

from otel_agent_journal.delivery.drain import Drain
from otel_agent_journal.event import SESSION_INTERRUPTED
from otel_agent_journal.spool.survey import writer_folders
from otel_agent_journal.store.registry import open_store

HERE = Path(__file__).parent
MOMENTS = 200 if os.environ.get("AGENT_JOURNAL_SOAK") else 20
THREADS = 3
chance = random.Random()


class Agent:
    """A running `spool_agent.py`."""

    def __init__(self, folder: Path, pause_s: float = 0) -> None:
        self.writer = uuid4().hex
        self.spool = folder / "spool"
        self.counts = folder / f"counts-{self.writer}"
        self.counts.write_bytes(bytes(8 * THREADS))
        command = (HERE / "spool_agent.py", self.spool, self.writer, self.counts, THREADS, pause_s)
        self.process = subprocess.Popen([sys.executable, *map(str, command)])
        self._wait_for_all()

    def _wait_for_all(self) -> None:
        deadline = time.monotonic() + 30
        while not all(self.returned()):
            assert self.process.poll() is None, "the agent ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def returned(self) -> tuple[int, ...]:
        """How many appends of each thread have returned."""
        return struct.unpack(f"<{THREADS}q", self.counts.read_bytes())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def require_whole(store, agent: Agent) -> None:
    """Everything that was acknowledged to a thread is in its session once, in order; it shows as interrupted."""
    for thread, returned in enumerate(agent.returned()):
        events = list(store.read(f"s{thread}"))
        numbers = [event.details["n"] for event in events if event.type == "NOTED"]
        assert numbers == list(range(len(numbers))), "in order, none missing, none twice"
        assert returned <= len(numbers) <= returned + 1, "all that returned, and at most the one on its way"
        assert [event.type for event in events if event.type != "NOTED"] == ["AGENT_START", SESSION_INTERRUPTED]
        assert events[-1].type == SESSION_INTERRUPTED
        head = store.head(f"s{thread}")
        assert (head.status, head.reason, head.events) == ("INTERRUPTED", "killed", len(numbers) + 2)


@pytest.mark.long_form
@pytest.mark.parametrize("moment", range(MOMENTS))
def test_an_agent_is_killed(tmp_path, moment):
    """An agent is killed while it appends, while a segment is made, or while a drain follows it."""
    store = open_store(f"sqlite:///{tmp_path}/journal.db", create=True)
    agent = Agent(tmp_path)
    drain = Drain(agent.spool, store)
    if moment % 2:
        drain.start()
    time.sleep(chance.uniform(0, 0.15))
    agent.kill()
    if moment % 2:
        assert drain.stop(30)
    else:
        drain.drain_once(patience_s=30)
    require_whole(store, agent)
    assert writer_folders(agent.spool) == []
    assert drain.stats.set_aside == 0
    store.close()


@pytest.mark.long_form
@pytest.mark.parametrize("moment", range(MOMENTS // 5))
def test_a_drainer_is_killed_and_then_the_agent(tmp_path, moment):
    """Drainers die one after the other, then the agent: whoever comes last finds everything, once."""
    store_url = f"sqlite:///{tmp_path}/journal.db"
    agent = Agent(tmp_path, pause_s=0.001)
    for _ in range(2):
        drainer = subprocess.Popen([sys.executable, str(HERE / "spool_drainer.py"), str(agent.spool), store_url])
        time.sleep(chance.uniform(0.2, 0.8))
        drainer.kill()
        drainer.wait()
    agent.kill()
    store = open_store(store_url, create=True)
    Drain(agent.spool, store).drain_once(patience_s=30)
    require_whole(store, agent)
    store.close()
