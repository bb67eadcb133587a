"""Passes over a store: what is sealed when, and what is looked at again."""

from __future__ import annotations

from pathlib import Path

from otel_agent_journal.bootstrap.seals import Passes, anchored, named, open_anchors
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.seals.log import Log
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.testing.builders import JournalBuilder
from tests.seals.sessions import NOW_NS, a_session, keep, late, seal


def test_a_pass_takes_what_has_ended_and_what_came(tmp_path: Path) -> None:
    """At first all that have ended, then those in which something came; one that failed is taken once more."""
    store = MemoryStore()
    journal = Journal(store, tmp_path)
    keep(store, a_session("done"))
    begun = JournalBuilder("running")
    begun.start("AGENT", "a")
    store.append(begun.events)
    journal.clock = lambda: begun.events[0].timestamp_ns
    passes = Passes(journal, running=False)
    assert list(passes.sessions()) == ["done"]
    assert list(passes.sessions()) == []
    store.append([late("done", 1, NOW_NS)])
    assert next(passes.sessions()) == "done"  # and then something fails
    assert list(passes.sessions()) == ["done"]
    assert list(passes.sessions()) == []
    assert sorted(Passes(journal, running=True).sessions()) == ["done", "running"]
    assert named(journal, ["done"]) == ["done"]


def test_a_checkpoint_is_kept_where_there_is_one(tmp_path: Path) -> None:
    """Of a store in which nothing was sealed there is none."""
    store = MemoryStore()
    places = open_anchors(store, [str(tmp_path / "anchors"), "tsa+http://127.0.0.1:1/"])[:1]
    assert list(anchored(Log(store), places, NOW_NS)) == []
    keep(store, a_session())
    seal(store, "s")
    assert list(anchored(Log(store), places, NOW_NS)) == [str(tmp_path / "anchors")]
