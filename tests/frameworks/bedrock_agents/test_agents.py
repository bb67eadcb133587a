"""Agents whose stream is read to its end: every kind of part becomes its step or event, as it arrives."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from otel_agent_journal.testing.bedrock import BedrockServer, Part, agent_parts, event, hold, stream
from otel_agent_journal.testing.bedrock.agent_parts import chunk, final_response, reference
from tests.frameworks.bedrock_agents import asking
from tests.frameworks.bedrock_agents.asking import ask, notes, outcomes, read, told
from tests.frameworks.langgraph.recording import Recording
from tests.frameworks.requests_told import prompts_of


def test_agent_with_everything(recording: Recording, server: BedrockServer, client: Any, snapshot: Any) -> None:
    """Models, an action group, a knowledge base and a collaborator are steps below the agent."""
    server.script(stream(asking.TRIP))
    read(ask(client))
    assert told(recording) == snapshot
    assert recording.status == ("COMPLETED", None)


def test_inline_agent(recording: Recording, server: BedrockServer, client: Any, snapshot: Any) -> None:
    """An agent that is defined by its request is known by the name it gives itself; its collaborators nest."""
    nested = agent_parts.by_collaborator(
        "Planner",
        agent_parts.collaborator_input("Maps", "a route"),
        *agent_parts.by_collaborator("Maps", *asking.thinks("Route?", "By train.")),
        agent_parts.collaborator_output("Maps", "By train."),
    )
    parts = [agent_parts.collaborator_input("Planner", "a trip"), *nested]
    server.script(stream(parts, agent_parts.collaborator_output("Planner", "By train."), asking.LAST))
    model = "anthropic.claude-sonnet-4-20250514-v1:0"
    given = {
        "agentName": "Concierge",
        "foundationModel": model,
        "instruction": "You plan trips for two, with care, by train.",
    }
    read(client.invoke_inline_agent(**given, sessionId="s1", inputText="A trip.", enableTrace=True))
    assert told(recording) == snapshot


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(
            [
                agent_parts.model_input("Is it safe?", phase="preProcessing"),
                agent_parts.model_output(
                    "fine", phase="preProcessing", parsed={"isValid": False, "rationale": "It asks for a trip."}
                ),
                agent_parts.model_input("Which agent?", phase="routingClassifier"),
                agent_parts.model_output("Hotels", phase="routingClassifier"),
                *asking.thinks("no JSON", "a thought", thinking="Rome is in Italy."),
                agent_parts.model_input("Polish it.", phase="postProcessing"),
                agent_parts.model_output("", phase="postProcessing", parsed={"text": "Polished."}),
            ],
            id="phases",
        ),
        pytest.param(
            [
                agent_parts.code_interpreter_input("print(1 + 1)", names=["prices.csv"]),
                agent_parts.code_interpreter_output("2", names=["plot.png"]),
                agent_parts.code_interpreter_input("1 / 0"),
                agent_parts.code_interpreter_output(error="ZeroDivisionError: division by zero"),
                agent_parts.code_interpreter_input("while True: pass"),
                agent_parts.code_interpreter_output(timed_out=True),
                agent_parts.files(("plot.csv", b"a,b\n1,2\n")),
            ],
            id="code",
        ),
        pytest.param(
            [
                agent_parts.guardrail(topic="weapons"),
                agent_parts.guardrail("NONE"),
                agent_parts.guardrail(topic="advice", on_output=True),
            ],
            id="guardrails",
        ),
        pytest.param(
            [
                agent_parts.action_group_input("Book", "hold", {"seat": "1A"}),
                agent_parts.reprompt("seat is taken", source="ACTION_GROUP"),
                agent_parts.reprompt("that was no JSON"),
                agent_parts.custom_orchestration("step 1 of 2"),
            ],
            id="reprompts",
        ),
        pytest.param(
            [
                agent_parts.action_group_output("of an action that was not told"),
                agent_parts.knowledge_base_output(reference("a passage")),
                agent_parts.model_output("of a model that was not told"),
                agent_parts.collaborator_output("Cars", "of a collaborator that was not told"),
                *agent_parts.by_collaborator("Boats", agent_parts.rationale("nobody told that I was asked")),
            ],
            id="outputs-alone",
        ),
        pytest.param(
            [
                agent_parts.model_input("one whose output is not told"),
                *asking.thinks("the next"),
                agent_parts.knowledge_base_input("one whose result is not told"),
            ],
            id="inputs-alone",
        ),
    ],
)
def test_parts(recording: Recording, server: BedrockServer, client: Any, snapshot: Any, parts: list[Part]) -> None:
    """Each part of a trace is what the table in docs/bedrock-agents.md says, and what was begun is ended."""
    server.script(stream(parts, asking.LAST))
    read(ask(client))
    assert told(recording) == snapshot


def test_parallel_actions_are_paired_by_their_trace(recording: Recording, server: BedrockServer, client: Any) -> None:
    """Two actions that run at once end by the trace id that each began with."""
    parts = [
        agent_parts.action_group_input("A", "slow", turn=1),
        agent_parts.action_group_input("B", "quick", turn=2),
        agent_parts.action_group_output("quick is done", turn=2),
        agent_parts.action_group_output("slow is done", turn=1),
    ]
    server.script(stream(parts, asking.LAST))
    read(ask(client))
    found = {name: recording.attempt(name).details_end["output"] for name in ("A.slow", "B.quick")}
    assert found == {"A.slow": "slow is done", "B.quick": "quick is done"}


def test_parallel_collaborators(recording: Recording, server: BedrockServer, client: Any) -> None:
    """What two collaborators do at the same time is below each of them."""
    parts = [
        agent_parts.collaborator_input("Hotels", "a room"),
        agent_parts.collaborator_input("Flights", "a seat"),
        *agent_parts.by_collaborator("Hotels", agent_parts.action_group_input("Rooms", "find")),
        *agent_parts.by_collaborator("Flights", agent_parts.action_group_input("Seats", "find")),
        *agent_parts.by_collaborator("Flights", agent_parts.action_group_output("12C")),
        *agent_parts.by_collaborator("Hotels", agent_parts.action_group_output("Uno")),
        agent_parts.collaborator_output("Flights", "12C"),
        agent_parts.collaborator_output("Hotels", "Uno"),
    ]
    server.script(stream(parts, asking.LAST))
    read(ask(client))
    tree = recording.steps
    below = {step.last.name: [child.last.name for child in tree.children(step)] for step in tree.steps}
    assert below == {
        "TRAVEL1234": ["Hotels", "Flights"],
        "Hotels": ["Rooms.find"],
        "Flights": ["Seats.find"],
        "Rooms.find": [],
        "Seats.find": [],
    }


def test_each_part_is_journaled_before_the_program_has_it(
    recording: Recording, server: BedrockServer, client: Any
) -> None:
    """While the service is still at work the journal has what it has told: steps open, tokens, text."""
    gate = threading.Event()
    server.script(hold(stream([*asking.thinks(), *asking.FLIGHTS[:1], chunk("So far"), *asking.LAST]), gate, after=4))
    parts = iter(ask(client)["completion"])
    seen: list[list[str]] = []
    for _ in range(4):
        next(parts)
        seen.append([event.type for event in recording.events])
    assert seen == [
        ["AGENT_START", "MODEL_START"],
        ["AGENT_START", "MODEL_START", "MODEL_END"],
        ["AGENT_START", "MODEL_START", "MODEL_END", "STAGE_CHANGED", "TOOL_START"],
        ["AGENT_START", "MODEL_START", "MODEL_END", "STAGE_CHANGED", "TOOL_START", "CHUNK"],
    ]
    gate.set()
    assert len(list(parts)) == 3


def test_prompt_is_journaled_once(recording: Recording, server: BedrockServer, client: Any) -> None:
    """The history that every turn repeats is in the journal once, over invocations of a session too."""
    server.script(stream(asking.thinks(), asking.thinks(asking.LONGER, turn=1), asking.LAST))
    server.script(stream(asking.thinks(asking.LONGER), asking.LAST))
    read(ask(client))
    read(ask(client))
    shown = [event.details for event in recording.events if event.type == "MODEL_START"]
    assert [len(details["messages"]) for details in shown] == [2, 2, 0]
    assert [details["request"]["messages"]["count"] for details in shown] == [2, 4, 4]
    told = prompts_of(recording.store, recording.events[0].session_id)
    assert told[0]["messages"][0] == {"role": "system", "content": "You book trips."}
    assert told[0]["params"] == {"temperature": 0.0, "topP": 1.0, "topK": 250, "maximumLength": 2048}
    assert told[1] == {**told[2], "step_id": told[1]["step_id"]}
    assert [one["complete"] for one in told] == [True] * 3


@pytest.mark.parametrize("text", ["é", "日本", "🙂"])
def test_text_that_is_cut_within_a_character(
    recording: Recording, server: BedrockServer, client: Any, text: str
) -> None:
    """A chunk may end within a character; the text is whole."""
    import base64

    data = text.encode()
    halves = [event("chunk", {"bytes": base64.b64encode(half).decode()}) for half in (data[:1], data[1:])]
    server.script(stream(halves))
    read(ask(client))
    assert recording.attempt("TRAVEL1234").details_end["output"] == text


def test_final_response_is_told_once(recording: Recording, server: BedrockServer, client: Any) -> None:
    """With a trace the final response is the trace's; without one it is the text, once the stream has ended."""
    server.script(stream(asking.LAST), stream([chunk("Only "), chunk("text.")]))
    read(ask(client))
    read(ask(client))
    assert [note["output"] for note in notes(recording, "FINAL_RESPONSE")] == [asking.ANSWER, "Only text."]


def test_question_to_the_user_says_so(recording: Recording, server: BedrockServer, client: Any) -> None:
    """A final response that asks the user is a response, and says that it asks."""
    part = final_response("How many?")
    part.payload["trace"]["orchestrationTrace"]["observation"]["type"] = "ASK_USER"
    server.script(stream([part, chunk("How many?")]))
    read(ask(client))
    assert [note.get("reason") for note in notes(recording, "FINAL_RESPONSE")] == ["ASK_USER"]
    assert outcomes(recording) == {"TRAVEL1234": "ok"}


def test_model_is_over_when_the_next_begins(recording: Recording, server: BedrockServer, client: Any) -> None:
    """An agent asks one model at a time: one whose output is not told ends as the next begins."""
    server.script(stream(agent_parts.model_input("one"), agent_parts.model_input("two"), asking.LAST))
    read(ask(client))
    told_of_models = [event.type for event in recording.events if event.type.startswith("MODEL")]
    assert told_of_models == ["MODEL_START", "MODEL_END"] * 2
