"""Session status: a fold that any order and any repetition of the same events leave equal (DESIGN §2)."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.head import (
    AWAITING_INPUT,
    CANCELLED,
    COMPLETED,
    ERROR,
    INTERRUPTED,
    KILLED,
    LOST,
    PENDING,
    PROCESSING,
    SessionHead,
)
from otel_agent_journal.projections.status import StatusState, apply, fold, heard
from otel_agent_journal.projections.verdict import SILENCE_NS, head_of, judged, silent_writers
from tests.projections import told
from tests.projections.told_at_random import heaps, retellings, sessions

S = 1_000_000_000


def head(*events: JournalEvent) -> SessionHead:
    """The head of these events, after checking that the other way round and twice over they give the same."""
    result = head_of(fold(events), told.SESSION)
    assert head_of(fold((*reversed(events), *events)), told.SESSION) == result
    return result


def status(*events: JournalEvent) -> tuple[str, str | None]:
    """Status and reason of these events."""
    result = head(*events)
    return result.status, result.reason


# --- what a status is ---------------------------------------------------------------------------------------------


def test_a_session_without_events_is_pending() -> None:
    """A session of which nothing is known is PENDING, with all counts and times 0."""
    assert head() == SessionHead(session_id=told.SESSION)


def test_an_initiated_session_is_pending() -> None:
    """PENDING: initiated, no root yet."""
    assert status(told.said("SESSION_INITIATED", 1)) == (PENDING, None)


def test_an_open_root_is_processing() -> None:
    """PROCESSING: a root is open."""
    assert status(told.said("SESSION_INITIATED", 1), told.start("root", 2)) == (PROCESSING, None)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        ("ok", (COMPLETED, None)),
        ("error", (ERROR, None)),
        ("cancelled", (INTERRUPTED, CANCELLED)),
        ("interrupted", (INTERRUPTED, AWAITING_INPUT)),
    ],
)
def test_an_ended_root_gives_its_outcome(outcome: str, expected: tuple[str, str | None]) -> None:
    """Otherwise the outcome of the latest root: ok COMPLETED, error ERROR, cancelled or interrupted INTERRUPTED."""
    events = told.start("root", 2), told.end("root", 2, 9, outcome)
    assert status(*events) == expected
    assert head(*events).ended_ns == 9


def test_the_latest_root_decides() -> None:
    """Of several ended roots the one that began last speaks for the session, whichever ended last."""
    first = told.start("one", 1), told.end("one", 1, 90, "error")
    second = told.start("two", 5), told.end("two", 5, 9)
    assert status(*first, *second) == (COMPLETED, None)
    assert head(*first, *second).ended_ns == 9


def test_of_roots_begun_together_one_decides() -> None:
    """Of roots that began in the same nanosecond the same one always decides."""
    events = [told.start("one", 1), told.end("one", 1, 3, "error"), told.start("two", 1), told.end("two", 1, 3)]
    assert status(*events) == status(*events[2:], *events[:2])


def test_a_new_root_reopens() -> None:
    """A new root makes a completed session PROCESSING again."""
    events = told.start("one", 1), told.end("one", 1, 3), told.start("two", 5)
    assert status(*events) == (PROCESSING, None)
    assert head(*events).ended_ns is None


def test_parallel_roots_are_processing_while_one_is_open() -> None:
    """With parallel roots the session is PROCESSING while any is open, also where the latest has ended."""
    assert status(told.start("one", 1), told.start("two", 5), told.end("two", 5, 6)) == (PROCESSING, None)


def test_steps_below_a_root_do_not_decide() -> None:
    """A failed or running step below an ended root changes nothing."""
    failed = told.start("tool", 2, under="root"), told.end("tool", 2, 3, "error", under="root")
    running = told.start("late", 4, under="root")
    events = told.start("root", 1), *failed, running, told.end("root", 1, 9)
    assert status(*events) == (COMPLETED, None)
    assert head(*events).open_writers == ("w1",)


def test_an_ending_without_its_start_decides_too() -> None:
    """An ending that arrives without its START counts as the root it ended."""
    assert status(told.end("root", 2, 9, "error")) == (ERROR, None)


def test_each_attempt_of_each_process_is_told_apart() -> None:
    """An ending closes the attempt that it ends and no other one of the same step."""
    open_elsewhere = told.start("root", 5, writer="w2")
    assert status(told.start("root", 1), told.end("root", 1, 9), open_elsewhere) == (PROCESSING, None)
    assert status(told.start("root", 1), told.start("root", 3, attempt=2), told.end("root", 1, 9))[0] == PROCESSING


# --- lifecycle ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("event_type", "expected"), [("SESSION_COMPLETED", COMPLETED), ("SESSION_FAILED", ERROR)])
def test_lifecycle_alone_decides(event_type: str, expected: str) -> None:
    """SESSION_COMPLETED and SESSION_FAILED give the status of a session without roots."""
    events = told.said("SESSION_INITIATED", 1), told.said(event_type, 5)
    assert status(*events) == (expected, None)
    assert head(*events).ended_ns == 5


def test_the_latest_lifecycle_event_decides() -> None:
    """A session initiated again after it was completed is PENDING again."""
    assert status(told.said("SESSION_COMPLETED", 5), told.said("SESSION_INITIATED", 6)) == (PENDING, None)


def test_roots_outweigh_lifecycle() -> None:
    """Where there is a root, its outcome counts, not what was declared."""
    assert status(told.start("root", 1), told.end("root", 1, 3, "error"), told.said("SESSION_COMPLETED", 5))[0] == ERROR


def test_a_session_that_was_only_initiated_can_be_lost() -> None:
    """A writer that vanished between SESSION_INITIATED and its first root leaves the session INTERRUPTED."""
    events = told.said("SESSION_INITIATED", 1), told.interrupted("w1", 5, "lost")
    assert status(*events) == (INTERRUPTED, LOST)
    assert status(*events, told.said("SESSION_COMPLETED", 3)) == (COMPLETED, None)


def test_stray_steps_speak_for_a_session_without_roots() -> None:
    """Of steps whose root is not known any open one means PROCESSING, else the one that ended last decides."""
    inner = told.start("tool", 2, under="elsewhere"), told.end("tool", 2, 3, "error", under="elsewhere")
    outer = told.start("node", 1, under="elsewhere"), told.end("node", 1, 5, under="elsewhere")
    assert status(*inner, outer[0]) == (PROCESSING, None)
    assert status(*inner, *outer) == (COMPLETED, None)
    assert head(*inner, *outer).ended_ns == 5
    assert status(told.said("SESSION_INITIATED", 1), *inner) == (PENDING, None)


def test_an_attempt_that_another_process_ended() -> None:
    """An ending closes its attempt whoever wrote it and whatever came first, also where the clock stepped back."""
    for at in (4, 1):
        began, ended = told.start("root", 2, writer="w1"), told.end("root", 2, at, writer="w2")
        assert head(began, ended).open_writers == head(ended, began).open_writers == ()
        assert status(began, ended) == status(ended, began) == (COMPLETED, None)


def test_an_attempt_that_two_tell_of() -> None:
    """Of two starts of one attempt, at one time by two writers, the same one counts whichever came first."""
    ours, theirs = told.start("root", 2), told.foreign("AGENT_START", 2, step_id="root", attempt=1, writer="w2")
    assert head(ours, theirs).open_writers == head(theirs, ours).open_writers == ("w2",)
    assert status(ours, theirs, told.end("root", 2, 4)) == (COMPLETED, None)


# --- invocations --------------------------------------------------------------------------------------------------

STARTED, SUCCEEDED, FAILED = (f"AGENT_INVOCATION_{word}" for word in ("STARTED", "SUCCEEDED", "FAILED"))


@pytest.mark.parametrize(
    ("ending", "expected"),
    [(SUCCEEDED, (COMPLETED, None)), (FAILED, (ERROR, None))],
)
@pytest.mark.parametrize("attended", [{}, {"invocation": "i1"}])
def test_an_invocation_alone_decides(ending: str, expected: tuple[str, str | None], attended: dict[str, str]) -> None:
    """Where the agent itself is not journaled, the session is as the invocation ended."""
    events = told.said("SESSION_INITIATED", 1), told.said(STARTED, 2, **attended), told.said(ending, 5, **attended)
    assert status(*events) == expected
    assert (head(*events).ended_ns, head(*events).open_writers) == (5, ())


@pytest.mark.parametrize("attended", [{}, {"invocation": "i1"}])
def test_an_invocation_that_was_cancelled(attended: dict[str, str]) -> None:
    """A failure whose reason is `cancelled` is INTERRUPTED; one with another reason, or of a session, is ERROR."""
    started = told.said("SESSION_INITIATED", 1), told.said(STARTED, 2, **attended)
    given_up = told.said(FAILED, 5, reason="cancelled", **attended)
    assert status(*started, given_up) == (INTERRUPTED, CANCELLED)
    assert (head(*started, given_up).ended_ns, head(*started, given_up).open_writers) == (5, ())
    assert status(*started, told.said(FAILED, 5, reason="timeout", **attended)) == (ERROR, None)
    assert status(told.said("SESSION_INITIATED", 1), told.said("SESSION_FAILED", 5, reason="cancelled")) == (
        ERROR,
        None,
    )


def test_giving_up_after_the_agent_ended_decides_nothing() -> None:
    """A caller that gives up once the agent's root has ended leaves the session as the agent left it."""
    root = told.start("root", 2), told.end("root", 2, 4)
    called = told.said(STARTED, 1, invocation="i1"), told.said(FAILED, 5, invocation="i1", reason="cancelled")
    assert status(*called, *root) == (COMPLETED, None)


