"""Who is gone, judged from outside: `sweep` writes what nobody was left to write."""

from __future__ import annotations

from otel_agent_journal.delivery.drain import Drain
from otel_agent_journal.delivery.interruptions import interruptions
from otel_agent_journal.event import SESSION_INTERRUPTED
from otel_agent_journal.store.memory import MemoryStore
from tests.spool.spooling import BASE_NS, new_writer, started

SECOND = 1_000_000_000
STARTED_NS = BASE_NS + 1000


def open_session(root, **options):
    """A writer with an open step that is delivered and acknowledged, and the store that has it."""
    writer, store = new_writer(root, **options), MemoryStore()
    writer.append(started(1))
    Drain(root, store).drain_once()
    return writer, store


def test_a_writer_of_another_machine_is_lost_after_its_silence(tmp_path):
    """No folder here and no word for a minute: lost. Not a moment earlier."""
    _, store = open_session(tmp_path / "elsewhere")
    assert interruptions(store, tmp_path / "here", STARTED_NS + 59 * SECOND) == []
    (event,) = interruptions(store, tmp_path / "here", STARTED_NS + 60 * SECOND)
    assert (event.type, event.details["reason"]) == (SESSION_INTERRUPTED, "lost")
    assert store.head("s1").status == "INTERRUPTED"
    assert store.head("s1").reason == "lost"
    assert list(store.read("s1"))[-1] == event


def test_a_silence_of_ones_choice(tmp_path):
    """How long a writer may be silent can be said."""
    _, store = open_session(tmp_path / "elsewhere")
    assert interruptions(store, tmp_path, STARTED_NS + 5 * SECOND, silence_ns=6 * SECOND) == []
    assert len(interruptions(store, tmp_path, STARTED_NS + 5 * SECOND, silence_ns=5 * SECOND)) == 1


def test_a_sweep_again_writes_nothing(tmp_path):
    """Once written, it is written."""
    _, store = open_session(tmp_path / "elsewhere")
    late = STARTED_NS + 100 * SECOND
    assert len(interruptions(store, tmp_path, late)) == 1
    assert interruptions(store, tmp_path, late + SECOND) == []


def test_a_live_writer_is_left_alone(tmp_path):
    """A process that lives may be silent for as long as it likes."""
    _, store = open_session(tmp_path)
    assert interruptions(store, tmp_path, STARTED_NS + 10**6 * SECOND) == []


def test_a_dead_writer_with_events_waiting_is_left_to_the_drain(tmp_path):
    """What is still in a spool may end the step."""
    writer, store = open_session(tmp_path)
    writer.append(started(2))
    writer._segments.drop()
    assert interruptions(store, tmp_path, STARTED_NS + 100 * SECOND) == []


def test_a_dead_writer_with_nothing_waiting_was_killed(tmp_path):
    """A folder whose lock is free and that is delivered shows the death at once."""
    writer, store = open_session(tmp_path)
    writer._segments.drop()
    (event,) = interruptions(store, tmp_path, STARTED_NS + SECOND)
    assert event.details["reason"] == "killed"


def test_sweep_and_drain_write_the_same_event(tmp_path):
    """Whoever notices a death first, it is one event."""
    writer, store = open_session(tmp_path)
    writer._segments.drop()
    (event,) = interruptions(store, tmp_path, STARTED_NS + SECOND)
    Drain(tmp_path, store).drain_once()
    assert [found for found in store.read("s1") if found.type == SESSION_INTERRUPTED] == [event]


def test_a_writer_that_speaks_again_reopens_its_steps(tmp_path):
    """Thought lost, and only cut off: its next event takes the session back to PROCESSING."""
    writer, store = open_session(tmp_path / "elsewhere")
    interruptions(store, tmp_path, STARTED_NS + 100 * SECOND)
    writer.append(started(2, at_ns=STARTED_NS + 200 * SECOND))
    Drain(tmp_path / "elsewhere", store).drain_once()
    assert store.head("s1").status == "PROCESSING"
