# ruff: noqa: PT012 - the blocks of an agent are what fails
"""An error is counted where it began; the steps that it passes through say so."""

from __future__ import annotations

from typing import Any

import pytest

from otel_agent_journal.event import ErrorInfo, JournalEvent
from otel_agent_journal.pipeline.content import ContentEncoder
from otel_agent_journal.pipeline.recorder import Recorder
from otel_agent_journal.pipeline.session import SessionBlock
from otel_agent_journal.projections.status import fold
from otel_agent_journal.projections.verdict import head_of
from tests.pipeline.conftest import Written


class Kept(Written):
    """What was written, by how it ended."""

    def endings(self) -> dict[str, JournalEvent]:
        return {event.name or "": event for event in self.events if event.outcome is not None}

    def errors(self) -> int:
        return head_of(fold(self.events), "s1").errors


def recorded(encoder: ContentEncoder | None = None) -> tuple[Kept, SessionBlock]:
    kept = Kept()
    return kept, SessionBlock(Recorder(kept, encoder=encoder), "s1", "agent", {})


def deep_inside() -> None:
    raise ValueError("no such page")


def fail_in_a_tool(session: SessionBlock) -> None:
    with session, session.step("node", "search"), session.step("tool", "fetch"):
        deep_inside()


def test_an_error_passes_through() -> None:
    """An error that a tool raises is the tool's; node and agent say that it passed through, and have no stack of it."""
    kept, session = recorded()
    with pytest.raises(ValueError, match="no such page"):
        fail_in_a_tool(session)
    ends = kept.endings()
    assert {name: end.details.get("passed_through") for name, end in ends.items()} == {
        "fetch": None,
        "search": True,
        "agent": True,
    }
    assert [name for name, end in ends.items() if "stack" in end.details] == ["fetch"]
    assert all(str(end.details["raised_at"]).endswith("in deep_inside") for end in ends.values())
    assert kept.errors() == 1
    (failed,) = (event for event in kept.events if event.type == "SESSION_FAILED")
    assert failed.details["passed_through"] is True
    assert "stack" not in failed.details


def test_a_wrapped_error_passes_through_with_a_stack_of_its_own() -> None:
    """What is raised of an error that ended a step below is counted there; where it was raised anew is told."""
    kept, session = recorded()
    with pytest.raises(RuntimeError), session, session.step("node", "search"):
        try:
            with session.step("tool", "fetch"):
                deep_inside()
        except ValueError as error:
            raise RuntimeError("search failed") from error
    search = kept.endings()["search"]
    assert search.details["passed_through"] is True
    assert [cause["type"] for cause in search.details["causes"]] == ["ValueError"]
    assert "RuntimeError: search failed" in search.details["stack"]
    assert kept.errors() == 1


def test_another_error_is_another() -> None:
    """An error that was dealt with is counted, and so is the one that ends the step above it."""
    kept, session = recorded()
    with pytest.raises(KeyError), session, session.step("node", "search"):
        for _ in range(2):
            with pytest.raises(ValueError, match="page"), session.step("tool", "fetch"):
                deep_inside()
        raise KeyError("other")
    assert kept.errors() == 3


def test_parallel_failures_in_a_group() -> None:
    """A group of errors that ended steps below passes through."""
    kept, session = recorded()
    found: list[Exception] = []
    with pytest.raises(ExceptionGroup), session:
        for number in range(2):
            try:
                with session.step("tool", f"t{number}"):
                    raise ValueError(number)
            except ValueError as error:
                found.append(error)
        raise ExceptionGroup("both", found)
    assert kept.errors() == 2
    assert kept.endings()["agent"].details["passed_through"] is True


def test_errors_that_are_no_exceptions() -> None:
    """What a service or result says of a failure passes through by what it says."""
    kept, session = recorded()
    with session as entered:
        root = entered._root
        assert root is not None
        inner = root.keeper.start_step("NODE", "n", parent=root)  # type: ignore[attr-defined]
        inner.end("error", error=ErrorInfo(type="FailureTrace", message="no", code="400"))
        root.end("error", error=ErrorInfo(type="FailureTrace", message="no", code="400"))
    assert kept.errors() == 1


def test_content_off() -> None:
    """With content off there is no stack, and of causes the type alone; where it was raised is no content."""
    kept, session = recorded(ContentEncoder(content=False))
    with pytest.raises(RuntimeError), session, session.step("node", "search"):
        try:
            deep_inside()
        except ValueError as error:
            raise RuntimeError("secret") from error
    details = kept.endings()["search"].details
    assert set(details) == {"raised_at", "causes"}
    assert [set(cause) for cause in details["causes"]] == [{"type", "raised_at"}]


def test_redacted() -> None:
    """A stack is a content field of its own, the messages of causes are as those of errors."""
    seen: list[str] = []

    def redactor(field: str, value: Any) -> Any:
        seen.append(field)
        return "hidden" if field.startswith("error.") else value

    kept, session = recorded(ContentEncoder(redactor=redactor))
    with pytest.raises(RuntimeError), session, session.step("node", "search"):
        try:
            deep_inside()
        except ValueError as error:
            raise RuntimeError("secret") from error
    search = kept.endings()["search"]
    assert search.error == ErrorInfo(type="RuntimeError", message="hidden")
    assert search.details["stack"] == "hidden"
    assert search.details["causes"][0]["message"] == "hidden"
    assert kept.errors() == 1