@pytest.mark.parametrize("reason", [KILLED, LOST])
def test_an_invocation_whose_process_was_seen_to_go(reason: str) -> None:
    """A failure whose reason is `killed` or `lost` is INTERRUPTED for that reason, with and without roots."""
    called = told.said(STARTED, 1, invocation="i1"), told.said(FAILED, 6, invocation="i1", reason=reason)
    assert status(*called) == (INTERRUPTED, reason)
    root = told.start("root", 2, writer="w2"), told.interrupted("w2", 4)
    assert status(*called, *root) == (INTERRUPTED, KILLED)


@pytest.mark.parametrize("reason", [None, 5, ["killed"], {"a": 1}, "else"])
def test_other_reasons_are_failures(reason: Any) -> None:
    """Whatever else stands there, the invocation failed."""
    assert status(told.said(FAILED, 5, reason=reason)) == (ERROR, None)


def test_what_was_killed_because_it_was_given_up_is_cancelled() -> None:
    """The root of an agent that its caller had stopped is no root that was killed."""
    root = told.start("root", 2, writer="w2"), told.interrupted("w2", 4)
    called = told.said(STARTED, 1, invocation="i1"), told.said(FAILED, 6, invocation="i1", reason="cancelled")
    assert status(*called, *root) == (INTERRUPTED, CANCELLED)
    assert head(*called, *root).ended_ns == 6


