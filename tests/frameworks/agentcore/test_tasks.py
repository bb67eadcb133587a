"""Background tasks, by the decorator and by hand."""

from __future__ import annotations

import asyncio
import re
import threading
from typing import Any

import pytest
from bedrock_agentcore.runtime import BedrockAgentCoreApp

from otel_agent_journal.frameworks.agentcore import tasks as tasks_module
from otel_agent_journal.pipeline.session import step
from tests.frameworks.agentcore.conftest import recorded
from tests.frameworks.agentcore.serving import Served, wait_until


def shown(recording: Any) -> str:
    """Return a recording for a snapshot, without the app's random ids."""
    return re.sub(r"'-?\d{10,}'", "'<id>'", recording.snapshot())


def ended(recording: Any) -> bool:
    """Tell whether nothing is open."""
    return not recording.recorder.open_roots()


def test_decorated(recording: Any, serve: Any, snapshot: Any) -> None:
    """A function under `@app.async_task` is a root step of the session that called it, and outlives the response."""
    app = BedrockAgentCoreApp()
    go_on = threading.Event()

    @app.async_task
    async def report(pages: int, title: str = "") -> str:
        with step("tool", "print", input=pages) as one:
            await asyncio.to_thread(go_on.wait, 20)
            one.complete("printed")
        return f"{pages} pages"

    @app.entrypoint
    async def answer(payload: dict[str, Any]) -> str:
        app.kept = asyncio.create_task(report(3, title="t"))
        await asyncio.sleep(0)
        return "begun"

    running: Served = serve(app)
    assert running.call({}).json == "begun"
    assert running.ping() == "HealthyBusy"
    assert recording.status == ("PROCESSING", None)
    go_on.set()
    wait_until(lambda: ended(recording))
    wait_until(lambda: running.ping() == "Healthy")
    assert recording.status == ("COMPLETED", None)
    assert shown(recording) == snapshot


@pytest.mark.parametrize("raised", [LookupError("no paper"), asyncio.CancelledError()], ids=["error", "cancelled"])
async def test_decorated_fails(recording: Any, snapshot: Any, raised: BaseException) -> None:
    """One that raises has failed, one that is cancelled is cancelled; the caller gets the same exception."""
    app = BedrockAgentCoreApp()

    @app.async_task
    async def report() -> None:
        raise raised

    with pytest.raises(type(raised)) as caught:
        await report()
    assert caught.value is raised
    assert app.get_async_task_info()["active_count"] == 0
    assert shown(recording) == snapshot


async def test_decorated_before_we_came(recording: Any) -> None:
    """Of a function decorated before we were there, the task and how it ended are known all the same."""
    recording.instrumentor.uninstrument()
    app = BedrockAgentCoreApp()

    @app.async_task
    async def report(fails: bool) -> None:
        if fails:
            raise LookupError("no paper")

    recording.instrumentor.instrument()
    await report(False)
    with pytest.raises(LookupError):
        await report(True)
    outcomes = [found.last.outcome for events in recording.sessions.values() for found in _steps(events)]
    assert sorted(outcomes) == ["error", "ok"]


def _steps(events: Any) -> Any:
    from otel_agent_journal.projections.steps import fold_steps

    return fold_steps(events).steps


async def test_decorated_is_as_it_was(recording: Any) -> None:
    """A decorated function has its name, its arguments and its result, and what is no coroutine is refused as ever."""
    app = BedrockAgentCoreApp()

    @app.async_task
    async def add(a: int, *, b: int) -> int:
        return a + b

    assert add.__name__ == "add"
    assert asyncio.iscoroutinefunction(add)
    assert await add(2, b=3) == 5
    with pytest.raises(ValueError, match="async functions"):
        app.async_task(lambda: None)


async def test_tasks_within_tasks(recording: Any) -> None:
    """A task that adds another by hand, or calls another decorated function, keeps them apart."""
    app = BedrockAgentCoreApp()

    @app.async_task
    async def inner(number: int) -> int:
        return number

    @app.async_task
    async def outer(number: int) -> int:
        task_id = app.add_async_task("by hand", {"n": 9})
        found = await inner(number + 1)
        app.complete_async_task(task_id)
        return found

    assert await outer(1) == 2
    given = {name: recording.attempt(name).details_start.get("input") for name in ("outer", "inner", "by hand")}
    assert given == {"outer": {"args": [1]}, "inner": {"args": [2]}, "by hand": {"n": 9}}


