"""The forwarder between the drain and a backend: nothing waits for it, nothing is sent twice, losses are counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from otel_agent_journal.delivered import Delivered
from otel_agent_journal.event import SESSION_INTERRUPTED, JournalEvent
from otel_agent_journal.forwarding.export import BackendUnreachable, export_session, spans_of_session
from otel_agent_journal.forwarding.forwarder import Forwarder, open_forwarder
from otel_agent_journal.forwarding.spans import with_blobs
from otel_agent_journal.mapping.span_record import SpanRecord
from otel_agent_journal.otlp.answers import BatchRefused, SendFailed
from otel_agent_journal.otlp.target import default_resource
from tests.clock import by_the_clock, in_time

WRITER = SimpleNamespace(writer="w", resource={"service.name": "agent"})
TRACE = "1" * 32


class Sender:
    """A backend that answers as it is told."""

    target = "http://test"

    def __init__(self, answer: Callable[[Sequence[SpanRecord]], int] = lambda spans: 0) -> None:
        self.answer = answer
        self.sent: list[SpanRecord] = []
        self.calls: list[int] = []
        self.closed = False

    def send(self, spans: Sequence[SpanRecord]) -> int:
        self.calls.append(len(spans))
        rejected = self.answer(spans)
        self.sent += spans
        return rejected

    def close(self) -> None:
        self.closed = True

    @property
    def names(self) -> list[str]:
        return [span.name.rpartition(" ")[2] for span in self.sent]


def event(event_type: str, step: str, at_ns: int, **fields: Any) -> JournalEvent:
    """Return an event of a step."""
    fields = {
        "session_id": "s",
        "event_id": f"{event_type}-{step}-{at_ns}",
        "name": step,
        "writer": "w",
        "step_id": step,
        "attempt": 1,
        "trace_id": TRACE,
        "span_id": f"{abs(hash(step)) or 1:016x}"[-16:],
        **fields,
    }
    return JournalEvent(type=event_type, timestamp_ns=at_ns, **fields)


def step(name: str, at_ns: int = 10, **fields: Any) -> list[JournalEvent]:
    """Return both events of a step that took five nanoseconds."""
    return [
        event("TOOL_START", name, at_ns, **fields),
        event("TOOL_END", name, at_ns + 5, duration_ns=5, outcome="ok", **fields),
    ]


def interruption(writer: str = "w") -> JournalEvent:
    """Return what the drain writes of a dead writer, last seen at 99."""
    details = {"writer": writer, "last_seen": "1970-01-01T00:00:00.000000099Z"}
    return JournalEvent(
        session_id="s", event_id="i", type=SESSION_INTERRUPTED, timestamp_ns=100, writer=writer, details=details
    )


@pytest.fixture
def sender() -> Sender:
    """A backend that takes everything."""
    return Sender()


Make = Callable[..., Forwarder]


@pytest.fixture
def forwarder_to() -> Iterator[Make]:
    """Forwarders that do not linger, closed after the test."""
    made: list[Forwarder] = []

    def make(sender: Sender, **options: Any) -> Forwarder:
        made.append(Forwarder(sender, **{"linger_s": 0.0, "warn": lambda text: None, **options}))
        return made[-1]

    yield make
    for forwarder in made:
        forwarder.close(0)


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_step_is_sent_once_however_often_it_is_delivered(sender: Sender, forwarder_to: Make) -> None:
    """Resources are the writer's over the default."""
    forwarder = forwarder_to(sender, resource={"service.name": "default", "k": "v"})
    for _ in range(3):
        forwarder(step("a"), WRITER)
        assert forwarder.flush(5)
    assert sender.names == ["a"]
    assert sender.sent[0].resource == {"service.name": "agent", "k": "v"}
    assert sender.sent[0].start_ns == 10
    assert (forwarder.stats.sent, forwarder.stats.pending, forwarder.stats.dropped) == (1, 0, 0)


def test_the_resource_is_made_once_a_writer(sender: Sender, forwarder_to: Make) -> None:
    """So that spans of one batch share it."""
    forwarder = forwarder_to(sender)
    for index in range(1003):
        forwarder(step(f"s{index}"), SimpleNamespace(resource={"n": str(index)}))
    forwarder(step("a"), WRITER)
    forwarder(step("b"), WRITER)
    assert forwarder.flush(5)
    assert sender.sent[-1].resource is sender.sent[-2].resource


