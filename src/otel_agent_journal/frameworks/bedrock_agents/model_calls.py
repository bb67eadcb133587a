"""A model that the program itself asks by `bedrock-runtime`, as a step of what asks.

A model that a framework asks is a step already, and all that is told of it there. So a call is one here only in a step
of another kind: a node, a tool, a session by hand; or outside of any, in a process whose session has a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any, Final, cast

from otel_agent_journal.event import REASONING
from otel_agent_journal.frameworks.bedrock_agents.bodies import (
    Answer,
    Asked,
    answer_in,
    asked_by_body,
    asked_in,
    decoded,
    events_in_chunk,
)
from otel_agent_journal.frameworks.bedrock_agents.invocation import NOT_JOURNALED, on_span
from otel_agent_journal.frameworks.bedrock_agents.kept import DIED, LEFT
from otel_agent_journal.frameworks.bedrock_agents.kept_models import KeptModel
from otel_agent_journal.frameworks.bedrock_agents.replaying import Broken, body_of
from otel_agent_journal.frameworks.bedrock_agents.requests import service_attributes
from otel_agent_journal.frameworks.bedrock_agents.shapes import REQUEST_ID, mapping, model_name, text
from otel_agent_journal.frameworks.bedrock_agents.spoken import Spoken
from otel_agent_journal.mapping.converse import plain_messages, reasoning_of
from otel_agent_journal.mapping.genai import (
    EMBEDDINGS,
    OPERATION_NAME,
    REQUEST_MAX_TOKENS,
    REQUEST_MODEL,
    REQUEST_TEMPERATURE,
    REQUEST_TOP_P,
    RESPONSE_FINISH_REASONS,
    RESPONSE_TIME_TO_FIRST_CHUNK,
)
from otel_agent_journal.mapping.usage import usage_of
from otel_agent_journal.pipeline.answers import say_if_stopped
from otel_agent_journal.pipeline.conversation import Conversation, answered, request_details
from otel_agent_journal.pipeline.failure import error_info, is_cancel
from otel_agent_journal.pipeline.recorder import Recorder, recorder_of
from otel_agent_journal.pipeline.step import Step, current_context, current_step
from otel_agent_journal.replays.current import replaying
from otel_agent_journal.replays.replaying import LIVE, Replay
from otel_agent_journal.replays.words import REMOTE

SERVICE: Final = "bedrock-runtime"
STREAMS: Final[Mapping[str, str | None]] = {
    "Converse": None,
    "ConverseStream": "stream",
    "InvokeModel": None,
    "InvokeModelWithResponseStream": "body",
}
"""The operations that are journaled, and the member of the response that is their stream."""

_COUNTS: Final = {
    "x-amzn-bedrock-input-token-count": "inputTokens",
    "x-amzn-bedrock-output-token-count": "outputTokens",
    "x-amzn-bedrock-cache-read-input-token-count": "cacheReadInputTokens",
    "x-amzn-bedrock-cache-write-input-token-count": "cacheWriteInputTokens",
}
_SETTINGS: Final = (
    (REQUEST_TEMPERATURE, ("temperature",)),
    (REQUEST_MAX_TOKENS, ("maxTokens", "max_tokens", "maxTokenCount", "max_gen_len")),
    (REQUEST_TOP_P, ("topP", "top_p")),
)
_CHANGES: Final = {"temperature": "temperature", "max_tokens": "maxTokens", "top_p": "topP"}  # of a replay's `--set`


class ModelCall:
    """One call, from its request to the end of its answer. Made by `begin`."""

    def __init__(self, root: Step, operation: str, *, content: bool) -> None:
        self.root = root
        self._operation = operation
        self._kept = KeptModel(STREAMS[operation] or "body", content=content)
        self._spoken = Spoken()
        self._answer: Answer | None = None
        self._output: Any = None
        self._first_s: float | None = None
        self._counted: dict[str, Any] = {}
        self._attributes: dict[str, Any] = {}

    def answered(self, response: dict[str, Any]) -> None:
        """Take from the response what is known before its stream begins."""
        try:
            self._identified(response)
            self._kept.answered(response)
            if self._operation == "Converse":
                self._answer = answer_in(response)
            elif self._operation == "InvokeModel":
                self._read(response)
        except Exception:  # noqa: BLE001 - the one boundary: the agent must not feel it
            self._failed()

    def _read(self, response: dict[str, Any]) -> None:
        """Read the body, and give the program another that it reads as the first."""
        try:
            data = response["body"].read()
        except BaseException as error:
            self.died(error)
            if not isinstance(error, Exception):
                raise
            response["body"] = body_of(Broken(error), None)  # it is raised where the program reads
            return
        response["body"] = body_of(BytesIO(data), len(data))
        self._kept.body(data)
        told = decoded(data)
        self._answer = answer_in(told)
        self._output = told

    def _identified(self, response: Mapping[str, Any]) -> None:
        told = mapping(response.get("ResponseMetadata"))
        request_id, headers = text(told.get("RequestId")), mapping(told.get("HTTPHeaders"))
        if request_id:
            self._attributes[REQUEST_ID] = request_id
        self._counted |= {ours: headers[name] for name, ours in _COUNTS.items() if name in headers}

    def part(self, event: Any) -> None:
        """Journal one part of the stream, before the program sees it."""
        if self.root.ended or not isinstance(event, Mapping):
            return
        part = cast("Mapping[str, Any]", event)
        try:
            self._kept.part(part)
            chunk = mapping(part.get("chunk")).get("bytes")
            for said in [part] if chunk is None else events_in_chunk(decoded(chunk)):
                for kind, found in self._spoken.take(said):
                    if self._first_s is None:
                        self._first_s = (recorder_of(self.root).clock.now_ns() - self.root.start_ns) / 1e9
                    self.root.chunk(found, kind)
        except Exception:  # noqa: BLE001 - a part costs itself, not the stream
            self._failed()

    def ended(self) -> None:
        """All of the answer is there."""
        self._end("ok")

    def died(self, error: BaseException) -> None:
        """The call or its stream raised: nothing more will come."""
        if not self.root.ended:
            self._identified(mapping(getattr(error, "response", None)))
            self._end("cancelled" if is_cancel(error) else "error", DIED, error)

    def left(self) -> None:
        """The program reads no further: it closed the stream, or let go of it."""
        self._end("ok" if self._spoken.is_over else "cancelled", LEFT)

    def _end(self, outcome: Any, ends: str | None = None, error: BaseException | None = None) -> None:
        root = self.root
        if root.ended:
            return
        try:
            recorder = recorder_of(root)
            answer = self._answer or self._spoken.answer
            attributes, details = dict(self._attributes), dict[str, Any]()
            if answer.stop:
                attributes[RESPONSE_FINISH_REASONS] = [answer.stop]
                say_if_stopped(root, answer.stop)
            if self._first_s is not None:
                attributes[RESPONSE_TIME_TO_FIRST_CHUNK] = self._first_s
            if recorder.content:
                details |= self._said(recorder, answer)
            raw = self._kept.raw(None, ends, error)
            if raw is not None:
                details |= {REMOTE: True, "raw": raw}
            root.end(
                outcome,
                error=None if error is None else error if outcome == "cancelled" else error_info(error),
                usage=usage_of(answer.usage) or usage_of(self._counted),
                attributes=attributes,
                details=details,
                on_span=on_span(recorder, root, "MODEL", details),
            )
        except Exception:  # noqa: BLE001 - the one boundary
            self._failed()
            root.end(outcome, error=error)

    def _said(self, recorder: Recorder, answer: Answer) -> dict[str, Any]:
        if answer.message is None:
            return {} if self._output is None else {"output": self._output}
        thoughts = reasoning_of(answer.message) if self._answer is not None else ""
        if thoughts:
            self.root.note(REASONING, {"text": thoughts})
        return {"output": answered(plain_messages(answer.message), recorder.histories.of(self.root.session_id))}

    def _failed(self) -> None:
        recorder_of(self.root).failed(NOT_JOURNALED)


def begin(recorder: Recorder, operation: str, given: Mapping[str, Any], endpoint: str) -> ModelCall | None:
    """Open the step of a call; its START is durable when this returns. None: a model's step is around it, or none.

    Outside of any step it is a root of the session that is named for all (`--session`); where none is, it is no step.
    """
    session_id = _session_of(recorder)
    if session_id is None:
        return None
    model = text(given.get("modelId"))
    asked = _asked(operation, given)
    attributes = {**service_attributes(endpoint), REQUEST_MODEL: model, **_settings(asked.params)}
    if "embed" in model:
        attributes[OPERATION_NAME] = EMBEDDINGS
    details = _request(recorder, session_id, model, asked)
    root = recorder.start_step(
        "MODEL",
        model_name(model) if model.startswith("arn:") else model or "model",
        attributes=attributes,
        details={**details, REMOTE: True},
        on_span=on_span(recorder, None, "MODEL", details),
    )
    return ModelCall(root, operation, content=recorder.content)


def _session_of(recorder: Recorder) -> str | None:
    """Return the session in which a call is a step; None where it is none."""
    step = current_step()
    if step is not None and not step.ended:
        return None if step.kind == "MODEL" else step.session_id
    named, replay = recorder.session_fixed(current_context()), replaying()
    return named if replay is None else replay.session_of(named or "")


def _asked(operation: str, given: Mapping[str, Any]) -> Asked:
    if operation.startswith("Converse"):
        return asked_in(given)
    asked = asked_by_body(given.get("body"))
    beside = {name: one for name, one in given.items() if name not in ("body", "modelId")}
    return asked._replace(params={**asked.params, **beside})


def _request(recorder: Recorder, session_id: str, model: str, asked: Asked) -> dict[str, Any]:
    """Return the details of the START: the request."""
    try:
        history = recorder.histories.of(session_id)
        conversation = Conversation(plain_messages)  # a program may change its messages in place: all are looked at
        return request_details(
            history,
            model=model,
            content=recorder.content,
            messages=conversation.request(asked.messages, history, content=recorder.content),
            tools=asked.tools,
            params=asked.params,
        )
    except Exception:  # noqa: BLE001 - content of the user's: it may cost itself, not its step
        return {"messages": "[could not be read]"}


def _settings(params: Mapping[str, Any]) -> dict[str, Any]:
    places = [mapping(params.get(name)) for name in ("inferenceConfig", "textGenerationConfig")]
    found: dict[str, Any] = {}
    for attribute, names in _SETTINGS:
        value = next((one[name] for one in (*places, params) for name in names if name in one), None)
        if isinstance(value, int | float):
            found[attribute] = value
    return found


def changed(replay: Replay | None, call: ModelCall, operation: str, given: Any) -> Any:
    """Return what a model is asked that is called live in a replay, with what that changes of its parameters."""
    if replay is None or not replay.rules.change:
        return given
    claim: Any = call.root.recorded
    if not claim.is_live and replay.rules.on_drift != LIVE:
        return given
    change, asked = replay.rules.change, dict(mapping(given))
    if "model" in change:
        asked["modelId"] = change["model"]
    config = {ours: change[name] for name, ours in _CHANGES.items() if name in change}
    if config and operation.startswith("Converse"):
        asked["inferenceConfig"] = {**mapping(asked.get("inferenceConfig")), **config}
    return asked
