"""Sessions of unusual shapes, of any size: what a reader takes for one grows with its size and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec

from otel_agent_journal.event import JournalEvent, step_of_span
from tests.projections import told

Shape = Callable[[int], list[JournalEvent]]
OK = {"outcome": "ok"}


def attempts_with_children(size: int) -> list[JournalEvent]:
    """Tell of one node that was tried time and again, with a tool and a note in each try."""
    found = [told.start("root", 0)]
    for number in range(1, size + 1):
        at = number * 100
        found += [
            told.start("work", at, under="root", attempt=number),
            told.start(f"tool{number}", at + 1, under="work", kind="TOOL"),
            told.noted("PROGRESS", at + 2, "work", at, attempt=number),
            told.end(f"tool{number}", at + 1, at + 3, under="work", kind="TOOL"),
            told.end("work", at, at + 9, "error", under="root", attempt=number),
        ]
    return found


def attempts_of_many_writers(size: int) -> list[JournalEvent]:
    """Tell of one step that as many processes took up, all of which were killed: it is told of half of them."""
    found: list[JournalEvent] = []
    for number in range(size):
        at, writer = number * 100, f"w{number}"
        found += [
            told.start("root", at, writer=writer),
            told.start(f"tool{number}", at + 1, under="root", kind="TOOL", writer=writer),
            told.noted("CHUNK", at + 2, "root", at, writer=writer),
        ]
        if number % 2:
            found.append(told.interrupted(writer, at + 3))
    return found


def siblings(size: int) -> list[JournalEvent]:
    """Tell of as many tools below one agent, side by side."""
    found = [told.start("root", 0)]
    found += [told.start(f"t{number}", number + 1, under="root", kind="TOOL") for number in range(size)]
    found += [
        told.end(f"t{number}", number + 1, size + number, "error", under="root", kind="TOOL") for number in range(size)
    ]
    return [*found, told.end("root", 0, 3 * size)]


def depth(size: int) -> list[JournalEvent]:
    """Tell of steps each below the one before."""
    found = [told.start("d0", 0)]
    found += [told.start(f"d{number}", number, under=f"d{number - 1}") for number in range(1, size)]
    found += [
        told.end(f"d{number}", number, 2 * size - number, under=f"d{number - 1}" if number else None)
        for number in reversed(range(size))
    ]
    return found


def endings_without_duration(size: int) -> list[JournalEvent]:
    """Tell of steps of another program, all open at once, none of whose endings says when its step began."""
    starts = [told.foreign("TOOL_START", number, step_id=f"t{number}", name="t") for number in range(size)]
    ends = [told.foreign("TOOL_END", size + number, step_id=f"t{number}", name="t", **OK) for number in range(size)]
    return [*starts, *ends]


def one_step_over_and_over(size: int) -> list[JournalEvent]:
    """Tell of one step of another program, which counts no attempts: begun so often, and then ended so often."""
    starts = [told.foreign("TOOL_START", number, step_id="t", name="t") for number in range(size)]
    ends = [told.foreign("TOOL_END", size + number, step_id="t", name="t", **OK) for number in range(size)]
    return [*starts, *ends]


def endings_before_their_starts(size: int) -> list[JournalEvent]:
    """Tell of endings without a duration, each before a START of its step."""
    found: list[JournalEvent] = []
    for number in range(size):
        found.append(told.foreign("TOOL_END", 2 * number, step_id="t", name="t", **OK))
        found.append(told.foreign("TOOL_START", 2 * number + 1, step_id="t", name="t"))
    return found


def instants(size: int) -> list[JournalEvent]:
    """Tell of attempts at one step that took no time, by ids of another program, while as many are open."""
    starts = [told.foreign("TOOL_START", number, step_id="t", name="t") for number in range(size)]
    ends = [
        told.foreign("TOOL_END", size + number, step_id="t", name="t", duration_ns=0, **OK) for number in range(size)
    ]
    return [*starts, *ends]


def stepped_back(size: int) -> list[JournalEvent]:
    """Tell of steps that ended before they began, as the clock has it."""
    starts = [told.start(f"t{number}", 1000 + number, under="root") for number in range(size)]
    ends = [told.end(f"t{number}", 1000 + number, number, under="root") for number in range(size)]
    return [told.start("root", 0), *starts, *ends]


def resumed(size: int) -> list[JournalEvent]:
    """Tell of invocations that all stopped at one checkpoint, and all went on from it."""
    found: list[JournalEvent] = []
    for number in range(size):
        name, at = f"r{number}", 10 * number
        stop = told.end(name, at, at + 2, "interrupted", details={"checkpoint_id": "c"})
        found += [told.start(name, at), told.said("RUN_RESUMED", at + 1, step=name, checkpoint_id="c"), stop]
    return found


def a_cycle(size: int) -> list[JournalEvent]:
    """Tell of steps that name one another as their parents, all the way round."""
    return [told.start(f"c{number}", number, under=f"c{(number + 1) % size}") for number in range(size)]


def parents_by_their_spans(size: int) -> list[JournalEvent]:
    """Tell of steps that name the spans of their parents."""
    return [
        told.start(f"s{number}", number, under=step_of_span("t", f"{number - 1}"), trace_id="t", span_id=f"{number}")
        for number in range(size)
    ]


def links(size: int) -> list[JournalEvent]:
    """Tell of a session that as many traces turned out to be part of."""
    found = [told.start("root", 0)]
    for number in range(size):
        link = {"session": told.SESSION, "trace": f"{number:032x}", "other": f"{number:032x}"}
        found.append(told.said("SESSION_LINKED", number + 1, **link))
    return [*found, told.end("root", 0, size + 2)]


def what_callers_say(size: int) -> list[JournalEvent]:
    """Tell of invocations, stages and warnings outside of steps."""
    found: list[JournalEvent] = []
    for number in range(size):
        at = 10 * number
        found += [
            told.said("AGENT_INVOCATION_STARTED", at, invocation=f"i{number}"),
            told.said("STAGE_CHANGED", at + 1, stage=f"stage {number}", progress=1),
            told.said("AGENT_INVOCATION_SUCCEEDED", at + 2, invocation=f"i{number}"),
        ]
    return found


def late(shape: Shape) -> Shape:
    """Return a shape that is told from its end, with every event twice."""

    def told_late(size: int) -> list[JournalEvent]:
        return [event for event in reversed(shape(size)) for _ in range(2)]

    return told_late


def in_parts(shape: Shape) -> Shape:
    """Return a shape of which every other event is in a part of the session."""

    def parted(size: int) -> list[JournalEvent]:
        return [
            msgspec.structs.replace(event, session_id="part") if place % 2 else event
            for place, event in enumerate(shape(size))
        ]

    return parted


_PLAIN = (
    *(attempts_with_children, attempts_of_many_writers, siblings, depth, endings_without_duration),
    *(one_step_over_and_over, endings_before_their_starts, instants, stepped_back, resumed, a_cycle),
    *(parents_by_their_spans, links, what_callers_say),
)


def _all() -> Iterator[tuple[str, Shape]]:
    for shape in _PLAIN:
        yield shape.__name__, shape
        yield f"{shape.__name__}, late", late(shape)
        yield f"{shape.__name__}, in parts", in_parts(shape)


SHAPES: Mapping[str, Shape] = dict(_all())
