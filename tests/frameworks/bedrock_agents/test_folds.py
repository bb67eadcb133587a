"""The folds of the streams are total: whatever arrives, in whatever order, each step begins and ends once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent_journal.event import OUTCOMES, ErrorInfo, Usage
from otel_agent_journal.frameworks.bedrock_agents.actions import ROOT, Action, Begin, End, Ending, Note, Stage
from otel_agent_journal.frameworks.bedrock_agents.answers import AnswerFold
from otel_agent_journal.frameworks.bedrock_agents.flows import FlowFold
from otel_agent_journal.frameworks.bedrock_agents.prompts import messages_of
from otel_agent_journal.frameworks.bedrock_agents.requests import STREAMS, request_of

NAMES = st.sampled_from(["Hotels", "Flights", ""])
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


def structure(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return structures of which any member may be absent or junk."""
    optional = {name: member | JUNK for name, member in members.items()}
    return st.fixed_dictionaries({}, optional=optional)


ARN = NAMES.map(lambda name: f"arn:aws:bedrock:us-east-1:1:agent-alias/{name.upper()}/LIVE")
TRACE_ID = st.sampled_from(["t1", "t2"])
METADATA = structure(usage=structure(inputTokens=st.integers(0, 9), outputTokens=st.integers(0, 9)), totalTimeMs=JUNK)
PARAMETERS = st.lists(structure(name=NAMES, value=st.text(max_size=3)), max_size=2)
REFERENCES = st.lists(
    structure(content=structure(text=NAMES), location=structure(s3Location=structure(uri=NAMES))), max_size=2
)
ACTION = structure(
    actionGroupName=NAMES,
    function=NAMES,
    apiPath=NAMES,
    parameters=PARAMETERS,
    requestBody=structure(content=st.dictionaries(NAMES, PARAMETERS, max_size=1)),
    executionType=st.sampled_from(["LAMBDA", "RETURN_CONTROL"]),
    invocationId=NAMES,
)
INPUT = structure(
    traceId=TRACE_ID,
    actionGroupInvocationInput=ACTION,
    knowledgeBaseLookupInput=structure(knowledgeBaseId=NAMES, text=NAMES),
    codeInterpreterInvocationInput=structure(code=NAMES),
    agentCollaboratorInvocationInput=structure(
        agentCollaboratorName=NAMES, agentCollaboratorAliasArn=ARN, input=structure(text=NAMES)
    ),
)
OBSERVATION = structure(
    traceId=TRACE_ID,
    type=NAMES,
    actionGroupInvocationOutput=structure(text=NAMES, metadata=METADATA),
    knowledgeBaseLookupOutput=structure(retrievedReferences=REFERENCES),
    codeInterpreterInvocationOutput=structure(executionError=NAMES, executionTimeout=st.booleans()),
    agentCollaboratorInvocationOutput=structure(
        agentCollaboratorName=NAMES, agentCollaboratorAliasArn=ARN, output=structure(returnControlPayload=JUNK)
    ),
    finalResponse=structure(text=NAMES),
    repromptResponse=structure(source=st.sampled_from(["ACTION_GROUP", "KNOWLEDGE_BASE", "PARSER"]), text=NAMES),
)
PHASE = structure(
    modelInvocationInput=structure(traceId=TRACE_ID, foundationModel=NAMES, text=NAMES, type=NAMES),
    modelInvocationOutput=structure(traceId=TRACE_ID, metadata=METADATA, parsedResponse=structure(rationale=NAMES)),
    rationale=structure(text=NAMES),
    invocationInput=INPUT,
    observation=OBSERVATION,
)
PART = structure(
    collaboratorName=NAMES,
    callerChain=st.lists(structure(agentAliasArn=ARN), max_size=3),
    trace=structure(
        orchestrationTrace=PHASE,
        preProcessingTrace=PHASE,
        routingClassifierTrace=PHASE,
        guardrailTrace=structure(action=st.just("INTERVENED"), inputAssessments=st.lists(JUNK, max_size=2)),
        failureTrace=structure(failureReason=NAMES, failureCode=st.integers(0, 9)),
        customOrchestrationTrace=structure(event=structure(text=NAMES)),
    ),
)
ANSWERED = structure(
    trace=PART,
    chunk=structure(bytes=st.binary(max_size=4), attribution=structure(citations=JUNK)),
    files=structure(files=st.lists(structure(name=NAMES, bytes=st.binary(max_size=3)), max_size=2)),
    returnControl=structure(
        invocationId=NAMES, invocationInputs=st.lists(structure(apiInvocationInput=ACTION), max_size=2)
    ),
)
FIELDS = st.lists(structure(nodeInputName=NAMES, nodeOutputName=NAMES, content=structure(document=JUNK)), max_size=2)
FLOWED = structure(
    flowTraceEvent=structure(
        trace=structure(
            nodeInputTrace=structure(nodeName=NAMES, fields=FIELDS),
            nodeOutputTrace=structure(nodeName=NAMES, fields=FIELDS),
            conditionNodeResultTrace=structure(nodeName=NAMES, satisfiedConditions=JUNK),
            nodeActionTrace=structure(nodeName=NAMES, serviceName=NAMES),
            nodeDependencyTrace=structure(
                nodeName=NAMES, traceElements=structure(agentTraces=st.lists(PART, max_size=2))
            ),
        )
    ),
    flowOutputEvent=structure(nodeName=NAMES, content=structure(document=JUNK)),
    flowMultiTurnInputRequestEvent=structure(nodeName=NAMES, content=JUNK),
    flowCompletionEvent=JUNK,
)


