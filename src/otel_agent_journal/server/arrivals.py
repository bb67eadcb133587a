"""When something has arrived in a session, for who reads it himself: woken by the thread that follows the store."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Final

from otel_agent_journal.server.feeds import Feed, Frame

if TYPE_CHECKING:
    from otel_agent_journal.server.ears import Ear

LONGEST_S: Final = 1.0  # between two looks: that a process is gone arrives as no event
_RESYNC: Final = Frame("resync", b"{}")


async def arrivals(ear: Ear, longest_s: float = LONGEST_S) -> AsyncGenerator[bool]:
    """Yield True at once and whenever something has arrived, False where nothing has for a while; ends with the server.

    Args:
        ear: hears of the session's events.
        longest_s: that while.
    """
    feed = Feed(_RESYNC)
    ear.readers.attach(feed)
    frames = feed.frames(longest_s)
    try:
        yield True
        async for frame in frames:
            yield frame is not None
    finally:
        await frames.aclose()
        ear.detach(feed)