def test_by_hand_from_a_thread(recording: Any, serve: Any, snapshot: Any) -> None:
    """A task added in the handler and completed in a bare thread, where no context is, stays in its session."""
    app = BedrockAgentCoreApp()
    go_on = threading.Event()
    answers: list[bool] = []

    @app.entrypoint
    def answer(payload: dict[str, Any]) -> str:
        task_id = app.add_async_task("report", {"pages": 3})

        def in_background() -> None:
            go_on.wait(20)
            answers.extend([app.complete_async_task(task_id), app.complete_async_task(task_id)])

        threading.Thread(target=in_background).start()
        return "begun"

    serve(app).call({})
    assert recording.status == ("PROCESSING", None)
    go_on.set()
    wait_until(lambda: len(answers) == 2)
    assert answers == [True, False]
    assert shown(recording) == snapshot


def test_added_in_a_thread(recording: Any, serve: Any) -> None:
    """A task that a bare thread adds is of the only session this process has served, and of its own after another."""
    app = BedrockAgentCoreApp()

    def in_background(name: str) -> None:
        app.complete_async_task(app.add_async_task(name))

    @app.entrypoint
    def answer(payload: dict[str, Any]) -> str:
        thread = threading.Thread(target=in_background, args=(payload["name"],))
        thread.start()
        thread.join(20)
        return "done"

    running: Served = serve(app)
    running.call({"name": "first"}, session="s1")
    running.call({"name": "second"}, session="s2")
    sessions = recording.sessions
    of_name = {event.name: session for session, events in sessions.items() for event in events}
    assert of_name["first"] == "s1"
    assert of_name["second"] not in ("s1", "s2")


def test_unknown_ids(recording: Any) -> None:
    """An id that the app never gave, or gave for another app, makes nothing."""
    app, other = BedrockAgentCoreApp(), BedrockAgentCoreApp()
    assert app.complete_async_task(17) is False
    task_id = app.add_async_task("mine")
    assert other.complete_async_task(task_id) is False
    assert recording.recorder.open_roots()
    assert app.complete_async_task(task_id=task_id) is True


def test_tasks_that_are_never_completed(recording: Any, monkeypatch: Any) -> None:
    """Over a bound the oldest open task is given up as cancelled; completing it later changes nothing."""
    monkeypatch.setattr(tasks_module, "MAX_OPEN", 3)
    app = BedrockAgentCoreApp()
    ids = [app.add_async_task(f"task {number}") for number in range(5)]
    assert len(recording.recorder.open_roots()) == 3
    assert all(app.complete_async_task(task_id) for task_id in ids)
    outcomes = {
        name: found.last.outcome
        for events in recording.sessions.values()
        for found in _steps(events)
        for name in [found.name]
    }
    assert [outcomes[f"task {number}"] for number in range(5)] == ["cancelled", "cancelled", "ok", "ok", "ok"]


def test_completed_after_uninstrument(recording: Any) -> None:
    """A task that is open when the instrumentation goes is still ended; after it nothing new is journaled."""
    app = BedrockAgentCoreApp()
    task_id = app.add_async_task("report")
    recording.instrumentor.uninstrument()
    assert app.complete_async_task(task_id) is True
    assert recording.attempt("report").outcome == "ok"
    app.complete_async_task(app.add_async_task("another"))
    assert [found.name for found in recording.steps.roots] == ["report"]


def test_content_off(tmp_path: Any, serve: Any) -> None:
    """With content off neither payloads nor results are journaled; ids, names, outcomes and errors are."""
    app = BedrockAgentCoreApp()

    @app.entrypoint
    def answer(payload: dict[str, Any]) -> Any:
        app.complete_async_task(app.add_async_task("report", {"secret": "SECRET"}))
        yield "SECRET"
        if payload.get("fails"):
            raise LookupError("gone")

    with recorded(tmp_path, content=False) as made:
        running: Served = serve(app)
        running.call({"secret": "SECRET"})
        running.call({"secret": "SECRET", "fails": True})
        events = made.events
        made.check()
    assert "SECRET" not in str(events)
    kept = {event.type: set(event.details) for event in events if event.type.startswith("AGENT_")}
    assert kept == {
        "AGENT_ENTRYPOINT_STARTED": {"request_id"},
        "AGENT_ENTRYPOINT_COMPLETED": {"request_id"},
        "AGENT_ENTRYPOINT_FAILED": {"request_id", "raised_at", "passed_through"},
        "AGENT_BACKGROUND_TASK_STARTED": {"task_id"},
        "AGENT_BACKGROUND_TASK_COMPLETED": {"task_id"},
    }
    (failed,) = (event for event in events if event.type == "AGENT_ENTRYPOINT_FAILED")
    assert failed.error.type == "LookupError"
