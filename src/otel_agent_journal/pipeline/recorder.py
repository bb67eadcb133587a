"""The recorder: one call opens a step's span and makes its START durable, one call ends both.

Instrumentors and hand-written agents call it; it hands encoded facts to an appender (the spool) and knows nothing of
files, stores or frameworks. Nothing here raises into the agent, and a failure to record is counted in
`Recorder.dropped`.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from _thread import get_ident
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol, cast

from opentelemetry import trace as trace_api
from opentelemetry.baggage import get_baggage
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext

from otel_agent_journal import forks
from otel_agent_journal.codec import valid_text
from otel_agent_journal.event import EMPTY, RUN_RESUMED, STAGE_CHANGED, ErrorInfo, Usage, time_ordered_id
from otel_agent_journal.mapping.content import said_attributes
from otel_agent_journal.mapping.facts import (
    FailureNoted,
    Heartbeat,
    SessionNoted,
    StepEnded,
    StepNoted,
    StepStarted,
)
from otel_agent_journal.mapping.genai import CHAT, OPERATION_NAME, TOOL_EFFECTS, told_attributes
from otel_agent_journal.mapping.harmless import harmless_attributes, harmless_error
from otel_agent_journal.pipeline.adoption import AdoptedSpan, end_beside, marked
from otel_agent_journal.pipeline.attempts import Attempts
from otel_agent_journal.pipeline.clock import Clock, RandomIds
from otel_agent_journal.pipeline.content import ContentEncoder, as_json
from otel_agent_journal.pipeline.effects import Effects
from otel_agent_journal.pipeline.fact_writer import Appender, FactWriter
from otel_agent_journal.pipeline.history import Histories, Keeping
from otel_agent_journal.pipeline.introductions import Introductions
from otel_agent_journal.pipeline.light_span import LightSpan
from otel_agent_journal.pipeline.metrics import Metrics
from otel_agent_journal.pipeline.spans import Spans, kept_by, name_by, of_framework, set_by_user
from otel_agent_journal.pipeline.step import SESSION_KEY, STEP_KEY, Step, current_context
from otel_agent_journal.pipeline.who import SAID
from otel_agent_journal.plain import text_of
from otel_agent_journal.threads import Turns, is_collecting, start_thread, watch_collections

_SESSION_BAGGAGE: Final = ("gen_ai.conversation.id", "session.id")
_MEASURED: Final = ("ok", "error")  # what was cut off says nothing of the model
_CLOSE_S: Final = 5.0  # how long the end of the process waits for the processors of the program's spans


class Opening(NamedTuple):
    """What a step's span and START are made of."""

    context: Context
    enclosing: Any  # the step of that context
    attributes: dict[str, Any] | None
    links: Sequence[Link]
    details: dict[str, Any]


class Root(Protocol):
    """What is under way at the top of a session, a root step or an invocation: its process must live for it to end."""

    session_id: str

    def end(self, outcome: str = "ok") -> None:
        """End it; every call but the first does nothing."""
        ...


