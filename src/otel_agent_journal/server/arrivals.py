"""When something has arrived in a session, for who reads it himself: woken by the thread that follows the store."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Final

from otel_agent_journal.server.feeds import Feed, Frame

if TYPE_CHECKING:
    from otel_agent_journal.server.ears import Ear

LONGEST_S: Final = 1.0  # between two looks: that a process is gone arrives as no event
_RESYNC: Final = Frame("resync", b"{}")


async def arrivals(ear: Ear, longest_s: float = LONGEST_S) -> AsyncGenerator[None]:
    """Yield at once, then whenever something has arrived, or nothing has for `longest_s`; ends with the server."""
    feed = Feed(_RESYNC)
    ear.readers.add(feed)
    frames = feed.frames(longest_s)
    try:
        yield
        async for _ in frames:
            yield
    finally:
        await frames.aclose()
        ear.readers.discard(feed)
        ear.used_s = time.monotonic()
