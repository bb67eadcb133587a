"""One invocation as it is journaled: its root step, the steps below, and how all of them end.

Does with the recorder what the folds of its stream ask for. Every method is called in the program's thread, between
the service and the program, and none raises.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from opentelemetry.trace import Link, SpanContext

from otel_agent_journal.event import FINAL_RESPONSE, derived_id
from otel_agent_journal.frameworks.bedrock_agents.actions import ROOT, Action, Begin, End, Ending, Note, Stage, Text
from otel_agent_journal.frameworks.bedrock_agents.answers import AnswerFold
from otel_agent_journal.frameworks.bedrock_agents.flows import FlowFold
from otel_agent_journal.frameworks.bedrock_agents.kept import DIED, LEFT, Kept
from otel_agent_journal.frameworks.bedrock_agents.prompts import Prompts
from otel_agent_journal.frameworks.bedrock_agents.requests import STREAMS, Request
from otel_agent_journal.frameworks.bedrock_agents.shapes import REQUEST_ID, mapping, text
from otel_agent_journal.frameworks.bedrock_agents.traces import CODE_INTERPRETER
from otel_agent_journal.mapping.content import content_attributes
from otel_agent_journal.pipeline.failure import error_info, is_cancel
from otel_agent_journal.pipeline.marked import take_entries
from otel_agent_journal.pipeline.recorder import Recorder, recorder_of
from otel_agent_journal.pipeline.step import Step
from otel_agent_journal.replays.words import PARAMETERS, REMOTE

NOT_JOURNALED: Final = "an invocation could not be journaled"
_MAX_INTERRUPTED: Final = 1_000  # interrupted invocations that a later one in this process can be joined to


class Memory:
    """What is kept from one invocation for the next: prompts that are journaled, and where one was interrupted."""

    def __init__(self) -> None:
        self.prompts = Prompts()
        self._interrupted: OrderedDict[str, tuple[str, SpanContext]] = OrderedDict()

    def interrupted(self, asked_id: str, root: Step) -> None:
        """Remember the session and the span of an invocation that waits for an answer."""
        known = self._interrupted
        known[asked_id] = (root.session_id, root.span.get_span_context())
        if len(known) > _MAX_INTERRUPTED:
            known.popitem(last=False)

    def before(self, asked_id: str) -> tuple[str, SpanContext] | None:
        """Return session and span of the invocation that an answer belongs to, where this process saw it."""
        return self._interrupted.get(asked_id) if asked_id else None


class Invocation:
    """An invocation from its request to the end of its stream. Made by `begin`."""

    def __init__(self, root: Step, fold: AnswerFold | FlowFold, memory: Memory, kept: Kept) -> None:
        self.root = root
        self._kept = kept
        self._fold = fold
        self._memory = memory
        self._steps: dict[int, Step] = {ROOT: root}
        self._response: dict[str, Any] = {}

    # --- what happens to it ---

    def answered(self, response: Mapping[str, Any]) -> None:
        """Take from the response what is known before its stream begins."""
        try:
            self._identified(response)
            self._kept.answered(response)
        except Exception:  # noqa: BLE001 - the one boundary: the agent must not feel it
            self._failed()

    def _identified(self, response: Mapping[str, Any]) -> None:
        request_id = text(mapping(response.get("ResponseMetadata")).get("RequestId"))
        if request_id:
            self._response = {REQUEST_ID: request_id}
        if isinstance(self._fold, FlowFold):
            self._fold.execution_id = text(response.get("executionId")) or self._fold.execution_id

    def part(self, event: Any) -> None:
        """Journal one part of the stream, before the program sees it."""
        if not self.root.ended and isinstance(event, Mapping):
            part = cast("Mapping[str, Any]", event)
            try:
                self._kept.part(part)
            except Exception:  # noqa: BLE001 - the one boundary
                self._failed()
            self._do(self._fold.part(part))

    def ended(self) -> None:
        """The stream is over."""
        if self.root.ended:
            return
        try:
            self._end(self._fold.ending())
        except Exception:  # noqa: BLE001 - the one boundary
            self._failed()
            self.root.end("ok")

    def died(self, error: BaseException) -> None:
        """The call or its stream raised: nothing more will come."""
        if self.root.ended:
            return
        if is_cancel(error):
            self.root.end("cancelled", error=error)
            return
        try:
            self._identified(mapping(getattr(error, "response", None)))
            details = self._fold.ending().details
            self._end(Ending("error", details, error_info(error)), DIED, error)
        except Exception:  # noqa: BLE001 - the one boundary
            self._failed()
            self.root.end("error", error=error)

    def left(self) -> None:
        """The program reads no further: it closed the stream, or let go of it."""
        if self.root.ended:
            return
        try:
            if self._fold.is_answered:  # and has what it asked for
                self._end(self._fold.ending(), LEFT)
                return
            ending = self._fold.ending().details
            details = {**ending, **self._whole(ending, LEFT)}
        except Exception:  # noqa: BLE001 - the one boundary
            self._failed()
            details = {}
        self.root.end("cancelled", details=details)

    def _whole(
        self, details: Mapping[str, Any], ends: str | None, error: BaseException | None = None
    ) -> dict[str, Any]:
        """Return what of the answer stands for the call in a replay."""
        raw = self._kept.raw(details.get("output"), ends, error)
        return {} if raw is None else {REMOTE: True, "raw": raw}

    def _end(self, ending: Ending, ends: str | None = None, error: BaseException | None = None) -> None:
        recorder = recorder_of(self.root)
        self._do(self._fold.left_open(ending))
        for step in reversed(list(self._steps.values())[1:]):
            step.end(ending.outcome, error=error or ending.error)  # what an action that failed has left
        checkpoint = ending.details.get("checkpoint_id")
        if ending.outcome == "interrupted" and checkpoint:
            self._memory.interrupted(checkpoint, self.root)
        self.root.end(
            ending.outcome,
            error=error or ending.error,
            attributes=self._response,
            details={**ending.details, **self._whole(ending.details, ends, error)},
            on_span=on_span(recorder, self.root, "AGENT", ending.details),
        )

    # --- actions ---

    def _do(self, actions: Iterator[Action]) -> None:
        try:
            for action in actions:
                try:
                    self._apply(action)
                except Exception:  # noqa: BLE001 - an action costs itself, not those after it
                    self._failed()
        except Exception:  # noqa: BLE001 - the one boundary: a part costs itself, not the stream
            self._failed()

    def _apply(self, action: Action) -> None:
        match action:
            case Begin():
                self._begin(action)
            case End():
                self._finish(action)
            case Note(key, kind, details, level):
                step = self._steps.get(key, self.root)
                if kind == FINAL_RESPONSE:
                    step.flush_chunks()
                step.note(kind, details, level=level)
            case Text(said):
                self.root.chunk(said)
            case Stage(key, name):
                recorder_of(self.root).stage(self.root.session_id, name, step=self._steps.get(key, self.root))

    def _begin(self, action: Begin) -> None:
        root, parent = self.root, self._steps.get(action.parent, self.root)
        recorder = recorder_of(root)
        details = action.details
        if action.params is not None:
            request = self._memory.prompts.details(
                action.prompt,
                action.params,
                model=action.name,
                session_id=root.session_id,
                histories=recorder.histories,
                content=recorder.content,
            )
            details = {**details, **request}
        self._steps[action.key] = recorder.start_step(
            action.kind,
            action.name,
            parent=parent,
            step_id=derived_id(f"{root.session_id}:{action.identity}") if action.identity else None,
            attributes=dict(action.attributes) or None,
            details=dict(details),
            on_span=on_span(recorder, parent, action.kind, details),
        )

    def _finish(self, action: End) -> None:
        step = self._steps.pop(action.key, None)
        if step is None:
            return
        details = action.details or {}
        if step.kind == "TOOL" and step.name == CODE_INTERPRETER:
            take_entries(step, (mapping(details.get("output")).get("output"),), itself=True)
        step.end(
            action.outcome,
            error=action.error,
            usage=action.usage,
            attributes=action.attributes or None,
            details=dict(details),
            on_span=on_span(recorder_of(step), step, step.kind, details),
        )

    def _failed(self) -> None:
        recorder_of(self.root).failed(NOT_JOURNALED)


def begin(recorder: Recorder, operation: str, request: Request, memory: Memory) -> Invocation:
    """Open the root step of an invocation; its START is durable when this returns."""
    before = memory.before(request.resumes)
    session_id = request.session_id
    if before is not None and operation == "InvokeFlow":
        session_id = before[0]  # the id of an execution comes with its first answer, too late to name its session
    step = recorder.start_step(
        "AGENT",
        request.name,
        session_id=session_id,
        attributes=request.attributes,
        details={**request.details, REMOTE: True, PARAMETERS: request.parameters},
        on_span=on_span(recorder, None, "AGENT", request.details),
        links=(Link(before[1]),) if before is not None and before[1].is_valid else (),
    )
    if request.resumes:
        recorder.resumed(step, request.resumes)
    kept = Kept(STREAMS[operation], content=recorder.content)
    if operation == "InvokeFlow":
        return Invocation(step, FlowFold(request.resumes), memory, kept)
    return Invocation(step, AnswerFold(request.resumes, request.answers), memory, kept)


def on_span(recorder: Recorder, step: Step | None, kind: str, details: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the content that a span takes, where spans take any. `step`: whose span it is, or the one above."""
    if not details or not recorder.shows_content(step):
        return None
    redacted = {key: recorder.encoder.redacted(key, value) for key, value in details.items()}
    return dict(content_attributes(kind, redacted)) or None
