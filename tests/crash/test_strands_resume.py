"""A Strands agent is killed at random moments, and goes on in another process as though nothing had happened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from otel_agent_journal import ContextService
from otel_agent_journal.delivery.drain import Drain
from otel_agent_journal.event import derived_id
from otel_agent_journal.projections.steps import fold_steps
from otel_agent_journal.store.linked import read_whole
from otel_agent_journal.store.registry import open_store
from tests.crash.strands_agent import SESSION, STORE

AGENT = Path(__file__).with_name("strands_agent.py")
SOAK = bool(os.environ.get("AGENT_JOURNAL_SOAK"))
KILLS = 100 if SOAK else 20
SEED = int(os.environ.get("AGENT_JOURNAL_SEED", "20261201"))
INSTANCE = derived_id(f"strands:{SESSION}:default")


@pytest.mark.long_form
@pytest.mark.timeout(3600 if SOAK else 600)
def test_who_is_killed_goes_on_where_it_stood(tmp_path: Path) -> None:
    """The answer and the messages are those of an undisturbed run, no completed tool ran twice, and what the model was
    asked is what the journal has."""
    command = [sys.executable, str(AGENT), str(tmp_path), str(KILLS), str(SEED)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    runs = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(runs) == KILLS + 1, done.stderr
    expected = messages_of(Path(runs[0]["folder"]))
    assert len(expected) == 8
    killed = 0
    for run in runs:
        folder = Path(run["folder"])
        where = f"{run}: {done.stderr[-2_000:]}"
        assert run["ended"][-1] == 0, where
        killed += len(run["ended"]) > 1
        lines = [json.loads(line) for line in (folder / "witness").read_text().splitlines()]
        assert [value for kind, value in lines if kind == "answer"][-1] == "all there\n", where
        assert messages_of(folder) == expected, where
        completed: set[str] = set()
        for kind, value in lines:
            if kind == "done":
                completed.add(value)
            elif kind == "bought":
                assert value not in completed, f"{value} was bought again; {where}"
        assert completed == {"hat", "tie", "cap", "bag"}, where
        check_requests(folder, [value for kind, value in lines if kind == "asked"], where)
    assert killed >= KILLS * 3 // 4, "most are killed before they end"


def messages_of(folder: Path) -> list[Any]:
    """The messages of a run, without ids that are made at random."""
    with closing(open_store(STORE.format(folder))) as store:
        return [said_in(one) for one in ContextService(store, INSTANCE).get_messages()]


def check_requests(folder: Path, asked: list[Any], where: str) -> None:
    """What each model call was asked is what was in the context at the point that its step names."""
    with closing(open_store(STORE.format(folder))) as store:
        Drain(folder / "spool", store).drain_once()
        context = ContextService(store, INSTANCE)
        steps = fold_steps(read_whole(store, SESSION)).steps
        calls = sorted(
            (attempt.start_ns, attempt.details_start["context"]["seq"])
            for step in steps
            if step.kind == "MODEL"
            for attempt in step.attempts
        )
        assert len(calls) == len(asked), where
        for (_, seq), messages in zip(calls, asked, strict=True):
            assert [said_in(one) for one in context.get_messages(seq)] == messages, where


def said_in(message: dict[str, Any]) -> dict[str, Any]:
    """What a model is given of a message."""
    return {"role": message["role"], "content": message["content"]}