def test_events_gather_to_batches(sender: Sender, forwarder_to: Make) -> None:
    """A batch waits a moment for company, and is sent at once when it is full or somebody flushes."""
    forwarder = forwarder_to(sender, linger_s=30.0, batch_spans=2)
    for name in "abc":
        forwarder(step(name), WRITER)
    wait_until(lambda: len(sender.sent) == 2)
    assert forwarder.flush(5)
    assert sender.calls == [2, 1]


def test_a_step_that_the_program_exports_is_left_to_it_unless_it_is_cut(sender: Sender, forwarder_to: Make) -> None:
    """Exactly one of the two ways carries a step."""
    forwarder = forwarder_to(sender)
    forwarder(step("a", details={"exported": True}), WRITER)
    forwarder([event("TOOL_START", "b", 20, details={"exported": True}), event("PROGRESS", "b", 21)], WRITER)
    forwarder([JournalEvent(session_id="s", event_id="x", type="MY_EVENT", timestamp_ns=22)], WRITER)
    assert forwarder.stats.open_steps == 1
    forwarder([interruption()], WRITER)
    assert forwarder.flush(5)
    (span,) = sender.sent
    assert (span.name, span.end_ns, span.attributes["agent_journal.outcome"]) == ("execute_tool b", 99, "interrupted")
    assert [noted.name for noted in span.events] == ["progress"]


def test_steps_that_an_earlier_drain_delivered_are_read_back(sender: Sender, forwarder_to: Make) -> None:
    """After a restart an ending finds its START, a child its parent, and an interruption what it cuts."""
    (start, end), (child_start, child_end) = (
        step("a", 10, details={"attributes": {"gen_ai.x": 1}}),
        step("b", 12, parent_step_id="a"),
    )
    open_start = event("TOOL_START", "c", 13, parent_step_id="a")
    foreign = event("TOOL_START", "d", 13, writer="other")
    stored = [start, child_start, *step("z", 11), open_start, foreign]
    reads: list[str] = []

    def read(session_id: str) -> Iterator[JournalEvent]:
        reads.append(session_id)
        yield from stored

    forwarder = forwarder_to(sender, read=read)
    forwarder([child_end, *step("e", 14, parent_step_id="a"), end], WRITER)
    forwarder(step("f", 15, parent_step_id="nobody"), WRITER)
    assert reads == ["s"]
    stored += [end, child_end]
    forwarder([interruption()], WRITER)
    assert forwarder.flush(5)

    spans = {span.name.rpartition(" ")[2]: span for span in sender.sent}
    assert set(spans) == {"a", "b", "c", "e", "f"}
    assert spans["a"].attributes["gen_ai.x"] == 1
    assert spans["b"].parent_span_id == spans["c"].parent_span_id == spans["e"].parent_span_id == spans["a"].span_id
    assert spans["c"].attributes["agent_journal.outcome"] == "interrupted"


def test_a_step_sent_before_is_not_sent_again_when_its_writer_dies(sender: Sender, forwarder_to: Make) -> None:
    """A START delivered again after its step's ending leaves nothing open."""
    forwarder = forwarder_to(sender)
    events = step("a")
    forwarder(events, WRITER)
    forwarder(events[:1], WRITER)
    forwarder([interruption()], WRITER)
    assert forwarder.flush(5)
    assert sender.names == ["a"]


def test_a_store_that_cannot_be_read_costs_only_what_it_knew(sender: Sender, forwarder_to: Make) -> None:
    """The span is made of its ending."""

    def read(session_id: str) -> Iterator[JournalEvent]:
        raise OSError("locked")

    forwarder = forwarder_to(sender, read=read)
    forwarder(step("a")[1:], WRITER)
    assert forwarder.flush(5)
    assert (sender.sent[0].start_ns, sender.sent[0].end_ns) == (10, 15)


