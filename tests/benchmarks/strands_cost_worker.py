"""The measured process of `bench_strands_cost.py`: one mode, a Strands agent of ten tool loops, its CPU as JSON.

Modes: `none` (Strands' spans go nowhere), `native` (they go to a batching exporter that only counts), `openinference`
(native, and OpenInference's processor before the exporter), `joined` and `run` (native, or none, as a child of
`agent-journal run`).
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import time
from collections.abc import AsyncGenerator
from typing import Any

from setups import _provider
from strands import Agent, tool
from strands.models.model import Model

LOOPS = 10
STEPS = 2 * LOOPS + 2  # the agent, its model calls, its tool calls
QUESTION = "Which of these papers measure the cost of tracing, and what do they find? Look up one after another."
FINDING = (
    "Found 3 of 10: the second one gives medians of 40 runs on two cores, without saying how warm the caches were; "
    "the others give means only."
)
THOUGHT = "The last finding leaves the question of the variance open, so the next paper on the list comes first."


class ScriptedModel(Model):
    """Asks for the tool ten times, then answers; streams its thought in four pieces."""

    def __init__(self) -> None:
        self.config = {"model_id": "scripted-1"}

    def update_config(self, **config: Any) -> None:
        """Change nothing."""

    def get_config(self) -> Any:
        """Return the configuration."""
        return self.config

    async def structured_output(self, *args: Any, **kwargs: Any) -> AsyncGenerator[dict[str, Any], None]:
        """Give nothing: it is not asked."""
        yield {}

    async def stream(self, messages: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        """Stream the next turn."""
        turn = sum(1 for message in messages if message["role"] == "assistant")
        yield {"messageStart": {"role": "assistant"}}
        yield {"contentBlockStart": {"start": {}}}
        for at in range(0, len(THOUGHT), 25):
            yield {"contentBlockDelta": {"delta": {"text": THOUGHT[at : at + 25]}}}
        yield {"contentBlockStop": {}}
        if turn < LOOPS:
            yield {"contentBlockStart": {"start": {"toolUse": {"name": "search", "toolUseId": f"call-{turn}"}}}}
            yield {"contentBlockDelta": {"delta": {"toolUse": {"input": json.dumps({"query": f"paper {turn}"})}}}}
            yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "tool_use" if turn < LOOPS else "end_turn"}}
        usage = {"inputTokens": 40 * (turn + 1), "outputTokens": 30, "totalTokens": 40 * turn + 70}
        yield {"metadata": {"usage": usage, "metrics": {"latencyMs": 1}}}


@tool
def search(query: str) -> str:
    """Search the papers."""
    return FINDING


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=("none", "native", "openinference", "joined", "run"))
    parser.add_argument("--invocations", type=int, default=60)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    finish = _provider() if arguments.mode in ("native", "openinference", "joined") else lambda: 0
    if arguments.mode == "openinference":
        _openinference()

    def invoke(number: int) -> None:
        agent = Agent(
            model=ScriptedModel(),
            tools=[search],
            name="researcher",
            callback_handler=None,
            trace_attributes={"session.id": f"s-{number}"},
        )
        agent(QUESTION)
        if len(agent.messages) != 2 * LOOPS + 2:
            raise AssertionError(len(agent.messages))

    for number in range(5):
        invoke(-1 - number)
    before = finish()
    gc.collect()
    start_ns = time.process_time_ns()
    for number in range(arguments.invocations):
        invoke(number)
    after = finish()
    spent_ns = time.process_time_ns() - start_ns
    measured = {
        "invocations": arguments.invocations + 5,
        "steps": STEPS,
        "cpu_us_per_invocation": spent_ns / 1000 / arguments.invocations,
        "spans_per_invocation": (after - before) / arguments.invocations,
    }
    print("\n" + json.dumps(measured))
    return 0


def _openinference() -> None:
    from openinference.instrumentation.strands_agents import StrandsAgentsToOpenInferenceProcessor
    from opentelemetry import trace

    provider: Any = trace.get_tracer_provider()
    active = provider._active_span_processor
    active._span_processors = (StrandsAgentsToOpenInferenceProcessor(), *active._span_processors)


if __name__ == "__main__":
    raise SystemExit(main())
