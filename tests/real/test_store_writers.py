"""Many processes write one session and one agent instance while three calls of ten go wrong.

Four processes; sixteen with AGENT_JOURNAL_SOAK=1. Each tries again what could not be reached, as the drain does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from pathlib import Path

import msgspec
import pytest

from otel_agent_journal.delivery.patience import Patience
from otel_agent_journal.errors import StoreUnreachable, WrongExpectedSequence
from otel_agent_journal.event import derived_id
from otel_agent_journal.store.registry import open_store
from otel_agent_journal.testing.builders import an_event
from otel_agent_journal.testing.contract_setup import everything
from tests.real.backends import Backend
from tests.real.fault_proxy import AtRandom

SESSION = "shared/session"
INSTANCE = "shared-instance"
RATE = 0.3
BATCH = 6


def insist(call: Callable[[], None]) -> None:
    """Call until the store was reached."""
    patience = Patience(first_s=0.01, last_s=0.3)
    for tries in range(500):
        try:
            call()
        except StoreUnreachable:
            patience.wait(tries)
        else:
            return
    raise AssertionError("the store was not reached in 500 tries")


def write(url: str, number: int, batches: int, acknowledged: Path) -> None:
    """Write events and context, and note what was acknowledged; the whole of a process."""
    store = open_store(url)
    expected = 0
    with acknowledged.open("a", buffering=1) as acks:
        for turn in range(batches):
            batch = [
                an_event(number * 10_000 + turn * BATCH + place, session_id=SESSION, writer=f"writer-{number}")
                for place in range(BATCH)
            ]
            insist(lambda batch=batch: store.append(batch))
            acks.writelines(f"{event.event_id}\n" for event in batch)
            context = [
                an_event(
                    number * 10_000 + turn,
                    session_id=SESSION,
                    event_id=derived_id(f"context:{number}:{turn}:{place}"),
                    type="USER_MESSAGE",
                    instance_id=INSTANCE,
                )
                for place in range(2)
            ]
            while True:
                numbered = [msgspec.structs.replace(event, seq=seq) for seq, event in enumerate(context, expected)]
                try:
                    insist(lambda numbered=numbered: store.append_context(INSTANCE, numbered[0].seq or 0, numbered))
                except WrongExpectedSequence as error:
                    expected = error.actual
                else:
                    break
            expected += len(context)
            acks.writelines(f"{event.event_id} {event.seq}\n" for event in numbered)
    store.close()


def write_and_check(backend: Backend, folder: Path, writers: int, batches: int) -> None:
    """Let processes write through the faults, then compare what they were told with what is there."""
    url = backend.fresh()
    with backend.proxy(AtRandom(RATE, seed=5), silence_s=0.05, slow_s=0.02) as proxy:
        processes = [
            SpawnProcess(target=write, args=(backend.through(url, proxy), number, batches, folder / str(number)))
            for number in range(writers)
        ]
        for process in processes:
            process.start()
        try:
            for process in processes:
                process.join(1200)
            assert [process.exitcode for process in processes] == [0] * writers
        finally:
            for process in processes:
                process.kill()
    assert proxy.injected.total() > RATE * 0.7 * proxy.calls.total()
    assert proxy.calls.total() > 2 * writers * batches
    told = [line.split() for number in range(writers) for line in (folder / str(number)).read_text().splitlines()]
    assert len(told) == writers * batches * (BATCH + 2)
    with backend.opened(url) as store:
        found = list(store.read(SESSION))
        assert Counter(event.event_id for event in found) == Counter(line[0] for line in told), "once, and no other"
        assert [event.key for event in found] == sorted(event.key for event in found)
        context = list(store.read_context(INSTANCE))
        assert [event.seq for event in context] == list(range(writers * batches * 2)), "gapless"
        assert {(event.event_id, str(event.seq)) for event in context} == {tuple(line) for line in told if line[1:]}
        followed, _ = everything(store, limit=50)
        assert sorted(event.event_id for event in followed) == sorted(line[0] for line in told)


@pytest.mark.timeout(300)
def test_writers_through_faults(backend: Backend, tmp_path: Path) -> None:
    """Of four processes every acknowledged event is there once, and the instance's sequence has no hole."""
    write_and_check(backend, tmp_path, writers=4, batches=3)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_sixteen_writers_through_faults(backend: Backend, tmp_path: Path) -> None:
    """The same of sixteen processes."""
    write_and_check(backend, tmp_path, writers=16, batches=6)
