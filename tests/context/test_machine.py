"""A context against its model: in memory and in SQLite; on servers it is `tests/real/test_contexts.py`."""

from __future__ import annotations

import os
import shutil
import tempfile

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from otel_agent_journal.context import log
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.store.registry import open_store
from tests.context.invariants import InvariantsMachine as ContextMachine

LONG = bool(os.environ.get("AGENT_JOURNAL_SOAK"))


class InMemory(ContextMachine):
    def make_store(self) -> JournalStore:
        return MemoryStore()


class InSQLite(ContextMachine):
    def make_store(self) -> JournalStore:
        self.folder = tempfile.mkdtemp()
        return open_store(f"sqlite:///{self.folder}/journal.db?synchronous=normal")

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.folder)


@pytest.mark.long_form
@pytest.mark.timeout(3600 if LONG else 120)
@pytest.mark.parametrize("every", [2, log.SNAPSHOT_EVERY])
@pytest.mark.parametrize("machine", [InMemory, InSQLite])
def test_a_context_is_what_its_model_is(
    machine: type[ContextMachine], every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is done to instances and their forks, by two at a time, with snapshots often, rarely and deleted."""
    monkeypatch.setattr(log, "SNAPSHOT_EVERY", every)
    run_state_machine_as_test(machine, settings=settings(max_examples=400 if LONG else 15, stateful_step_count=25))
