"""The step tree: what ran under what, in which attempts, whatever order its events come in."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from otel_agent_journal.event import JournalEvent, Usage
from otel_agent_journal.projections.head import PROCESSING
from otel_agent_journal.projections.status import fold
from otel_agent_journal.projections.steps import Step, StepTree, Totals, fold_steps
from otel_agent_journal.projections.verdict import head_of, silent_writers
from tests.projections import told
from tests.projections.told_at_random import heaps, retellings, sessions


def shown(*events: JournalEvent) -> list[str]:
    """The tree of these events as indented lines, after checking that the other way round gives the same."""
    tree = fold_steps(events)
    assert everything(fold_steps((*reversed(events), *events))) == everything(tree)
    return [_line(step) for step in tree.walk()]


def _line(step: Step) -> str:
    attempts = " ".join(f"{one.ordinal}:{one.outcome or 'running'}" for one in step.attempts)
    return "  " * step.depth + f"{step.step_id} {step.status} [{attempts}]" + (" orphan" if step.orphan else "")


def everything(tree: StepTree) -> tuple[object, ...]:
    """All that a tree says."""
    walked = list(tree.walk())
    return walked, tree.steps, tree.roots, dict(tree.resumes), tree.totals(), [tree.totals(step) for step in walked]


# --- shape --------------------------------------------------------------------------------------------------------


def test_no_events_no_steps() -> None:
    """A session without steps has an empty tree, which sums up to nothing."""
    tree = fold_steps([told.said("SESSION_INITIATED", 1)])
    assert everything(tree) == ([], (), (), {}, Totals(), [])
    assert tree.step("root") is None
    assert tree.children("root") == ()


def test_steps_hang_below_their_parents_in_order_of_start() -> None:
    """Roots and children are shown depth first, each level in order of start."""
    assert shown(
        told.start("one", 1),
        told.start("b", 5, under="one"),
        told.start("a", 3, under="one"),
        told.start("deep", 6, under="a"),
        told.end("a", 3, 9, under="one"),
        told.start("two", 20),
    ) == [
        "one running [1:running]",
        "  a ok [1:ok]",
        "    deep running [1:running]",
        "  b running [1:running]",
        "two running [1:running]",
    ]


def test_a_step_speaks_by_its_last_attempt() -> None:
    """A step's status is that of its last attempt; it began with the first and ended with the last."""
    events = [
        told.start("tool", 1, under="root"),
        told.end("tool", 1, 2, "error", under="root"),
        told.start("tool", 3, under="root", attempt=2),
    ]
    tree = fold_steps(events)
    (step,) = tree.roots
    assert (step.status, step.start_ns, step.end_ns) == ("running", 1, None)
    assert shown(*events, told.end("tool", 3, 8, under="root", attempt=2)) == ["tool ok [1:error 2:ok] orphan"]


def test_ordinals_count_over_all_processes() -> None:
    """Attempts keep their number within a writer and get an ordinal over all of them, by start."""
    first = told.start("root", 1), told.end("root", 1, 2, "error")
    second = told.start("root", 7, writer="w2"), told.end("root", 7, 9, writer="w2")
    step = fold_steps([*second, *first]).step("root")
    assert step is not None
    assert [(one.attempt, one.ordinal, one.writer) for one in step.attempts] == [(1, 1, "w1"), (1, 2, "w2")]


def test_an_attempt_has_what_its_events_say() -> None:
    """An attempt joins what its START and its ending say, and what was noted in between."""
    begun = told.start("call", 5, under="root", kind="MODEL", name="gpt", trace_id="t", details={"input": "?"})
    note = told.noted("CHUNK", 6, "call", 5)
    ended = told.end(
        "call", 5, 9, "error", under="root", kind="MODEL", usage={"output_tokens": 3}, span_id="s", details={"o": 1}
    )
    (step,) = fold_steps([begun, note, ended]).roots
    assert (step.kind, step.name, step.parent_step_id) == ("MODEL", "gpt", "root")
    one = step.last
    assert (one.start_ns, one.end_ns, one.duration_ns, one.outcome) == (5, 9, 4, "error")
    assert (one.error, one.usage) == (ended.error, Usage(output_tokens=3))
    assert (one.trace_id, one.span_id) == ("t", "s")
    assert (one.details_start, one.details_end, one.notes) == ({"input": "?"}, {"o": 1}, (note,))