def test_a_session_is_searched_only_so_far(sender: Sender, forwarder_to: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million events are not read for one START."""
    monkeypatch.setattr("otel_agent_journal.forwarding.spans._MAX_SEARCHED", 2)
    stored = [*step("x"), *step("a")]
    forwarder = forwarder_to(sender, read=lambda session_id: iter(stored))
    forwarder([event("TOOL_END", "a", 15, outcome="ok")], WRITER)
    assert forwarder.flush(5)
    assert sender.sent[0].start_ns == 15


def test_a_strange_event_costs_its_own_span_only(sender: Sender, forwarder_to: Make) -> None:
    """Whatever is in details."""
    forwarder = forwarder_to(sender)
    strange = event(
        "TOOL_END", "x", 1, details={"attributes": {"a": 1}, "status": {"code": []}, "links": [[]], "events": [1]}
    )
    worse = SimpleNamespace(type="TOOL_START", event_id="e")
    forwarder([strange, worse, *step("a")], WRITER)  # type: ignore[list-item]
    assert forwarder.flush(5)
    assert sender.names == ["x", "a"]


def test_oversize_values_are_read_from_the_store() -> None:
    """Only those that a span is made of; one that is not there is left out."""
    blob = {"$blob": "d", "bytes": 9, "preview": "{"}
    big = event("TOOL_END", "a", 1, details={"attributes": blob, "output": blob})
    assert with_blobs(big, lambda session_id, digest: b'{"x":1}').details == {"attributes": {"x": 1}, "output": blob}
    assert with_blobs(big, lambda session_id, digest: b"{broken").details["attributes"] is None
    assert with_blobs(big, None).details["attributes"] is None
    small = event("TOOL_END", "a", 1)
    assert with_blobs(small, None) is small


@by_the_clock
def test_the_drain_never_waits_for_a_backend_that_hangs(forwarder_to: Make) -> None:
    """Events go on being taken in; what is over the capacity is dropped, oldest first, and counted."""
    hang = threading.Event()
    sender = Sender(lambda spans: int(hang.wait(10)) - 1)
    forwarder = forwarder_to(sender, capacity=10, batch_spans=1)
    forwarder(step("first"), WRITER)
    wait_until(lambda: len(sender.calls) == 1)
    began = time.monotonic()
    for index in range(30):
        forwarder(step(f"s{index}"), WRITER)
    in_time(time.monotonic() - began, 5)
    assert (forwarder.stats.pending, forwarder.stats.dropped) == (10, 21)
    assert forwarder.flush(0.05).spans_pending == 10 + 21
    hang.set()
    assert forwarder.flush(5)  # what was given up has been told
    assert sender.names == ["first", *(f"s{index}" for index in range(21, 30))]


def test_spans_wait_while_the_backend_is_away_and_one_warning_is_given(forwarder_to: Make) -> None:
    """They arrive in order, once, when it is back."""
    away = [True]
    warnings: list[str] = []

    def answer(spans: Sequence[SpanRecord]) -> int:
        if away[0]:
            raise SendFailed("refused")
        return 0

    sender = Sender(answer)
    forwarder = forwarder_to(sender, warn=warnings.append, batch_spans=2)
    for name in "abc":
        forwarder(step(name), WRITER)
    for _ in range(3):
        assert not forwarder.flush(5)
    assert forwarder.stats.last_error == "refused"
    assert warnings == ["OTLP http://test refused; 0 spans forwarded, journal unaffected, retrying"]
    away[0] = False
    wait_until(lambda: forwarder.flush(5))
    assert sender.names == ["a", "b", "c"]


def test_a_span_that_the_backend_refuses_is_given_up_alone(forwarder_to: Make) -> None:
    """The batch is halved until the one is found; the rest arrives in order."""
    warnings: list[str] = []

    def answer(spans: Sequence[SpanRecord]) -> int:
        if any(span.name.endswith("bad") for span in spans):
            raise BatchRefused("answered 400")
        return 0

    sender = Sender(answer)
    forwarder = forwarder_to(sender, linger_s=30.0, warn=warnings.append)
    forwarder([both for name in ("a", "b", "bad", "c", "d") for both in step(name)], WRITER)
    assert forwarder.flush(5).spans_pending == 1
    assert sender.names == ["a", "b", "c", "d"]
    assert (forwarder.stats.sent, forwarder.stats.dropped) == (4, 1)
    assert warnings == ["OTLP http://test answered 400; spans given up: 1, journal unaffected"]


def test_a_backend_that_refuses_everything_is_not_asked_for_each_span(forwarder_to: Make) -> None:
    """A batch is halved for one span's sake: where nothing passes it is given up, counted, and the next one tried."""
    refuses = [True]

    def answer(spans: Sequence[SpanRecord]) -> int:
        if refuses[0]:
            raise BatchRefused("answered 400")
        return 0

    sender = Sender(answer)
    forwarder = forwarder_to(sender, linger_s=30.0, warn=lambda _: None)
    forwarder([both for number in range(500) for both in step(str(number))], WRITER)
    assert forwarder.flush(5) == Delivered(spans_pending=500)  # what was given up is not there
    assert forwarder.stats.dropped == 500
    assert len(sender.calls) == 20
    refuses[0] = False
    forwarder(step("after"), WRITER)
    assert forwarder.flush(5)
    assert sender.names == ["after"]


def test_halves_that_were_not_tried_wait_too(forwarder_to: Make) -> None:
    """When the backend goes away in the middle of a halved batch, nothing is lost or doubled."""
    script: list[SendFailed | None] = [BatchRefused("large"), None, SendFailed("gone"), None, None]

    def answer(spans: Sequence[SpanRecord]) -> int:
        failure = script.pop(0) if script else None
        if failure is not None:
            raise failure
        return 0

    sender = Sender(answer)
    forwarder = forwarder_to(sender, linger_s=30.0)
    forwarder([both for name in "abcd" for both in step(name)], WRITER)
    forwarder.flush(5)
    wait_until(lambda: forwarder.flush(5))
    assert sender.names == ["a", "b", "c", "d"]
    assert forwarder.stats.pending == 0


def test_rejected_spans_are_counted(forwarder_to: Make) -> None:
    """A partial success is not a failure, but its loss is told."""
    forwarder = forwarder_to(Sender(lambda spans: 1))
    forwarder(step("a"), WRITER)
    assert forwarder.flush(5).spans_pending == 1
    assert (forwarder.stats.sent, forwarder.stats.dropped) == (0, 1)
    assert forwarder.stats.last_error == "the backend rejected 1 of 1 spans"


def test_a_span_that_cannot_be_encoded_is_given_up_alone(forwarder_to: Make) -> None:
    """A fault of our own is found as a refusal is, and ends nothing."""

    def answer(spans: Sequence[SpanRecord]) -> int:
        if any(span.name.endswith("odd") for span in spans):
            raise ValueError("negative time")
        return 0

    sender = Sender(answer)
    forwarder = forwarder_to(sender, linger_s=30.0)
    forwarder([both for name in ("a", "odd", "b") for both in step(name)], WRITER)
    assert forwarder.flush(5).spans_pending == 1
    assert sender.names == ["a", "b"]
    assert (forwarder.stats.sent, forwarder.stats.dropped, forwarder.stats.pending) == (2, 1, 0)
    assert forwarder.stats.last_error == "ValueError: negative time"


def test_a_fault_of_the_warning_ends_nothing(forwarder_to: Make) -> None:
    """Stderr may be closed."""

    def warn(text: str) -> None:
        raise OSError("closed")

    script = [SendFailed("refused")]

    def answer(spans: Sequence[SpanRecord]) -> int:
        if script:
            raise script.pop()
        return 0

    forwarder = forwarder_to(Sender(answer), warn=warn)
    forwarder(step("a"), WRITER)
    forwarder.flush(5)
    wait_until(lambda: forwarder.flush(5))
    assert forwarder.stats.sent == 1


def test_closing_sends_what_waits(sender: Sender, forwarder_to: Make) -> None:
    """Afterwards spans are dropped and counted; closing twice is closing once."""
    forwarder = forwarder_to(sender, linger_s=30.0)
    forwarder(step("a"), WRITER)
    assert forwarder.close(5).sent == 1
    assert sender.closed
    forwarder(step("b"), WRITER)
    assert (forwarder.close(5).sent, forwarder.stats.dropped) == (1, 1)


def test_closing_does_not_wait_for_a_backend_that_is_away(forwarder_to: Make) -> None:
    """One last try, then it says what is pending."""

    def answer(spans: Sequence[SpanRecord]) -> int:
        raise SendFailed("refused", retry_after_s=60)

    forwarder = forwarder_to(Sender(answer))
    forwarder(step("a"), WRITER)
    began = time.monotonic()
    stats = forwarder.close(60)
    assert time.monotonic() - began < 10
    assert (stats.sent, stats.pending, stats.last_error) == (0, 1, "refused")


def test_an_attempt_that_was_under_way_does_not_make_closing_wait(forwarder_to: Make) -> None:
    """It failed before the last try: that one is made at once, not after the pause that the backend asked for."""
    release = threading.Event()

    def answer(spans: Sequence[SpanRecord]) -> int:
        release.wait(10)
        raise SendFailed("refused", retry_after_s=60)

    sender = Sender(answer)
    forwarder = forwarder_to(sender)
    forwarder(step("a"), WRITER)
    wait_until(lambda: sender.calls == [1])
    threading.Timer(0.2, release.set).start()
    began = time.monotonic()
    stats = forwarder.close(60)
    assert time.monotonic() - began < 10
    assert (sender.calls, stats.pending, stats.last_error) == ([1, 1], 1, "refused")


def test_the_resource_of_the_environment() -> None:
    """As OpenTelemetry's variables say; the service's own variable goes first."""
    assert default_resource({}) == {"service.name": "unknown_service"}
    environ = {"OTEL_RESOURCE_ATTRIBUTES": "service.name=a,k=x%20y, odd ,=z", "OTEL_SERVICE_NAME": " b "}
    assert default_resource(environ) == {"service.name": "b", "k": "x y"}


def test_a_forwarder_is_opened_as_the_environment_says() -> None:
    """Target, resource and content."""
    environ = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY"}
    forwarder = open_forwarder("http://127.0.0.1:1", environ)
    assert forwarder.stats.target == "http://127.0.0.1:1/v1/traces"
    assert forwarder.close(1).pending == 0


# --- an old session -----------------------------------------------------------------------------------------------


def test_a_session_s_spans_come_whole_in_any_order() -> None:
    """Nested, steps left open ended where their writer was last seen, whoever exported them, each once."""
    events = [
        event("NODE_START", "n", 10, details={"exported": True}),
        *step("a", 10, parent_step_id="n"),
        event("PROGRESS", "n", 20),
        event("TOOL_START", "b", 30, parent_step_id="n", writer="v"),
        event("PROGRESS", "b", 35, writer="v"),
        interruption(),
    ]
    for order in (events, events[::-1]):
        spans = {span.name.rpartition(" ")[2]: span for span in spans_of_session(order + order[:3])}
        assert set(spans) == {"n", "a", "b"}
        assert spans["a"].parent_span_id == spans["b"].parent_span_id == spans["n"].span_id
        assert (spans["n"].end_ns, spans["b"].end_ns) == (99, 35)
        assert [noted.name for noted in spans["n"].events] == ["progress"]


def test_a_session_ended_twice_is_told_once() -> None:
    """An ending that two doors wrote under two ids is one span."""
    events = [*step("a"), event("TOOL_END", "a", 15, event_id="other"), event("TOOL_START", "a", 16, event_id="late")]
    assert len(list(spans_of_session(events))) == 1


def test_each_writer_may_have_its_own_resource() -> None:
    """As its spool said."""
    (span,) = spans_of_session(step("a"), resources=lambda writer: {"service.name": f"of-{writer}"})
    assert span.resource == {"service.name": "of-w"}


def export(sender: Sender, events: Sequence[JournalEvent], **options: Any) -> int:
    """Export without waiting."""
    return export_session(events, None, environ={}, sender=sender, pause=lambda seconds: None, **options)


def many(count: int) -> list[JournalEvent]:
    """Return the events of that many steps."""
    return [both for index in range(count) for both in step(f"s{index}", 10 + index)]


def test_an_export_tells_how_far_it_is(sender: Sender) -> None:
    """In batches, with the resource of the environment."""
    seen: list[int] = []
    assert export(sender, many(600), progress=seen.append) == 600
    assert seen == [512, 600]
    assert sender.closed
    assert sender.sent[0].resource == {"service.name": "unknown_service"}


def test_an_export_is_patient_for_a_while() -> None:
    """Four failures are waited out, halves are tried; then it is an error that says how far it came."""
    script: list[SendFailed | None] = [SendFailed("busy", 1.0)] * 4 + [BatchRefused("large"), None, None]

    def answer(spans: Sequence[SpanRecord]) -> int:
        failure = script.pop(0) if script else SendFailed("gone")
        if failure is not None:
            raise failure
        return 0

    sender = Sender(answer)
    assert export(sender, many(4)) == 4
    with pytest.raises(BackendUnreachable, match="OTLP http://test gone; 0 of 4 spans were sent"):
        export(sender, many(4))


def test_a_span_that_is_refused_or_rejected_fails_an_export() -> None:
    """Not silently: the count would be wrong."""

    def refuse(spans: Sequence[SpanRecord]) -> int:
        raise BatchRefused("answered 400")

    with pytest.raises(BackendUnreachable, match="answered 400; 0 of 2"):
        export(Sender(refuse), many(2))
    with pytest.raises(BackendUnreachable, match="rejected 1 spans; 1 of 2"):
        export(Sender(lambda spans: 1), many(2))
