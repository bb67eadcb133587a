"""Which trace is part of which session: said in both, believed of the two alone, in whatever order it is said."""

from __future__ import annotations

from typing import Any

import pytest

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.links import MAX_LISTED, fork_of, link_of, part_named_by
from otel_agent_journal.projections.snapshot import restored, snapshot_of
from otel_agent_journal.projections.status import fold
from otel_agent_journal.projections.verdict import head_of
from otel_agent_journal.testing.builders import an_event


def link(session_id: str, trace_id: str, kept_in: str, number: int = 0, **fields: Any) -> JournalEvent:
    """The link of a session and a trace, as one of the two has it."""
    fields = {
        "event_id": f"link:{session_id}:{trace_id}",
        "type": "SESSION_LINKED",
        "details": {"session": session_id, "trace": trace_id, "other": "?"},
    } | fields
    return an_event(number, session_id=kept_in, **fields)


def test_a_link_in_both() -> None:
    """A session's head names its parts, in order, and a part's head its session; each event counts once."""
    whole = head_of(fold([link("s1", "t2", "s1"), link("s1", "t1", "s1", 1), link("s1", "t1", "t1", 1)]), "s1")
    assert (whole.parts, whole.part_of, whole.events) == (("t1", "t2"), None, 2)
    part = head_of(fold([link("s1", "t1", "t1")]), "t1")
    assert (part.parts, part.part_of, part.events) == ((), "s1", 1)


def test_a_link_is_of_no_writer() -> None:
    """Who wrote a link is not heard of by it: the two may have it from different writers."""
    head = head_of(fold([link("s1", "t1", "s1", writer="w9")]), "s1")
    assert (head.writers, head.status) == ({}, "PENDING")


def test_two_sessions_that_claim_a_trace() -> None:
    """Of two sessions that name one trace the first that did has it as its part, whichever is told first."""
    links = [link("s2", "t1", "t1", 1), link("s1", "t1", "t1", 2), link("s0", "t1", "t1", 3)]
    assert head_of(fold(links), "t1").part_of == head_of(fold(reversed(links)), "t1").part_of == "s2"


def test_no_circle() -> None:
    """A session with parts is part of none, so that none hides behind another that is hidden itself."""
    links = [link("s1", "s2", "s1"), link("s2", "s1", "s1")]
    assert head_of(fold(links), "s1").part_of is None
    assert head_of(fold(links), "s2").part_of is None
    assert head_of(fold(links), "s1").parts == ("s2",)


@pytest.mark.parametrize(
    "event",
    [
        link("s1", "t1", "s9"),
        link("s1", "s1", "s1"),
        link("s1", "t1", "s1", details={}),
        link("s1", "t1", "s1", details={"session": "s1", "trace": 7}),
        link("s1", "t1", "s1", type="NOTE"),
    ],
    ids=["in a third session", "with itself", "of nothing", "of a number", "of another type"],
)
def test_no_link(event: JournalEvent) -> None:
    """What does not name the session it is in and another one links nothing."""
    assert (link_of(event), part_named_by(event)) == (None, None)
    head = head_of(fold([event]), "s1")
    assert (head.part_of, head.parts, head.events) == (None, (), 1)


def test_a_part_is_named_in_its_session_alone() -> None:
    """The same link names a part in the session, and none in the trace."""
    assert part_named_by(link("s1", "t1", "s1")) == "t1"
    assert part_named_by(link("s1", "t1", "t1")) is None


def test_many_parts() -> None:
    """A head names a thousand parts, the first ones in order."""
    links = [link("s1", f"t{number:05}", "s1", number) for number in range(MAX_LISTED + 2)]
    parts = head_of(fold(reversed(links)), "s1").parts
    assert (len(parts), parts[0], parts[-1]) == (MAX_LISTED, "t00000", f"t{MAX_LISTED - 1:05}")


def forked(session_id: str, number: int = 1, **details: Any) -> JournalEvent:
    said = {"base": "s1", "fork": "s2", "instance": "i1", "seq": 3, "fork_instance": "i2"}
    return an_event(number, session_id=session_id, type="SESSION_FORKED", details=said | details)


def test_a_fork_is_said_in_both() -> None:
    """The head of a session names those that were forked from it, that of a fork the session it was made of."""
    base = head_of(fold([forked("s1"), forked("s1", 2, fork="s3"), forked("s1", 9)]), "s1")
    fork = head_of(fold([forked("s2", 2), forked("s2", 1)]), "s2")
    assert (base.forks, base.forked_from, base.status) == (("s2", "s3"), None, "PENDING")
    assert (fork.forks, fork.forked_from) == ((), "s1")
    many = fold(forked("s1", number, fork=f"f{number:05}") for number in range(MAX_LISTED + 5))
    assert len(head_of(many, "s1").forks) == MAX_LISTED


def test_a_fork_survives_a_snapshot() -> None:
    """Whoever goes on from a snapshot knows the forks, too."""
    state = restored(snapshot_of(fold([forked("s1")]), "s1"))
    assert state is not None
    assert head_of(state, "s1").forks == ("s2",)


@pytest.mark.parametrize(
    "event",
    [
        forked("s1", base=None),
        forked("s1", fork=7),
        forked("s1", fork="s1"),
        forked("s3"),
        an_event(1, session_id="s1", type="SESSION_LINKED", details={"base": "s1", "fork": "s2"}),
    ],
    ids=["no base", "no fork", "of itself", "of others", "of another type"],
)
def test_what_is_no_fork(event: JournalEvent) -> None:
    """What does not name two sessions, its own among them, relates none."""
    assert fork_of(event) is None
    head = head_of(fold([event]), event.session_id)
    assert (head.forks, head.forked_from) == ((), None)