def test_a_running_attempt_has_no_duration() -> None:
    """What has not ended has no duration yet."""
    assert fold_steps([told.start("root", 5)]).roots[0].last.duration_ns is None


def test_notes_belong_to_the_attempt_they_were_made_in() -> None:
    """A note goes to the attempt of its number and writer that was under way, in order, else to the first."""
    early, late = told.noted("PROGRESS", 2, "root", 1), told.noted("PROGRESS", 8, "root", 7)
    before = told.noted("PROGRESS", 0, "root", 1)
    stranger = told.noted("PROGRESS", 9, "root", 7, writer="w9")
    nowhere = told.noted("PROGRESS", 8, "unknown", 7)
    (step,) = fold_steps(
        [late, nowhere, stranger, told.start("root", 7), before, early, told.start("root", 1)],
    ).roots
    assert [one.notes for one in step.attempts] == [(before, early), (late, stranger)]


# --- parents ------------------------------------------------------------------------------------------------------


def test_a_step_of_an_unknown_parent_is_an_orphan() -> None:
    """A step whose parent the journal does not know is shown as a root and flagged."""
    events = told.start("tool", 2, under="gone"), told.start("deep", 3, under="tool")
    assert shown(*events) == ["tool running [1:running] orphan", "  deep running [1:running]"]


def test_circles_are_cut() -> None:
    """Parents that go round in a circle are cut above the earliest of them; nothing is lost and nothing hangs."""
    assert shown(told.start("self", 1, under="self")) == ["self running [1:running] orphan"]
    assert shown(
        told.start("b", 2, under="a"),
        told.start("c", 3, under="b"),
        told.start("a", 5, under="c"),
        told.start("leaf", 6, under="a"),
    ) == [
        "b running [1:running] orphan",
        "  c running [1:running]",
        "    a running [1:running]",
        "      leaf running [1:running]",
    ]


def test_a_circle_is_cut_above_its_earliest_whatever_leads_to_it() -> None:
    """Which step leads into a circle first does not decide where it is cut."""
    assert shown(
        told.start("leaf", 1, under="late"),
        told.start("late", 5, under="early"),
        told.start("early", 3, under="late"),
    ) == [
        "early running [1:running] orphan",
        "  late running [1:running]",
        "    leaf running [1:running]",
    ]


def test_a_deep_tree_is_no_deep_recursion() -> None:
    """A chain of five thousand steps is walked as one of five."""
    events = [told.start(f"n{n}", n, under=f"n{n - 1}" if n else None) for n in range(5_000)]
    tree = fold_steps(events)
    assert [step.depth for step in tree.walk()] == list(range(5_000))
    assert tree.totals().steps == 5_000


