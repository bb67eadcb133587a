"""The recorder: one call opens a step's span and makes its START durable, one call ends both.

Instrumentors and hand-written agents call it; it hands encoded facts to an appender (the spool) and knows nothing of
files, stores or frameworks. Nothing here raises into the agent, and a failure to record is counted in
`Recorder.dropped`.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry import trace as trace_api
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext

from otel_agent_journal import forks
from otel_agent_journal.codec import valid_text
from otel_agent_journal.event import EMPTY, REPLAY
from otel_agent_journal.mapping.content import said_attributes
from otel_agent_journal.mapping.facts import StepEnded, StepNoted, StepStarted
from otel_agent_journal.mapping.genai import TOOL_EFFECTS
from otel_agent_journal.mapping.harmless import harmless_attributes
from otel_agent_journal.pipeline.adoption import end_beside
from otel_agent_journal.pipeline.attempts import Attempts
from otel_agent_journal.pipeline.clock import Clock, RandomIds
from otel_agent_journal.pipeline.content import ContentEncoder, as_json
from otel_agent_journal.pipeline.effects import Effects
from otel_agent_journal.pipeline.fact_writer import Appender
from otel_agent_journal.pipeline.history import Histories, Keeping
from otel_agent_journal.pipeline.metrics import Metrics
from otel_agent_journal.pipeline.outside import Outside
from otel_agent_journal.pipeline.pending import PendingStep
from otel_agent_journal.pipeline.session_writer import SessionWriter
from otel_agent_journal.pipeline.spans import Spans
from otel_agent_journal.pipeline.step import STEP_KEY, Step, current_context
from otel_agent_journal.pipeline.step_span import Ending
from otel_agent_journal.pipeline.who import SAID
from otel_agent_journal.plain import text_of
from otel_agent_journal.replays.current import replaying
from otel_agent_journal.threads import watch_collections

if TYPE_CHECKING:
    from otel_agent_journal.replays.replaying import Replay

_CLOSE_S: Final = 5.0  # how long the end of the process waits for the processors of the program's spans


class Recorder(SessionWriter):
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
        super().__init__(
            appender,
            encoder or ContentEncoder(),
            session_id=session_id,
            trusts_baggage=trusts_baggage,
            introduce=introduce,
            stages=stages,
            clock=clock,
            ids=ids,
        )
        self.span_content = span_content
        self._effects = Effects(tool_effects)
        as_said = self.encoder.content and self.encoder.redactor is None
        self.histories = Histories(as_said=as_said, keeping=keeping)
        self._spans = Spans(self.ids, self.failed, exported=exported, forwarded=forwarded, provided=provided)
        self.after_fork()
        watch_collections()
        forks.join(self, forks.Place.RECORDING)

    def after_fork(self) -> None:
        """Begin, here and in a forked child: the parent's roots end there, and its threads are not here."""
        super().after_fork()
        self.metrics = Metrics()
        self._attempts = Attempts()
        self._outside = Outside()

    @property
    def content(self) -> bool:
        """Tell whether content is journaled."""
        return self.encoder.content

    def shows_content(self, step: Step | None) -> bool:
        """Tell whether the span of a step, or of a child of it, takes content: a light one keeps none."""
        return self.span_content and (step is None or step.span.takes_content)

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
            waits: its framework is about to open a span for it: the step begins with `Step.adopt`, or else with
                `Step.begin`, an event within it, a step below it or its ending.
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
        shown = self._shown(kind, name, attributes, on_span, details)
        if parent is None:
            step = self._root(kind, name, start_ns, context, session_id, step_id, details, detached)
            self._roots[id(step)] = step
        else:
            step = self._child(kind, name, start_ns, parent, session_id, step_id, details)
        if kind == "MODEL":
            step.request = attributes
        if (replay := replaying()) is not None:
            self._is_replayed(replay, step, details)
        if waits:
            step.pending = PendingStep(step, self._spans, self._begun, context, enclosing, shown, details, links)
        else:
            self._begun(step, self._spans.open(step, context, enclosing, shown, links), details, links)
        return step

    def _is_replayed(self, replay: Replay, step: Step, details: dict[str, Any]) -> None:
        """Say in a step's details what of the recording it is: compared as it would be journaled."""
        details[REPLAY] = replay.began(step, self.encoder.details(details) if self._details_change else details)
        if step.parent is None:
            details[REPLAY]["session"] = replay.rules.session
            details["tags"] = [*(details.get("tags") or ()), REPLAY]

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

    def _begun(self, step: Step, above: SpanContext | None, details: dict[str, Any], links: Sequence[Link]) -> None:
        """Journal the START of a step that has its span. `above`: the span of another's that it is below."""
        span = step.span
        if above is not None:
            details["parent_span_id"] = f"{above.span_id:016x}"
        if links:
            details["links"] = [_link(link) for link in links]
        if not span.sampled:
            details["sampled"] = False
        elif span.is_exported():
            details["exported"] = True
        self.write(
            StepStarted(
                step.session_id,
                step.kind,
                step.name,
                step.step_id,
                step.parent_step_id,
                step.attempt,
                step.start_ns,
                span.trace_id,
                span.span_id,
                self.encoder.details(details) if self._details_change and details else details,
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
        if (replay := replaying()) is not None:
            found = replay.session_of(found)
        if not found.isascii():
            found = valid_text(found)  # what the journal can hold is what the span says too
        attempt = 1 if step_id is None else self._attempts.next(step_id)
        return Step(self, kind, name, found, None, step_id or self.ids.hex(), attempt, start_ns)

    def _child(
        self,
        kind: str,
        name: str,
        start_ns: int,
        parent: Step,
        session_id: str | None,
        step_id: str | None,
        details: dict[str, Any],
    ) -> Step:
        if parent.pending is not None:
            parent.begin()  # its framework has opened no span for it: it is not sampled
        if session_id and session_id != parent.session_id:
            details["framework_session_id"] = session_id
        step_id = step_id or parent.child_id(kind, name)
        step = Step(self, kind, name, parent.session_id, parent, step_id, self._attempts.next(step_id), start_ns)
        parent.child_began(step)
        return step

    def end_step(self, step: Step, ending: Ending) -> None:
        """Journal a step's ending and end its span. Call `Step.end`, which lets only the first through.

        Where that calls the program's processors it may be a thread of ours that does it: see `settle`.
        """
        if sys.is_finalizing():  # nothing is journaled, and what a span's processor waits for may never come
            return
        step.flush_chunks()
        ending.end_ns = self._now()
        if step.span.calls_out:
            self._outside.call(functools.partial(self._end, step, ending))
        else:
            self._end(step, ending)

    def _end(self, step: Step, ending: Ending) -> None:
        span, error, details = step.span, ending.error, ending.details
        ending.span_content = self.span_content
        if error is not None:
            ending.info = self.error_info(error)
            if ending.outcome == "error":
                ending.told = self.told_of(error, step)
        claim = step.recorded
        if claim is not None and claim.is_served:
            ending.was_served(claim.attempt.step_id)
        elif claim is not None and claim.is_told and not claim.is_live:
            ending.costs_nothing()
        elif step.kind == "MODEL":
            self.metrics.model_ended(step, ending)
        attributes = span.leaves(ending.attributes, details)
        if attributes:
            details["attributes"] = attributes
        if not span.sampled:
            details["sampled"] = False
        said = self.encoder.details(details) if self._details_change and details else details
        self.write(
            StepEnded(
                step.session_id,
                step.kind,
                step.name,
                step.step_id,
                step.parent_step_id,
                step.attempt,
                step.start_ns,
                span.trace_id,
                span.span_id,
                ending.end_ns,
                ending.outcome,
                ending.info,
                ending.usage,
                {**said, **ending.told} if ending.told else said,
            )
        )
        if step.parent is None:
            self._roots.pop(id(step), None)
        # The journal has it by now, should a lock of the program's exporter be held for long.
        if step.beside is not None:
            end_beside(step, ending)
        span.step_ends(ending)

    def note(self, step: Step, event_type: str, details: Mapping[str, Any], level: str = "INFO") -> None:
        """Journal an event within a step."""
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
                step.span.trace_id,
                step.span.span_id,
                step.next_index(),
                self._now(),
                details,
            )
        )

    # --- the end of the process ---

    def settle(self, timeout_s: float) -> bool:
        """Wait until the endings put aside by now are journaled, at most so long; return whether they are."""
        return self._outside.settle(timeout_s)

    def close(self) -> None:
        """End what is still open as cancelled: the process is leaving in order."""
        if self._outside.bring(self._end_roots):  # a signal handler may call us, within the lock of a span
            self.settle(_CLOSE_S)
        else:
            self._end_roots()

    def _end_roots(self) -> None:
        for root in self.open_roots():
            root.end("cancelled")


def recorder_of(step: Step) -> Recorder:
    """Return the recorder that made a step."""
    return cast("Recorder", step.keeper)


def _link(link: Link) -> dict[str, str]:
    return {"trace_id": f"{link.context.trace_id:032x}", "span_id": f"{link.context.span_id:016x}"}