def held(actions: Iterable[Action]) -> None:
    """Check that every action is of a step that is open, and that in the end none is."""
    open_steps, seen = {ROOT}, {ROOT}
    for action in actions:
        match action:
            case Begin():
                assert action.key not in seen
                assert action.parent in open_steps
                assert action.name
                open_steps.add(action.key)
                seen.add(action.key)
            case End():
                assert action.key in open_steps - {ROOT}
                assert action.outcome in OUTCOMES
                assert action.usage is None or all(
                    isinstance(getattr(action.usage, name), int) for name in Usage.__struct_fields__
                )
                open_steps.remove(action.key)
            case Note(key) | Stage(key):
                assert key in open_steps
            case _:
                pass
    assert open_steps == {ROOT}


def all_of(fold: AnswerFold | FlowFold, events: list[Any], error: ErrorInfo | None) -> Iterable[Action]:
    """Yield everything that a fold makes of a stream and its end."""
    for event in events:
        yield from fold.part(event)
    ending = fold.ending()
    assert ending.outcome in OUTCOMES
    yield from fold.left_open(ending if error is None else Ending("error", {}, error))


ERRORS = st.none() | st.just(ErrorInfo(type="lost"))


@given(st.lists(ANSWERED, max_size=8), st.lists(st.just("Pay.charge"), max_size=2), ERRORS)
def test_agents(events: list[Any], answers: list[str], error: ErrorInfo | None) -> None:
    """Of an agent's stream."""
    held(all_of(AnswerFold("control-1", answers), events, error))


@given(st.lists(FLOWED, max_size=8), ERRORS)
def test_flows(events: list[Any], error: ErrorInfo | None) -> None:
    """Of a flow's stream."""
    held(all_of(FlowFold(), events, error))


@given(
    st.sampled_from(sorted(STREAMS)),
    structure(
        agentId=NAMES,
        sessionId=NAMES,
        flowIdentifier=NAMES,
        inputs=st.lists(structure(content=JUNK, nodeInputName=NAMES), max_size=2),
        sessionState=structure(
            invocationId=NAMES,
            sessionAttributes=JUNK,
            returnControlInvocationResults=st.lists(structure(functionResult=ACTION), max_size=2),
        ),
    ),
)
def test_requests(operation: str, request: dict[str, Any]) -> None:
    """Whatever a program asks with, its invocation has a name."""
    assert request_of(operation, request, "https://bedrock-agent-runtime.us-east-1.amazonaws.com").name


@pytest.mark.parametrize(
    "prompt",
    ["", "Human: hello", "{", "{}", "[]", '{"messages": 1}', '{"messages": {}}', '"text"', "null", '{"a": NaN}'],
)
def test_prompts_of_another_form(prompt: str) -> None:
    """A prompt that is no JSON with messages has none."""
    assert messages_of(prompt) is None


def test_prompt_with_odd_messages() -> None:
    """Messages that are no objects are what the user said."""
    assert messages_of('{"messages": ["hello", {"role": "assistant"}]}') == [
        {"role": "user", "content": "hello"},
        {"role": "assistant"},
    ]
