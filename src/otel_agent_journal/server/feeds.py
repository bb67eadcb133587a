"""What one connection is told, between the thread that follows the store and the loop that writes to the browser.

Bounded: a reader that is too slow loses what it has not read, and is told to fetch anew.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator
from typing import Final, NamedTuple

MOST_BYTES: Final = 4 * 1024 * 1024
MOST_FRAMES: Final = 2_000
HEARTBEAT_S: Final = 15.0


class Frame(NamedTuple):
    """A message of a stream. `at`: what a reader that has it goes on from; `topic`: of the session, or of the list."""

    event: str
    data: bytes
    topic: str = ""
    at: str = ""


class Feed:
    """A queue from any thread to one loop."""

    def __init__(self, overflowed: Frame) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._lock = threading.Lock()
        self._frames: deque[Frame] = deque()
        self._bytes = 0
        self._overflowed = overflowed
        self._closed = False

    def put(self, frames: Iterable[Frame]) -> None:
        """Add frames. From any thread; never waits."""
        with self._lock:
            if self._closed:
                return
            for frame in frames:
                self._frames.append(frame)
                self._bytes += len(frame.data)
            if self._bytes > MOST_BYTES or len(self._frames) > MOST_FRAMES:
                self._frames.clear()
                self._frames.append(self._overflowed)
                self._bytes = 0
        self._wake()

    def nudge(self) -> None:
        """Say that there is something to look at, where that is not said already. From any thread."""
        with self._lock:
            waiting = bool(self._frames) or self._closed
        if not waiting:
            self.put([Frame("arrived", b"")])

    @property
    def closed(self) -> bool:
        """Whether nothing more will come."""
        return self._closed

    def close(self) -> None:
        """End it once what it holds was read. From any thread."""
        with self._lock:
            self._closed = True
        self._wake()

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._ready.set)
        except RuntimeError:  # the loop has ended, and its readers with it
            self._closed = True

    async def frames(self, heartbeat_s: float = HEARTBEAT_S) -> AsyncGenerator[Frame | None]:
        """Yield frames as they come; None where none came for a while. Ends once it is closed."""
        while True:
            self._ready.clear()
            with self._lock:
                frames, self._frames, self._bytes = self._frames, deque(), 0
                closed = self._closed
            for frame in frames:
                yield frame
            if frames:
                continue
            if closed:
                return
            try:
                await asyncio.wait_for(self._ready.wait(), heartbeat_s)
            except TimeoutError:
                yield None


class Readers:
    """The feeds of one thing that is followed, from any thread. Once it has ended, one that comes late ends at once."""

    def __init__(self) -> None:
        self._feeds: set[Feed] = set()
        self._closed = False

    def attach(self, feed: Feed) -> None:
        """Take one in."""
        self._feeds.add(feed)
        if self._closed:
            feed.close()

    def detach(self, feed: Feed) -> None:
        """Let go of one."""
        self._feeds.discard(feed)

    def close(self) -> None:
        """End all that are there and all that will come."""
        self._closed = True
        for feed in self:
            feed.close()

    def __iter__(self) -> Iterator[Feed]:
        return iter(tuple(self._feeds))

    def __len__(self) -> int:
        return len(self._feeds)