class Recorder(FactWriter):
    """Journals what an agent's process does. One a process; safe from any thread.

    Args:
        appender: where facts go.
        encoder: what content becomes.
        session_id: the session of everything that nothing around it names (`--session`).
        trusts_baggage: baggage, which anybody may have sent, names the session of what names none.
        span_content: put message content on spans too.
        exported: tells whether the spans of the program's own provider reach a backend by its own exporters.
        forwarded: the drain forwards the steps that are not: what user code sets on their spans is kept for it.
        introduce: returns what this process says of itself in each session that it writes to; None: nothing.
        provided: told the program's provider as it is first used, and each that takes its place.
        stages: percent of the work that is done when a stage of that name is reached.
        tool_effects: what tools do to the world, by their names or patterns of these: see `Effects`.
        keeping: tells what processes before this one have journaled.
        clock, ids: for tests.
    """

    def __init__(
        self,
        appender: Appender,
        *,
        encoder: ContentEncoder | None = None,
        session_id: str | None = None,
        trusts_baggage: bool = False,
        span_content: bool = False,
        exported: Callable[[], bool] = lambda: False,
        forwarded: bool = False,
        introduce: Callable[[], Mapping[str, Any]] | None = None,
        provided: Callable[[Any], None] = lambda _: None,
        stages: Mapping[str, float] = EMPTY,
        tool_effects: Mapping[str, str] = EMPTY,
        keeping: Keeping | None = None,
        clock: Clock | None = None,
        ids: RandomIds | None = None,
    ) -> None:
        super().__init__(appender, encoder or ContentEncoder())
        self.session_id = session_id
        self.trusts_baggage = trusts_baggage
        self.span_content = span_content
        self.clock = clock or Clock()
        self.ids = ids or RandomIds()
        self._exported = exported
        self._forwarded = forwarded
        self._introduce_by = introduce
        self._effects = Effects(tool_effects)
        self._stages = stages
        as_said = self.encoder.content and self.encoder.redactor is None
        self.histories = Histories(as_said=as_said, keeping=keeping)
        self._now = self.clock.now_ns
        self._details_change = self.encoder.redactor is not None
        self._spans = Spans(self.ids, self.failed, forwarded=forwarded, provided=provided)
        self.after_fork()
        watch_collections()
        forks.join(self, forks.Place.RECORDING)

    def after_fork(self) -> None:
        """Begin, here and in a forked child: the parent's roots end there, and its threads are not here."""
        self.metrics = Metrics()
        if self._introduce_by is not None:
            self._introductions = Introductions(self._introduce_by, self.encoder)
        self._roots: dict[int, Root] = {}
        self._attempts = Attempts()
        self._ending: set[int] = set()  # the threads that end a span of the program's provider
        self._aside = Turns(start_thread)

    @property
    def content(self) -> bool:
        """Tell whether content is journaled."""
        return self.encoder.content

    def shows_content(self, step: Step | None) -> bool:
        """Tell whether the span of a step, or of a child of it, takes content: a light one keeps none."""
        return self.span_content and (step is None or type(step.span) is not LightSpan)

    # --- steps ---

    def start_step(
        self,
        kind: str,
        name: str,
        *,
        session_id: str | None = None,
        parent: Step | None = None,
        detached: bool = False,
        step_id: str | None = None,
        attributes: dict[str, Any] | None = None,
        details: dict[str, Any] | None = None,
        on_span: dict[str, Any] | None = None,
        links: Sequence[Link] = (),
        waits: bool = False,
    ) -> Step:
        """Open a step: its span begins and its START is safe from `kill -9` when this returns.

        Args:
            kind: one of `event.STEP_KINDS`.
            name: of the tool, node, model or agent.
            session_id: of a root, where nothing around it names another; a child has its parent's.
            parent: the enclosing step; None takes the one that this code runs in, and makes a root where there is none.
            detached: make a root of `session_id` whatever is around it.
            step_id: where it is known; else it follows from the parent, or is fresh for a root.
            attributes: of the span, beyond those that follow from the other arguments.
            details: of the START event.
            on_span: attributes of the span alone, such as content that is wanted there.
            links: spans of earlier attempts.
            waits: its framework is about to open a span for it: the step begins with `adopt`, or else with `open`, an
                event within it or its ending.
        """
        start_ns = self._now()
        context = current_context()
        enclosing = context.get(STEP_KEY)
        if parent is None and not detached and isinstance(enclosing, Step) and not enclosing.ended:
            parent = enclosing
        if type(name) is not str:
            name = text_of(name)
        if session_id is not None and type(session_id) is not str:
            session_id = text_of(session_id)
        if details is None:
            details = {}
        if attributes:
            details["attributes"] = attributes
        request = attributes
        attributes = self._shown(kind, name, attributes, on_span, details)
        if parent is None:
            step = self._root(kind, name, start_ns, context, session_id, step_id, details, detached)
            self._roots[id(step)] = step
        else:
            if parent.opening is not None:
                self.open(parent)  # its framework has opened no span for it: it is not sampled
            step = Step(self, kind, name, parent.session_id, parent)
            if session_id and session_id != parent.session_id:
                details["framework_session_id"] = session_id
            step.start_ns = start_ns
            step.step_id = step_id = step_id or parent.child_id(kind, name)
            step.attempt = self._attempts.next(step_id)
            parent.child_began(step)
        if kind == "MODEL":
            step.request = request
        opening = Opening(context, enclosing, attributes, links, details)
        if waits:
            step.opening = opening
            step.span, step.trace_id, step.span_id = trace_api.get_current_span(context), "", ""  # until it has its own
        else:
            self._open(step, opening)
        return step

    def _shown(
        self,
        kind: str,
        name: str,
        attributes: dict[str, Any] | None,
        on_span: dict[str, Any] | None,
        details: dict[str, Any],
    ) -> dict[str, Any] | None:
        """Return the attributes of a step's span, those that follow from its details too; a tool's effects are told."""
        more: dict[str, Any] = {}
        if kind == "TOOL" and (effects := self._effects.of(name) or details.get("effects")):
            details["effects"] = more[TOOL_EFFECTS] = effects
        if self.span_content and not SAID.isdisjoint(details):
            said = {name: self.encoder.redacted(name, details[name]) for name in SAID & details.keys()}
            more |= said_attributes({name: one if type(one) is str else as_json(one) for name, one in said.items()})
        if on_span or more:
            attributes = {**(attributes or {}), **(on_span or {}), **more}
        return attributes if self.span_content or not attributes else harmless_attributes(attributes)

    def spans_are_real(self) -> bool:
        """Tell whether a span that a framework opens here is one of the SDK's, and so can be adopted."""
        around = trace_api.get_current_span().get_span_context()
        return self._spans.are_real() and (not around.is_valid or around.trace_flags.sampled)

    def open(self, step: Step) -> None:
        """Begin a step that waited for a span of its framework's with one of our own: none was opened."""
        opening, step.opening = step.opening, None
        if opening is not None:
            self._open(step, opening)

    def adopt(self, step: Step, span: Any, *, outlives: bool = False) -> None:
        """Begin a step that waited with the span that its framework has opened for it.

        Args:
            step: made with `waits`.
            span: a recording one of the SDK.
            outlives: the framework ends it, and still writes to it, after the step has ended.
        """
        opening, step.opening = step.opening, None
        if opening is None:
            return
        foreign: SpanContext | None = None
        try:
            name_by(step, span)
            step.start_ns = span.start_time
            step.tracer = self._spans.tracer()
            step.session_id = step.session_id or step.trace_id
            step.adopted = AdoptedSpan(span, outlives=outlives)
            span.set_attributes(marked(step, opening.attributes))
            for link in opening.links:
                span.add_link(link.context, link.attributes)
            if span.parent is not None and (step.parent is None or span.parent != step.parent.span.get_span_context()):
                foreign = span.parent
        except Exception:  # noqa: BLE001 - what is no span of the SDK after all
            self.failed("a framework's span could not be adopted")
        self._begun(step, opening, foreign)

    def _open(self, step: Step, opening: Opening) -> None:
        context, enclosing, attributes, links, _ = opening
        if step.parent is None:
            foreign = self._spans.open_root(step, context, attributes, links)
        else:
            foreign = self._spans.open_child(step, step.parent, context, enclosing, attributes, links)
        self._begun(step, opening, foreign)

    def _begun(self, step: Step, opening: Opening, foreign: SpanContext | None) -> None:
        """Journal a step's START."""
        details, links = opening.details, opening.links
        if foreign is not None:
            details["parent_span_id"] = f"{foreign.span_id:016x}"
        if links:
            details["links"] = [_link(link) for link in links]
        if not step.sampled:
            details["sampled"] = False
        elif step.tracer is not None and type(step.span) is not LightSpan and self._exported():
            details["exported"] = True
        if self._details_change and details:
            details = self.encoder.details(details)
        self.write(
            StepStarted(
                step.session_id,
                step.kind,
                step.name,
                step.step_id,
                step.parent_step_id,
                step.attempt,
                step.start_ns,
                step.trace_id,
                step.span_id,
                details,
            )
        )

    def _root(
        self,
        kind: str,
        name: str,
        start_ns: int,
        context: Context,
        session_id: str | None,
        step_id: str | None,
        details: dict[str, Any],
        detached: bool,
    ) -> Step:
        found = session_id if detached and session_id else self.session_of(context, session_id) or ""
        if session_id and found != session_id:
            details["framework_session_id"] = session_id
        if not found.isascii():
            found = valid_text(found)  # what the journal can hold is what the span says too
        step = Step(self, kind, name, found, None)
        step.start_ns = start_ns
        step.step_id = step_id or self.ids.hex()
        step.attempt = 1 if step_id is None else self._attempts.next(step_id)
        return step

    def end_step(
        self,
        step: Step,
        outcome: str,
        error: BaseException | ErrorInfo | None,
        usage: Usage | None,
        attributes: dict[str, Any] | None,
        details: dict[str, Any] | None,
        on_span: dict[str, Any] | None,
    ) -> None:
        """Journal a step's ending and end its span. Call `Step.end`, which lets only the first through.

        Processors and exporters of the program's are called, under locks of theirs. Where those may be held by the
        very code that a finalizer or signal handler has interrupted, a thread of ours does it: see `settle`.
        """
        if sys.is_finalizing():  # nothing is journaled, and what a span's processor waits for may never come
            return
        step.flush_chunks()
        ending = (step, self._now(), outcome, error, usage, attributes, details, on_span)
        if type(step.span) is LightSpan:
            self._end(*ending)
            return
        me = get_ident()
        interrupts = is_collecting() or me in self._ending
        if not interrupts or not self._aside.bring(functools.partial(self._end, *ending)):
            self._ending.add(me)
            try:
                self._end(*ending)
            finally:
                self._ending.discard(me)

    def _end(
        self,
        step: Step,
        end_ns: int,
        outcome: str,
        error: BaseException | ErrorInfo | None,
        usage: Usage | None,
        attributes: dict[str, Any] | None,
        details: dict[str, Any] | None,
        on_span: dict[str, Any] | None,
    ) -> None:
        info = self.error_info(error) if error is not None else None
        shown_error = info if self.span_content else harmless_error(info)
        told = self.told_of(error, step) if error is not None and outcome == "error" else EMPTY
        span = step.span
        end_span: Callable[[], None] | None = None
        details = {} if details is None else details
        if told and type(span) is not LightSpan:
            with contextlib.suppress(Exception):  # a limit of the program's
                span.set_attributes(told_attributes(told))
        if step.kind == "MODEL" and outcome in _MEASURED and self.metrics.ready():
            labels = {OPERATION_NAME: CHAT, **(step.request or EMPTY), **(attributes or EMPTY)}
            self.metrics.operation(labels, end_ns - step.start_ns, usage, shown_error if outcome == "error" else None)
        if step.beside is not None:
            end_beside(step, outcome, shown_error, end_ns)
        if type(span) is LightSpan:
            attributes = kept_by(span, attributes, details)
            span.end()
        elif step.adopted is not None:
            if self._forwards(step):
                attributes = of_framework(span, attributes)
            step.adopted.step_ends(outcome, shown_error, end_ns)
        else:
            shown = {**(attributes or {}), **on_span} if on_span else attributes
            if shown and not self.span_content:
                shown = harmless_attributes(shown)
            end_span = functools.partial(self._spans.end, span, outcome, usage, shown_error, shown, end_ns)
            if self._forwards(step):
                attributes = set_by_user(span, attributes, details)
        if attributes:
            details["attributes"] = attributes
        if not step.sampled:
            details["sampled"] = False
        said = self.encoder.details(details) if self._details_change and details else details
        if told:
            said = {**said, **told}
        self.write(
            StepEnded(
                step.session_id,
                step.kind,
                step.name,
                step.step_id,
                step.parent_step_id,
                step.attempt,
                step.start_ns,
                step.trace_id,
                step.span_id,
                end_ns,
                outcome,
                info,
                usage,
                said,
            )
        )
        if step.parent is None:
            self._roots.pop(id(step), None)
        if end_span is not None:  # the journal has it by now, should a lock of the program's exporter be held for long
            end_span()

    def _forwards(self, step: Step) -> bool:
        """Tell whether the drain sends a step's span, though it is the SDK's."""
        return self._forwarded and step.sampled and not self._exported()

    def note(self, step: Step, event_type: str, details: Mapping[str, Any], level: str = "INFO") -> None:
        """Journal an event within a step."""
        if step.opening is not None:
            self.open(step)
        if self._details_change:
            details = self.encoder.details(details)
        self.write(
            StepNoted(
                step.session_id,
                event_type,
                level,
                step.name,
                step.step_id,
                step.parent_step_id,
                step.attempt,
                step.start_ns,
                step.trace_id,
                step.span_id,
                step.next_index(),
                self._now(),
                details,
            )
        )

    # --- sessions ---

    def session_of(self, context: Context, own: str | None = None) -> str | None:
        """Return the session that a root in this context belongs to; None: its trace's.

        The first that is there: what it is within, `--session`, its framework's `own`, baggage where that is trusted.
        """
        return session_within(context) or self.session_id or own or self.session_carried(context)

    def session_fixed(self, context: Context) -> str | None:
        """Return the session of all in this context, whatever it says itself."""
        return session_within(context) or self.session_id

    def session_carried(self, context: Context) -> str | None:
        """Return the session that baggage names, where it is trusted."""
        for key in _SESSION_BAGGAGE if self.trusts_baggage else ():
            value = get_baggage(key, context)
            if isinstance(value, str) and value:
                return value
        return None

    def record(
        self,
        session_id: str,
        event_type: str,
        details: Mapping[str, Any] = EMPTY,
        *,
        level: str = "INFO",
        name: str | None = None,
        step: Step | None = None,
        event_id: str | None = None,
        error: BaseException | ErrorInfo | None = None,
        failed: Step | None = None,
    ) -> None:
        """Journal an event of a session, beside or within a step.

        `error`: why, where it tells of a failure; `failed`: the step, if another, that the error has ended already.
        """
        if self._details_change:
            details = self.encoder.details(details)
        if error is not None and level == "ERROR":
            details = {**details, **self.told_of(error, failed or step)}
        now_ns = self._now()
        said = (
            session_id,
            event_id or time_ordered_id(now_ns, self.ids.bytes16()),
            event_type,
            level,
            now_ns,
            name,
            step.step_id if step else None,
            step.parent_step_id if step else None,
            step.attempt if step else None,
            step.trace_id if step else None,
            step.span_id if step else None,
            details,
        )
        self.write(SessionNoted(*said) if error is None else FailureNoted(*said, self.error_info(error)))

    def stage(self, session_id: str, stage: str, *, progress: float | None = None, step: Step | None = None) -> None:
        """Journal which stage the work has reached. `progress`: percent; by default what is known of the stage."""
        details: dict[str, Any] = {"stage": stage}
        known = self._stages.get(stage) if progress is None else progress
        if known is not None:
            details["progress"] = min(100, max(0, known))
        self.record(session_id, STAGE_CHANGED, details, name=stage, step=step)

    def resumed(self, step: Step, checkpoint_id: str) -> None:
        """Journal that a root goes on from where an interrupted one stopped, at a checkpoint."""
        self.record(step.session_id, RUN_RESUMED, {"checkpoint_id": checkpoint_id}, name=step.name, step=step)

    # --- liveness ---

    def heartbeat(self) -> None:
        """Journal that this process is alive, while it has a root open."""
        self.clock.catch_up()
        sessions = tuple({root.session_id for root in list(self._roots.values()) if root.session_id})
        if sessions:
            self.write(Heartbeat(self._now(), sessions))

    def hold(self, root: Root) -> None:
        """Say in heartbeats that this is under way, and end it as cancelled where the process leaves in order."""
        self._roots[id(root)] = root

    def let_go(self, root: Root) -> None:
        """Hold a root no longer: it has ended."""
        self._roots.pop(id(root), None)

    def open_roots(self) -> list[Root]:
        """Return the roots that have not ended."""
        return list(self._roots.values())

    def settle(self, timeout_s: float) -> bool:
        """Wait until the endings put aside by now are journaled, at most so long; return whether they are."""
        return self._aside.settle(timeout_s)

    def close(self) -> None:
        """End what is still open as cancelled: the process is leaving in order."""
        if self._aside.bring(self._end_roots):  # a signal handler may call us, within the lock of a span
            self.settle(_CLOSE_S)
        else:
            self._end_roots()

    def _end_roots(self) -> None:
        for root in self.open_roots():
            root.end("cancelled")


def session_within(context: Context) -> str | None:
    """Return the session of the step or block that this context is within."""
    step: Any = context.get(STEP_KEY)
    if step is not None:
        return cast("Step", step).session_id
    return cast("str | None", context.get(SESSION_KEY))


def recorder_of(step: Step) -> Recorder:
    """Return the recorder that made a step."""
    return cast("Recorder", step.keeper)


def _link(link: Link) -> dict[str, str]:
    return {"trace_id": f"{link.context.trace_id:032x}", "span_id": f"{link.context.span_id:016x}"}
