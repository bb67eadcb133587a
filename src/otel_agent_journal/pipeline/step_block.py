"""A step of a hand-written agent: a block that is its span, its START and its ending, and the call that it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import Token
from inspect import isawaitable, iscoroutinefunction
from types import TracebackType
from typing import Any, Final, NoReturn, Self, cast

from opentelemetry import context as context_api
from opentelemetry.context import Context

from otel_agent_journal.event import (
    EMPTY,
    PROGRESS,
    REASONING,
    STEP_KINDS,
    WARNING,
    ErrorInfo,
)
from otel_agent_journal.foreign import is_a
from otel_agent_journal.mapping.classes import CLASSES, classes_in, with_classes
from otel_agent_journal.mapping.genai import USAGE_COST
from otel_agent_journal.mapping.harmless import by_hand
from otel_agent_journal.mapping.usage import cost_of, usage_of
from otel_agent_journal.pipeline.content import fitted
from otel_agent_journal.pipeline.failure import MAX_MESSAGE_CHARACTERS, is_cancel
from otel_agent_journal.pipeline.recorder import Recorder
from otel_agent_journal.pipeline.step import Step
from otel_agent_journal.plain import text_of
from otel_agent_journal.readers import Listed, opened
from otel_agent_journal.replays.current import replaying
from otel_agent_journal.replays.words import SERVABLE, SERVED_KINDS

_ATTRIBUTE_KINDS: Final = frozenset((str, bool, int, float))


class Block:
    """A `with` block with an OpenTelemetry context of its own."""

    def __init__(self) -> None:
        self._token: Token[Any] | None = None

    def _attach(self, context: Context) -> None:
        self._token = context_api.attach(context)  # type: ignore[assignment]

    def _detach(self) -> None:
        token, self._token = self._token, None
        if token is not None:
            try:
                token.var.reset(token)
            except ValueError:  # the block was left in another context than it was entered in; that one is gone
                pass


class StepBlock(Block):
    """One step of a hand-written agent: a span, a START, and an ending when the block is left."""

    def __init__(
        self, recorder: Recorder, kind: Any, name: Any, parent: Step | None, details: dict[str, Any], options: Any
    ) -> None:
        super().__init__()
        kind = text_of(kind)
        if kind.upper() not in STEP_KINDS:
            known = ", ".join(kind.lower() for kind in STEP_KINDS)
            raise ValueError(f"step kind '{kind}' is not known; it is one of: {known}")
        self._recorder = recorder
        self._kind = kind.upper()
        self._name = kind.lower() if name is None else text_of(name)
        self._parent = parent
        self._details = details
        self._options = options
        self._step: Step | None = None
        self._recorded: Any = None  # in a replay: the attempt that stands for the call

    @property
    def step_id(self) -> str | None:
        """The step's id, once the block is entered."""
        return self._step.step_id if self._step else None

    def served(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Make the call that the step is, and complete the step with what it gives; in a replay, give what is recorded.

        What is given to a replay is plain data: dicts, lists, texts and numbers. `call` may be a coroutine function:
        then await what this returns.

        Raises:
            Exception: what the call raises, or raised when it was recorded.
        """
        if self._recorded is not None:
            return self._serve(self._recorded, awaited=iscoroutinefunction(call))
        try:
            given = call(*args, **kwargs)
        except Exception as error:
            self._fail_served(error)
            raise
        if isawaitable(given):
            return self._awaited(given)
        self._complete_served(given)
        return given

    async def _awaited(self, given: Awaitable[Any]) -> Any:
        try:
            found = await given
        except Exception as error:
            self._fail_served(error)
            raise
        self._complete_served(found)
        return found

    def _fail_served(self, error: Exception) -> None:
        if self._step is not None:
            self._step.end("error", error=error, details={SERVABLE: True})

    def _complete_served(self, output: Any) -> None:
        if self._step is not None:
            details: dict[str, Any] = {"output": output, SERVABLE: True}
            if output is not None and (classes := classes_in({"output": output})):
                details["raw"] = {CLASSES: classes}
            self._step.end("ok", details=details)

    def _serve(self, recorded: Any, *, awaited: bool) -> Any:
        replay = replaying()
        assert replay is not None
        if recorded.outcome != "ok":
            error = replay.error(recorded)
            self._fail_served(error)
            raise error
        output, raw = replay.recording.output(recorded)
        found, _ = with_classes({"output": output}, (raw or EMPTY).get(CLASSES) or EMPTY, _no_class)
        self._complete_served(found["output"])
        return _given(found["output"]) if awaited else found["output"]

    def progress(self, message: str, **details: Any) -> None:
        """Journal how far the step has come."""
        self._note(PROGRESS, {"message": message, **by_hand(details)})

    def reasoning(self, text: str) -> None:
        """Journal what the agent thinks."""
        self._note(REASONING, {"text": text})

    def warning(self, message: str, **details: Any) -> None:
        """Journal that something is off, though the step goes on."""
        self._note(WARNING, {"message": message, **by_hand(details)}, "WARNING")

    def chunk(self, text: Any) -> None:
        """Journal streamed text; it is gathered to at most four CHUNK events a second."""
        if self._step is not None and text is not None:
            self._step.chunk(text_of(text))

    def complete(
        self,
        output: Any = None,
        *,
        sources: Sequence[Any] | None = None,
        message_id: Any = None,
        usage: Any = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """End the step with its result. Leaving the block without it ends the step with none.

        Args:
            output: any data; an object is journaled by its fields where its class is known, else by its class.
            sources: what the result rests on: URLs, documents.
            message_id: the message that the result became.
            usage: tokens, of a model step, as the model's SDK gives them, and what it cost: see `mapping.usage`.
            attributes: more attributes for the span.
        """
        details: dict[str, Any] = {}
        if output is not None:
            details["output"] = output
        if sources is not None:
            inside = opened(sources)
            details["sources"] = sources if isinstance(inside, Listed) else [sources]
        if message_id is not None:
            details["message_id"] = text_of(message_id)
        if self._step is not None:
            more = attributes_of(attributes)
            cost = None if usage is None else cost_of(usage)
            if cost is not None:
                more = {USAGE_COST: cost, **(more or {})}
            self._step.end("ok", usage=usage_of(usage), attributes=more, details=details)

    def fail(self, error: Any, **details: Any) -> None:
        """End the step as failed, where no exception leaves the block. `error`: an exception, or what to say."""
        if self._step is not None:
            self._step.end(
                "error", error=error if is_a(error, BaseException) else _said(error), details=dict(by_hand(details))
            )

    def _note(self, event_type: str, details: dict[str, Any], level: str = "INFO") -> None:
        if self._step is not None and not self._step.ended:
            self._step.note(event_type, details, level=level)

    def __enter__(self) -> Self:
        """Begin the step."""
        self._step = self._recorder.start_step(
            self._kind, self._name, parent=self._parent, details=dict(self._details), **self._options
        )
        if self._kind in SERVED_KINDS and (replay := replaying()) is not None:
            try:
                self._recorded = replay.serve(self._step)
            except BaseException as error:
                end_by(self._step, error)
                raise
        self._attach(self._step.context())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the step: failed or cancelled by the exception that passes, else as it was completed."""
        self._detach()
        if self._step is not None:
            end_by(self._step, error)

    async def __aenter__(self) -> Self:
        """Begin the step."""
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the step."""
        self.__exit__(kind, error, traceback)


async def _given(value: Any) -> Any:
    return value


def _no_class(name: str, value: Any) -> NoReturn:
    raise LookupError(name)


def end_by(step: Step, error: BaseException | None) -> None:
    """End a step by the exception that passes, where one does."""
    if error is None:
        step.end("ok")
    elif is_cancel(error):
        step.end("cancelled", error=error)
    else:
        step.end("error", error=error)


def _said(message: Any) -> ErrorInfo:
    return ErrorInfo(type="Error", message=text_of(message)[:MAX_MESSAGE_CHARACTERS])


def attributes_of(given: Any) -> dict[str, Any] | None:
    """Return attributes of the user's as a span takes them: texts, numbers, and lists of one kind of these."""
    if given is None:
        return None
    attributes = fitted(given)
    return {key: _attribute(value) for key, value in attributes.items() if key and value is not None} or None


def _attribute(value: Any) -> Any:
    if type(value) is dict:
        return text_of(value)
    if type(value) is not list:
        return value if type(value) is not int or -(2**63) <= value < 2**63 else str(value)
    items = cast("list[Any]", value)
    kinds = set(map(type, items))
    return items if len(kinds) <= 1 and kinds <= _ATTRIBUTE_KINDS else [text_of(item) for item in items]
