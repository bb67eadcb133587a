"""Agents that stop to ask a human, wherever they do so, and go on when they are answered."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from strands import Agent
from strands.hooks import BeforeModelCallEvent, BeforeToolCallEvent, BeforeToolsEvent
from strands.middleware import ExecuteToolStage
from strands.middleware._agent_stream import AgentStreamStage
from strands.session import FileSessionManager

from otel_agent_journal.projections.steps import StepTree, fold_steps
from otel_agent_journal.testing.scripted_strands import call, say
from tests.frameworks.strands import agents
from tests.frameworks.strands.recording import StrandsRecording


def approving(turns: Any = None, **options: Any) -> Agent:
    """An agent with a hook that asks before each tool."""

    def approve(event: BeforeToolCallEvent) -> None:
        event.interrupt("approve", reason={"tool": event.tool_use["name"]})

    agent = agents.agent(turns or [call(("add", {"a": 1, "b": 2})), say("It is 3.")], **options)
    agent.add_hook(approve, BeforeToolCallEvent)
    return agent


def gated(**options: Any) -> Agent:
    """An agent with middleware that asks around each tool."""

    async def gate(context: Any, next_fn: Any) -> AsyncGenerator[Any, None]:
        context.interrupt("approve", reason="really?")
        async for event in next_fn(context):
            yield event

    agent = agents.agent([call(("add", {"a": 1, "b": 2})), say("It is 3.")], **options)
    agent.add_middleware(ExecuteToolStage, gate)
    return agent


def tools_of(tree: StepTree, name: str = "add") -> list[Any]:
    """The steps of a tool."""
    return [step for step in tree.steps if (step.kind, step.name) == ("TOOL", name)]


def assert_resumed(recording: StrandsRecording) -> None:
    """Assert that the last root goes on from the one before it, as both say by the same checkpoint."""
    before, after = recording.steps.roots[-2:]
    assert recording.steps.resumes[after.step_id] == before.step_id
    (said,) = [event for event in recording.events if event.type == "RUN_RESUMED" and event.step_id == after.step_id]
    assert said.details["checkpoint_id"] == before.last.details_end["checkpoint_id"]
    assert before.last.outcome == "interrupted"


def test_a_hook_that_asks_before_a_tool(scenario: StrandsRecording, snapshot: Any) -> None:
    """An agent that a hook stops before a tool is interrupted, and awaits input; answered, it goes on with the tool."""
    agent = approving()
    result = agent("go")
    assert result.stop_reason == "interrupt"
    assert scenario.status == ("INTERRUPTED", "awaiting_input")
    assert str(agent(agents.answers(result))) == "It is 3.\n"
    scenario.matches(snapshot)
    assert scenario.status == ("COMPLETED", None)
    assert_resumed(scenario)


def test_a_tool_that_asks(scenario: StrandsRecording, snapshot: Any) -> None:
    """A tool that asks is interrupted; answered, it runs as the second attempt at the same step."""
    agent = agents.agent([call(("ask", {"question": "ok?"}), ("add", {"a": 1, "b": 1})), say("Done.")])
    result = agent("go")
    assert result.stop_reason == "interrupt"
    agent(agents.answers(result))
    scenario.matches(snapshot, parallel=True)
    assert_resumed(scenario)
    (asked,) = tools_of(scenario.steps, "ask")
    assert [one.outcome for one in asked.attempts] == ["interrupted", "ok"]
    assert [one.ordinal for one in asked.attempts] == [1, 2]
    assert len(tools_of(scenario.steps)) == 1  # that had its answer runs once


def test_middleware_that_asks(scenario: StrandsRecording, snapshot: Any) -> None:
    """A tool around which middleware asks is interrupted; answered, it is the second attempt at the same step."""
    agent = gated()
    agent(agents.answers(agent("go")))
    scenario.matches(snapshot)
    assert_resumed(scenario)
    (asked,) = tools_of(scenario.steps)
    assert [one.outcome for one in asked.attempts] == ["interrupted", "ok"]


def test_an_agent_that_asks_twice(recording: StrandsRecording) -> None:
    """An agent that asks again after it was answered is interrupted again, each resumption going on from the last."""
    agent = approving([call(("add", {"a": 1, "b": 2})), call(("add", {"a": 3, "b": 4})), say("done")])
    first = agent("go")
    second = agent(agents.answers(first))
    assert second.stop_reason == "interrupt"
    agent(agents.answers(second))
    roots = recording.steps.roots
    assert [root.status for root in roots] == ["interrupted", "interrupted", "ok"]
    assert recording.steps.resumes == {
        roots[1].step_id: roots[0].step_id,
        roots[2].step_id: roots[1].step_id,
    }


def test_many_questions_at_once(recording: StrandsRecording) -> None:
    """Of an agent whose tools all ask every question is journaled, and all are answered in one resumption."""
    calls = [("ask", {"question": f"{number}?"}) for number in range(3)]
    agent = agents.agent([call(*calls), say("done")])
    result = agent("go")
    assert len(result.interrupts) == 3
    agent(agents.answers(result))
    assert_resumed(recording)
    asked = recording.steps.roots[0].last.details_end["interrupts"]
    assert sorted(one["value"]["question"] for one in asked) == ["0?", "1?", "2?"]
    assert [[one.outcome for one in step.attempts] for step in tools_of(recording.steps, "ask")] == [
        ["interrupted", "ok"]
    ] * 3


def test_an_answer_to_some(recording: StrandsRecording) -> None:
    """An agent that is answered in part stays interrupted by the rest, and goes on when that is answered."""
    agent = agents.agent([call(("ask", {"question": "1?"}), ("ask", {"question": "2?"})), say("done")])
    one, other = agents.answers(agent("go"))
    assert agent([one]).stop_reason == "interrupt"
    assert agent([other]).stop_reason == "end_turn"
    assert [root.status for root in recording.steps.roots] == ["interrupted", "interrupted", "ok"]
    assert_resumed(recording)


@pytest.mark.parametrize("event", [BeforeToolsEvent, BeforeModelCallEvent])
def test_other_hooks_that_ask(recording: StrandsRecording, event: Any) -> None:
    """An agent that another hook stops is interrupted too, where Strands lets that hook ask."""
    if not hasattr(event, "interrupt"):
        assert event is BeforeModelCallEvent
        return

    def ask(given: Any) -> None:
        given.interrupt("approve", reason="all of them?")

    agent = agents.adding()
    agent.add_hook(ask, event)
    agent(agents.answers(agent("go")))
    assert [root.status for root in recording.steps.roots] == ["interrupted", "ok"]
    assert_resumed(recording)


def test_an_agent_whose_whole_run_is_gated(recording: StrandsRecording) -> None:
    """An agent that middleware stops before its first model call is interrupted, and goes on when answered."""

    async def gate(context: Any, next_fn: Any) -> AsyncGenerator[Any, None]:
        context.interrupt("start", reason="shall we?")
        async for event in next_fn(context):
            yield event

    agent = agents.adding()
    agent.add_middleware(AgentStreamStage, gate)
    result = agent("go")
    assert result.stop_reason == "interrupt"
    agent(agents.answers(result))
    assert [root.status for root in recording.steps.roots] == ["interrupted", "ok"]
    assert_resumed(recording)


def test_an_answer_of_the_wrong_kind(recording: StrandsRecording) -> None:
    """What Strands refuses to resume with is no invocation, and the agent still awaits its answer."""
    agent = agents.asking()
    result = agent("go")
    with pytest.raises(TypeError):
        agent("just go on")
    assert [root.status for root in recording.steps.roots] == ["interrupted"]
    agent(agents.answers(result))
    assert_resumed(recording)


def test_an_agent_below_a_tool_that_asks(scenario: StrandsRecording, snapshot: Any) -> None:
    """A question of an agent that is a tool passes through: tool and agents are interrupted, and all go on."""
    inner = agents.asking(name="inner", session=None, description="Asks.")
    outer = agents.agent([call(("inner", {"input": "do"})), say("done")], name="outer", tools=[inner])
    result = outer("go")
    assert result.stop_reason == "interrupt"
    outer(agents.answers(result))
    scenario.matches(snapshot)
    assert [root.status for root in scenario.steps.roots] == ["interrupted", "ok"]
    assert_resumed(scenario)


def test_what_is_asked_without_content(recording_without_content: StrandsRecording) -> None:
    """Without content a question is not journaled; the checkpoint that joins the resumption to it is."""
    agent = agents.asking()
    agent(agents.answers(agent("a secret of mine")))
    assert_resumed(recording_without_content)
    assert "interrupts" not in recording_without_content.steps.roots[0].last.details_end


def test_a_link_to_what_was_interrupted(recording: StrandsRecording) -> None:
    """The span of the invocation that resumes is linked to that of the one it resumes."""
    agent = agents.asking()
    agent(agents.answers(agent("go")))
    first, second = (span for span in recording.spans if span.name == "invoke_agent calc")
    (link,) = second.links
    assert link.context.span_id == first.context.span_id


@pytest.mark.parametrize("make", [approving, agents.asking, gated], ids=["hook", "tool", "middleware"])
def test_another_instance_resumes(recording: StrandsRecording, tmp_path: Path, make: Any) -> None:
    """An agent that is restored by its session manager resumes the same tool call, from the same checkpoint."""
    options: Any = {"session": None, "agent_id": "a1"}
    result = make(session_manager=FileSessionManager("kept", storage_dir=str(tmp_path / "kept")), **options)("go")
    restored = make(session_manager=FileSessionManager("kept", storage_dir=str(tmp_path / "kept")), **options)
    restored.model.turns.pop(0)
    restored(agents.answers(result))
    assert set(recording.sessions) == {"kept"}
    assert_resumed(recording)
    (step,) = [step for step in recording.steps.steps if step.kind == "TOOL"]
    assert [one.outcome for one in step.attempts][-1] == "ok"
    assert len(step.attempts) == (1 if make is approving else 2)


@pytest.mark.parametrize("first", [0, 1])
def test_another_instance_resumes_by_halves(recording: StrandsRecording, tmp_path: Path, first: int) -> None:
    """Of two questions each may be answered to another instance: every one goes on from the last."""

    def restored() -> Agent:
        manager = FileSessionManager("kept", storage_dir=str(tmp_path / "kept"))
        turns = [call(("ask", {"question": "1?"}), ("ask", {"question": "2?"}))]
        return agents.agent(turns, session=None, agent_id="a1", session_manager=manager)

    given = agents.answers(restored()("go"))
    restored()([given.pop(first)])
    agent = restored()
    agent.model.turns.clear()
    assert agent(given).stop_reason == "end_turn"
    roots = recording.steps.roots
    assert [root.status for root in roots] == ["interrupted", "interrupted", "ok"]
    assert recording.steps.resumes == {roots[1].step_id: roots[0].step_id, roots[2].step_id: roots[1].step_id}


PROGRAM = """
import sys
import otel_agent_journal
otel_agent_journal.configure("sqlite:///" + sys.argv[1])
from strands.session import FileSessionManager
from tests.frameworks.strands import agents
manager = FileSessionManager("kept", storage_dir=sys.argv[2])
agent = agents.asking(session=None, agent_id="a1", session_manager=manager)
if agent._interrupt_state.activated:
    agent.model.turns.pop(0)
    waiting = agent._interrupt_state.interrupts.values()
    answers = [{"interruptResponse": {"interruptId": one.id, "response": "yes"}} for one in waiting]
    assert agent(answers).stop_reason == "end_turn"
else:
    assert agent("go").stop_reason == "interrupt"
"""


def test_another_process_resumes(tmp_path: Path) -> None:
    """A process that restores an agent resumes the tool call that another process left interrupted."""
    from otel_agent_journal.store.registry import open_store

    database = tmp_path / "journal.db"
    for _ in range(2):
        subprocess.run(
            [sys.executable, "-c", PROGRAM, str(database), str(tmp_path / "kept")],
            check=True,
            timeout=60,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
    store = open_store(f"sqlite:///{database}")
    events = list(store.read("kept"))
    store.close()
    tree = fold_steps(events)
    first, second = tree.roots
    assert tree.resumes == {second.step_id: first.step_id}
    (asked,) = tools_of(tree, "ask")
    assert [(one.outcome, one.ordinal) for one in asked.attempts] == [("interrupted", 1), ("ok", 2)]
    assert len({event.writer for event in events}) == 2
