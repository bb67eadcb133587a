"""A run as a stream of server-sent events, in the modes that were asked for, from any place in it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Collection
from typing import TYPE_CHECKING, Any, Final

from anyio import to_thread

from otel_agent_journal.codec import encode_value
from otel_agent_journal.pipeline.graph_calls import VALUES
from otel_agent_journal.server import sse
from otel_agent_journal.server.feeds import HEARTBEAT_S, Feed, Frame
from otel_agent_journal.server.langgraph.following import ERROR, Ended, Part, RunFollowed

if TYPE_CHECKING:
    from otel_agent_journal.server.ears import Ear

_TUPLES: Final = "messages-tuple"
_MESSAGES: Final = "messages"
_LOOK_S: Final = 1.0  # between two looks of its own, as for a run whose process is gone
_RESYNC: Final = Frame("resync", b"{}")


class Told:
    """What of a run's parts a client is told, and how."""

    def __init__(self, modes: Collection[str]) -> None:
        self._modes = frozenset(_MESSAGES if mode == _TUPLES else mode for mode in modes)
        self._whole = _MESSAGES in modes and _TUPLES not in modes
        self._messages: dict[str, Any] = {}
        self.values = False

    def of(self, part: Part) -> list[tuple[str, Any]]:
        """Return the events of a part, by name."""
        self.values = self.values or (part.mode == VALUES and not part.ns)
        if part.mode == ERROR:
            return [(ERROR, part.data)]
        if part.mode not in self._modes:
            return []
        if part.mode == _MESSAGES and self._whole:
            return self._grown(part)
        return [(" ".join("|".join((part.mode, *part.ns)).split()), part.data)]  # a name is one line

    def _grown(self, part: Part) -> list[tuple[str, Any]]:
        """Return a message as far as it has come: `messages/metadata` once, then `partial`, or `complete`."""
        from langchain_core.messages import AIMessageChunk, message_chunk_to_message

        message, metadata = part.data
        if message.get("type") != "AIMessageChunk":
            return [
                ("messages/metadata", {message.get("id"): {"metadata": metadata}}),
                ("messages/complete", [message]),
            ]
        known = self._messages.get(message["id"])
        chunk: Any = AIMessageChunk.model_validate(message)
        self._messages[message["id"]] = grown = chunk if known is None else known + chunk
        said = message_chunk_to_message(grown).model_dump()
        first = [("messages/metadata", {message["id"]: {"metadata": metadata}})] if known is None else []
        return [*first, ("messages/partial", [said])]

    def ended(self, ended: Ended, output_is_state: bool) -> list[tuple[str, Any]]:
        """Return what is said as a run ends."""
        if ended.status not in ("success", "interrupted") or (ended.error and ended.status != "interrupted"):
            kind, message = ended.error or ("Error", "")
            return [(ERROR, {"error": kind, "message": message})]
        if output_is_state and not self.values and VALUES in self._modes:
            return [(VALUES, ended.output), ("end", None)]
        return [("end", None)]


async def streamed(
    ear: Ear, run: RunFollowed, modes: Collection[str], after: int, left: Callable[[], object] | None = None
) -> AsyncGenerator[bytes]:
    """Yield the messages of a run's stream behind a part.

    Args:
        ear: hears of the session's events.
        run: the run.
        modes: of which something is told.
        after: the number of the part that the client has last.
        left: called where the client leaves before the run ends.
    """
    feed = Feed(_RESYNC)
    ear.readers.attach(feed)
    frames = feed.frames(_LOOK_S)
    told = Told(modes)
    beat_s = time.monotonic()
    done = False
    try:
        if not after:
            yield sse.message(_data({"run_id": run.run_id, "attempt": 1}), event="metadata")
        while True:
            more = True
            while more:
                parts, more = await to_thread.run_sync(run.look)
                for part in parts:
                    events = told.of(part)
                    if part.number <= after:
                        continue
                    for count, (name, data) in enumerate(events, start=1):
                        at = str(part.number) if count == len(events) else None  # it is had once all of it is
                        beat_s = time.monotonic()
                        yield sse.message(_data(data), event=name, at=at)
            if run.is_done:
                assert run.ended is not None
                for name, data in told.ended(run.ended, run.ended.output is not None):
                    yield sse.message(_data(data), event=name)
                done = True
                return
            frame = await anext(frames, None)
            if frame is None:
                if feed.closed:
                    return
                if time.monotonic() - beat_s > HEARTBEAT_S:
                    beat_s = time.monotonic()
                    yield sse.BEAT
    finally:
        await frames.aclose()
        ear.detach(feed)
        if left is not None and not done and run.ended is None and not feed.closed:
            left()


async def waited(
    ear: Ear, run: RunFollowed, result: Callable[[Ended], Any], left: Callable[[], object] | None = None
) -> AsyncGenerator[bytes]:
    """Yield a run's result as JSON once it has ended, and line ends meanwhile, which JSON does not mind."""
    feed = Feed(_RESYNC)
    ear.readers.attach(feed)
    frames = feed.frames(_LOOK_S)
    beat_s = time.monotonic()
    done = False
    try:
        while True:
            await to_thread.run_sync(run.read)
            if run.ended is not None:
                ended = run.ended
                yield encode_value(await to_thread.run_sync(result, ended))
                done = True
                return
            if await anext(frames, None) is None and feed.closed:
                return
            if time.monotonic() - beat_s > HEARTBEAT_S:
                beat_s = time.monotonic()
                yield b"\n"
    finally:
        await frames.aclose()
        ear.detach(feed)
        if left is not None and not done and not feed.closed:
            left()


def number_of(text: str | None) -> int | None:
    """Return the number of the part that a `Last-Event-ID` names: 0 without one, None where it is none of ours."""
    if not text:
        return 0
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None


def _data(value: Any) -> bytes:
    return b"null" if value is None else encode_value(value)