def test_a_run_that_was_asked_for_begins_anew() -> None:
    """SESSION_INITIATED with a run makes an ended session PENDING until it begins; without one it changes nothing."""
    before = told.start("root", 1), told.end("root", 1, 3)
    asked = told.said("SESSION_INITIATED", 5, run="r2")
    assert status(*before, told.said("SESSION_INITIATED", 5)) == (COMPLETED, None)
    assert status(*before, asked) == (PENDING, None)
    assert status(*before, asked, told.said(STARTED, 6, invocation="i1")) == (PROCESSING, None)
    assert status(*before, asked, told.said(SUCCEEDED, 7)) == (COMPLETED, None)
    assert status(asked, told.said("SESSION_INITIATED", 4, run="r1"), *before) == (PENDING, None)


def test_a_caller_that_attends_is_processing() -> None:
    """From the start of an invocation that its caller attends to until its ending the session is PROCESSING."""
    started, root = told.said(STARTED, 2, invocation="i1"), (told.start("root", 3), told.end("root", 3, 4))
    assert status(told.said("SESSION_INITIATED", 1), started) == (PROCESSING, None)
    assert head(started).open_writers == ("w1",)
    assert (head(started).steps, head(started).errors) == (0, 0)
    assert status(started, *root) == (PROCESSING, None)
    assert status(started, *root, told.said(SUCCEEDED, 5, invocation="i1")) == (COMPLETED, None)


