"""The parts of an agent's or a flow's stream: text, files, questions back, and the many kinds of trace.

Each function returns one event in the shape of the service model of bedrock-agent-runtime. What the service itself
would know (ids of agent and session, the callers, the times) the server adds as it sends. Traces of one turn of the
orchestration share a trace id: `turn` counts them.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from otel_agent_journal.testing.bedrock.replies import Part, Usage

Phase = Literal["preProcessing", "orchestration", "postProcessing", "routingClassifier"]

_PROMPT_TYPES: Mapping[Phase, str] = {
    "preProcessing": "PRE_PROCESSING",
    "orchestration": "ORCHESTRATION",
    "postProcessing": "POST_PROCESSING",
    "routingClassifier": "ROUTING_CLASSIFIER",
}


def chunk(text: str, citations: Sequence[Mapping[str, Any]] = ()) -> Part:
    """Return a piece of the answer, with citations from `citation`."""
    payload: dict[str, Any] = {"bytes": base64.b64encode(text.encode()).decode()}
    if citations:
        payload["attribution"] = {"citations": list(citations)}
    return Part("chunk", payload)


def citation(text: str, *references: Mapping[str, Any], start: int = 0) -> dict[str, Any]:
    """Return the claim that a part of the answer rests on these references."""
    span = {"start": start, "end": start + len(text)}
    cited = {"textResponsePart": {"text": text, "span": span}}
    return {"generatedResponsePart": cited, "retrievedReferences": list(references)}


def reference(
    text: str, *, uri: str = "s3://docs/page.md", metadata: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return one passage that a knowledge base found."""
    location = {"type": "S3", "s3Location": {"uri": uri}}
    return {"content": {"text": text, "type": "TEXT"}, "location": location, "metadata": dict(metadata or {})}


def files(*named: tuple[str, bytes], media_type: str = "text/csv") -> Part:
    """Return files that the code interpreter wrote."""
    encoded = [{"name": name, "type": media_type, "bytes": base64.b64encode(data).decode()} for name, data in named]
    return Part("files", {"files": encoded})


def return_control(*inputs: Mapping[str, Any], invocation_id: str = "invocation-1") -> Part:
    """Return the agent's request that the caller itself runs these: `function_input` and `api_input`."""
    return Part("returnControl", {"invocationId": invocation_id, "invocationInputs": list(inputs)})


