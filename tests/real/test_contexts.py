"""The context of agents against its model, on every store's real server, as it is and where calls fail."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from otel_agent_journal import ContextService
from otel_agent_journal.context import log
from otel_agent_journal.errors import StoreError
from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.store.registry import open_store
from tests.context.invariants import InvariantsMachine as ContextMachine
from tests.real.backends import Backend
from tests.real.fault_proxy import AtRandom

SOAK = bool(os.environ.get("AGENT_JOURNAL_SOAK"))
EXAMPLES = 100 if SOAK else 3
STEPS = 25 if SOAK else 12
WRITERS, EACH = (16, 20) if SOAK else (4, 5)


def machine(fresh: Callable[[], str]) -> type[ContextMachine]:
    """Return a machine whose stores are opened by URL."""

    class Machine(ContextMachine):
        def make_store(self) -> JournalStore:
            return open_store(fresh())

    return Machine


@pytest.mark.long_form
@pytest.mark.timeout(3600 if SOAK else 300)
def test_a_context_is_what_its_model_is(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instances, their forks, rewinds, windows and states, by two handles at a time; snapshots come often and go."""
    monkeypatch.setattr(log, "SNAPSHOT_EVERY", 5)
    phases = tuple(Phase) if SOAK else (Phase.explicit, Phase.generate)
    run_state_machine_as_test(
        machine(backend.fresh), settings=settings(max_examples=EXAMPLES, stateful_step_count=STEPS, phases=phases)
    )


@pytest.mark.long_form
@pytest.mark.timeout(3600 if SOAK else 120)
def test_writers_of_one_instance_lose_nothing(backend: Backend) -> None:
    """Behind a proxy that fails three of ten calls: each message once, those of a writer in its order, no gap."""
    with backend.proxy(AtRandom(0.3, seed=1), silence_s=0.02, slow_s=0.01) as proxy:
        url = backend.fresh()

        def write(writer: int) -> None:
            with closing(ContextService(backend.through(url, proxy), "shared")) as context:
                for number in range(EACH):
                    _insist(context, f"{writer} {number}")

        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(write, range(WRITERS)))
    with closing(open_store(url)) as store:
        found = [message["content"] for message in ContextService(store, "shared").get_messages()]
        for writer in range(WRITERS):
            its_own = [text for text in found if text.startswith(f"{writer} ")]
            assert its_own == [f"{writer} {number}" for number in range(EACH)]
        assert [event.seq for event in store.read_context("shared")] == list(range(WRITERS * EACH))


def _insist(context: ContextService, text: str) -> None:
    """Append a message by its id until the store takes it."""
    for attempt in range(100):
        try:
            context.append_message("user", text, message_id=text)
            return
        except StoreError:
            assert attempt < 99