def test_an_invocation_that_nobody_attends_to_is_pending() -> None:
    """One that was only said to have begun leaves no process to watch: PENDING until something else is heard."""
    assert status(told.said("SESSION_INITIATED", 1), told.said(STARTED, 2)) == (PENDING, None)
    assert status(told.said(STARTED, 2), told.start("root", 3, writer="w2")) == (PROCESSING, None)


def test_a_caller_that_died_leaves_its_invocation_interrupted() -> None:
    """An attended invocation of a writer that is gone is INTERRUPTED, and by its silence judged lost."""
    started = told.said("SESSION_INITIATED", 1), told.said(STARTED, 2, invocation="i1")
    assert status(*started, told.interrupted("w1", 3)) == (INTERRUPTED, KILLED)
    assert judged(head(*started), 2 + SILENCE_NS).reason == LOST
    answered = told.start("root", 2, writer="w2"), told.end("root", 2, 9, writer="w2")
    assert status(*started, told.interrupted("w1", 3), *answered) == (COMPLETED, None)


def test_invocations_are_told_apart() -> None:
    """Of two invocations under way each ending closes its own."""
    both = told.said(STARTED, 1, invocation="i1"), told.said(STARTED, 2, invocation="i2")
    assert status(*both, told.said(SUCCEEDED, 3, invocation="i1")) == (PROCESSING, None)
    ended = told.said(SUCCEEDED, 3, invocation="i1"), told.said(FAILED, 4, invocation="i2")
    assert status(*both, *ended) == (ERROR, None)
    again = told.said(STARTED, 1, invocation="i1"), told.said(STARTED, 4, invocation="i1", writer="w2")
    assert head(*again).open_writers == ("w2",)


def test_the_agent_decides_over_its_caller() -> None:
    """Where the agent's own root is known its outcome counts: an answer does not hide what the agent waits for."""
    for outcome, expected in (("interrupted", (INTERRUPTED, AWAITING_INPUT)), ("error", (ERROR, None))):
        root = told.start("root", 2), told.end("root", 2, 4, outcome)
        called = told.said(STARTED, 1, invocation="i1"), told.said(SUCCEEDED, 5, invocation="i1")
        assert status(*called, *root) == expected
        assert status(*root, told.said(SUCCEEDED, 5)) == expected


def test_a_failure_after_the_agent_ended_decides() -> None:
    """A caller that fails after the agent's root has ended makes the session ERROR; a root that ends later, not."""
    root = told.start("root", 2), told.end("root", 2, 4)
    events = told.said(STARTED, 1, invocation="i1"), *root, told.said(FAILED, 5, invocation="i1")
    assert status(*events) == (ERROR, None)
    assert head(*events).ended_ns == 5
    assert status(*events, told.start("again", 7), told.end("again", 7, 9)) == (COMPLETED, None)
    assert status(told.said(STARTED, 1), told.said(FAILED, 3), *root) == (COMPLETED, None)
    unclear = told.start("root", 2), told.end("root", 2, 4, under="elsewhere", kind="AGENT")
    assert status(*unclear, told.said(FAILED, 3)) == (ERROR, None)


def test_an_invocation_after_the_last_root_decides() -> None:
    """A later invocation in which the agent left no root of its own is judged by what its caller says."""
    before = told.start("root", 2), told.end("root", 2, 4, "error")
    assert status(*before, told.said(STARTED, 6, invocation="i2"), told.said(SUCCEEDED, 7, invocation="i2")) == (
        COMPLETED,
        None,
    )
    assert status(*before, told.said(STARTED, 6)) == (PENDING, None)
    assert status(*before, told.said(STARTED, 6), told.interrupted("w1", 8)) == (INTERRUPTED, KILLED)


