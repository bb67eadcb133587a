"""Progress: what a session's latest run has told of itself, folded from events in whatever order they come."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from otel_agent_journal.event import ErrorInfo, JournalEvent
from otel_agent_journal.sessions.failures import kind_of_error
from otel_agent_journal.sessions.progress import Progress
from otel_agent_journal.testing.builders import an_event


def said(event_type: str, at_ns: int, **details: Any) -> JournalEvent:
    """Return an event of a session."""
    return an_event(at_ns, type=event_type, timestamp_ns=at_ns, details=details, step_id=None, parent_step_id=None)


def folded(*events: JournalEvent) -> Progress:
    """Return what events amount to."""
    progress = Progress()
    for event in events:
        progress.take(event)
    return progress


RUN = said("SESSION_INITIATED", 1, run="r1", agent="a", input={"q": 1})
STAGES = [said("STAGE_CHANGED", 2 + n, stage=f"s{n}", progress=percent) for n, percent in enumerate((30, 80, 50))]


@given(st.permutations(STAGES))
def test_progress_never_falls(events: list[JournalEvent]) -> None:
    """The stage is the latest, the percent the highest so far, however the events arrive."""
    progress, seen = folded(RUN), 0.0
    for event in events:
        progress.take(event)
        assert progress.percent is not None
        assert progress.percent >= seen
        seen = progress.percent
    assert (progress.stage, progress.percent) == ((4, "s2"), 80)


def test_a_new_run_begins_anew() -> None:
    """Stage, percent, result and artefacts are of the latest run; late events of the one before change nothing."""
    before = (RUN, *STAGES, said("AGENT_INVOCATION_SUCCEEDED", 8, output="first"))
    progress = folded(*before, said("ARTEFACT_ADDED", 7, name="n", url="u"))
    assert progress.result is not None
    assert progress.result[2] == "first"
    for event in (
        said("SESSION_INITIATED", 9, run="r2", agent="b"),
        said("STAGE_CHANGED", 8, stage="late", progress=99),
    ):
        progress.take(event)
    progress.take(RUN)
    assert (progress.run, progress.agent, progress.percent, progress.stage) == ("r2", "b", None, None)
    assert (progress.result, progress.artefacts) == (None, {})


def test_which_result_counts() -> None:
    """What the invocation says outweighs the last response, that what was printed."""
    printed = said("AGENT_INVOCATION_SUCCEEDED", 9, stdout="printed")
    responded, answered = said("FINAL_RESPONSE", 8, output="responded"), said("AGENT_INVOCATION_SUCCEEDED", 7, output=1)
    for events, expected in (
        ((RUN, printed), "printed"),
        ((RUN, printed, responded), "responded"),
        ((RUN, printed, responded, answered), 1),
    ):
        result = folded(*events).result
        assert result is not None
        assert result[2] == expected


NAMES = ("stage", "progress", "name", "url", "run", "output", "metadata")
KINDS = ("SESSION_INITIATED", "STAGE_CHANGED", "ARTEFACT_ADDED", "FINAL_RESPONSE", "AGENT_INVOCATION_SUCCEEDED")


@given(st.dictionaries(st.sampled_from(NAMES), st.none() | st.integers() | st.text() | st.lists(st.integers())))
def test_any_details_are_taken(details: dict[str, Any]) -> None:
    """The fold is total: of details that say nothing it makes nothing."""
    for kind in KINDS:
        folded(RUN, said(kind, 3, **details))


def test_kinds_of_errors() -> None:
    """By code and class: what a message says is no evidence."""
    for error, kind in (
        (ErrorInfo(type="ClientError", code="ThrottlingException"), "throttling"),
        (ErrorInfo(type="openai.RateLimitError"), "throttling"),
        (ErrorInfo(type="TimeoutError"), "timeout"),
        (ErrorInfo(type="ClientError", code="AccessDeniedException"), "configuration"),
        (ErrorInfo(type="otel_agent_journal.errors.ConfigError"), "configuration"),
        (ErrorInfo(type="botocore.exceptions.NoCredentialsError", code="NoCredentialsError"), "configuration"),
        (ErrorInfo(type="ValueError", message="throttled by a timeout of the configuration"), "agent"),
    ):
        assert kind_of_error(error) == kind, error
