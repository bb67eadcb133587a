"""A process that is instrumented and journals for real: spans in memory, events through a spool on disk into a store.

`Recording.tree()` and `Recording.span_tree()` are what snapshots hold: the steps with their events, and the spans,
as indented lines without times and random ids. `Recording.check()` holds what is true of every recording.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opentelemetry import context as context_api
from opentelemetry import trace as trace_api
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.util._once import Once

from otel_agent_journal.delivery.drain import Drain
from otel_agent_journal.event import END_TYPES, START_TYPES, JournalEvent, Usage
from otel_agent_journal.frameworks.langgraph import LangGraphInstrumentor
from otel_agent_journal.frameworks.langgraph.rebuilding import llm_result
from otel_agent_journal.pipeline.content import ContentEncoder
from otel_agent_journal.pipeline.current import set_recorder
from otel_agent_journal.pipeline.recorder import Recorder
from otel_agent_journal.projections.steps import Attempt, Step, StepTree, fold_steps
from otel_agent_journal.spool.writer import SpoolWriter
from otel_agent_journal.store.memory import MemoryStore
from tests.frameworks.langgraph.given import Given, fields_of
from tests.frameworks.requests_told import answers_of

_RANDOM = re.compile(
    r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b|\b[0-9a-f]{32}\b|\b[0-9a-f]{16}\b"
)
_LINE = re.compile(r".*/([^/]+):\d+ ")
_TIMES = re.compile(r"('gen_ai\.response\.time_to_first_chunk': |time_to_first_chunk=)[0-9.e-]+")


class Recording:
    """One instrumented process, and what it recorded. Made by the `recording` fixture or by `recording_at`."""

    def __init__(
        self,
        root: Path,
        *,
        provider: TracerProvider | None,
        writer: str = "a" * 32,
        instrumentor: Any = None,
        **options: Any,
    ) -> None:
        self.root = root
        self.store = MemoryStore()
        self.exporter = InMemorySpanExporter()
        if provider is not None:
            provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.provider = provider
        self.writer = SpoolWriter(root, writer=writer)
        encoder = ContentEncoder(
            **{key: options.pop(key) for key in ("content", "redactor", "field_limit_bytes") if key in options}
        )
        self.recorder = Recorder(self.writer, encoder=encoder, **options)
        self.instrumentor: Any = instrumentor or LangGraphInstrumentor()
        self.given: Any = Given()

    # --- what was recorded ---

    def drain(self) -> None:
        """Deliver what is in the spool, and before it what the collector's finalizers have left to a thread."""
        assert self.recorder.settle(20)
        drain = Drain(self.root, self.store)
        report = drain.drain_once()
        assert (report.set_aside, report.corrupt, report.refused, report.pending_bytes) == (0, 0, 0, 0)

    @property
    def sessions(self) -> dict[str, list[JournalEvent]]:
        """The events of every session, in order."""
        self.drain()
        return {head.session_id: list(self.store.read(head.session_id)) for head in self.store.sessions()}

    @property
    def events(self) -> list[JournalEvent]:
        """The events of the one session there is."""
        (events,) = self.sessions.values()
        return events

    @property
    def steps(self) -> StepTree:
        """The step tree of the one session there is."""
        return fold_steps(self.events)

    @property
    def spans(self) -> list[ReadableSpan]:
        """The spans that have ended, in order of their start."""
        assert self.recorder.settle(20)
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    @property
    def status(self) -> tuple[str, str | None]:
        """Status and reason in the head that the drain wrote of the one session there is."""
        self.drain()
        (head,) = self.store.sessions()
        return head.status, head.reason

    def span(self, name: str) -> ReadableSpan:
        """The one span of that name."""
        (span,) = (span for span in self.spans if span.name == name)
        return span

    def attempt(self, name: str) -> Attempt:
        """The one attempt at the one step of that name."""
        (attempt,) = (one for step in self.steps.steps for one in step.attempts if one.name == name)
        return attempt

    # --- as text ---

    def tree(self, *, session: str | None = None, details: bool = True, parallel: bool = False) -> str:
        """The steps as indented lines: each attempt with its events, outcome, error, usage and details.

        With `parallel`, steps beside each other are sorted by what they say, since their order in time is chance.
        """
        sessions = self.sessions
        events = sessions[session] if session is not None else self.events
        tree = fold_steps(events)
        lines = _sorted_tree(tree.roots, tree.children, lambda step: _step_lines(step, details=details), parallel)
        lines += [
            f"{event.type} {_plain(event.details)}"
            for event in events
            if event.step_id is None and event.type not in START_TYPES | END_TYPES
        ]
        return "\n".join(lines)

    def span_tree(self, *, attributes: bool = True, parallel: bool = False) -> str:
        """The spans as indented lines: name, status, attributes, events and links."""
        spans = self.spans
        known = {span.context.span_id for span in spans}

        def beneath(parent: ReadableSpan) -> list[ReadableSpan]:
            return [one for one in spans if one.parent is not None and one.parent.span_id == parent.context.span_id]

        roots = [span for span in spans if span.parent is None or span.parent.span_id not in known]
        return "\n".join(_sorted_tree(roots, beneath, lambda span: [_span_line(span, attributes=attributes)], parallel))

    def snapshot(self, *, parallel: bool = False, details: bool = True) -> str:
        """Both trees, for a snapshot."""
        steps, spans = self.tree(parallel=parallel, details=details), self.span_tree(parallel=parallel)
        return f"steps\n{_indented(steps)}\nspans\n{_indented(spans)}"

    # --- what is always true ---

    def check(self, *, spans: bool = True) -> None:
        """Every step began once and ended once, and its span is the same thing under the same parent."""
        sessions = self.sessions
        for session_id, events in sessions.items():
            starts = [event.span_id for event in events if event.type in START_TYPES]
            ends = [event.span_id for event in events if event.type in END_TYPES]
            assert sorted(starts) == sorted(ends), "an attempt began or ended more or less than once"
            assert len(set(starts)) == len(starts)
            assert [event.key for event in events] == sorted(event.key for event in events)
            tree = fold_steps(events)
            assert not [step.step_id for step in tree.roots if step.orphan], "a step of an unknown parent"
            head = self.store.head(session_id)
            assert head is not None
            assert head.steps == len(tree.steps)
        assert self.recorder.dropped == 0
        handler = getattr(self.instrumentor, "_handler", None)
        assert not handler or not handler.runs, "runs that have ended are still remembered"
        assert not self.recorder.open_roots()
        if self.recorder.content and self.recorder.encoder.redactor is None:
            self.check_answers(sessions)
        if spans and self.provider is not None:
            self._check_spans(sessions)

    def check_answers(self, sessions: dict[str, list[JournalEvent]]) -> None:
        """Every answer of a model, made again of the journal, is what its framework gave the program."""
        if not self.given.answers:  # of a service, which need not tell all
            return
        told = [one for session_id, events in sessions.items() for one in answers_of(self.store, session_id, events)]
        assert [one.get("why") for one in told if not one["complete"]] == []
        rebuilt = [list(map(fields_of, llm_result(one).generations[0])) for one in told]
        given = [list(map(fields_of, candidates)) for candidates in self.given.answers]
        for one in list(rebuilt):
            if one in given:
                given.remove(one)
                rebuilt.remove(one)
        assert (given, rebuilt[: len(given)]) == ([], []), "an answer is not in the journal as it was given"

    def _check_spans(self, sessions: dict[str, list[JournalEvent]]) -> None:
        by_id = {f"{span.context.span_id:016x}": span for span in self.spans}
        ours = {key for key, span in by_id.items() if "agent_journal.step.id" in (span.attributes or {})}
        events = [event for events in sessions.values() for event in events]
        assert ours == {event.span_id for event in events if event.type in START_TYPES}, "spans and steps differ"
        for event in events:
            if event.type not in START_TYPES | END_TYPES:
                continue
            span = by_id[event.span_id or ""]
            attributes = span.attributes or {}
            assert attributes["agent_journal.step.id"] == event.step_id
            assert attributes.get("agent_journal.step.parent_id") == event.parent_step_id
            assert attributes["agent_journal.attempt"] == event.attempt
            assert attributes["gen_ai.conversation.id"] == event.session_id
            assert f"{span.context.trace_id:032x}" == event.trace_id
            if event.type in START_TYPES:
                assert span.start_time == event.timestamp_ns
            else:
                assert span.end_time == event.timestamp_ns
                assert attributes["agent_journal.outcome"] == event.outcome
        self._check_parents(sessions, by_id)

    def _check_parents(self, sessions: dict[str, list[JournalEvent]], by_id: dict[str, ReadableSpan]) -> None:
        for events in sessions.values():
            tree = fold_steps(events)
            for step in tree.walk():
                for child in tree.children(step):
                    for one in child.attempts:
                        span = by_id[one.span_id or ""]
                        assert span.parent is not None
                        direct = one.details_start.get("parent_span_id")
                        parents = {direct} if direct else {attempt.span_id for attempt in step.attempts}
                        assert f"{span.parent.span_id:016x}" in parents