def test_an_old_mark_says_nothing_of_a_later_invocation() -> None:
    """A writer that was gone before a session was initiated anew does not interrupt it."""
    gone = told.said("SESSION_INITIATED", 1), told.interrupted("w1", 3)
    assert status(*gone, told.said(STARTED, 5, writer="w2")) == (PENDING, None)


# --- interruption -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [KILLED, LOST])
def test_an_open_root_of_a_marked_writer_is_interrupted(reason: str) -> None:
    """SESSION_INTERRUPTED makes the open root of that writer INTERRUPTED, with the reason it gives."""
    events = told.start("root", 1), told.start("tool", 2, under="root"), told.interrupted("w1", 3, reason)
    assert status(*events) == (INTERRUPTED, reason)
    assert head(*events).ended_ns == 3
    assert head(*events).open_writers == ()


def test_an_interruption_without_a_reason_means_lost() -> None:
    """A mark that names neither writer nor reason is upon the writer of the event, which is lost."""
    assert status(told.start("root", 1), told.foreign("SESSION_INTERRUPTED", 3, writer="w1")) == (INTERRUPTED, LOST)
    assert status(told.start("root", 1), told.foreign("SESSION_INTERRUPTED", 3)) == (PROCESSING, None)
    begun = told.foreign("AGENT_START", 1, step_id="root")
    assert status(begun, told.foreign("SESSION_INTERRUPTED", 3)) == (INTERRUPTED, LOST)


def test_a_mark_alone_is_an_interruption() -> None:
    """A session of which only the mark is known is INTERRUPTED."""
    assert status(told.interrupted("w1", 3)) == (INTERRUPTED, KILLED)


def test_another_writer_is_not_interrupted() -> None:
    """A mark upon one writer leaves the open roots of others open."""
    marked = told.start("one", 1), told.interrupted("w1", 3)
    assert status(*marked, told.start("two", 2, writer="w2")) == (PROCESSING, None)


def test_a_later_event_reopens() -> None:
    """An event of that writer later than the mark reopens its steps; one at the same time or earlier does not."""
    events = told.start("root", 1), told.interrupted("w1", 5)
    assert status(*events, told.noted("PROGRESS", 5, "root", 1)) == (INTERRUPTED, KILLED)
    assert status(*events, told.noted("PROGRESS", 6, "root", 1)) == (PROCESSING, None)
    assert status(*events, told.noted("PROGRESS", 6, "root", 1, writer="w2")) == (INTERRUPTED, KILLED)


def test_a_late_ending_closes_an_interrupted_attempt() -> None:
    """An ending that arrives after the mark, though it happened before, gives the root its true outcome."""
    assert status(told.start("root", 1), told.interrupted("w1", 5), told.end("root", 1, 4)) == (COMPLETED, None)


def test_the_latest_mark_counts() -> None:
    """Of several marks upon a writer the latest counts, and one in force outlives an older one that is not."""
    first, second = told.interrupted("w1", 3, "lost"), told.interrupted("w1", 9, "killed")
    alive = told.noted("PROGRESS", 5, "root", 1)
    assert status(told.start("root", 1), first, second) == (INTERRUPTED, KILLED)
    assert status(told.start("root", 1), first, alive) == (PROCESSING, None)
    assert status(told.start("root", 1), first, alive, second) == (INTERRUPTED, KILLED)


def test_a_resumed_session_is_processing_and_then_done() -> None:
    """A root after an interrupted one makes the session PROCESSING again, then gives its own outcome."""
    paused = told.start("one", 1), told.end("one", 1, 3, "interrupted")
    assert status(*paused) == (INTERRUPTED, AWAITING_INPUT)
    assert status(*paused, told.start("two", 7, writer="w2")) == (PROCESSING, None)
    resumed = told.start("two", 7, writer="w2"), told.end("two", 7, 9, writer="w2")
    assert status(*paused, *resumed) == (COMPLETED, None)


