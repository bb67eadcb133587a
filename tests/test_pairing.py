"""Which ending belongs to which START: by its id, by how long it took, else by its number and when it came."""

from __future__ import annotations

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.pairing import begun_ns, ending_id, is_ending, is_start, number_of, paired


def event(
    kind: str, at_ns: int, event_id: str, *, step: str | None = "s", duration_ns: int | None = None
) -> JournalEvent:
    """An event of the only writer."""
    return JournalEvent(
        session_id="one",
        event_id=event_id,
        type=kind,
        timestamp_ns=at_ns,
        writer="w",
        step_id=step,
        duration_ns=duration_ns,
    )


START = event("TOOL_START", 10, "start")
KEY = ending_id(START, 10)


def test_by_its_id() -> None:
    """An ending that has the id which follows from a START is its ending, whatever it says of its duration."""
    end = event("TOOL_END", 5, KEY, duration_ns=0)
    assert list(paired([end, START])) == [(KEY, START, end)]


def test_by_its_duration() -> None:
    """An ending of another id is that of the attempt which began when it says."""
    end = event("TOOL_END", 30, "end", duration_ns=20)
    assert list(paired([START, end])) == [(KEY, START, end)]
    late = event("TOOL_END", 30, "end", duration_ns=19)
    assert list(paired([START, late])) == [(KEY, START, None), (ending_id(late, 11), None, late)]


def test_loosely() -> None:
    """An ending that says neither ends all of its number that began by then, and is one of its own where none did."""
    second, third = event("TOOL_START", 20, "second"), event("TOOL_START", 40, "third")
    end = event("TOOL_ERROR", 30, "end")
    assert [(start, ending) for _, start, ending in paired([START, second, end, third])] == [
        (START, end),
        (second, end),
        (third, None),
    ]
    assert list(paired([event("TOOL_END", 5, "alone"), START]))[1] == ("alone", None, event("TOOL_END", 5, "alone"))


def test_what_tells_of_no_attempt() -> None:
    """Events without a step, and those within one, are passed over."""
    assert not list(paired([event("TOOL_START", 1, "a", step=None), event("TOOL_END", 1, "b", step=None)]))
    assert not list(paired([event("CHUNK", 1, "c")]))
    assert (begun_ns(event("TOOL_END", 1, "d")), is_start(START), is_ending(START)) == (None, True, False)
    assert number_of(START) == ("w", "s", 1)