def _but_for_sampling(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return details but for what says that the step was not sampled: all else is the same then."""
    return {key: value for key, value in details.items() if key != "sampled"}


def _step_lines(step: Step, *, details: bool) -> list[str]:
    lines: list[str] = []
    for one in step.attempts:
        number = f" #{one.ordinal}" if one.ordinal > 1 or len(step.attempts) > 1 else ""
        line = f"{one.kind} {one.name}{number} {one.outcome or 'running'}"
        if one.error is not None:
            line += f" {one.error.type}({one.error.message!r})"
        if one.usage is not None:
            line += f" {_usage(one.usage)}"
        if details:
            began, ended = (
                without_requests(_but_for_sampling(details)) for details in (one.details_start, one.details_end)
            )
            if began:
                line += f" in={_plain(began)}"
            if ended:
                line += f" out={_plain(ended)}"
        lines.append(line)
        counts = Counter(note.type for note in one.notes)
        lines += [f"  · {kind}" for kind in sorted(counts)] if not details else _notes(one.notes)
    return lines


def without_requests(value: Any) -> Any:
    """Return details without what requests are told by, and the digests of messages: `test_requests` is about these."""
    if isinstance(value, list):
        return [without_requests(item) for item in value]
    if not isinstance(value, dict):
        return value
    hidden = ("request", "tools", "params") if "request" in value else ("digest",) if "role" in value else ()
    if "remote" in value:  # of an agent of Bedrock's, for `tests/replay`: what it is asked, and all that it answered
        hidden = (*hidden, "remote", "parameters", "raw")
    if list(value.get("raw") or ()) == ["metrics"]:  # of Strands: how long it took
        hidden = (*hidden, "raw")
    return {name: without_requests(item) for name, item in value.items() if name not in hidden}


def _notes(notes: Sequence[JournalEvent]) -> list[str]:
    text = "".join(str(note.details.get("text")) for note in notes if note.type == "CHUNK")
    lines = [f"  · {note.type} {_plain(note.details)}" for note in notes if note.type != "CHUNK"]
    return [*lines, f"  · CHUNK {text!r}"] if text else lines


def _usage(usage: Usage) -> str:
    counts = {key.removesuffix("_tokens"): getattr(usage, key) for key in Usage.__struct_fields__}
    return " ".join(f"{key}={count}" for key, count in counts.items() if count)


def _span_line(span: ReadableSpan, *, attributes: bool) -> str:
    line = f"{span.name} [{span.kind.name}]"
    if span.status.status_code.name != "UNSET":
        line += f" {span.status.status_code.name}({span.status.description!r})"
    if attributes:
        line += " " + _plain({key: (span.attributes or {})[key] for key in sorted(span.attributes or {})})
    for event in span.events:
        line += f" event:{event.name}"
    for link in span.links:
        line += " link" if link.context.is_valid else " link:invalid"
    return line


def _plain(value: Any) -> str:
    return _TIMES.sub(r"\1<s>", _RANDOM.sub("<id>", str(_without_lines(value))))


def _without_lines(value: Any) -> Any:
    """Stacks and raise sites without what changes with every edit, and with where the libraries are installed."""
    match value:
        case {"stack": str()} | {"raised_at": str()} | {"causes": list()}:
            changed = {"stack": "<stack>", "raised_at": _LINE.sub(r"\1 ", value.get("raised_at", ""))}
            changed["causes"] = [_without_lines(one) for one in value.get("causes", ())]
            return {key: changed.get(key, one) for key, one in value.items()}
        case {"agent_journal.error.raised_at": str(raised_at)}:
            return {**value, "agent_journal.error.raised_at": _LINE.sub(r"\1 ", raised_at)}
        case _:
            return value


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _sorted_tree(roots: Any, children: Any, lines: Any, parallel: bool) -> list[str]:
    blocks = [
        [*lines(node), *(f"  {line}" for line in _sorted_tree(children(node), children, lines, parallel))]
        for node in roots
    ]
    return [line for block in (sorted(blocks) if parallel else blocks) for line in block]


@contextmanager
def recording_at(
    root: Path, *, provider: TracerProvider | None = None, kind: type[Recording] = Recording, **options: Any
) -> Iterator[Recording]:
    """Instrument this process and record; afterwards it is as it was, and no context is left attached."""
    before = context_api.get_current()
    _set_provider(provider)
    recording = kind(root, provider=provider, **options)
    set_recorder(recording.recorder)
    recording.instrumentor.instrument()
    try:
        with recording.given.watching():
            yield recording
        assert context_api.get_current() == before, "a context is left attached"
    finally:
        recording.instrumentor.uninstrument()
        handler = getattr(recording.instrumentor, "_handler", None)
        if handler is not None:  # one a process; the next test's sessions have the same names
            handler.runs.clear()
            handler._interrupted.clear()
        set_recorder(None)
        recording.writer.close()
        _set_provider(None)


def _set_provider(provider: Any) -> None:
    trace_api._TRACER_PROVIDER_SET_ONCE = Once()
    trace_api._TRACER_PROVIDER = provider