def test_a_killed_session_that_was_run_again_is_done() -> None:
    """A root left open by a killed process no longer counts once a later root has ended."""
    killed = told.start("one", 1), told.interrupted("w1", 3)
    again = told.start("two", 7, writer="w2"), told.end("two", 7, 9, writer="w2")
    assert status(*killed, *again) == (COMPLETED, None)


# --- endings that fit badly ---------------------------------------------------------------------------------------


def test_a_clock_that_steps_back_closes_its_attempt() -> None:
    """An ending earlier than its START still closes that attempt, whichever arrives first, and no other."""
    back = told.start("root", 50), told.end("root", 50, 20, "error")
    assert status(*back) == (ERROR, None)
    assert head(*back).open_writers == ()
    other = told.start("root", 60)
    assert status(*back, other) == (PROCESSING, None)
    assert status(told.start("one", 30), told.end("one", 30, 31), *back) == (ERROR, None)


def test_an_ending_without_a_duration_closes_by_number() -> None:
    """An ending of another program that gives no duration closes that step's attempt of that number and writer."""
    begun = told.foreign("AGENT_START", 5, step_id="root", attempt=1, writer="x")
    ended = told.foreign("AGENT_END", 9, step_id="root", attempt=1, writer="x")
    assert status(begun, ended) == (COMPLETED, None)
    assert head(begun, ended).ended_ns == 9
    assert status(begun, told.foreign("AGENT_ERROR", 9, step_id="root", writer="x")) == (ERROR, None)
    assert status(begun, told.foreign("AGENT_END", 4, step_id="root", attempt=1, writer="x"))[0] == PROCESSING
    assert status(begun, told.foreign("AGENT_END", 9, step_id="root", attempt=2, writer="x"))[0] == PROCESSING
    assert status(begun, told.foreign("AGENT_END", 9, step_id="root", attempt=1, writer="y"))[0] == PROCESSING


def test_an_ending_without_a_duration_may_take_no_time() -> None:
    """An ending in the same nanosecond as its START closes it; a START after the ending is another attempt."""
    begun, again = (told.foreign("AGENT_START", at, step_id="root") for at in (5, 6))
    ended = told.foreign("AGENT_ERROR", 5, step_id="root")
    assert status(begun, ended) == (ERROR, None)
    assert head(begun, ended).open_writers == ()
    assert status(begun, ended, again) == (PROCESSING, None)


def test_an_ending_without_a_duration_or_a_start_decides_alone() -> None:
    """Such an ending without a START is a root that ended, but any root with a known start outweighs it."""
    ended = told.foreign("AGENT_ERROR", 9, step_id="root")
    assert status(ended) == (ERROR, None)
    assert status(ended, told.start("one", 1), told.end("one", 1, 2)) == (COMPLETED, None)


def test_an_ending_that_calls_itself_no_root() -> None:
    """A root whose ending names a parent is over, and how is not known: COMPLETED."""
    events = told.start("root", 1), told.end("root", 1, 3, under="elsewhere", kind="AGENT")
    assert status(*events) == (COMPLETED, None)


def test_step_events_without_a_step_are_only_counted() -> None:
    """A START or an ending that names no step opens and closes nothing; its error and usage count."""
    result = head(told.foreign("NODE_START", 1), told.foreign("NODE_ERROR", 2), told.foreign("MODEL_END", 3))
    assert (result.status, result.events, result.steps, result.errors) == (PENDING, 3, 0, 1)


# --- what else a head says ----------------------------------------------------------------------------------------


def test_counts() -> None:
    """`events` are distinct events, `steps` distinct step ids, `errors` attempts that ended in error."""
    tries = [told.start("tool", t, under="root", attempt=t) for t in (2, 3, 4)]
    failed = [told.end("tool", t, t + 9, "error", under="root", attempt=t) for t in (2, 3)]
    result = head(told.start("root", 1), *tries, *failed, told.noted("PROGRESS", 4, "root", 1), tries[0])
    assert (result.events, result.steps, result.errors) == (7, 2, 2)


