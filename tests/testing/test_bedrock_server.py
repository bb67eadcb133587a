"""The server itself: its script, its life, and what it gives to a process that knows nothing of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

import boto3
import pytest
from botocore.config import Config
from botocore.eventstream import EventStreamBuffer
from botocore.exceptions import ClientError, EventStreamError
from urllib3.exceptions import ProtocolError

from otel_agent_journal.testing.bedrock import BedrockServer, Usage, body, hold, say, slow, stream, throttle
from otel_agent_journal.testing.bedrock.frames import event_frame, exception_frame
from tests.clock import by_the_clock, in_time

ONCE = Config(retries={"total_max_attempts": 1})


def ask(server: BedrockServer, text: str = "Hi") -> str:
    said = [{"role": "user", "content": [{"text": text}]}]
    answer = server.client(config=ONCE).converse(modelId="model", messages=said)
    return answer["output"]["message"]["content"][0]["text"]


def server_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("bedrock-")]


def test_frames_are_read_back_by_botocore():
    """Two frames in any pieces are two messages, their checksums right, their headers and payloads kept."""
    data = event_frame("chunk", {"text": "grüße"}) + exception_frame("throttlingException", {"message": "no"})
    buffer = EventStreamBuffer()
    messages = []
    for at in range(0, len(data), 7):
        buffer.add_data(data[at : at + 7])
        messages.extend(buffer)
    assert [message.headers for message in messages] == [
        {":message-type": "event", ":event-type": "chunk", ":content-type": "application/json"},
        {
            ":message-type": "exception",
            ":exception-type": "throttlingException",
            ":content-type": "application/json",
        },
    ]
    assert [message.payload for message in messages] == [b'{"text": "gr\\u00fc\\u00dfe"}', b'{"message": "no"}']


def test_entries_answer_in_order_and_functions_see_the_request(server):
    """A script mixes texts, replies and functions; what it does not cover, the answering function does."""
    server.script("one", say("two"), lambda request: f"three: {request.text}").answer(lambda request: "the rest")
    assert server.unused == 3
    assert [ask(server, "a"), ask(server, "b"), ask(server, "c"), ask(server)] == ["one", "two", "three: c", "the rest"]
    assert server.unused == 0


def test_an_empty_script_says_so(server):
    """A request more than was scripted is refused with the reason, and not retried."""
    with pytest.raises(ClientError, match="the script has no entry for request 1, Converse"):
        server.client().converse(modelId="model", messages=[])
    assert len(server.requests) == 1


def test_a_mistake_in_a_script_reaches_the_client(server):
    """An exception of a script's function, and a reply that cannot be given, are errors that name it."""
    server.script(lambda request: str(1 // 0), stream())
    with pytest.raises(ClientError, match="ZeroDivisionError"):
        ask(server)
    with pytest.raises(ClientError, match="no answer to Converse"):
        ask(server)


def test_an_operation_that_is_not_served_is_refused(server):
    """ApplyGuardrail is not served: the client gets UnknownOperationException, and no request is counted."""
    with pytest.raises(ClientError, match="UnknownOperationException"):
        server.client().apply_guardrail(guardrailIdentifier="g", guardrailVersion="1", source="INPUT", content=[])
    assert server.requests == ()


def test_a_body_is_what_invoke_model_answers_with(server):
    """Bytes as they are, JSON, or a message in Anthropic's form; headers count tokens; no other operation takes one."""
    server.script(body(b"\x00\x01"), body({"a": 1}), say("Hello", usage=Usage(input_tokens=3)))
    server.script(body({}), body({}), stream())
    client = server.client()
    answers = [client.invoke_model(modelId="model", body=b"{}") for _ in range(3)]
    read = [one["body"].read() for one in answers]
    assert read[0] == b"\x00\x01"
    assert json.loads(read[1]) == {"a": 1}
    assert answers[0]["ResponseMetadata"]["HTTPHeaders"]["x-amzn-bedrock-input-token-count"] == "10"
    said = json.loads(read[2])
    assert (said["content"], said["usage"]["input_tokens"]) == ([{"type": "text", "text": "Hello"}], 3)
    with pytest.raises(ClientError, match="a body is no answer to Converse"):
        client.converse(modelId="model", messages=[])
    with pytest.raises(ClientError, match="a body is no answer to InvokeModelWithResponseStream"):
        client.invoke_model_with_response_stream(modelId="model", body=b"{}")
    with pytest.raises(ClientError, match="a stream of parts is no answer to InvokeModel"):
        client.invoke_model(modelId="model", body=b"{}")


def test_times_repeats_an_entry(server):
    """`throttle(times=2)` stands for two requests."""
    server.script(throttle(times=2), "then")
    for _ in range(2):
        with pytest.raises(ClientError, match="ThrottlingException"):
            ask(server)
    assert ask(server) == "then"


def test_a_test_can_wait_for_requests(server):
    """`wait_for_requests` returns as they arrive, and says how many came where they do not."""
    server.script("Hello")
    asking = threading.Thread(target=ask, args=(server,))
    asking.start()
    assert [request.number for request in server.wait_for_requests(1)] == [1]
    asking.join(10)
    with pytest.raises(TimeoutError, match="1 of 2 requests"):
        server.wait_for_requests(2, timeout_s=0.05)


@by_the_clock
@pytest.mark.parametrize(
    "reply", [slow(say("one two"), between_s=60), hold(say("one two"), threading.Event(), after=1)]
)
def test_closing_ends_replies_and_threads(reply):
    """A server closed in the middle of a slow or held stream closes at once, and leaves no thread."""
    server = BedrockServer().start()
    server.script(reply)
    client = boto3.Session("testing", "testing", region_name="us-east-1").client(
        "bedrock-runtime", endpoint_url=server.url
    )
    events = client.converse_stream(modelId="model", messages=[])["stream"]
    reading = iter(events)
    next(reading)
    began = time.monotonic()
    server.close()
    in_time(time.monotonic() - began, 5)
    assert server_threads() == []
    with pytest.raises((ProtocolError, ConnectionError, EventStreamError)):
        list(reading)
    events.close()
    client.close()


def test_closing_twice_and_starting_again():
    """A closed server has no address, and starts anew."""
    server = BedrockServer()
    with pytest.raises(RuntimeError, match="not started"):
        _ = server.url
    with server:
        assert server.start() is server
    server.close()
    assert server_threads() == []
    with server.script("again"):
        assert ask(server) == "again"


def test_a_client_that_leaves_is_no_news(server, capfd):
    """A reader that closes its stream early leaves nothing on stderr, and the server serves on."""
    server.script(slow(say("word " * 200), between_s=0.001), "still here")
    events = server.client().converse_stream(modelId="model", messages=[])["stream"]
    next(iter(events))
    events.close()
    time.sleep(0.3)
    assert ask(server) == "still here"
    assert capfd.readouterr() == ("", "")


def test_an_untouched_process_finds_the_server(server):
    """The variables of `environ` lead a plain boto3 in another process here, for both services."""
    server.script("Hello from Converse", "Hello from the agent")
    script = """
import boto3
with_messages = dict(modelId="model", messages=[{"role": "user", "content": [{"text": "Hi"}]}])
print(boto3.client("bedrock-runtime").converse(**with_messages)["output"]["message"]["content"][0]["text"])
agents = boto3.client("bedrock-agent-runtime")
for part in agents.invoke_agent(agentId="A", agentAliasId="B", sessionId="s1", inputText="Hi")["completion"]:
    print(part["chunk"]["bytes"].decode())
"""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**kept, **server.environ()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines() == ["Hello from Converse", "Hello from the agent"], done.stderr


def test_serving_needs_the_standard_library_alone():
    """boto3 is imported only by who asks for a client."""
    script = (
        "import sys\n"
        "from otel_agent_journal.testing.bedrock import BedrockServer\n"
        "with BedrockServer() as server: server.environ()\n"
        "print([name for name in ('boto3', 'botocore', 'strands', 'langchain_core') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
