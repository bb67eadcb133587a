"""Whatever the shape of a session: a reader's work grows with its size, and no depth is too deep."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from itertools import pairwise

import pytest

from otel_agent_journal.cli.lines import EventLines
from otel_agent_journal.cli.output import Output
from otel_agent_journal.cli.verify import check_events
from otel_agent_journal.cli.waterfall import waterfall
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.forwarding.export import spans_of_session
from otel_agent_journal.projections.outline import outline
from otel_agent_journal.projections.selection import Chosen, Wanted, chosen
from otel_agent_journal.projections.snapshot import restored, snapshot_of
from otel_agent_journal.projections.status import fold
from otel_agent_journal.projections.steps import StepTree, fold_steps
from otel_agent_journal.projections.verdict import head_of, judged
from otel_agent_journal.query.tables import STEPS, TOOLS, AttemptRow, StepRow
from otel_agent_journal.reading import step_rows
from otel_agent_journal.reading.conversation import conversation
from tests.projections import told
from tests.projections.shapes import SHAPES, depth
from tests.projections.work import operations

Reader = Callable[[list[JournalEvent]], object]
NOW_NS = 10**12
SIZE = 24
DEEP = 5_000


def a_tree(events: list[JournalEvent]) -> StepTree:
    return fold_steps(map(outline, events), lost_writers=[f"w{number}" for number in range(500)])


def walked(events: list[JournalEvent]) -> None:
    tree = a_tree(events)
    assert len(tree.steps) <= len(list(tree.walk()))
    assert tree.totals().steps == len(tree.steps)
    for step in tree.roots:
        tree.totals(step)
        tree.children(step)


def drawn(events: list[JournalEvent]) -> None:
    tree, output = a_tree(events), Output("table", io.BytesIO(), tty=True, color=True, width=100)
    for line in waterfall(output, tree, Chosen(list(tree.walk()), {}), {}, NOW_NS, {}):
        output.text(line)


def slowest(events: list[JournalEvent]) -> None:
    tree = a_tree(events)
    chosen(tree, list(tree.walk()), Wanted(slowest=5, failed=True), NOW_NS)


def rows(events: list[JournalEvent]) -> None:
    output = Output("json", io.BytesIO())
    output.records(step_rows.rows(told.SESSION, a_tree(events).walk(), {}, {}), step_rows.ROW_KEYS)


def listed(events: list[JournalEvent]) -> None:
    lines = EventLines(Output("table", io.BytesIO(), tty=True, width=100), sessions=True)
    for event in events:
        lines.show(event)


def a_head(events: list[JournalEvent]) -> None:
    state = fold(events)
    judged(head_of(state, told.SESSION), NOW_NS)
    restored(snapshot_of(state, told.SESSION))


def in_sql(events: list[JournalEvent]) -> None:
    for step in fold_steps(events).steps:
        [column.value(StepRow(told.SESSION, step)) for column in STEPS.columns if not column.priced]
        for attempt in step.attempts:
            [column.value(AttemptRow(told.SESSION, attempt)) for column in TOOLS.columns if not column.priced]


READERS: Mapping[str, Reader] = {
    "tree": walked,
    "waterfall": drawn,
    "rows": rows,
    "slowest": slowest,
    "lines": listed,
    "head": a_head,
    "SQL": in_sql,
    "conversation": lambda events: list(conversation(lambda: events)),
    "spans": lambda events: list(spans_of_session(events)),
    "checks": lambda events: list(check_events(told.SESSION, events, lambda *_: None)),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_work_grows_as_the_session_does(shape: str, reader: str) -> None:
    """From one size to the double and to the double of that, the second step takes twice the work of the first."""
    sessions = [SHAPES[shape](size) for size in (SIZE, 2 * SIZE, 4 * SIZE)]
    READERS[reader](sessions[0])  # what is made once, as it is first used
    work = [operations(lambda events=events: READERS[reader](events)) for events in sessions]
    first, second = (more - less for less, more in pairwise(work))
    assert second <= 2.1 * max(first, SIZE), (shape, reader, work)


@pytest.mark.parametrize("reader", READERS)
def test_no_depth_is_too_deep(reader: str) -> None:
    """Five thousand steps each below the one before are read by whoever reads."""
    READERS[reader](depth(DEEP))


@pytest.mark.parametrize(("width", "longest"), [(0, 334), (80, 80), (200, 200)])
def test_a_deep_step_has_a_line_as_any_other(width: int, longest: int) -> None:
    """However deep a step is, its line is no longer, and has its name and how many levels are left out."""
    output = Output("table", io.BytesIO(), tty=width > 0, width=width)
    tree = a_tree(depth(500))
    lines = list(waterfall(output, tree, Chosen(list(tree.walk()), {}), {}, NOW_NS, {}))
    assert len(lines) == 500
    assert max(map(len, lines)) <= longest
    assert all(f"✓ {'node' if number else 'agent'} d{number} " in line for number, line in enumerate(lines))
    assert lines[3].startswith("  4       └─ ✓")
    left_out = int(lines[499].split()[1])
    assert lines[499].startswith(f"500 +{left_out} {'   ' * (499 - left_out - 1)}└─ ✓")
