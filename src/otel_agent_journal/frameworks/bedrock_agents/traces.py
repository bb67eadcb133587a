"""The trace of an agent, part by part, as steps: models, action groups, knowledge bases, collaborators. Pure.

The service says when something begins (`modelInvocationInput`, `invocationInput`) and when it is over
(`modelInvocationOutput`, `observation`); both are paired by their trace id and kind within the agent that they
belong to. Which agent that is, its collaborator's name and the chain of its callers say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from otel_agent_journal.event import FINAL_RESPONSE, PROGRESS, REASONING, WARNING, ErrorInfo
from otel_agent_journal.frameworks.bedrock_agents import shapes
from otel_agent_journal.frameworks.bedrock_agents.actions import Action, Begin, End, Note, Stage
from otel_agent_journal.frameworks.bedrock_agents.agents import (
    ACTION,
    CODE,
    COLLABORATOR,
    LOOKUP,
    MODEL,
    Agent,
    Pending,
    left_open,
)
from otel_agent_journal.frameworks.bedrock_agents.shapes import PROVIDER, mapping, present, text
from otel_agent_journal.mapping.genai import AGENT_ID, DATA_SOURCE_ID, PROVIDER_NAME

CODE_INTERPRETER: Final = "code_interpreter"


class AgentTraces:
    """Turns the parts of one agent's trace into actions.

    Args:
        root: the key of the agent's step.
        next_key: gives a key for a new step.
        answered: names of the actions, in order, whose results this invocation hands in, and the id they were asked
            for under.
    """

    def __init__(self, root: int, next_key: Callable[[], int], answered: tuple[str, list[str]] = ("", [])) -> None:
        self.agent = Agent(root)
        self._next_key = next_key
        self._answered_id, self._answered = answered[0], list(answered[1])
        self._asked: dict[str, int] = {}

    def part(self, part: Mapping[str, Any]) -> Iterator[Action]:
        """Yield what one trace part says."""
        agent = self._agent_of(part)
        if isinstance(agent, Begin):
            yield agent
            agent = self._agent_of(part)
            if isinstance(agent, Begin):
                return
        for kind, body in mapping(part.get("trace")).items():
            trace = mapping(body)
            match kind:
                case "failureTrace":
                    yield from self._failure(agent, trace)
                case "guardrailTrace":
                    yield from self._guardrail(agent, trace)
                case "customOrchestrationTrace":
                    said = text(mapping(trace.get("event")).get("text"))
                    if said:
                        yield Note(agent.key, PROGRESS, {"message": said})
                case _:
                    yield from self._phase(agent, trace)

    def _agent_of(self, part: Mapping[str, Any]) -> Agent | Begin:
        """Return the agent that a part comes from; the beginning of a collaborator that nothing has told of."""
        name = text(part.get("collaboratorName"))
        callers = [text(caller.get("agentAliasArn")) for caller in shapes.items(part.get("callerChain"))]
        if not name and len(callers) < 2:  # the agent that was invoked is the chain's first
            return self.agent
        agent, deeper = self.agent, True
        while deeper:
            deeper = False
            for one in agent.pending:
                below = one.agent
                if below is not None and (below.alias in callers or below.name == name):
                    agent, deeper = below, True
                    break
        if agent is not self.agent:
            return agent
        for collaborator in self.agent.collaborators():
            if collaborator.name == name:
                return collaborator
        alias = callers[-1] if len(callers) > 1 else ""
        return self._collaborator(self.agent, "", name or _alias_id(alias), alias, None)

    # --- what a phase of an agent says ---

    def _phase(self, agent: Agent, trace: Mapping[str, Any]) -> Iterator[Action]:
        for kind, body in trace.items():
            said = mapping(body)
            match kind:
                case "modelInvocationInput":
                    yield from self._model_begins(agent, said)
                case "modelInvocationOutput":
                    yield from self._model_ends(agent, said)
                case "rationale":
                    yield from _reasoning(agent.key, said.get("text"))
                case "invocationInput":
                    yield from self._invocation(agent, said)
                case "observation":
                    yield from self._observation(agent, said)
                case _:
                    pass

    def _model_begins(self, agent: Agent, said: Mapping[str, Any]) -> Iterator[Action]:
        # An agent thinks one thought at a time: one whose output was not told is over.
        stale = agent.take(MODEL, "")
        if stale is not None:
            yield End(stale.key)
        model = shapes.model_name(text(said.get("foundationModel")))
        pending = Pending(self._next_key(), MODEL, text(said.get("traceId")), model)
        yield Begin(
            agent.began(pending),
            agent.key,
            "MODEL",
            model,
            {"phase": said["type"]} if text(said.get("type")) else {},
            shapes.model_attributes(said),
            prompt=text(said.get("text")) or None,
            params=dict(mapping(said.get("inferenceConfiguration"))),
        )

    def _model_ends(self, agent: Agent, said: Mapping[str, Any]) -> Iterator[Action]:
        pending = agent.take(MODEL, text(said.get("traceId")))
        if pending is None:
            pending = Pending(self._next_key(), MODEL, "", "model")
            yield Begin(pending.key, agent.key, "MODEL", "model", {}, {PROVIDER_NAME: PROVIDER})
        thought = mapping(mapping(said.get("reasoningContent")).get("reasoningText"))
        yield from _reasoning(pending.key, thought.get("text"))
        parsed = mapping(said.get("parsedResponse"))
        yield from _reasoning(agent.key, parsed.get("rationale"))
        if parsed.get("isValid") is False:
            details = {"message": "the input was judged not to be valid", "reason": "INVALID_INPUT"}
            yield Note(agent.key, WARNING, details, "WARNING")
        output = text(mapping(said.get("rawResponse")).get("content")) or text(parsed.get("text"))
        yield End(
            pending.key,
            details={**present(output=output), **shapes.service_times(said)},
            usage=shapes.usage_of(said),
            attributes=shapes.request_id(said),
        )

    # --- what an agent calls ---

    def _invocation(self, agent: Agent, said: Mapping[str, Any]) -> Iterator[Action]:
        trace_id = text(said.get("traceId"))
        for kind, body in said.items():
            given = mapping(body)
            match kind:
                case "actionGroupInvocationInput":
                    yield from self._action(agent, trace_id, given)
                case "knowledgeBaseLookupInput":
                    base = text(given.get("knowledgeBaseId")) or "knowledge base"
                    pending = Pending(self._next_key(), LOOKUP, trace_id, base)
                    yield Begin(
                        agent.began(pending),
                        agent.key,
                        "RETRIEVAL",
                        base,
                        present(input=given.get("text")),
                        {DATA_SOURCE_ID: base, PROVIDER_NAME: PROVIDER},
                    )
                case "codeInterpreterInvocationInput":
                    pending = Pending(self._next_key(), CODE, trace_id, CODE_INTERPRETER)
                    details = {"input": present(code=given.get("code"), files=given.get("files"))}
                    yield Begin(agent.began(pending), agent.key, "TOOL", CODE_INTERPRETER, details, {})
                case "agentCollaboratorInvocationInput":
                    alias = text(given.get("agentCollaboratorAliasArn"))
                    name = text(given.get("agentCollaboratorName")) or _alias_id(alias)
                    yield self._collaborator(agent, trace_id, name, alias, _payload(mapping(given.get("input"))))
                case _:
                    pass

    def _action(self, agent: Agent, trace_id: str, given: Mapping[str, Any]) -> Iterator[Action]:
        group = text(given.get("actionGroupName"))
        if group:
            yield Stage(agent.key, group)
        name = shapes.action_name(given)
        pending = Pending(self._next_key(), ACTION, trace_id, name)
        pending.returns_control = given.get("executionType") == "RETURN_CONTROL"
        asked = text(given.get("invocationId"))
        yield Begin(
            agent.began(pending),
            agent.key,
            "TOOL",
            name,
            present(input=shapes.action_input(given)),
            {},
            identity=self._identity(asked, name) if asked and pending.returns_control else None,
        )

    def _identity(self, asked: str, name: str) -> str:
        """Return what a call is known by that a program is asked to make: id, action, and which of them it is."""
        count = self._asked[f"{asked}:{name}"] = self._asked.get(f"{asked}:{name}", -1) + 1
        return f"{asked}:{name}:{count}"

    def _collaborator(self, agent: Agent, trace_id: str, name: str, alias: str, given: Any) -> Begin:
        pending = Pending(self._next_key(), COLLABORATOR, trace_id, name)
        pending.agent = Agent(pending.key, name, alias)
        agent_id = _agent_id(alias)
        attributes = {PROVIDER_NAME: PROVIDER, **({AGENT_ID: agent_id} if agent_id else {})}
        return Begin(agent.began(pending), agent.key, "AGENT", name, present(input=given), attributes)

    # --- what came of it ---

    def _observation(self, agent: Agent, said: Mapping[str, Any]) -> Iterator[Action]:
        trace_id = text(said.get("traceId"))
        for kind, body in said.items():
            found = mapping(body)
            match kind:
                case "actionGroupInvocationOutput":
                    yield from self._action_ends(agent, trace_id, found)
                case "knowledgeBaseLookupOutput":
                    documents, sources = shapes.references(found.get("retrievedReferences"))
                    details = {"output": documents, **present(sources=sources), **shapes.service_times(found)}
                    yield from self._ended(agent, LOOKUP, trace_id, "RETRIEVAL", "knowledge base", found, details)
                case "codeInterpreterInvocationOutput":
                    yield from self._code_ends(agent, trace_id, found)
                case "agentCollaboratorInvocationOutput":
                    yield from self._collaborator_ends(agent, trace_id, found)
                case "finalResponse":
                    agent.response = text(found.get("text"))
                    agent.failure = None  # it found another way
                    asks = {"reason": "ASK_USER"} if said.get("type") == "ASK_USER" else {}
                    times = shapes.service_times(found)
                    yield Note(agent.key, FINAL_RESPONSE, {**present(output=agent.response), **asks, **times})
                case "repromptResponse":
                    yield from self._reprompt(agent, trace_id, found)
                case _:
                    pass

    def _ended(
        self,
        agent: Agent,
        sort: str,
        trace_id: str,
        kind: str,
        name: str,
        found: Mapping[str, Any],
        details: dict[str, Any],
        error: ErrorInfo | None = None,
    ) -> Iterator[Action]:
        """End what an output belongs to; where its beginning was not told, it is a step of no duration."""
        pending = agent.take(sort, trace_id)
        if pending is None:
            pending = Pending(self._next_key(), sort, trace_id, name)
            yield Begin(pending.key, agent.key, kind, name, {}, {})
        yield End(
            pending.key,
            "error" if error is not None else "ok",
            details,
            error,
            shapes.usage_of(found),
            shapes.request_id(found),
        )

    def _action_ends(self, agent: Agent, trace_id: str, found: Mapping[str, Any]) -> Iterator[Action]:
        details = {**present(output=found.get("text")), **shapes.service_times(found)}
        if self._answered and not any(one.sort == ACTION for one in agent.pending):
            # The program was asked to make this call in the invocation before, and hands its result in now.
            name = self._answered.pop(0)
            pending = Pending(self._next_key(), ACTION, trace_id, name)
            identity = self._identity(self._answered_id, name)
            yield Begin(agent.began(pending), agent.key, "TOOL", name, {}, {}, identity=identity)
        yield from self._ended(agent, ACTION, trace_id, "TOOL", "action group", found, details)

    def _code_ends(self, agent: Agent, trace_id: str, found: Mapping[str, Any]) -> Iterator[Action]:
        output = present(output=found.get("executionOutput"), files=found.get("files"))
        error: ErrorInfo | None = None
        if found.get("executionTimeout") is True:
            error = ErrorInfo(type="ExecutionTimeout", message="the code ran out of time")
        elif text(found.get("executionError")):
            error = ErrorInfo(type="ExecutionError", message=text(found.get("executionError")))
        details = {**present(output=output), **shapes.service_times(found)}
        yield from self._ended(agent, CODE, trace_id, "TOOL", CODE_INTERPRETER, found, details, error)

    def _collaborator_ends(self, agent: Agent, trace_id: str, found: Mapping[str, Any]) -> Iterator[Action]:
        name = text(found.get("agentCollaboratorName")) or _alias_id(text(found.get("agentCollaboratorAliasArn")))
        pending = agent.take(COLLABORATOR, trace_id, name)
        if pending is None:
            begin = self._collaborator(agent, trace_id, name, text(found.get("agentCollaboratorAliasArn")), None)
            yield begin
            pending = agent.take(COLLABORATOR, trace_id, name)
        if pending is None or pending.agent is None:
            return
        output = mapping(found.get("output"))
        asks = mapping(output.get("returnControlPayload"))
        failure = pending.agent.failure
        outcome = "error" if failure is not None else "interrupted" if asks else "ok"
        yield from left_open(pending.agent, outcome, failure)
        details = {**present(output=_payload(output)), **shapes.service_times(found)}
        usage, attributes = shapes.usage_of(found), shapes.request_id(found)
        yield End(pending.key, outcome, details, failure, usage, attributes)

    def _reprompt(self, agent: Agent, trace_id: str, found: Mapping[str, Any]) -> Iterator[Action]:
        source, said = text(found.get("source")), text(found.get("text"))
        sort = {"ACTION_GROUP": ACTION, "KNOWLEDGE_BASE": LOOKUP}.get(source, "")
        pending = agent.take(sort, trace_id) if sort else None
        if pending is not None:
            yield End(pending.key, "error", error=ErrorInfo(type="Reprompt", message=said))
        yield Note(agent.key, WARNING, present(message=said, reason=f"REPROMPT {source}".strip()), "WARNING")

    # --- what went wrong ---

    def _failure(self, agent: Agent, trace: Mapping[str, Any]) -> Iterator[Action]:
        agent.failure = failure = shapes.failure_of(trace)
        yield from left_open(agent, "error", failure)
        details = present(message=failure.message, code=failure.code)
        yield Note(agent.key, WARNING, {**details, **shapes.service_times(trace)}, "ERROR")

    def _guardrail(self, agent: Agent, trace: Mapping[str, Any]) -> Iterator[Action]:
        if trace.get("action") != "INTERVENED":
            return
        found = {
            where: shapes.assessments(trace.get(key))
            for where, key in (("input", "inputAssessments"), ("output", "outputAssessments"))
        }
        objections = [f"{where}: {line}" for where, lines in found.items() for line in lines]
        said = f"a guardrail intervened: {', '.join(objections)}" if objections else "a guardrail intervened"
        details = {"message": said, "reason": "GUARDRAIL_INTERVENED", **shapes.service_times(trace)}
        yield Note(agent.key, WARNING, details, "WARNING")


def _reasoning(key: int, said: Any) -> Iterator[Action]:
    if text(said):
        yield Note(key, REASONING, {"text": said})


def _payload(payload: Mapping[str, Any]) -> Any:
    """Return what goes to or comes from a collaborator: text, or a request to hand control back and its results."""
    return text(payload.get("text")) or payload.get("returnControlPayload") or payload.get("returnControlResults")


def _alias_id(arn: str) -> str:
    return arn.rpartition("agent-alias/")[2].partition("/")[0] or "collaborator"


def _agent_id(arn: str) -> str:
    return arn.rpartition("agent-alias/")[2].partition("/")[0] if "agent-alias/" in arn else ""