def test_a_resumed_step_is_shown_where_each_attempt_ran() -> None:
    """A step taken up again by another invocation is shown under both, with the attempts and children of each."""
    events = [
        told.start("one", 1),
        told.start("node", 2, under="one"),
        told.start("call", 3, under="node"),
        told.end("call", 3, 4, under="node"),
        told.end("node", 2, 5, "interrupted", under="one"),
        told.end("one", 1, 6, "interrupted"),
        told.start("two", 20, writer="w2"),
        told.start("node", 21, under="two", writer="w2"),
        told.start("call", 22, under="node", writer="w2"),
        told.end("call", 22, 23, "error", under="node", writer="w2"),
        told.end("node", 21, 24, under="two", writer="w2"),
        told.end("two", 20, 25, writer="w2"),
    ]
    assert shown(*events) == [
        "one interrupted [1:interrupted]",
        "  node interrupted [1:interrupted]",
        "    call ok [1:ok]",
        "two ok [1:ok]",
        "  node ok [2:ok]",
        "    call error [2:error]",
    ]
    tree = fold_steps(events)
    assert [len(step.attempts) for step in tree.steps] == [1, 2, 2, 1]
    assert [_line(step) for step in tree.children("node")] == ["    call error [1:ok 2:error]"]
    assert [_line(step) for step in tree.children(tree.children("one")[0])] == ["    call ok [1:ok]"]
    assert tree.totals(tree.roots[0]) == Totals(steps=3)
    assert tree.totals(tree.roots[1]) == Totals(steps=3, errors=1)
    assert tree.totals() == Totals(steps=4, errors=1)


def test_a_child_hangs_under_the_attempt_it_ran_in() -> None:
    """A retried step's children belong to the attempt under way, in their own process where there is one."""
    events = [
        told.start("node", 2, under="one"),
        told.start("early", 1, under="node"),
        told.start("first", 3, under="node"),
        told.end("node", 2, 5, "error", under="one"),
        told.start("two", 5),
        told.start("node", 6, under="two", attempt=2),
        told.start("second", 7, under="node"),
        told.start("elsewhere", 8, under="node", writer="w2"),
    ]
    assert shown(*events) == [
        "node error [1:error] orphan",
        "  early running [1:running]",
        "  first running [1:running]",
        "two running [1:running]",
        "  node running [2:running]",
        "    second running [1:running]",
        "    elsewhere running [1:running]",
    ]


def test_a_child_begins_with_its_attempt_or_in_its_process() -> None:
    """A child that begins in the same nanosecond as an attempt ran in it; one of another process's attempt did not."""
    assert shown(
        told.start("node", 1, under="a"),
        told.start("node", 5, under="b", attempt=2),
        told.start("child", 5, under="node"),
        told.start("node", 7, under="c", writer="w2"),
        told.start("own", 8, under="node"),
    ) == [
        "node running [1:running 2:running 3:running] orphan",
        "  child running [1:running]",
        "  own running [1:running]",
    ]
    tree = fold_steps(
        [
            told.start("one", 1),
            told.start("node", 2, under="one"),
            told.start("two", 5, writer="w2"),
            told.start("node", 6, under="two", writer="w2"),
            told.start("call", 6, under="node", writer="w2"),
            told.start("mine", 9, under="node"),
            told.noted("PROGRESS", 9, "node", 2),
        ]
    )
    (ours,), (theirs,) = (tree.children(root) for root in tree.roots)
    assert [_line(step) for step in tree.children(ours)] == ["    mine running [1:running]"]
    assert [_line(step) for step in tree.children(theirs)] == ["    call running [1:running]"]
    assert [len(step.last.notes) for step in (ours, theirs)] == [1, 0]


# --- endings ------------------------------------------------------------------------------------------------------


def test_an_ending_alone_makes_an_attempt() -> None:
    """An ending without its START is an attempt that began its duration earlier."""
    (step,) = fold_steps([told.end("root", 3, 9)]).roots
    assert (step.start_ns, step.end_ns, step.name, step.kind) == (3, 9, "root", "AGENT")


def test_the_later_of_two_endings_counts() -> None:
    """Where an attempt was ended twice the later ending stays."""
    assert shown(told.start("root", 1), told.end("root", 1, 5), told.end("root", 1, 4, "error")) == ["root ok [1:ok]"]


def test_a_clock_that_steps_back_is_one_attempt() -> None:
    """An ending earlier than its START is joined to it by its id, and took no time."""
    (step,) = fold_steps([told.start("root", 50), told.end("root", 50, 20)]).roots
    assert (len(step.attempts), step.status, step.last.duration_ns) == (1, "ok", 0)


