"""The app of `agent-journal demo --framework agentcore`: a Strands agent in AgentCore's runtime, no account needed.

An ordinary program that knows nothing of the journal: an entrypoint streams a travel agent's answer, whose model is the
real `BedrockModel` against a scripted Bedrock on this machine, and begins a background task that outlives the
response. The program calls itself over HTTP as a client would, prints the answer, and waits until the app says that it
is idle. `python -m otel_agent_journal.testing.demo_agentcore` runs it without us.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import os
import socket
import threading
import time
import warnings
from collections.abc import AsyncIterator
from typing import Any, Final

import uvicorn
from strands import Agent, tool  # pyright: ignore[reportUnknownVariableType]
from strands.models import BedrockModel

from otel_agent_journal.testing.bedrock import BedrockServer, call_tool, say, slow

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the SDK's own, at its import
    from bedrock_agentcore.runtime import BedrockAgentCoreApp

PACE_S: Final = float(os.environ.get("AGENT_JOURNAL_DEMO_PACE", "0.06"))  # seconds a streamed word takes
SESSION: Final = "demo-agentcore-session-of-33-chars"  # the runtime's own are that long
QUESTION: Final = "Where should I go in May?"
MODEL: Final = "us.amazon.nova-lite-v1:0"
PATIENCE_S: Final = 30.0

app = BedrockAgentCoreApp()
_running: set[asyncio.Task[None]] = set()  # asyncio itself keeps no task alive


@tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    time.sleep(PACE_S * 5)
    return f"{city} in May: 22 degrees, dry"


def travel_agent(bedrock: BedrockServer) -> Agent:
    """Return the agent; its model's answers are scripted."""
    model = BedrockModel(boto_session=bedrock.session(), endpoint_url=bedrock.url, model_id=MODEL)
    bedrock.script(
        slow(call_tool("weather", {"city": "Lisbon"}), first_s=PACE_S * 4),
        slow(say("Lisbon. In May it is warm and dry, and not yet crowded."), between_s=PACE_S),
    )
    return Agent(model=model, tools=[weather], name="travel_agent", callback_handler=None)


@app.async_task
async def write_itinerary(city: str, days: int) -> str:
    """Go on after the response: the app is HealthyBusy until it is done."""
    for _ in range(days):
        await asyncio.sleep(PACE_S * 6)
    return f"{days} days in {city}"


async def in_background() -> None:
    """Write the itinerary; what it is good for is for another day."""
    await write_itinerary("Lisbon", days=3)


def serve(bedrock: BedrockServer) -> tuple[uvicorn.Server, threading.Thread, int]:
    """Serve the app on a free port of the loopback."""
    agent = travel_agent(bedrock)

    @app.entrypoint
    async def travel_desk(payload: dict[str, Any]) -> AsyncIterator[str]:  # pyright: ignore[reportUnusedFunction]
        async for part in agent.stream_async(payload["prompt"]):
            if "data" in part:
                yield part["data"]
        task = asyncio.create_task(in_background())
        _running.add(task)
        task.add_done_callback(_running.discard)
        await asyncio.sleep(0)  # so that it has begun before the response ends

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    return server, thread, listener.getsockname()[1]


def request(port: int, method: str, path: str, body: Any = None) -> bytes:
    """Send a request as the runtime does, and read the whole of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    headers = {
        "Content-Type": "application/json",
        "Connection": "close",
        "X-Amzn-Bedrock-AgentCore-Runtime-Session-Id": SESSION,
    }
    connection.request(method, path, json.dumps(body), headers)
    with connection.getresponse() as response:
        return response.read()


def call(port: int) -> str:
    """Ask the question; return the streamed answer."""
    stream = request(port, "POST", "/invocations", {"prompt": QUESTION}).split(b"\n\n")
    parts = [json.loads(event.removeprefix(b"data: ")) for event in stream if event]
    return "".join(part if isinstance(part, str) else f"[{part['error']}]" for part in parts)


def wait_until_idle(port: int) -> None:
    """Wait until the app has no background task, as the runtime does before it lets a machine go."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and json.loads(request(port, "GET", "/ping"))["status"] != "Healthy":
        time.sleep(0.05)


def main() -> None:
    """Ask the question over HTTP, print the answer, and wait for what goes on in the background."""
    logging.getLogger("bedrock_agentcore.app").setLevel(logging.ERROR)
    with BedrockServer() as bedrock:
        server, thread, port = serve(bedrock)
        try:
            print(call(port))  # noqa: T201 - the program's own output
            wait_until_idle(port)
        finally:
            server.should_exit = True
            thread.join(PATIENCE_S)


if __name__ == "__main__":
    main()