def test_times() -> None:
    """`started_ns` is the earliest event's time and `updated_ns` the latest's, of all writers and types."""
    result = head(told.start("root", 5), told.said("NOTED", 3, writer="w2"), told.interrupted("w1", 30))
    assert (result.started_ns, result.updated_ns) == (3, 30)


def test_usage_is_summed() -> None:
    """Tokens are those of the model calls; an agent's own sum of them is not added again."""
    calls = [
        told.end("m1", 2, 3, under="root", kind="MODEL", usage={"input_tokens": 10, "cache_read_tokens": 4}),
        told.end("m2", 4, 5, under="root", kind="MODEL", usage={"input_tokens": 1, "output_tokens": 2}),
    ]
    result = head(*calls, told.end("root", 1, 9, usage={"input_tokens": 11, "output_tokens": 2}))
    assert (result.input_tokens, result.output_tokens, result.cache_read_tokens) == (11, 2, 4)


def test_usage_of_an_agent_counts_where_its_calls_are_not_journaled() -> None:
    """Where no model call says what it used, what the roots say counts, not the agents below them."""
    below = told.end("sub", 2, 3, under="root", kind="AGENT", usage={"input_tokens": 5})
    result = head(below, told.end("root", 1, 9, usage={"input_tokens": 7, "reasoning_tokens": 2}))
    assert (result.input_tokens, result.reasoning_tokens, result.cache_write_tokens) == (7, 2, 0)


def test_the_agent_is_the_first_root() -> None:
    """`agent` is the name of the first root agent, else what SESSION_INITIATED says, else of the first agent below."""
    named = told.said("SESSION_INITIATED", 1, agent="declared")
    assert head(named).agent == "declared"
    assert head(named, told.said("SESSION_INITIATED", 4, agent="again")).agent == "declared"
    assert head(named, told.start("r", 5, name="second"), told.start("q", 2, name="first")).agent == "first"
    served = told.start("r", 1, kind="STEP", name="request")
    assert head(served).agent is None
    inner = [told.start("b", 5, under="r", kind="AGENT", name="later"), told.end("a", 2, 3, under="r", kind="AGENT")]
    assert head(served, *inner).agent == "a"
    assert head(served, *inner, named).agent == "declared"


def test_stage_and_progress_are_of_the_latest_change() -> None:
    """`stage` and `progress` come from the latest STAGE_CHANGED by time, then id, however they arrive."""
    changes = [told.said("STAGE_CHANGED", at, stage=f"S{at}", progress=at * 10) for at in (3, 9, 6)]
    assert (head(*changes).stage, head(*changes).progress) == ("S9", 90.0)
    bare = told.foreign("STAGE_CHANGED", 10, name="Plan")
    assert (head(*changes, bare).stage, head(*changes, bare).progress) == ("Plan", None)


def test_writers_are_shown_with_when_they_were_last_seen() -> None:
    """`writers` has each writer's latest event or heartbeat, but not the marks that others made upon it."""
    state = fold([told.start("root", 5), told.said("NOTED", 3, writer="w2"), told.interrupted("w1", 30)])
    assert head_of(state, "s1").writers == {"w1": 5, "w2": 3}
    for writer, at in (("w1", 20), ("w1", 10), ("w2", 1), ("w3", 7)):
        heard(state, writer, at)
    assert head_of(state, "s1").writers == {"w1": 20, "w2": 3, "w3": 7}
    assert head_of(state, "s1").status == INTERRUPTED


def test_the_version_is_the_stores() -> None:
    """`version` is passed through: it belongs to the store."""
    assert head_of(StatusState(), "s1", version=4).version == 4


# --- liveness -----------------------------------------------------------------------------------------------------


def test_a_silent_writer_is_judged_lost() -> None:
    """An open step whose writer is silent for 60 s makes the session INTERRUPTED, ended when it was last seen."""
    state = fold([told.start("root", 5 * S)])
    heard(state, "w1", 20 * S)
    running = head_of(state, "s1")
    assert judged(running, 20 * S + SILENCE_NS - 1) is running
    lost = judged(running, 20 * S + SILENCE_NS)
    assert (lost.status, lost.reason, lost.ended_ns) == (INTERRUPTED, LOST, 20 * S)