def test_an_ending_without_a_duration_is_joined_by_number() -> None:
    """An ending of another program ends what began before it; a later one does not change what has ended."""
    begun = [told.foreign("TOOL_START", at, step_id="x", writer="w") for at in (1, 5)]
    ended = [
        told.foreign("TOOL_END", 9, step_id="x", writer="w"),
        told.foreign("TOOL_ERROR", 3, step_id="x", writer="w"),
    ]
    assert shown(*begun, *ended) == ["x ok [1:error 2:ok]"]
    assert shown(told.foreign("TOOL_ERROR", 3, step_id="x")) == ["x error [1:error]"]
    assert shown(begun[0], told.foreign("TOOL_END", 1, step_id="x", writer="w")) == ["x ok [1:ok]"]
    (step,) = fold_steps(begun[:1]).roots
    assert (step.kind, step.name, step.last.attempt) == ("TOOL", "x", 1)


def test_step_events_without_a_step_are_no_steps() -> None:
    """A START or an ending that names no step is passed over."""
    assert shown(told.foreign("TOOL_START", 1), told.foreign("TOOL_END", 2)) == []


def test_two_starts_of_one_attempt_are_one() -> None:
    """A START of another program for an attempt that is known adds none."""
    twice = told.start("root", 1), told.foreign("AGENT_START", 1, step_id="root", attempt=1)
    assert shown(*twice, told.end("root", 1, 2)) == ["root ok [1:ok]"]


def test_two_copies_of_an_event_are_one() -> None:
    """Of two copies of one event that came through two doors the same one counts, whichever came first."""
    near, far = told.start("root", 1, writer="a"), told.start("root", 1, writer="b")
    assert near.key == far.key
    assert everything(fold_steps([near, far])) == everything(fold_steps([far, near]))


# --- interruption -------------------------------------------------------------------------------------------------


def test_what_a_marked_writer_left_open_is_interrupted() -> None:
    """Open attempts of a marked writer are interrupted, with the mark's reason and time; a later event reopens them."""
    events = [
        told.start("root", 1),
        told.start("done", 2, under="root"),
        told.end("done", 2, 3, under="root"),
        told.start("other", 4, under="root", writer="w2"),
        told.interrupted("w1", 5),
    ]
    assert shown(*events) == [
        "root interrupted [1:interrupted]",
        "  done ok [1:ok]",
        "  other running [1:running]",
    ]
    last = fold_steps(events).roots[0].last
    assert (last.end_ns, last.reason) == (5, "killed")
    assert shown(*events, told.said("NOTED", 6))[0] == "root running [1:running]"


def test_a_reader_says_which_writers_are_lost() -> None:
    """Open attempts of writers that the reader holds for lost are interrupted when they were last heard of."""
    events = [told.start("root", 1), told.said("NOTED", 7), told.start("part", 2, under="root", writer="w2")]
    head = head_of(fold(events), told.SESSION)
    tree = fold_steps(events, lost_writers=silent_writers(head, 999_000_000_000, waiting_writers={"w2"}))
    assert [_line(step) for step in tree.walk()] == ["root interrupted [1:interrupted]", "  part running [1:running]"]
    assert (tree.roots[0].end_ns, tree.roots[0].last.reason) == (7, "lost")


