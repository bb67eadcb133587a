"""What the program gets is what botocore gives: parts, class, attributes, errors, behaviour."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest
from botocore.eventstream import EventStream, NoInitialResponseError
from opentelemetry import trace as trace_api

from otel_agent_journal.frameworks.bedrock_agents import BedrockAgentsInstrumentor
from otel_agent_journal.frameworks.bedrock_agents.answers import AnswerFold
from otel_agent_journal.frameworks.bedrock_agents.invocation import Invocation, Memory
from otel_agent_journal.frameworks.bedrock_agents.kept import Kept
from otel_agent_journal.pipeline.streams import journaled
from otel_agent_journal.testing.bedrock import BedrockServer, Reply, break_off, fail, stream, throttle
from tests.frameworks.bedrock_agents import asking
from tests.frameworks.bedrock_agents.asking import ask, outcomes
from tests.frameworks.langgraph.recording import Recording

# What a program does not close it leaves to the collector, with us and without.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed.*socket:ResourceWarning")

Program = Callable[[Any], Any]


def both(recording: Recording, server: BedrockServer, client: Any, reply: Reply, program: Program) -> list[Any]:
    """Run a program uninstrumented and instrumented, and return what came of each."""
    instrumentor = BedrockAgentsInstrumentor()
    found: list[Any] = []
    for instrument in (instrumentor.uninstrument, instrumentor.instrument):
        instrument()
        server.script(reply)
        try:
            found.append(program(client))
        except Exception as error:
            found.append((type(error), str(error), getattr(error, "response", None)))
    return found


def plain(value: Any) -> Any:
    """Return a value without what differs from request to request."""
    if isinstance(value, dict):
        chance = ("ResponseMetadata", "startTime", "endTime", "eventTime", "clientRequestId")
        return {key: plain(item) for key, item in value.items() if key not in chance}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def whole(client: Any) -> Any:
    response = ask(client)
    return [list(response["completion"]), list(response)]


def in_two_loops(client: Any) -> Any:
    completion = ask(client)["completion"]
    first = [part for part, _ in zip(completion, range(3), strict=False)]
    return [first, list(completion), list(completion)]


def by_next(client: Any) -> Any:
    parts = iter(ask(client)["completion"])
    return [next(parts), next(parts), *parts, next(parts, "none")]


def closed(client: Any) -> Any:
    completion = ask(client)["completion"]
    first = next(iter(completion))
    return [first, completion.close(), completion.close(), list(completion)]


def initial(client: Any) -> Any:
    completion = ask(client)["completion"]
    with pytest.raises(NoInitialResponseError):
        completion.get_initial_response()
    return list(completion)


def as_context_manager(client: Any) -> Any:
    with ask(client)["completion"] as completion:
        return list(completion)


def as_iterator(client: Any) -> Any:
    return next(ask(client)["completion"])


def length(client: Any) -> Any:
    return len(ask(client)["completion"])


@pytest.mark.parametrize(
    "program", [whole, in_two_loops, by_next, closed, initial, as_context_manager, as_iterator, length]
)
def test_program_sees_the_same(recording: Recording, server: BedrockServer, client: Any, program: Program) -> None:
    """Whatever a program does with a stream, it gets what it gets without us: results and errors."""
    without, instrumented = both(recording, server, client, stream(asking.TRIP), program)
    assert plain(instrumented) == plain(without)


@pytest.mark.parametrize(
    "reply",
    [
        fail("ValidationException", "no such alias"),
        throttle(),
        break_off(stream(asking.TRIP), "throttlingException", "too many", after=3),
        break_off(stream(asking.TRIP), "dependencyFailedException", "the Lambda", after=1, resourceName="book"),
    ],
    ids=["refused", "throttled", "broken-off", "dependency"],
)
def test_program_gets_its_own_error(recording: Recording, server: BedrockServer, client: Any, reply: Reply) -> None:
    """An error is the very one that botocore raises, and nothing of ours is its cause or context."""
    without, instrumented = both(recording, server, client, reply, whole)
    assert plain(instrumented) == plain(without)
    server.script(reply)
    with pytest.raises(Exception) as raised:
        whole(client)
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
    assert "otel_agent_journal" in "".join(traceback.format_exception(raised.value))  # in between, and no more


def test_stream_is_botocores(recording: Recording, server: BedrockServer, client: Any) -> None:
    """The stream has botocore's class, attributes and repr, and takes attributes as botocore's does."""
    server.script(stream(asking.LAST))
    completion = ask(client)["completion"]
    assert isinstance(completion, EventStream)
    assert completion.__class__ is EventStream
    assert repr(completion).startswith("<botocore.eventstream.EventStream object at")
    assert completion._operation_name == "InvokeAgent"
    assert set(dir(EventStream)) <= set(dir(completion))
    assert "_raw_stream" in vars(completion)
    assert not any(hasattr(completion, name) for name in ("__next__", "__enter__", "__len__", "nothing"))
    completion.mine = 1
    assert completion.mine == vars(completion)["mine"] == 1
    del completion.mine
    assert not hasattr(completion, "mine")
    assert {completion: 1}[completion]
    completion.close()


def test_caller_is_in_its_own_context(recording: Recording, server: BedrockServer, client: Any) -> None:
    """The root's span is current during the call only: between two parts the program's own spans are its own."""
    server.script(stream(asking.TRIP))
    tracer = recording.provider.get_tracer("program")
    before = trace_api.get_current_span()
    for _ in ask(client)["completion"]:
        assert trace_api.get_current_span() is before
        with tracer.start_as_current_span("mine"):
            pass
    mine = [span for span in recording.spans if span.name == "mine"]
    assert len(mine) == len(asking.TRIP)
    assert all(span.parent is None for span in mine)


def test_span_around_a_call(recording: Recording, server: BedrockServer, client: Any) -> None:
    """Within a program's own span the root is its child, and what botocore's own hooks open is the root's."""
    tracer = recording.provider.get_tracer("program")

    def http(**_: Any) -> None:
        tracer.start_span("http").end()

    client.meta.events.register("before-send.bedrock-agent-runtime.InvokeAgent", http)
    server.script(stream(asking.LAST))
    with tracer.start_as_current_span("request"):
        list(ask(client)["completion"])
    root, sent = recording.span("invoke_agent TRAVEL1234"), recording.span("http")
    assert root.parent is not None
    assert sent.parent is not None
    assert root.parent.span_id == recording.span("request").context.span_id
    assert sent.parent.span_id == root.context.span_id


