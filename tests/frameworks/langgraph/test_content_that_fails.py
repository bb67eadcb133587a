"""Content that cannot be read or encoded may cost its own field, never its event, and never the step."""

from __future__ import annotations

from typing import Any

import pytest

from tests.frameworks.langgraph import graphs
from tests.frameworks.langgraph.recording import Recording


class Raising:
    """An object of which everything raises."""

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":
            return object.__getattribute__(self, name)
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError

    def __bool__(self) -> bool:
        raise RuntimeError


def test_half_of_a_pair_in_a_thread(recording: Recording) -> None:
    """A thread id with half of a surrogate pair is a session."""
    graphs.two_nodes().invoke({"notes": []}, graphs.on_thread("\ud83d"))
    (events,) = recording.sessions.values()
    assert len(events) == 6


def test_a_node_returns_an_object_that_raises(recording: Recording) -> None:
    """An object that raises whatever it is asked (an unbound proxy does) costs its field at most."""
    graphs.nested(lambda state: {"notes": [Raising()]}).invoke({"notes": []}, graphs.on_thread())
    assert [step.status for step in recording.steps.walk()] == ["ok", "ok"]
    recording.recorder.dropped = 0


def test_a_graph_is_given_an_object_that_raises(recording: Recording) -> None:
    """The same as an input and as metadata."""
    graphs.nested(lambda state: {"notes": []}).invoke(
        {"notes": [Raising()]}, graphs.on_thread(metadata={"mine": Raising()})
    )
    assert [step.status for step in recording.steps.walk()] == ["ok", "ok"]
    recording.recorder.dropped = 0


def test_any_name(recording: Recording) -> None:
    """Any name of graph, node and tool is journaled."""
    inner = graphs.two_nodes()
    inner.name = "né\ud83d\n/" + "x" * 1000
    graphs.nested(inner).invoke({"notes": []}, graphs.on_thread())
    assert len(recording.steps.steps) == 5


def test_an_error_of_any_text(recording: Recording) -> None:
    """Any text of an exception is journaled."""

    def fail(state: graphs.Notes) -> graphs.Notes:
        raise ValueError("\ud83d" + "x" * 100_000)

    with pytest.raises(ValueError, match="xxx"):
        graphs.nested(fail).invoke({"notes": []}, graphs.on_thread())
    assert recording.status == ("ERROR", None)


def test_content_that_changes_while_it_is_written(recording: Recording) -> None:
    """A value that another thread changes meanwhile costs no event."""
    import threading

    shared: dict[str, Any] = {str(number): [number] for number in range(1000)}
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            shared[f"new {number % 5000}"] = [number]
            shared.pop(f"new {(number - 2500) % 5000}", None)
            number += 1

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(20):
            graphs.nested(lambda state: {"notes": [shared]}).invoke({"notes": [shared]}, graphs.on_thread())
    finally:
        stop.set()
        thread.join()
    assert [step.status for step in recording.steps.walk()] == ["ok", "ok"] * 20
    recording.recorder.dropped = 0