def test_a_resumed_root_names_the_one_it_goes_on_from() -> None:
    """RUN_RESUMED joins its root to the latest earlier one that stopped at the same checkpoint."""
    stops = [
        event
        for step, at in (("one", 1), ("two", 11))
        for event in (told.start(step, at), told.end(step, at, at + 1, "interrupted", details={"checkpoint_id": "c"}))
    ]
    inner = told.end("node", 1, 2, "interrupted", under="one", details={"checkpoint_id": "c"})
    resumed = told.start("three", 20), told.said("RUN_RESUMED", 21, step="three", checkpoint_id="c")
    events = [*stops, inner, *resumed]
    assert fold_steps(events).resumes == {"three": "two"}
    later = told.start("four", 30), told.end("four", 30, 31, "interrupted", details={"checkpoint_id": "c"})
    assert fold_steps([*events, *later]).resumes == {"three": "two"}
    assert fold_steps(reversed(events)).resumes == {"three": "two"}
    assert (
        fold_steps([*resumed, told.end("three", 20, 30, "interrupted", details={"checkpoint_id": "c"})]).resumes == {}
    )
    assert fold_steps([*stops, told.said("RUN_RESUMED", 21, step="three", checkpoint_id="other")]).resumes == {}
    assert fold_steps([*stops, told.said("RUN_RESUMED", 21, checkpoint_id="c")]).resumes == {}
    assert fold_steps([*stops, told.said("RUN_RESUMED", 21, step="three", checkpoint_id=7)]).resumes == {}


# --- totals -------------------------------------------------------------------------------------------------------


def test_totals_of_a_subtree() -> None:
    """A step's totals cover itself and all beneath it; usage counts only where nothing beneath has any."""
    tree = fold_steps(
        [
            told.end("root", 1, 99, usage={"input_tokens": 15}),
            told.end("sub", 2, 50, "error", under="root", usage={"input_tokens": 5}),
            told.end("m1", 3, 4, "error", under="sub", kind="MODEL", usage={"input_tokens": 2, "cache_read_tokens": 1}),
            told.end("m1", 5, 6, under="sub", kind="MODEL", attempt=2, usage={"input_tokens": 3}),
            told.end("m2", 60, 61, under="root", kind="MODEL", usage={"input_tokens": 10}),
            told.end("lone", 70, 71, under="root", usage={"output_tokens": 4}),
        ]
    )
    (root,) = tree.roots
    sub, m2, lone = tree.children(root)
    assert tree.totals(sub) == Totals(steps=2, errors=2, usage=Usage(input_tokens=5, cache_read_tokens=1))
    assert tree.totals(m2) == Totals(steps=1, usage=Usage(input_tokens=10))
    assert tree.totals(lone) == Totals(steps=1, usage=Usage(output_tokens=4))
    everything_below = Usage(input_tokens=15, output_tokens=4, cache_read_tokens=1)
    assert tree.totals(root) == tree.totals() == Totals(steps=5, errors=2, usage=everything_below)


# --- any order, any repetition ------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_order_and_repetition_change_nothing(data: st.DataObject) -> None:
    """The same events in any order and any number of times give the same tree, whatever the events are."""
    events = data.draw(heaps)
    again = data.draw(retellings(events))
    assert everything(fold_steps(again)) == everything(fold_steps(events))


@settings(deadline=None)
@given(heaps)
def test_nothing_is_lost_and_nothing_hangs(events: list[JournalEvent]) -> None:
    """Every attempt is shown exactly once, below its parent where that is known, whatever the parents say."""
    tree = fold_steps(events)
    walked = [one.key for step in tree.walk() for one in step.attempts]
    assert len(walked) == len(set(walked))
    assert set(walked) == {one.key for step in tree.steps for one in step.attempts}


@settings(deadline=None)
@given(sessions())
def test_tree_and_head_agree(events: list[JournalEvent]) -> None:
    """Of a session as it should be, at any point, tree and head count the same and hold the same roots for running."""
    for cut in range(len(events) + 1):
        tree, head = fold_steps(events[:cut]), head_of(fold(events[:cut]), "s1")
        totals = tree.totals()
        assert (totals.steps, totals.errors) == (head.steps, head.errors)
        running = [one for step in tree.steps for one in step.attempts if one.outcome is None]
        assert {one.writer for one in running} == set(head.open_writers)
        assert any(one.parent_step_id is None for one in running) == (head.status == PROCESSING)
