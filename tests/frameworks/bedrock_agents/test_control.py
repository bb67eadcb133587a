"""Control that is handed back: the invocation pauses, the program acts, the next one goes on from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from otel_agent_journal.frameworks.bedrock_agents import BedrockAgentsInstrumentor
from otel_agent_journal.testing.bedrock import BedrockServer, agent_parts, stream
from otel_agent_journal.testing.bedrock.agent_parts import (
    action_group_input,
    action_group_output,
    api_input,
    function_input,
    return_control,
)
from tests.frameworks.bedrock_agents import asking
from tests.frameworks.bedrock_agents.asking import ask, outcomes, read, told
from tests.frameworks.langgraph.recording import Recording, recording_at

ASKED = [
    *asking.thinks(),
    action_group_input("Pay", "charge", {"eur": 90}, execution_type="RETURN_CONTROL", invocation_id="control-1"),
    return_control(function_input("Pay", "charge", {"eur": 90}), invocation_id="control-1"),
]
RESULT = {
    "functionResult": {"actionGroup": "Pay", "function": "charge", "responseBody": {"TEXT": {"body": "paid"}}},
}
STATE = {"invocationId": "control-1", "returnControlInvocationResults": [RESULT]}
GONE_ON = [action_group_output("paid"), *asking.LAST]


def test_control_and_back(recording: Recording, server: BedrockServer, client: Any, snapshot: Any) -> None:
    """The root and the action end interrupted, with what is asked; what was done is the next attempt at that action."""
    server.script(stream(ASKED), stream(GONE_ON))
    read(ask(client))
    assert recording.status == ("INTERRUPTED", "awaiting_input")
    read(ask(client, "", sessionState=STATE))
    assert recording.status == ("COMPLETED", None)
    assert told(recording) == snapshot
    first, second = recording.steps.roots
    assert recording.steps.resumes == {second.step_id: first.step_id}
    spans = {f"{span.context.span_id:016x}": span for span in recording.spans}
    (link,) = spans[second.last.span_id or ""].links
    assert f"{link.context.span_id:016x}" == first.last.span_id
    (action,) = (step for step in recording.steps.steps if step.last.name == "Pay.charge")
    assert [one.outcome for one in action.attempts] == ["interrupted", "ok"]


def test_control_and_back_in_another_process(tmp_path: Path, server: BedrockServer, client: Any) -> None:
    """A process that never saw the pause joins what it resumes by the same id."""
    server.script(stream(ASKED), stream(GONE_ON))
    made: list[Recording] = []
    for writer in ("a" * 32, "b" * 32):
        instrumentor = BedrockAgentsInstrumentor()
        with recording_at(tmp_path / "spool", writer=writer, instrumentor=instrumentor) as recording:
            made.append(recording)
            more = {"sessionState": STATE} if len(made) == 2 else {}
            read(ask(client, "" if more else "Go.", **more))
    first, second = made[1].steps.roots
    assert made[1].steps.resumes == {second.step_id: first.step_id}
    (action,) = (step for step in made[1].steps.steps if step.last.name == "Pay.charge")
    assert [one.outcome for one in action.attempts] == ["interrupted", "ok"]


def test_several_actions_and_apis(recording: Recording, server: BedrockServer, client: Any) -> None:
    """Whatever is asked for is named: functions, operations of an API, and the same one twice."""
    calls = [{"seat": "1A"}, {"seat": "1B"}]
    inputs = [
        action_group_input("Seats", "hold", given, execution_type="RETURN_CONTROL", invocation_id="c2", turn=turn)
        for turn, given in enumerate(calls)
    ]
    asks = [function_input("Seats", "hold", given) for given in calls]
    asks.append(api_input("Pay", "/cards/{id}", {"id": "7"}, verb="POST"))
    server.script(stream(inputs, return_control(*asks, invocation_id="c2")))
    results = [
        {"functionResult": {"actionGroup": "Seats", "function": "hold", "responseBody": {"TEXT": {"body": seat}}}}
        for seat in ("1A", "1B")
    ]
    server.script(stream(action_group_output("1A"), action_group_output("1B", turn=1), asking.LAST))
    read(ask(client))
    read(ask(client, "", sessionState={"invocationId": "c2", "returnControlInvocationResults": results}))
    root = recording.steps.roots[0].last
    assert [one["id"] for one in root.details_end["interrupts"]] == ["Seats.hold", "Seats.hold", "Pay POST /cards/{id}"]
    attempts = [step.attempts for step in recording.steps.steps if step.last.name == "Seats.hold"]
    assert [[one.outcome for one in each] for each in attempts] == [["interrupted", "ok"]] * 2
    assert [each[1].details_end["output"] for each in attempts] == ["1A", "1B"]


def test_collaborator_hands_control_back(recording: Recording, server: BedrockServer, client: Any) -> None:
    """A collaborator that waits for the program is interrupted with the agent that asked it."""
    parts = [
        agent_parts.collaborator_input("Hotels", "a room"),
        *agent_parts.by_collaborator(
            "Hotels", action_group_input("Pay", "charge", execution_type="RETURN_CONTROL", invocation_id="c3")
        ),
        return_control(function_input("Pay", "charge"), invocation_id="c3"),
    ]
    server.script(stream(parts))
    read(ask(client))
    assert outcomes(recording) == {"TRAVEL1234": "interrupted", "Hotels": "interrupted", "Pay.charge": "interrupted"}


def test_control_without_a_trace(recording: Recording, server: BedrockServer, client: Any) -> None:
    """Without a trace the root says what is asked, and there are no steps below it."""
    server.script(stream(ASKED), stream(GONE_ON))
    read(ask(client, enableTrace=False))
    assert outcomes(recording) == {"TRAVEL1234": "interrupted"}
    assert recording.attempt("TRAVEL1234").details_end["checkpoint_id"] == "control-1"


def test_action_that_is_asked_for_and_never_handed_back(
    recording: Recording, server: BedrockServer, client: Any
) -> None:
    """An action that the program is to run has not run, though the agent ends in order."""
    server.script(stream(ASKED[:-1], asking.LAST))
    read(ask(client))
    assert (outcomes(recording)["TRAVEL1234"], outcomes(recording)["Pay.charge"]) == ("ok", "interrupted")


def test_model_whose_output_was_not_told(recording: Recording, server: BedrockServer, client: Any) -> None:
    """A model waits for nobody: where control is handed back it has ended, only its output was not told."""
    server.script(stream(agent_parts.model_input("Pay?"), ASKED[-2:]))
    read(ask(client))
    (model,) = (step for step in recording.steps.steps if step.last.kind == "MODEL")
    assert model.last.outcome == "ok"
