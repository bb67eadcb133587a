"""An AgentCore app as a program of its own, for tests that freeze or kill it. Prints its port, serves until it dies.

Run as `served_app.py KIND`. Its spans go in batches, an hour apart, to OTEL_EXPORTER_OTLP_TRACES_ENDPOINT.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import otel_agent_journal

if "AGENT_JOURNAL_DRAIN" not in os.environ:  # not under `agent-journal run`
    otel_agent_journal.configure()

import uvicorn
from bedrock_agentcore.runtime import BedrockAgentCoreApp
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

HOUR_MS = 3_600_000

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=HOUR_MS))
trace.set_tracer_provider(provider)
app = BedrockAgentCoreApp()


def work(number: int) -> str:
    """Work in a step, with a span of the user's own below it."""
    with (
        otel_agent_journal.step("tool", f"search {number}", input=number) as step,
        trace.get_tracer("user").start_as_current_span(f"lookup {number}"),
    ):
        step.complete(f"found {number}")
    return f"found {number}"


def sync(payload: dict[str, Any]) -> list[str]:
    """Answer at once."""
    return [work(number) for number in range(20)]


async def stream(payload: dict[str, Any]) -> Any:
    """Answer in parts."""
    for number in range(20):
        yield work(number)


def fails(payload: dict[str, Any]) -> None:
    """Fail after some work."""
    for number in range(20):
        work(number)
    raise LookupError("nothing more to find")


def task(payload: dict[str, Any]) -> str:
    """Begin a task that takes until somebody creates a file of the name that is asked for."""
    task_id = app.add_async_task("report", {"pages": 3})

    def in_background() -> None:
        while not Path(payload["until"]).exists():
            time.sleep(0.01)
        app.complete_async_task(task_id)

    threading.Thread(target=in_background, daemon=True).start()
    return "begun"


app.entrypoint({"sync": sync, "stream": stream, "fails": fails, "task": task}[sys.argv[1]])
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="critical")).run(sockets=[listener])
