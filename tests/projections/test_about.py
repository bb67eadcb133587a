"""Whose a session is and which processes wrote it: bounded, and the same in any order."""

from __future__ import annotations

import random
from typing import Any

import msgspec

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.about import (
    MAX_LABELS,
    MAX_PROCESSES,
    MAX_TAGS,
    NOTHING,
    About,
    Process,
    decode_about,
    encode_about,
)
from otel_agent_journal.projections.snapshot import restored, snapshot_of
from otel_agent_journal.projections.status import fold
from otel_agent_journal.projections.verdict import head_of


def event(number: int, kind: str = "AGENT_START", **details: Any) -> JournalEvent:
    return JournalEvent(
        session_id="s1",
        event_id=f"{number:032x}",
        type=kind,
        timestamp_ns=1000 + number,
        name="a",
        writer=f"w{number}",
        step_id=f"step{number}",
        attempt=1,
        details=details,
    )


def about(events: list[JournalEvent]) -> About:
    return head_of(fold(events), "s1").about


def test_labels_are_the_scalars_of_metadata() -> None:
    """A label is a text, number or truth value; the latest word counts; user and tenant are labels too."""
    found = about(
        [
            event(1, metadata={"release": "r1", "nested": {"a": 1}, "n": 3, "on": True}, tags=["b", "a"]),
            event(2, metadata={"release": "r2"}, tags=["a"], user="anna", tenant=7),
        ]
    )
    assert found.labels == {"n": "3", "on": "true", "release": "r2", "tenant": "7", "user": "anna"}
    assert found.tags == ("a", "b")
    said = [("user", "anna"), ("tenant", "7"), ("user", "bob"), ("a", "a")]
    assert [found.says(name, value) for name, value in said] == [True, True, False, False]
    assert [found.has(tag) for tag in ("a", "release", "release=r2", "release=r1", "c", "tenant=7")] == [
        True,
        True,
        True,
        False,
        False,
        True,
    ]


def test_what_a_replay_is_of() -> None:
    """The session that was replayed is a label; what is no text, or is of a step alone, is none."""
    assert about([event(1, replay={"verdict": "SAME", "session": "r"})]).labels == {"replay_of": "r"}
    for replay in ("r", None, {"verdict": "SAME"}, {"session": ["r"]}):
        assert about([event(1, replay=replay)]).labels == {}


def test_bounded_and_the_same_in_any_order() -> None:
    """However many there are, a head names so many, and it does not matter in which order they came."""
    events = [event(number, metadata={f"m{number:03}": number}, tags=[f"t{number:03}"]) for number in range(60)]
    events += [event(100 + number, "NOTE", process={"host": f"h{number}", "pid": number}) for number in range(30)]
    expected = about(events)
    assert (len(expected.tags), len(expected.labels), len(expected.processes)) == (MAX_TAGS, MAX_LABELS, MAX_PROCESSES)
    assert expected.processes[-1].host == "h29"
    for seed in range(5):
        random.Random(seed).shuffle(events)
        assert about(events + events[:20]) == expected


def test_written_down_and_taken_up_again() -> None:
    """A snapshot of the fold and a store's text have it whole."""
    events = [event(1, metadata={"a": 1}, tags=["x"]), event(2, "NOTE", process={"host": "h", "service": "s"})]
    state = restored(snapshot_of(fold(events[:1]), "s1"))
    assert state is not None
    found = head_of(fold(events[1:], state), "s1").about
    assert found == about(events) == decode_about(encode_about(found))
    assert decode_about("no json") == decode_about(None) == NOTHING


def test_strange_details() -> None:
    """Whatever stands in the details of others, a head is made."""
    found = about(
        [
            event(1, metadata=[1], tags="x", user={"a": 1}),
            event(2, metadata={"a": "\ud800", "b": 10**400, "c": None, "": 1}, tags=[1, "\ud800", None]),
            event(3, "NOTE", process={"host": 3, "pid": "x", "service": ["s"]}),
        ]
    )
    assert found.labels == {"a": "\\ud800"}
    assert found.tags == ("\\ud800",)
    assert found.processes == (Process(writer="w3", host="3"),)


def test_a_process_that_says_it_again() -> None:
    """Its last word counts, whichever comes first."""
    said = [msgspec.structs.replace(event(n, "NOTE", process={"host": f"h{n}"}), writer="w") for n in (1, 2)]
    assert about(said).processes == about(said[::-1]).processes == (Process(writer="w", host="h2"),)


def test_what_an_agent_writes_itself_says_nothing_of_the_session() -> None:
    """An entry relabels no session, and names no process, whatever stands in it."""
    said = {"tags": ["vip"], "user": "admin", "metadata": {"release": "r9"}, "process": {"host": "h", "pid": 1}}
    assert about([event(1, "NOTE", **said, written_by="tool")]) == NOTHING
