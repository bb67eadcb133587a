"""bedrock-runtime, spoken with the real boto3."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, EventStreamError
from urllib3.exceptions import ProtocolError

from otel_agent_journal.testing.bedrock import (
    BedrockServer,
    Usage,
    break_off,
    call_tool,
    die,
    fail,
    hang_up,
    hold,
    message,
    reasoning,
    say,
    slow,
    throttle,
    tool_use,
)

MODEL = "anthropic.claude-sonnet-4-20250514-v1:0"
ONCE = Config(retries={"total_max_attempts": 1})
QUESTION = [{"role": "user", "content": [{"text": "Where is my order?"}]}]


def converse(server: BedrockServer, config: Config = ONCE, model: str = MODEL) -> dict:
    return server.client(config=config).converse(modelId=model, messages=QUESTION)


def streamed(server: BedrockServer, config: Config = ONCE) -> Iterator[dict]:
    """The events; a stream that breaks is closed, as a careful reader does."""
    with closing(server.client(config=config).converse_stream(modelId=MODEL, messages=QUESTION)["stream"]) as stream:
        yield from stream


def test_say_answers_converse_whole(server):
    """A scripted text is the message of a Converse response, with its stop reason, usage and latency."""
    server.script(say("Hello there", usage=Usage(input_tokens=7, output_tokens=3, cache_read_tokens=90)))
    answer = converse(server)
    assert answer["output"]["message"] == {"role": "assistant", "content": [{"text": "Hello there"}]}
    assert answer["stopReason"] == "end_turn"
    assert answer["usage"] == {
        "inputTokens": 7,
        "outputTokens": 3,
        "totalTokens": 100,
        "cacheReadInputTokens": 90,
        "cacheWriteInputTokens": 0,
    }
    assert answer["metrics"] == {"latencyMs": 42}
    assert answer["ResponseMetadata"]["RequestId"] == "request-1"


def test_the_same_reply_is_streamed_word_by_word(server):
    """ConverseStream sends a scripted text as one delta a word, between messageStart and metadata."""
    server.script(say("Hello there, you"))
    events = list(streamed(server))
    assert [next(iter(event)) for event in events] == [
        "messageStart",
        *["contentBlockDelta"] * 3,
        "contentBlockStop",
        "messageStop",
        "metadata",
    ]
    deltas = [event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event]
    assert deltas == ["Hello ", "there, ", "you"]
    assert events[-1]["metadata"]["usage"]["totalTokens"] == 15


def test_a_tool_call_and_reasoning_are_streamed_in_their_own_blocks(server):
    """Reasoning ends with its signature, a tool's input comes as fragments of JSON."""
    server.script(message(reasoning("I must look", signature="c2ln"), tool_use("search", {"q": "order 12345"})))
    events = list(streamed(server))
    deltas = [event["contentBlockDelta"] for event in events if "contentBlockDelta" in event]
    thought = [delta["delta"]["reasoningContent"] for delta in deltas if delta["contentBlockIndex"] == 0]
    assert thought == [{"text": "I "}, {"text": "must "}, {"text": "look"}, {"signature": "c2ln"}]
    fragments = [delta["delta"]["toolUse"]["input"] for delta in deltas if delta["contentBlockIndex"] == 1]
    assert len(fragments) > 1
    assert "".join(fragments) == '{"q": "order 12345"}'
    starts = [event["contentBlockStart"]["start"] for event in events if "contentBlockStart" in event]
    assert starts == [{"toolUse": {"toolUseId": "tooluse_1_1", "name": "search"}}]
    assert [event["messageStop"] for event in events if "messageStop" in event] == [{"stopReason": "tool_use"}]


def test_a_tool_call_comes_whole_too(server):
    """Converse gives a tool call its id, its arguments and what was said before it."""
    server.script(call_tool("search", {"q": 1}, tool_use_id="t1", text="One moment."))
    assert converse(server)["output"]["message"]["content"] == [
        {"text": "One moment."},
        {"toolUse": {"toolUseId": "t1", "name": "search", "input": {"q": 1}}},
    ]


