"""From the bytes of a request to the spool, and to the answer that its client gets. Knows neither gRPC nor HTTP.

A request is acknowledged when it is on the disk: requests that come together share one sync. What is done to it before
is only what the answer needs; what its spans amount to is found when the spool is drained.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Protocol

from otel_agent_journal.mapping.facts import SpansReceived, encode_fact
from otel_agent_journal.mapping.from_otlp import problem_of
from otel_agent_journal.receiver.answers import OK, Answer, Verdict, busy

if TYPE_CHECKING:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    from otel_agent_journal.receiver.counters import Row

_log = logging.getLogger("otel_agent_journal.receiver")

MAX_REQUEST_BYTES: Final = 64 * 1024 * 1024  # after decompression, as OTLP recommends
DEFAULT_BUDGET_BYTES: Final = 256 * 1024 * 1024  # of requests that are not yet answered
_THREADS: Final = 16  # most of them wait for the disk
_MOST_SAID: Final = 300  # characters of what is wrong with a request

Parse = Callable[[bytes], "ExportTraceServiceRequest"]


class Log(Protocol):
    """Where requests are kept: a spool whose appends are on the disk when they return."""

    last_refusal: str | None

    def append(self, payload: bytes) -> bool:
        """Keep a record; return whether it is safe."""
        ...


class Intake:
    """Takes requests into the spool, as many at a time as a budget of bytes allows.

    Args:
        log: where requests go.
        counters: what is counted; by the event loop's thread alone.
        budget_bytes: of requests in hand; what is over is asked to come again.
        clock: UTC nanoseconds.
    """

    def __init__(
        self,
        log: Log,
        counters: Row,
        *,
        budget_bytes: int = DEFAULT_BUDGET_BYTES,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._log = log
        self._counters = counters
        self._budget_bytes = budget_bytes
        self._clock = clock
        self._in_hand = 0
        self._last_ns = 0
        self._closing = False
        self._pool = ThreadPoolExecutor(_THREADS, "agent-journal-intake")

    @property
    def is_ready(self) -> bool:
        """Tell whether requests are taken now."""
        return not self._closing and self._in_hand <= self._budget_bytes

    def close(self) -> None:
        """Take no more requests; those in hand are answered."""
        self._closing = True

    async def spans(self, body: bytes, parse: Parse) -> Answer:
        """Keep a request for spans and return its answer. Never raises, but for a cancellation.

        Args:
            body: the request, decompressed.
            parse: reads it; raises ValueError where it cannot be read.
        """
        count = self._counters.add
        count("requests")
        refusal = self._refusal(len(body))
        if refusal is not None:
            count("too_large" if refusal.verdict is Verdict.TOO_LARGE else "busy")
            return refusal
        self._in_hand += len(body)
        count("in_flight_bytes", len(body))
        try:
            answer, spans = await asyncio.get_running_loop().run_in_executor(
                self._pool, self._keep, body, parse, self._now()
            )
        except Exception as error:  # noqa: BLE001 - a client drops what an error of ours does not let it send again
            _log.exception("a request could not be handled; its client is asked to send it again")
            answer, spans = busy(f"{type(error).__name__}: {error}"[:_MOST_SAID]), 0
        finally:
            self._in_hand -= len(body)
            count("in_flight_bytes", -len(body))
        if answer.verdict is Verdict.OK:
            count("bytes", len(body))
            count("received", spans)
            count("rejected", answer.rejected)
            count("accepted", spans - answer.rejected)
        else:
            count("malformed" if answer.verdict is Verdict.MALFORMED else "busy")
        return answer

    def _refusal(self, size: int) -> Answer | None:
        if self._closing:
            return busy("the receiver is shutting down")
        if size > MAX_REQUEST_BYTES:
            return Answer(Verdict.TOO_LARGE, f"the request is {size:,} bytes, limit {MAX_REQUEST_BYTES:,}")
        if self._in_hand and self._in_hand + size > self._budget_bytes:
            return busy(f"{self._in_hand:,} bytes of requests are in hand, limit {self._budget_bytes:,}")
        return None

    def _now(self) -> int:
        """Return the time, another for each request: by it a request is known."""
        self._last_ns = max(self._clock(), self._last_ns + 1)
        return self._last_ns

    def _keep(self, body: bytes, parse: Parse, now_ns: int) -> tuple[Answer, int]:
        """Check a request and append it; return the answer and how many spans there were. In a thread."""
        if not body:
            return OK, 0
        try:
            request = parse(body)
        except ValueError as error:
            return Answer(Verdict.MALFORMED, str(error)[:_MOST_SAID]), 0
        spans, problems = _without_malformed(request)
        if spans > len(problems) and not self._log.append(
            encode_fact(SpansReceived(now_ns, request.SerializeToString()))
        ):
            return busy(f"the spool takes nothing: {self._log.last_refusal}"[:_MOST_SAID]), 0
        if not problems:
            return OK, spans
        said = f"{len(problems)} of {spans} spans were not kept; the first: {problems[0]}"
        return Answer(Verdict.OK, said[:_MOST_SAID], rejected=len(problems)), spans


def _without_malformed(request: ExportTraceServiceRequest) -> tuple[int, list[str]]:
    """Take out what cannot be kept; return how many spans there were, and what was wrong with those taken out."""
    count, problems = 0, list[str]()
    for of_resource in request.resource_spans:
        for of_scope in of_resource.scope_spans:
            count += len(of_scope.spans)
            bad: list[int] = []
            for index, span in enumerate(of_scope.spans):
                problem = problem_of(span)
                if problem is not None:
                    problems.append(problem)
                    bad.append(index)
            for index in reversed(bad):
                del of_scope.spans[index]
    return count, problems
