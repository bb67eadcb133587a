"""A step while it runs: what the recorder knows of one attempt, and how it is ended.

Made by `Recorder.start_step`, kept by instrumentors and in the OpenTelemetry context of the code that runs in it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from typing import Any, Final, Protocol

from opentelemetry import context as context_api
from opentelemetry import trace as trace_api
from opentelemetry.context import Context
from opentelemetry.trace import Tracer

from otel_agent_journal import forks
from otel_agent_journal.event import CHUNK, EMPTY, REASONING, ErrorInfo, Usage, derived_id
from otel_agent_journal.pipeline.place import Place
from otel_agent_journal.pipeline.step_span import Ending, StepSpan
from otel_agent_journal.threads import is_collecting

STEP_KEY: Final = context_api.create_key("agent-journal-step")
SESSION_KEY: Final = context_api.create_key("agent-journal-session")  # of an `invocation()` block
SPAN_KEY: Final = str(next(iter(trace_api.set_span_in_context(trace_api.INVALID_SPAN, Context()))))

CHUNK_INTERVAL_S: Final = 0.25  # at most four CHUNK events a second a step
CHUNK_MAX_CHARACTERS: Final = 8192


class Keeper(Protocol):
    """Who journals a step, as far as a step knows it: the recorder that made it, which `recorder_of` returns."""

    @property
    def content(self) -> bool: ...

    def note(self, step: Step, event_type: str, details: Mapping[str, Any], level: str = "INFO") -> None: ...

    def end_step(self, step: Step, ending: Ending) -> None: ...


class Step:
    """One attempt at a unit of work, from its START to its ending. Made by `Recorder.start_step`.

    Safe to end from any thread; only the first ending counts.
    """

    __slots__ = (
        "__weakref__",
        "_chunk_due",
        "_chunks",
        "_ended",
        "_index",
        "_inherited",
        "_lineage",
        "_open",
        "_ordinals",
        "attempt",
        "beside",
        "failures",
        "keeper",
        "kind",
        "memory",
        "name",
        "parent",
        "parent_step_id",
        "pending",
        "place",
        "recorded",
        "request",
        "session_id",
        "span",
        "start_ns",
        "step_id",
        "tracer",
    )

    def __init__(
        self,
        keeper: Keeper,
        kind: str,
        name: str,
        session_id: str,
        parent: Step | None,
        step_id: str,
        attempt: int,
        start_ns: int,
    ) -> None:
        self.keeper = keeper
        self.kind = kind
        self.name = name
        self.session_id = session_id
        self.parent = parent
        self.parent_step_id = parent.step_id if parent is not None else None
        self.step_id = step_id
        self.attempt = attempt
        self.start_ns = start_ns
        self.span: StepSpan
        self.pending: Any = None  # `PendingStep`, while it waits for its framework to open its span
        self.tracer: Tracer | None = None
        self.request: dict[str, Any] | None = None  # of a model call: the attributes that it began with
        self.memory: Any = None  # what an instrumentor keeps with the step
        self.beside: list[Any] | None = None  # spans that its framework opened beside its steps
        self.failures: tuple[Any, ...] = ()  # what has failed in it and right below it: `origin.Failure`s
        self.place: Place | None = None  # where its code runs, of one whose end its framework may never tell
        self.recorded: Any = None  # in a replay: the `Claim` that says what of the recording it is
        # Made here: what is made when it is needed is made twice where the making is interrupted.
        self._ordinals: dict[str, itertools.count[int]] = {}
        self._index = itertools.count()
        self._chunks: list[tuple[str, str]] = []
        self._chunk_due = 0.0
        self._ended = False
        self._lineage = forks.lineage()
        self._inherited = ""
        self._open: dict[int, Step] = {}  # children that have not ended

    def begin(self) -> None:
        """Begin a step that waits for a span of its framework's with one of our own: none was opened."""
        pending, self.pending = self.pending, None
        if pending is not None:
            pending.open()

    def adopt(self, span: Any, *, outlives: bool = False) -> None:
        """Begin a step that waits with the span that its framework has opened for it.

        Args:
            span: a recording one of the SDK.
            outlives: the framework ends it, and still writes to it, after the step has ended.
        """
        pending, self.pending = self.pending, None
        if pending is not None:
            pending.adopt(span, outlives=outlives)

    def next_index(self) -> int:
        """Return the number of the next event within the step: from 0, in a forked child from anywhere."""
        self._after_fork()
        return next(self._index)

    @property
    def ended(self) -> bool:
        """Tell whether the step is over."""
        return self._ended

    def child_id(self, kind: str, name: str) -> str:
        """Return the id of the next child of that kind and name: the same again in the next attempt.

        But in a forked child, which counts the children that it begins itself: there it is one of its own.
        """
        self._after_fork()
        key = f"{self._inherited}{kind}:{name}"
        counter = self._ordinals.get(key)
        if counter is None:
            counter = self._ordinals.setdefault(key, itertools.count())
        return derived_id(f"{self.step_id}:{key}:{next(counter)}")

    @property
    def has_open(self) -> bool:
        """Tell whether a child has not ended."""
        return bool(self._open)

    def _after_fork(self) -> None:
        """Start over what a forked child has inherited: it goes on in the process that the step began in."""
        lineage = forks.lineage()
        if self._lineage != lineage:
            self._lineage = lineage
            self._inherited = f"{lineage}:"
            self._ordinals, self._open, self._chunks = {}, {}, []
            self._index = itertools.count(int(lineage[:8], 16) << 24)

    def child_began(self, child: Step) -> None:
        """Remember a child until it ends."""
        self._after_fork()
        self._open[id(child)] = child

    def child_ended(self, child: Step) -> None:
        """Forget a child."""
        self._open.pop(id(child), None)

    def let_go(self) -> None:
        """Leave the children that are open to end by themselves, however this step ends."""
        self._open = {}

    def context(self, base: Context | None = None) -> Context:
        """Return a context in which this step and its span are the current ones."""
        current = current_context() if base is None else base
        return Context({**current, SPAN_KEY: self.span.current, STEP_KEY: self})

    def note(self, event_type: str, details: Mapping[str, Any] = EMPTY, *, level: str = "INFO") -> None:
        """Journal an event within the step."""
        if self.pending is not None:
            self.begin()
        self.keeper.note(self, event_type, details, level)

    def chunk(self, text: str, event_type: str = CHUNK) -> None:
        """Journal streamed text, gathered to at most four CHUNK and four REASONING events a second."""
        if not text or self._ended or not self.keeper.content:
            return
        self._after_fork()
        self._chunks.append((event_type, text))
        now = time.monotonic()
        if now >= self._chunk_due:
            self._chunk_due = now + CHUNK_INTERVAL_S
            self.flush_chunks()

    def flush_chunks(self) -> None:
        """Journal the streamed text that is still gathered."""
        self._after_fork()
        if self._chunks:
            fresh: list[tuple[str, str]] = []
            chunks, self._chunks = self._chunks, fresh
            for event_type in (REASONING, CHUNK):
                text = "".join(text for kind, text in chunks if kind is event_type)
                for at in range(0, len(text), CHUNK_MAX_CHARACTERS):
                    self.note(event_type, {"text": text[at : at + CHUNK_MAX_CHARACTERS]}, level="DEBUG")

    def end(
        self,
        outcome: str = "ok",
        *,
        error: BaseException | ErrorInfo | None = None,
        usage: Usage | None = None,
        attributes: dict[str, Any] | None = None,
        details: dict[str, Any] | None = None,
        on_span: dict[str, Any] | None = None,
    ) -> None:
        """End the step; every call but the first does nothing.

        With a cancelled step end all that it has open, with another those whose code is over though nobody told it.

        Args:
            outcome: one of `event.OUTCOMES`.
            error: why, where it failed or was cancelled.
            usage: tokens of a model call.
            attributes: of the span, kept in the journal too.
            details: of the ending event.
            on_span: attributes of the span alone.
        """
        ended, self._ended = self._ended, True  # no call between the two: one alone is the first
        if ended:
            return
        if self._open:
            for child in list(self._open.values()):
                if outcome == "cancelled" or (child.place is not None and child.place.is_left()):
                    child.end("cancelled")
        if self.pending is not None:
            self.begin()
        if self.parent is not None:
            self.parent.child_ended(self)
        ending = Ending(outcome, error, usage, attributes, {} if details is None else details, on_span)
        self.keeper.end_step(self, ending)


def current_context() -> Context:
    """Return the context of this code: a finalizer has nothing to do with what the collector interrupts for it."""
    return Context() if is_collecting() else context_api.get_current()


def current_step() -> Step | None:
    """Return the step that encloses this code, where there is one."""
    step = current_context().get(STEP_KEY)
    return step if isinstance(step, Step) else None
