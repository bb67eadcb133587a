"""An agent that does nothing but send spans to a Collector, and witnesses what was acknowledged to it.

    python -m tests.real.soak_agent ADDRESS WITNESS AGENT LIFE FIRST TRACES PACE_S

A trace goes out in several requests, each again until it is acknowledged, as an SDK's exporter does it; then a line of
WITNESS says so, before anything else is sent. Killed and started again, it has another LIFE, and so other trace ids.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.receiver.collecting import TRACES, request

SPANS: Final = 25  # a request
PARTS: Final = 2  # requests a trace
TRACES_A_SESSION: Final = 20
AGAIN_S: Final = 0.1


class Sent(NamedTuple):
    """A request, by all that it follows from."""

    agent: int
    life: int
    turn: int
    part: int

    @property
    def trace_id(self) -> str:
        """The trace that it is of."""
        return f"{self.agent:04x}{self.life:04x}{self.turn + 1:024x}"

    @property
    def session_id(self) -> str:
        """The session that its spans name."""
        return f"agent-{self.agent}-{self.turn // TRACES_A_SESSION}"

    @property
    def span_ids(self) -> list[str]:
        """Its spans."""
        return [f"{self.part * SPANS + number + 1:016x}" for number in range(SPANS)]

    def request(self) -> ExportTraceServiceRequest:
        """Return the request itself."""
        return request([(self.trace_id, span_id) for span_id in self.span_ids], self.session_id)


def witnessed(witness: Path) -> list[Sent]:
    """Return what an agent was told is safe; a line that its death cut off says nothing."""
    if not witness.exists():
        return []
    whole = witness.read_text().rpartition("\n")[0].splitlines()
    return [Sent(*(int(field) for field in line.split())) for line in whole]


def requests(agent: int, life: int, first: int, traces: int) -> Iterator[Sent]:
    """Yield what a life has to send."""
    for turn in range(first, traces):
        for part in range(PARTS):
            yield Sent(agent, life, turn, part)


def main() -> None:
    """Send until all is acknowledged."""
    address, witness = sys.argv[1:3]
    agent, life, first, traces = (int(text) for text in sys.argv[3:7])
    pace_s = float(sys.argv[7])
    file = os.open(witness, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    options = [("grpc.max_reconnect_backoff_ms", 500), ("grpc.initial_reconnect_backoff_ms", 100)]
    with grpc.insecure_channel(address, options=options) as channel:
        export = channel.unary_unary(TRACES)
        for sent in requests(agent, life, first, traces):
            body = sent.request().SerializeToString()
            while True:
                try:
                    export(body, timeout=30)
                    break
                except grpc.RpcError as error:
                    if error.code().name not in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"):
                        raise
                    time.sleep(AGAIN_S)
            os.write(file, f"{sent.agent} {sent.life} {sent.turn} {sent.part}\n".encode())
            time.sleep(pace_s)


if __name__ == "__main__":
    main()