def test_agent_within_a_step(recording: Recording, server: BedrockServer, client: Any) -> None:
    """An agent that a tool of another framework invokes is a step of that tool, in that session."""
    from opentelemetry import context as context_api

    server.script(stream(asking.LAST))
    tool = recording.recorder.start_step("TOOL", "ask_travel", session_id="outer")
    token = context_api.attach(tool.context())
    list(ask(client, session="inner")["completion"])
    context_api.detach(token)
    tool.end("ok")
    (root,) = recording.steps.roots
    (agent,) = recording.steps.children(root)
    assert (root.last.name, agent.last.name) == ("ask_travel", "TRAVEL1234")
    assert agent.last.details_start["framework_session_id"] == "inner"


class Other:
    """A stream that another instrumentation has put in the place of botocore's: its own iterator and a block."""

    def __init__(self, fails: bool) -> None:
        self._parts: Iterator[Any] = iter([{"chunk": {"bytes": b"one"}}, {"chunk": {"bytes": b"two"}}])
        self._fails = fails

    def __iter__(self) -> Other:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._parts)
        except StopIteration:
            if self._fails:
                raise OSError("lost") from None
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


@pytest.mark.parametrize(("read", "outcome"), [("all", "ok"), ("one", "cancelled"), ("next", "ok"), ("lost", "error")])
def test_streams_of_other_kinds(recording: Recording, read: str, outcome: str) -> None:
    """A stream that is an iterator and a context manager stays both, and ends its invocation as it is used."""
    root = recording.recorder.start_step("AGENT", "other", session_id="s1")
    proxy = journaled(Other(read == "lost"), Invocation(root, AnswerFold(), Memory(), Kept("completion", content=True)))
    with contextlib.suppress(OSError), proxy as entered:
        assert entered is proxy
        if read == "next":
            assert [next(entered), next(entered), next(entered, None)][2] is None
        elif read == "one":
            next(entered)
        else:
            assert len(list(entered)) == 2
    assert outcomes(recording) == {"other": outcome}