def test_a_writer_with_a_waiting_spool_is_not_judged() -> None:
    """The silence of a writer whose spool is known to be waiting proves nothing."""
    running = head(told.start("root", 5))
    assert judged(running, 999 * S, waiting_writers={"w1"}) is running
    assert silent_writers(running, 999 * S, waiting_writers={"w1"}) == ()


def test_one_live_writer_keeps_a_session_processing() -> None:
    """While any writer with an open step is heard of, the session is PROCESSING."""
    running = head(told.start("root", 5), told.start("part", 100 * S, under="root", writer="w2"))
    assert judged(running, 101 * S) is running
    assert silent_writers(running, 101 * S) == ("w1",)
    assert judged(running, 999 * S).ended_ns == 100 * S


def test_an_ended_session_is_not_judged() -> None:
    """Silence is judged only of a session that is PROCESSING."""
    done = head(told.start("root", 5), told.start("late", 6, under="root"), told.end("root", 5, 9))
    assert judged(done, 999 * S) is done


def test_a_head_that_knows_no_writer_is_judged_by_its_last_event() -> None:
    """Where a head does not say when a writer was seen, its last event counts."""
    running = SessionHead(session_id="s1", status=PROCESSING, updated_ns=5 * S, open_writers=("w1",))
    assert judged(running, 64 * S) is running
    assert judged(running, 65 * S).ended_ns == 5 * S


# --- any order, any repetition ------------------------------------------------------------------------------------


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_order_and_repetition_change_nothing(data: st.DataObject) -> None:
    """The same events in any order and any number of times give the same head, whatever the events are."""
    events = data.draw(heaps)
    again = data.draw(retellings(events))
    assert head_of(fold(again), "s1") == head_of(fold(events), "s1")


@settings(deadline=None)
@given(heaps, st.integers(0, 30))
def test_going_on_equals_a_replay(events: list[JournalEvent], cut: int) -> None:
    """A state that goes on from a prefix gives what a replay from zero gives, also after a head was asked for."""
    state = fold(events[:cut])
    assert head_of(state, "s1") == head_of(fold(events[:cut]), "s1")
    for event in events[cut:]:
        apply(state, event)
    assert head_of(state, "s1") == head_of(fold(events), "s1")


@settings(deadline=None)
@given(sessions())
def test_a_session_in_order_is_processing_while_a_root_runs(events: list[JournalEvent]) -> None:
    """At every prefix of a session without marks it is PROCESSING exactly while a root's attempt is open."""
    state, running = StatusState(), set[tuple[str | None, int | None]]()
    for event in events:
        if event.type == "SESSION_INTERRUPTED":
            break
        apply(state, event)
        if event.parent_step_id is None:
            change = running.add if event.type.endswith("_START") else running.discard
            change((event.step_id, event.attempt))
        assert (head_of(state, "s1").status == PROCESSING) is bool(running)


# --- how much it costs --------------------------------------------------------------------------------------------


def _long_session(steps: int) -> Iterator[JournalEvent]:
    common = {"session_id": told.SESSION, "attempt": 1, "writer": "w1", "parent_step_id": "root"}
    for number in range(steps):
        step, at = f"step {number}", number * 10
        yield JournalEvent(event_id=f"b{number}", type="NODE_START", timestamp_ns=at, step_id=step, **common)
        yield JournalEvent(
            event_id=f"e{number}", type="NODE_END", timestamp_ns=at + 5, step_id=step, duration_ns=5, **common
        )


@pytest.mark.serial
def test_a_hundred_thousand_steps_take_under_four_megabytes() -> None:
    """The state of a session of 100,000 steps stays under 4 MB."""
    state, events = fold([told.start("root", 0)]), _long_session(100_000)
    tracemalloc.start()
    try:
        for event in events:
            apply(state, event)
        del event
        size, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (head_of(state, "s1").steps, head_of(state, "s1").events) == (100_001, 200_001)
    assert size < 4_000_000
    assert peak < 4_500_000
