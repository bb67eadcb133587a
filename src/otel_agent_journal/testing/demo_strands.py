"""The agent of `agent-journal demo --framework strands`: an on-call agent that needs no key and no account.

An ordinary Strands program that knows nothing of the journal: the real `BedrockModel` talks over HTTP to a local server
that speaks Bedrock's format. The agent looks at metrics and logs at once (one source is down), has a second agent write
the note, and is throttled once. `python -m otel_agent_journal.testing.demo_strands` runs it without us.
"""

from __future__ import annotations

import os
import time
from typing import Any, Final

from strands import Agent, tool  # pyright: ignore[reportUnknownVariableType]
from strands.models import BedrockModel

from otel_agent_journal.testing.bedrock import (
    BedrockServer,
    Reply,
    Request,
    Usage,
    message,
    reasoning,
    say,
    slow,
    throttle,
    tool_use,
)

PACE_S: Final = float(os.environ.get("AGENT_JOURNAL_DEMO_PACE", "0.06"))  # seconds a streamed word takes
QUESTION: Final = "Checkout is slow since 14:02. What is it, and what do we do?"
ANSWER: Final = "The 14:02 deploy opened the connection pool twice. Roll it back; the note for the channel is written."
NOTE: Final = "Checkout was slow from 14:02: a deploy halved its database pool. Rolled back at 14:31."


@tool
def read_metrics(service: str) -> str:
    """Read a service's latency and saturation."""
    time.sleep(4 * PACE_S)
    return f"{service}: p99 2.4 s since 14:02, database pool at 100 %"


@tool
def search_logs(service: str, text: str) -> str:
    """Search a service's logs."""
    time.sleep(3 * PACE_S)
    return f"{service}: 1,204 lines with '{text}' since 14:02, none before"


@tool
def read_traces(service: str) -> str:
    """Read a service's slowest traces."""
    raise ConnectionError(f"the trace store of {service} does not answer")


def answer(request: Request) -> Reply:
    """Give the next turn of whichever agent asks."""
    wrote = any(result.get("toolUseId") == "note" for result in request.tool_results)
    if "You write" in str(request.body.get("system")):
        return _paced(say(NOTE, usage=Usage(input_tokens=180, output_tokens=42)))
    if wrote:
        return _paced(say(ANSWER, usage=Usage(input_tokens=940, output_tokens=61, cache_read_tokens=600)))
    if request.tool_results:
        asked = tool_use(
            "writer", {"input": "Checkout slow from 14:02, pool exhausted after a deploy."}, tool_use_id="note"
        )
        return _paced(
            message(
                "The pool ran dry at the deploy. ",
                asked,
                usage=Usage(input_tokens=620, output_tokens=55, cache_read_tokens=300),
            )
        )
    return _paced(
        message(
            reasoning("Latency and logs first; traces if they answer."),
            "I will look at metrics, logs and traces. ",
            tool_use("read_metrics", {"service": "checkout"}, tool_use_id="metrics"),
            tool_use("search_logs", {"service": "checkout", "text": "pool exhausted"}, tool_use_id="logs"),
            tool_use("read_traces", {"service": "checkout"}, tool_use_id="traces"),
            usage=Usage(input_tokens=310, output_tokens=96),
        )
    )


def _paced(reply: Reply) -> Reply:
    return slow(reply, first_s=3 * PACE_S, between_s=PACE_S / 2)


def main() -> None:
    """Ask the agent, and print what it says."""
    with BedrockServer() as server:
        server.script(throttle())
        server.answer(answer)

        def model() -> BedrockModel:
            return BedrockModel(boto_session=server.session(), endpoint_url=server.url, model_id="amazon.nova-pro-v1:0")

        options: dict[str, Any] = {"callback_handler": None}
        writer = Agent(
            model=model(),
            name="writer",
            description="Writes the note for the channel.",
            system_prompt="You write short notes.",
            **options,
        )
        on_call = Agent(
            model=model(),
            name="on_call",
            tools=[read_metrics, search_logs, read_traces, writer],
            system_prompt="You are on call. Find the cause, then say what to do.",
            **options,
        )
        print(str(on_call(QUESTION)).strip())  # noqa: T201 - the answer is what a program prints


if __name__ == "__main__":
    main()