def function_input(action_group: str, function: str, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a function for the caller to run."""
    call = {"actionGroup": action_group, "function": function, "parameters": _parameters(arguments)}
    return {"functionInvocationInput": {**call, "actionInvocationType": "RESULT"}}


def api_input(
    action_group: str, api_path: str, arguments: Mapping[str, Any] | None = None, *, verb: str = "GET"
) -> dict[str, Any]:
    """Return an operation of an API for the caller to run."""
    call = {"actionGroup": action_group, "apiPath": api_path, "httpMethod": verb}
    return {"apiInvocationInput": {**call, "parameters": _parameters(arguments), "actionInvocationType": "RESULT"}}


def trace(kind: str, body: Mapping[str, Any]) -> Part:
    """Return a trace of any kind (`orchestrationTrace`, ...) and shape."""
    return Part("trace", {"trace": {kind: dict(body)}})


def model_input(
    prompt: str,
    *,
    phase: Phase = "orchestration",
    model: str = "anthropic.claude-sonnet-4-20250514-v1:0",
    temperature: float = 0.0,
    turn: int = 0,
) -> Part:
    """Return the trace of a model call that begins."""
    call = {"text": prompt, "type": _PROMPT_TYPES[phase], "foundationModel": model}
    inference = {"temperature": temperature, "topP": 1.0, "topK": 250, "maximumLength": 2048}
    return _phase(phase, "modelInvocationInput", {**call, "inferenceConfiguration": inference}, turn)


def model_output(
    content: str,
    *,
    phase: Phase = "orchestration",
    usage: Usage | None = None,
    thinking: str = "",
    parsed: Mapping[str, Any] | None = None,
    took_ms: int = 40,
    turn: int = 0,
) -> Part:
    """Return the trace of a model call that ended; `parsed` is what pre- and post-processing read from it."""
    body: dict[str, Any] = {"rawResponse": {"content": content}, "metadata": _metadata(took_ms, usage or Usage())}
    if thinking:
        body["reasoningContent"] = {"reasoningText": {"text": thinking, "signature": "signed"}}
    if parsed is not None:
        body["parsedResponse"] = dict(parsed)
    return _phase(phase, "modelInvocationOutput", body, turn)


def rationale(text: str, *, turn: int = 0) -> Part:
    """Return the trace of what the agent thinks to do next."""
    return _phase("orchestration", "rationale", {"text": text}, turn)


def action_group_input(
    name: str,
    function: str = "",
    arguments: Mapping[str, Any] | None = None,
    *,
    api_path: str = "",
    verb: str = "GET",
    execution_type: Literal["LAMBDA", "RETURN_CONTROL"] = "LAMBDA",
    invocation_id: str = "",
    turn: int = 0,
) -> Part:
    """Return the trace of an action group that is called, by function or by path of its API."""
    call: dict[str, Any] = {"actionGroupName": name, "parameters": _parameters(arguments)}
    call |= {"executionType": execution_type}
    call |= {"apiPath": api_path, "verb": verb} if api_path else {"function": function}
    if invocation_id:
        call["invocationId"] = invocation_id
    return _invocation("ACTION_GROUP", "actionGroupInvocationInput", call, turn)


def action_group_output(text: str, *, took_ms: int = 20, turn: int = 0) -> Part:
    """Return the trace of what an action group gave back."""
    body = {"text": text, "metadata": _metadata(took_ms)}
    return _observation("ACTION_GROUP", "actionGroupInvocationOutput", body, turn)


def knowledge_base_input(query: str, *, knowledge_base_id: str = "KB12345678", turn: int = 0) -> Part:
    """Return the trace of a lookup that begins."""
    lookup = {"text": query, "knowledgeBaseId": knowledge_base_id}
    return _invocation("KNOWLEDGE_BASE", "knowledgeBaseLookupInput", lookup, turn)


def knowledge_base_output(*references: Mapping[str, Any], took_ms: int = 15, turn: int = 0) -> Part:
    """Return the trace of what a lookup found."""
    body = {"retrievedReferences": list(references), "metadata": _metadata(took_ms)}
    return _observation("KNOWLEDGE_BASE", "knowledgeBaseLookupOutput", body, turn)


def code_interpreter_input(code: str, *, names: Sequence[str] = (), turn: int = 0) -> Part:
    """Return the trace of code that is run, with the names of the files it may read."""
    run = {"code": code, "files": list(names)}
    return _invocation("ACTION_GROUP_CODE_INTERPRETER", "codeInterpreterInvocationInput", run, turn)


def code_interpreter_output(
    output: str = "",
    *,
    error: str = "",
    timed_out: bool = False,
    names: Sequence[str] = (),
    took_ms: int = 30,
    turn: int = 0,
) -> Part:
    """Return the trace of what code printed, or why it failed."""
    body: dict[str, Any] = {"executionTimeout": timed_out, "files": list(names), "metadata": _metadata(took_ms)}
    body |= {"executionError": error} if error else {"executionOutput": output}
    return _observation("ACTION_GROUP", "codeInterpreterInvocationOutput", body, turn)


def collaborator_input(name: str, text: str, *, phase: Phase = "orchestration", turn: int = 0) -> Part:
    """Return the trace of another agent that is asked."""
    asked = {"agentCollaboratorName": name, "agentCollaboratorAliasArn": alias_arn(name)}
    asked |= {"input": {"type": "TEXT", "text": text}}
    return _invocation("AGENT_COLLABORATOR", "agentCollaboratorInvocationInput", asked, turn, phase)


def collaborator_output(
    name: str, text: str, *, phase: Phase = "orchestration", took_ms: int = 100, turn: int = 0
) -> Part:
    """Return the trace of what another agent answered."""
    answered: dict[str, Any] = {"agentCollaboratorName": name, "agentCollaboratorAliasArn": alias_arn(name)}
    answered |= {"output": {"type": "TEXT", "text": text}, "metadata": _metadata(took_ms)}
    return _observation("AGENT_COLLABORATOR", "agentCollaboratorInvocationOutput", answered, turn, phase)


def by_collaborator(name: str, *parts: Part | Iterable[Part]) -> tuple[Part, ...]:
    """Return these parts as traces of a collaborator; nest calls for a collaborator's own collaborators."""
    flat = [inner for part in parts for inner in ((part,) if isinstance(part, Part) else part)]
    return tuple(dataclasses.replace(part, collaborators=(name, *part.collaborators)) for part in flat)


def final_response(text: str, *, took_ms: int = 200, turn: int = 0) -> Part:
    """Return the trace of the agent's last word."""
    return _observation("FINISH", "finalResponse", {"text": text, "metadata": _metadata(took_ms)}, turn)


def reprompt(text: str, *, source: str = "PARSER", turn: int = 0) -> Part:
    """Return the trace of a model that is asked again, because its answer could not be read."""
    return _observation("REPROMPT", "repromptResponse", {"text": text, "source": source}, turn)


def guardrail(
    action: Literal["INTERVENED", "NONE"] = "INTERVENED", *, topic: str = "", on_output: bool = False, turn: int = 0
) -> Part:
    """Return the trace of a guardrail; `topic` is one that it denied."""
    found = {"topicPolicy": {"topics": [{"name": topic, "type": "DENY", "action": "BLOCKED"}]}} if topic else {}
    side = "outputAssessments" if on_output else "inputAssessments"
    body = {"action": action, side: [found], "metadata": _metadata(5)}
    return trace("guardrailTrace", _with_trace_id("guardrailTrace", body, turn))


def failure(reason: str, *, code: int = 500, turn: int = 0) -> Part:
    """Return the trace of a step that failed."""
    body = {"failureReason": reason, "failureCode": code, "metadata": _metadata(5)}
    return trace("failureTrace", _with_trace_id("failureTrace", body, turn))


def custom_orchestration(text: str, *, turn: int = 0) -> Part:
    """Return the trace of an orchestrator that is the user's own."""
    kind = "customOrchestrationTrace"
    return trace(kind, _with_trace_id(kind, {"event": {"text": text}}, turn))


def alias_arn(name: str) -> str:
    """Return the ARN of a collaborator's alias, made from its name."""
    agent_id = "".join(letter for letter in name.upper() if letter.isalnum())
    return f"arn:aws:bedrock:us-east-1:123456789012:agent-alias/{agent_id}/LIVE"


def _invocation(kind: str, key: str, body: Mapping[str, Any], turn: int, phase: Phase = "orchestration") -> Part:
    return _phase(phase, "invocationInput", {"invocationType": kind, key: body}, turn)


def _observation(kind: str, key: str, body: Mapping[str, Any], turn: int, phase: Phase = "orchestration") -> Part:
    return _phase(phase, "observation", {"type": kind, key: body}, turn)


def _phase(phase: Phase, key: str, body: Mapping[str, Any], turn: int) -> Part:
    kind = f"{phase}Trace"
    return trace(kind, {key: _with_trace_id(kind, body, turn)})


def _with_trace_id(kind: str, body: Mapping[str, Any], turn: int) -> dict[str, Any]:
    return {"traceId": f"{kind.removesuffix('Trace')}-{turn}", **body}


def _metadata(took_ms: int, usage: Usage | None = None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"totalTimeMs": took_ms, "operationTotalTimeMs": took_ms}
    if usage is not None:
        metadata["usage"] = {"inputTokens": usage.input_tokens, "outputTokens": usage.output_tokens}
    return metadata


def _parameters(arguments: Mapping[str, Any] | None) -> list[dict[str, str]]:
    return [
        {"name": name, "type": _kind(value), "value": value if isinstance(value, str) else json.dumps(value)}
        for name, value in (arguments or {}).items()
    ]


def _kind(value: object) -> str:
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case list() | tuple():
            return "array"
        case _:
            return "string"
