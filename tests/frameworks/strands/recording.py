"""A process that is instrumented for Strands, in each of the ways in which its spans can come about.

`adopted`: the program has a TracerProvider, and the spans that Strands opens are those of the steps. `replaced`: ours
are opened instead. `unsampled`, `no provider`: no span is recorded. The journal is the same in all of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import strands.telemetry.tracer
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from otel_agent_journal.event import END_TYPES, START_TYPES, JournalEvent
from otel_agent_journal.frameworks.strands import StrandsInstrumentor
from otel_agent_journal.frameworks.strands.instrumentor import SPANS_VARIABLE
from otel_agent_journal.frameworks.strands.invocations import SCOPE
from otel_agent_journal.frameworks.strands.rebuilding import answered
from otel_agent_journal.pipeline.processor import JournalSpanProcessor
from otel_agent_journal.projections.steps import StepTree, fold_steps
from tests.frameworks.langgraph.recording import Recording, recording_at
from tests.frameworks.requests_told import answers_of
from tests.frameworks.strands.given import Given

ADOPTED: Final = "adopted"
REPLACED: Final = "replaced"
WAYS: Final = (ADOPTED, REPLACED, "unsampled", "no provider")

_OURS: Final = "otel_agent_journal"
_SHORT_IDS: Final = re.compile(r"(tooluse_[a-z_]+_|handoff_|'framework_session_id': ')[0-9a-f]+")
# What Strands says on its spans beside what is ours, as the span tree prints it.
_NATIVE: Final = re.compile(
    r"'(?:event_loop\.[a-z_]+|gen_ai\.(?:event|server)\.[a-z_.]+|gen_ai\.agent\.tools|gen_ai\.tool\.json_schema"
    r"|system_instructions|gen_ai\.system)': (?:'[^']*'|\"[^\"]*\"|[0-9.e-]+)(?:, |(?=}))"
)


class StrandsRecording(Recording):
    """What was recorded of Strands, and how its spans came about."""

    way: str = ADOPTED
    beside: frozenset[str] = frozenset(("execute_event_loop_cycle",))  # spans of Strands that are no step's

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.given = Given()

    def check_answers(self, sessions: dict[str, list[JournalEvent]]) -> None:
        """Every answer of a model, made again of the journal, is what the model gave Strands, and none is missing."""
        told = [one for key, events in sessions.items() for one in answers_of(self.store, key, events)]
        answers = [one for one in told if one["output"] is not None]
        assert [one.get("why") for one in answers if not one["complete"]] == []
        given = list(self.given.answers)
        for one in map(answered, answers):
            assert one in given, "an answer is not in the journal as it was given"
            given.remove(one)
        assert given == [], "an answer is not in the journal"

    def steps_of(self, events: Any) -> StepTree:
        """The step tree of these events."""
        return fold_steps(events)

    def journal(self, *, parallel: bool = False) -> str:
        """The steps of every session, as text: the same however spans come about."""
        told: list[str] = []
        for session_id in self.sessions:
            tree = self.tree(session=session_id, parallel=parallel)
            told.append(f"session {session_id}\n{tree}" if len(self.sessions) > 1 else tree)
        text = re.sub(r",? ?'parent_span_id': '<id>'", "", "\n".join(sorted(told)))
        return _SHORT_IDS.sub(r"\1<id>", text.replace(" in={}", "").replace(" out={}", ""))

    def matches(self, snapshot: Any, *, parallel: bool = False) -> None:
        """Compare with the snapshots: one of the journal, whatever the way, and one of the spans if there are any."""
        self.check()
        assert self.journal(parallel=parallel) == snapshot(name="journal")
        if self.way in (ADOPTED, REPLACED):
            assert self.span_tree(parallel=parallel) == snapshot(name=f"spans {self.way}")

    def span_tree(self, *, attributes: bool = True, parallel: bool = False) -> str:
        """The spans as indented lines, without what Strands says of its own: times, cycles, prompts, schemas."""
        return _SHORT_IDS.sub(r"\1<id>", _NATIVE.sub("", super().span_tree(attributes=attributes, parallel=parallel)))

    def check(self, *, spans: bool = True) -> None:
        """Hold what is true of every recording, and what is true of spans that come about in this way."""
        real = self.way in (ADOPTED, REPLACED)
        super().check(spans=spans and real)
        for events in self.sessions.values():
            began = sorted((event.step_id, event.attempt) for event in events if event.type in START_TYPES)
            ended = sorted((event.step_id, event.attempt) for event in events if event.type in END_TYPES)
            assert began == ended, "attempts that began and ended differ"
        steps: Any = self.instrumentor.steps
        assert not steps._open, "invocations that have ended are still remembered"
        assert not steps._running, "graphs that have ended are still remembered"
        if not real:
            assert not self.spans
            return
        native = [span for span in self.spans if scope_of(span) == SCOPE]
        if self.way == REPLACED:
            assert not native
        for span in native:
            assert (span.attributes or {}).get("gen_ai.conversation.id") in self.sessions, f"{span.name} of no session"
        self._check_one_span_each(native)

    def _check_one_span_each(self, native: list[ReadableSpan]) -> None:
        """A step has one span: Strands' own where it opens one, else ours. Only cycles are spans of Strands beside."""
        beside = [span for span in native if "agent_journal.step.id" not in (span.attributes or {})]
        assert {span.name for span in beside} <= self.beside
        counted = sum(1 for events in self.sessions.values() for event in events if event.type in START_TYPES)
        ours = [span for span in self.spans if scope_of(span) == _OURS]
        assert counted == len(ours) + len(native) - len(beside)


def scope_of(span: ReadableSpan) -> str:
    """Return the name of the scope that opened a span."""
    return span.instrumentation_scope.name if span.instrumentation_scope is not None else ""


def forget_native_tracer() -> None:
    """Have Strands make its tracer anew: it keeps that of the first provider for as long as the process runs."""
    strands.telemetry.tracer._tracer_instance = None


@contextmanager
def strands_recording_at(root: Path, way: str = ADOPTED, **options: Any) -> Iterator[StrandsRecording]:
    """Instrument this process for Strands and record; afterwards it is as it was."""
    forget_native_tracer()
    provider = None if way == "no provider" else TracerProvider(sampler=ALWAYS_OFF if way == "unsampled" else None)
    if way == REPLACED:
        os.environ[SPANS_VARIABLE] = "replace"
    instrumentor = StrandsInstrumentor()
    try:
        with recording_at(root, provider=provider, instrumentor=instrumentor, kind=StrandsRecording, **options) as made:
            assert isinstance(made, StrandsRecording)
            made.way = way
            if provider is not None:
                provider.add_span_processor(JournalSpanProcessor(made.recorder))
            yield made
    finally:
        os.environ.pop(SPANS_VARIABLE, None)
        forget_native_tracer()
