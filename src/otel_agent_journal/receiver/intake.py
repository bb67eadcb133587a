"""From the bytes of a request to the spool, and to the answer that its client gets. Knows neither gRPC nor HTTP.

A request is acknowledged when it is on the disk, where requests that come together share one sync, or once it is in the
store. What is done to it before is only what the answer needs; what its records amount to is found when the spool is
drained. Bytes of requests count against a budget from when they arrive until they are answered (`room.py`), and work
for a client that has given up ends at the next step.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Protocol

from otel_agent_journal.mapping.facts import encode_fact
from otel_agent_journal.receiver.answers import OK, Answer, Verdict, busy
from otel_agent_journal.receiver.compression import pieces
from otel_agent_journal.receiver.room import MAX_REQUEST_BYTES, Budget, GivenUp, Room
from otel_agent_journal.receiver.signals import PART_BYTES

if TYPE_CHECKING:
    from otel_agent_journal.receiver.counters import Row
    from otel_agent_journal.receiver.signals import Reading, Signal

_log = logging.getLogger("otel_agent_journal.receiver")

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
        counters: what is counted.
        budget_bytes: of requests in hand; what is over is asked to come again.
        content: whether what is content may be kept.
        stored: waited for before a request is acknowledged; None: the spool is enough.
        clock: UTC nanoseconds.
    """

    def __init__(
        self,
        log: Log,
        counters: Row,
        *,
        budget_bytes: int,
        content: bool = True,
        stored: Stored | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._log = log
        self._counters = counters
        self._budget = Budget(budget_bytes, counters)
        self._content = content
        self._stored = stored
        self._clock = clock
        self._last_ns = 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_THREADS, "agent-journal-intake")

    @property
    def is_ready(self) -> bool:
        """Tell whether requests are taken now."""
        return self._budget.is_open

    def close(self) -> None:
        """Take no more requests; those in hand are answered."""
        self._budget.close()

    def arriving(self) -> Room:
        """Begin a request; use what is returned as a context manager around all of it."""
        self._counters.add("requests")
        return self._budget.room()

    async def keep(
        self, signal: Signal, body: bytes, read: Callable[[bytes], Reading], room: Room, *, compressed: bool
    ) -> Answer:
        """Keep a request whose bytes have arrived, and return its answer. Never raises, but for a cancellation.

        What is kept is counted, whether or not its client still waits to hear of it.

        Args:
            signal: what it is of.
            body: as it was sent.
            read: `signal.read` or `signal.read_json`.
            room: what it has, and may need more of; once that is left, no more is done.
            compressed: whether the body is gzip or zlib.
        """
        try:
            loop = asyncio.get_running_loop()
            answer, kept_ns = await loop.run_in_executor(self._pool, self._keep, signal, body, read, room, compressed)
            if self._stored is not None and kept_ns and not await self._stored.wait(kept_ns, STORE_PATIENCE_S):
                answer = busy("it is kept, and not yet in the store")
        except Exception as error:  # noqa: BLE001 - a client drops what an error of ours does not let it send again
            _log.exception("a request could not be handled; its client is asked to send it again")
            answer = busy(f"{type(error).__name__}: {error}"[:_MOST_SAID])
        return answer

    def answered(self, answer: Answer) -> Answer:
        """Count an answer that is none of success, and return it."""
        name = _COUNTED.get(answer.verdict)
        if name is not None:
            self._counters.add(name)
        return answer

    def _now(self) -> int:
        """Return the time, another for each record: by it a record is known."""
        with self._lock:
            self._last_ns = max(self._clock(), self._last_ns + 1)
            return self._last_ns

    def _keep(
        self, signal: Signal, body: bytes, read: Callable[[bytes], Reading], room: Room, compressed: bool
    ) -> tuple[Answer, int]:
        """Check a request, append it and count it. In a thread.

        Returns the answer, and the time by which the last part is known, 0 where nothing was appended.
        """
        records = left_out = kept_ns = 0
        try:
            whole = _decompressed(body, room) if compressed else body
            if isinstance(whole, Answer):
                return whole, 0
            answer = OK
            if whole:
                with room.reading(len(whole)):
                    reading = read(whole)
                    refusal = room.grow(max(0, len(reading.whole or b"") - len(whole)))  # mended text is longer
                    if refusal is not None:
                        return refusal, 0
                    answer, records, left_out, kept_ns = self._append(signal, reading, room)
        except GivenUp:
            return busy("its client has given up"), 0
        except ValueError as error:
            return Answer(Verdict.MALFORMED, str(error)[:_MOST_SAID]), 0
        if answer.verdict is Verdict.OK:
            count = self._counters.add
            count("bytes", len(body))
            count("received", records)
            count("rejected", answer.rejected)
            count("left_out", left_out)
        return answer, kept_ns

    def _append(self, signal: Signal, reading: Reading, room: Room) -> tuple[Answer, int, int, int]:
        """Keep what was read, all of it or, where nobody waits for it any more, nothing."""
        kept_ns = 0
        records, problems, left_out = signal.check(reading.request)
        room.check()
        if not self._content:
            _, unreadable, values = signal.reduce(reading.request)
            problems, left_out = problems + unreadable, left_out + values
            room.check()
        if records > len(problems) + left_out:
            whole = reading.whole if self._content and not problems and not left_out else None
            as_sent = () if whole is None or len(whole) > PART_BYTES else (whole,)
            for part in as_sent or signal.parts(reading.request):
                kept_ns = self._now()
                if not self._log.append(encode_fact(signal.record(kept_ns, part, not self._content))):
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


def _decompressed(body: bytes, room: Room) -> bytes | Answer:
    """Return a body decompressed, or the refusal where there is no room. Raises GivenUp, and ValueError if broken."""
    found: list[bytes] = []
    size = 0
    for piece in pieces(body):
        size += len(piece)
        if size > MAX_REQUEST_BYTES:
            return Answer(Verdict.TOO_LARGE, f"the request is over {MAX_REQUEST_BYTES:,} bytes, decompressed")
        refusal = room.grow(len(piece))
        if refusal is not None:
            return refusal
        found.append(piece)
    return b"".join(found)
