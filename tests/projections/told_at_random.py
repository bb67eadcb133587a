"""Hypothesis strategies: sessions as they should be, and heaps of events as they should not."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from otel_agent_journal.event import JournalEvent, Usage
from tests.projections import told

_times = st.integers(0, 30)
_steps = st.sampled_from(("a", "b", "c", "d"))
_parents = st.sampled_from((None, None, "a", "b", "c", "elsewhere"))
_writers = st.sampled_from(("w1", "w2"))
_attempts = st.integers(1, 2)
_kinds = st.sampled_from(("AGENT", "NODE", "MODEL", "TOOL", "STEP"))
_outcomes = st.sampled_from(("ok", "error", "cancelled", "interrupted"))
_usages = st.none() | st.builds(dict, input_tokens=st.integers(0, 9), reasoning_tokens=st.integers(0, 9))
_checkpoints = st.sampled_from(({}, {"checkpoint_id": "c1"}, {"checkpoint_id": "c2"}))

_starts = st.builds(
    told.start, _steps, _times, under=_parents, attempt=_attempts, writer=_writers, kind=_kinds, details=_checkpoints
)
_ends = st.builds(
    lambda usage, step, begun, at, outcome, **more: told.end(
        step, begun, at, outcome, **more, **({"usage": usage} if usage else {})
    ),
    _usages,
    _steps,
    _times,
    _times,
    _outcomes,
    under=_parents,
    attempt=_attempts,
    writer=_writers,
    kind=_kinds,
    details=_checkpoints,
)
_foreign = st.builds(
    told.foreign,
    st.sampled_from(("NODE_START", "NODE_END", "NODE_ERROR", "AGENT_START", "AGENT_END", "MODEL_END")),
    _times,
    step_id=st.none() | _steps,
    parent_step_id=_parents,
    attempt=st.none() | _attempts,
    writer=st.none() | _writers,
    outcome=st.sampled_from((None, "ok", "of another kind")),
    duration_ns=st.none() | st.integers(0, 5),
    usage=st.none() | st.just(Usage(output_tokens=1)),
)
_notes = st.builds(
    told.noted, st.sampled_from(("PROGRESS", "CHUNK")), _times, _steps, _times, attempt=_attempts, writer=_writers
)
_said = st.builds(
    told.said,
    st.sampled_from(
        (
            "SESSION_INITIATED",
            "SESSION_COMPLETED",
            "SESSION_FAILED",
            "AGENT_INVOCATION_STARTED",
            "AGENT_INVOCATION_SUCCEEDED",
            "AGENT_INVOCATION_FAILED",
            "STAGE_CHANGED",
            "RUN_RESUMED",
            "ANYTHING",
        )
    ),
    _times,
    step=st.none() | _steps,
    writer=_writers,
    stage=st.sampled_from(("Plan", "Write", 7)),
    progress=st.sampled_from((None, 10, 99.5)),
    agent=st.sampled_from((None, "researcher", "writer")),
    checkpoint_id=st.sampled_from(("c1", "c2")),
    invocation=st.sampled_from((None, "i1", "i2")),
    reason=st.sampled_from((None, "cancelled", "of another kind")),
)
_interruptions = st.builds(told.interrupted, _writers, _times, st.sampled_from(("killed", "lost")))


def _distinct(events: Sequence[JournalEvent]) -> list[JournalEvent]:
    return list({event.key: event for event in events}.values())


heaps = st.lists(st.one_of(_starts, _ends, _foreign, _notes, _said, _interruptions), max_size=30).map(_distinct)


@st.composite
def sessions(draw: st.DrawFn) -> list[JournalEvent]:
    """Draw a session as a recorder would write it: each attempt once, ended at most once, after it began."""
    events: list[JournalEvent] = []
    known: list[str] = []
    for number in range(draw(st.integers(0, 8))):
        step = f"step{number}"
        under = draw(st.sampled_from([None, *known]))
        known.append(step)
        writer = draw(_writers)
        at = number * 100
        for attempt in range(1, draw(st.integers(1, 3)) + 1):
            begun, at = at, at + draw(st.integers(1, 9))
            events.append(told.start(step, begun, under=under, attempt=attempt, writer=writer, kind="STEP"))
            if draw(st.booleans()):
                usage = {"input_tokens": draw(st.integers(0, 9))}
                outcome = draw(_outcomes)
                events.append(
                    told.end(
                        step, begun, at, outcome, under=under, attempt=attempt, writer=writer, kind="STEP", usage=usage
                    )
                )
            at += 1
    if draw(st.booleans()):
        events.append(told.interrupted(draw(_writers), draw(st.integers(0, 1000))))
    return events


@st.composite
def retellings(draw: st.DrawFn, events: Sequence[JournalEvent]) -> list[JournalEvent]:
    """Draw the same events in another order, some of them more than once."""
    if not events:
        return []
    again = draw(st.lists(st.sampled_from(events), max_size=len(events)))
    return draw(st.permutations([*events, *again]))
