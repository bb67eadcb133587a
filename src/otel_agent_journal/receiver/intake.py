"""From the bytes of a request to the spool, and to the answer that its client gets. Knows neither gRPC nor HTTP.

A request is acknowledged when it is on the disk, where requests that come together share one sync, or once it is in the
store. What is done to it before is only what the answer needs; what its records amount to is found when the spool is
drained. Bytes of requests count against a budget from when they arrive until they are answered.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from otel_agent_journal.mapping.facts import encode_fact
from otel_agent_journal.receiver.answers import OK, Answer, Verdict, busy
from otel_agent_journal.receiver.compression import pieces
from otel_agent_journal.receiver.room import Budget, Gate
from otel_agent_journal.receiver.signals import PART_BYTES

if TYPE_CHECKING:
    from otel_agent_journal.receiver.counters import Row
    from otel_agent_journal.receiver.signals import Signal

_log = logging.getLogger("otel_agent_journal.receiver")

MAX_REQUEST_BYTES: Final = 64 * 1024 * 1024  # after decompression, as OTLP recommends
STORE_PATIENCE_S: Final = 4.0  # the Collector's own is 5 s; what comes later is delivered all the same
_THREADS: Final = 16  # most of them wait for the disk
_MOST_SAID: Final = 300  # characters of what is wrong with a request


class Log(Protocol):
    """Where requests are kept: a spool whose appends are on the disk when they return."""

    last_refusal: str | None

    def append(self, payload: bytes) -> bool:
        """Keep a record; return whether it is safe."""
        ...


class Stored(Protocol):
    """Tells when what was kept is in the store."""

    async def wait(self, received_ns: int, timeout_s: float) -> bool:
        """Wait until the record of that time is in the store; return whether it is."""
        ...


class Intake:
    """Takes requests into the spool, as many at a time as a budget of bytes allows.

    Args:
        log: where requests go.
        counters: what is counted; by the event loop's thread alone.
        budget_bytes: of requests in hand; what is over is asked to come again.
        stored: waited for before a request is acknowledged; None: the spool is enough.
        clock: UTC nanoseconds.
    """

    def __init__(
        self,
        log: Log,
        counters: Row,
        *,
        budget_bytes: int,
        stored: Stored | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._log = log
        self._counters = counters
        self._budget = Budget(budget_bytes, counters)
        self._gate = Gate()
        self._stored = stored
        self._clock = clock
        self._last_ns = 0
        self._lock = threading.Lock()
        self._closing = False
        self._pool = ThreadPoolExecutor(_THREADS, "agent-journal-intake")

    @property
    def is_ready(self) -> bool:
        """Tell whether requests are taken now."""
        return not self._closing and not self._budget.is_full

    def close(self) -> None:
        """Take no more requests; those in hand are answered."""
        self._closing = True

    def arriving(self) -> Arriving:
        """Begin a request; use what is returned as a context manager around all of it."""
        self._counters.add("requests")
        return Arriving(self)

    async def keep(
        self, signal: Signal, body: bytes, read: Callable[[bytes], Any], arriving: Arriving, *, compressed: bool
    ) -> Answer:
        """Keep a request whose bytes have arrived, and return its answer. Never raises, but for a cancellation.

        Args:
            signal: what it is of.
            body: as it was sent.
            read: `signal.read` or `signal.read_json`.
            arriving: the room that it has, and may need more of.
            compressed: whether the body is gzip or zlib.
        """
        try:
            answer, records, left_out, kept_ns = await asyncio.get_running_loop().run_in_executor(
                self._pool, self._keep, signal, body, read, arriving if compressed else None
            )
            if self._stored is not None and kept_ns and not await self._stored.wait(kept_ns, STORE_PATIENCE_S):
                answer = busy("it is kept, and not yet in the store")
        except Exception as error:  # noqa: BLE001 - a client drops what an error of ours does not let it send again
            _log.exception("a request could not be handled; its client is asked to send it again")
            answer, records, left_out = busy(f"{type(error).__name__}: {error}"[:_MOST_SAID]), 0, 0
        count = self._counters.add
        if answer.verdict is Verdict.OK:
            count("bytes", len(body))
            count("received", records)
            count("rejected", answer.rejected)
            count("left_out", left_out)
        return answer

    def answered(self, answer: Answer) -> Answer:
        """Count an answer that is none of success, and return it."""
        name = _COUNTED.get(answer.verdict)
        if name is not None:
            self._counters.add(name)
        return answer

    def take_room(self, size: int, own: int) -> Answer | None:
        """Take from the budget for a request that has `own` of it; return the refusal where there is no room."""
        if self._closing:
            return busy("the receiver is shutting down")
        if not self._budget.take(size, own):
            in_hand, limit = self._budget.in_hand, self._budget.limit_bytes
            return busy(f"{in_hand:,} bytes of requests are in hand, limit {limit:,}")
        return None

    def give_back(self, size: int) -> None:
        """Give back to the budget."""
        self._budget.give_back(size)

    def _now(self) -> int:
        """Return the time, another for each record: by it a record is known."""
        with self._lock:
            self._last_ns = max(self._clock(), self._last_ns + 1)
            return self._last_ns

    def _keep(
        self, signal: Signal, body: bytes, read: Callable[[bytes], Any], compressed: Arriving | None
    ) -> tuple[Answer, int, int, int]:
        """Check a request and append it. In a thread.

        Returns the answer, how many records there were, how many of them are none of the journal's, and the time by
        which the last part is known, 0 where nothing was appended.
        """
        try:
            whole = body if compressed is None else _decompressed(body, compressed)
            if isinstance(whole, Answer):
                return whole, 0, 0, 0
            if not whole:
                return OK, 0, 0, 0
            with self._gate.passing(len(whole)):
                return self._read(signal, whole, read)
        except ValueError as error:
            return Answer(Verdict.MALFORMED, str(error)[:_MOST_SAID]), 0, 0, 0

    def _read(self, signal: Signal, whole: bytes, read: Callable[[bytes], Any]) -> tuple[Answer, int, int, int]:
        request = read(whole)
        records, problems, left_out = signal.check(request)
        kept_ns = 0
        if records > len(problems) + left_out:
            as_sent = read is signal.read and not problems and not left_out and len(whole) <= PART_BYTES
            for part in (whole,) if as_sent else signal.parts(request):
                kept_ns = self._now()
                if not self._log.append(encode_fact(signal.record(kept_ns, part))):
                    return busy(f"the spool takes nothing: {self._log.last_refusal}"[:_MOST_SAID]), 0, 0, 0
        if not problems:
            return OK, records, left_out, kept_ns
        said = f"{len(problems)} of {records} {signal.noun} were not kept; the first: {problems[0]}"
        return Answer(Verdict.OK, said[:_MOST_SAID], rejected=len(problems)), records, left_out, kept_ns


_COUNTED: Final = {
    Verdict.MALFORMED: "malformed",
    Verdict.UNSUPPORTED: "malformed",
    Verdict.TOO_LARGE: "too_large",
    Verdict.UNAUTHENTICATED: "unauthenticated",
    Verdict.BUSY: "busy",
}


class Arriving:
    """The room that one request takes, from its first byte to its answer."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._bytes = 0

    def add(self, size: int) -> Answer | None:
        """Note that bytes have arrived; return the refusal where they are too many."""
        if self._bytes + size > MAX_REQUEST_BYTES:
            return Answer(Verdict.TOO_LARGE, f"the request is over {MAX_REQUEST_BYTES:,} bytes")
        return self.grow(size)

    def grow(self, size: int) -> Answer | None:
        """Take room for what the bytes that arrived stand for; return the refusal where there is none."""
        refusal = self._intake.take_room(size, self._bytes)
        if refusal is None:
            self._bytes += size
        return refusal

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._intake.give_back(self._bytes)


def _decompressed(body: bytes, arriving: Arriving) -> bytes | Answer:
    """Return a body decompressed, or the refusal where there is no room for it. Raises ValueError if it is broken."""
    found: list[bytes] = []
    size = 0
    for piece in pieces(body):
        size += len(piece)
        if size > MAX_REQUEST_BYTES:
            return Answer(Verdict.TOO_LARGE, f"the request is over {MAX_REQUEST_BYTES:,} bytes, decompressed")
        refusal = arriving.grow(len(piece))
        if refusal is not None:
            return refusal
        found.append(piece)
    return b"".join(found)