def test_requests_are_kept_as_they_came(server):
    """A test reads the operation, the model, the body and the last text of what arrived."""
    arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/eu.amazon.nova-lite-v1:0"
    server.script("Hello")
    converse(server, model=arn)
    (request,) = server.requests
    assert (request.number, request.operation, request.model_id) == (1, "Converse", arn)
    assert request.body == {"messages": QUESTION}
    assert request.text == "Where is my order?"
    assert request.headers["authorization"].startswith("AWS4-HMAC-SHA256")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("ThrottlingException", 429),
        ("ServiceUnavailableException", 503),
        ("ValidationException", 400),
        ("AccessDeniedException", 403),
        ("ModelTimeoutException", 408),
        ("ResourceNotFoundException", 404),
    ],
)
@pytest.mark.parametrize("operation", [converse, lambda server: list(streamed(server))])
def test_errors_have_their_status_and_code(server, operation, code, status):
    """A scripted error reaches the caller as the service's own ClientError."""
    server.script(fail(code, "not now"))
    with pytest.raises(ClientError) as caught:
        operation(server)
    assert caught.value.response["Error"] == {"Code": code, "Message": "not now"}
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_throttling_is_survived_by_the_clients_own_retries(server):
    """The first requests are refused, the next succeeds, and the client has retried by itself."""
    server.script(throttle(times=1), say("At last"))
    answer = converse(server, Config(retries={"mode": "standard", "total_max_attempts": 3}))
    assert answer["output"]["message"]["content"] == [{"text": "At last"}]
    assert answer["ResponseMetadata"]["RetryAttempts"] == 1
    assert len(server.requests) == 2


def test_an_exception_in_the_middle_of_a_stream_is_raised_where_it_comes(server):
    """The client reads what came before, then gets an EventStreamError with the code of the service model."""
    server.script(break_off(say("one two three"), "modelStreamErrorException", "the model broke", after=3))
    seen: list[str] = []
    with pytest.raises(EventStreamError) as caught:
        seen.extend(next(iter(event)) for event in streamed(server))
    assert caught.value.response["Error"] == {"Code": "modelStreamErrorException", "Message": "the model broke"}
    assert seen == ["messageStart", "contentBlockDelta", "contentBlockDelta"]


def test_an_exception_that_breaks_a_stream_is_the_error_of_a_whole_reply(server):
    """Scripted for a stream and asked for whole, the exception is an error reply with its own status."""
    server.script(break_off(say("one two three"), "modelStreamErrorException", "the model broke", after=3))
    with pytest.raises(ClientError) as caught:
        converse(server)
    assert caught.value.response["Error"]["Code"] == "ModelStreamErrorException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 424


@pytest.mark.parametrize("how", ["close", "truncate", "reset"])
def test_a_stream_that_dies_is_an_error(server, how):
    """A connection lost between frames, within one, or reset is raised by the client after what came before."""
    server.script(die(say("one two three"), after=3, how=how))
    seen: list[str] = []
    with pytest.raises((ProtocolError, ConnectionError)):
        seen.extend(next(iter(event)) for event in streamed(server))
    if how != "reset":  # a reset may overtake what is still in the client's buffer
        assert seen == ["messageStart", "contentBlockDelta", "contentBlockDelta"]


def test_a_stream_may_end_early_without_an_error(server):
    """`end` is the fault that no client notices: no messageStop, and nothing raised."""
    server.script(die(say("one two three"), after=2, how="end"))
    assert [next(iter(event)) for event in streamed(server)] == ["messageStart", "contentBlockDelta"]


def test_a_whole_reply_dies_in_its_middle(server):
    """A reset within a Converse response is an error of the client; a plain close boto3 takes for an empty answer."""
    server.script(die(say("one two three"), after=1, how="reset"), die(say("one two three"), after=1))
    with pytest.raises(ConnectionClosedError):
        converse(server)
    assert "output" not in converse(server)


def test_a_connection_may_close_without_an_answer(server):
    """`hang_up` gives nothing at all, which the client's retries survive as any lost connection."""
    server.script(hang_up(), hang_up(), say("Here I am"))
    with pytest.raises(ConnectionClosedError):
        converse(server)
    answer = converse(server, Config(retries={"mode": "standard", "total_max_attempts": 2}))
    assert answer["output"]["message"]["content"] == [{"text": "Here I am"}]


def test_slow_tokens_arrive_one_by_one(server):
    """Between the frames of a slow stream there is the time that was asked for."""
    server.script(slow(say("one two three"), first_s=0.05, between_s=0.05))
    began = time.monotonic()
    times = [time.monotonic() - began for _ in streamed(server)]
    assert times[0] >= 0.05
    assert times[-1] >= 0.05 + 6 * 0.05 * 0.9
    assert times[0] < times[-1] - 0.2


def test_a_stream_waits_at_its_gate(server):
    """What a test holds back is sent when the test says so, and what comes before it is there at once."""
    gate = threading.Event()
    server.script(hold(say("one two three"), gate, after=2))
    events = streamed(server)
    assert [next(iter(next(events))) for _ in range(2)] == ["messageStart", "contentBlockDelta"]
    late: list[str] = []
    reader = threading.Thread(target=lambda: late.extend(next(iter(event)) for event in events))
    reader.start()
    reader.join(0.1)
    assert late == []
    gate.set()
    reader.join(10)
    assert late[-1] == "metadata"
