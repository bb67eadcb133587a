"""The streams: of the viewer, one a tab, and of raw events for everybody else."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec
from anyio import to_thread
from starlette.responses import Response, StreamingResponse

from otel_agent_journal.codec import encode_line
from otel_agent_journal.errors import SessionNotFound
from otel_agent_journal.event import CHUNK, REASONING, kind_of
from otel_agent_journal.projections.links import part_named_by
from otel_agent_journal.server import sse
from otel_agent_journal.server.feeds import HEARTBEAT_S, Feed, Frame
from otel_agent_journal.server.problems import Refused
from otel_agent_journal.server.wire import Resync
from otel_agent_journal.store.linked import parts_in

if TYPE_CHECKING:
    from otel_agent_journal.event import JournalEvent
    from otel_agent_journal.server.ears import Ear
    from otel_agent_journal.server.journals import Journals
    from otel_agent_journal.server.live_list import Wanted
    from otel_agent_journal.server.rooms import Room
    from otel_agent_journal.server.routes import Call
    from otel_agent_journal.store.protocol import JournalStore

LINES: Final = "application/x-ndjson"
PAGE: Final = 500
_RESYNC: Final = Frame("resync", msgspec.json.encode(Resync()))


async def viewer(call: Call, wanted: Wanted) -> Response:
    """Stream what a tab shows: a session, the list, or both."""
    session_id, listed = call.text("session"), call.text("list") == "1"
    if session_id is None and not listed:
        raise Refused(400, "there is nothing to stream; give session=ID, list=1, or both")
    after = call.request.headers.get("last-event-id") or call.text("after")
    of_session, _, of_list = (after or "").partition("~")
    room = None if session_id is None else await to_thread.run_sync(call.hub.room, session_id)
    return sse.response(_told(call, room, wanted if listed else None, of_session, of_list))


async def _told(
    call: Call, room: Room | None, wanted: Wanted | None, of_session: str, of_list: str
) -> AsyncGenerator[bytes]:
    feed = Feed(_RESYNC)
    at = {"session": of_session, "list": of_list}
    try:
        if wanted is not None:
            call.hub.listed.attach(feed, wanted, of_list or None)
        if room is not None:
            room.attach(feed, of_session or None)
        async for frame in feed.frames():
            if frame is None:
                yield sse.BEAT
                continue
            if frame.topic:
                at[frame.topic] = frame.at
            place = at["session"] + (f"~{at['list']}" if at["list"] else "")
            yield sse.message(frame.data, event=frame.event, at=place or None)
    finally:
        if room is not None:
            room.detach(feed)
        call.hub.listed.detach(feed)


# --- raw events ---------------------------------------------------------------------------------------------------


class Cursor(msgspec.Struct, array_like=True, omit_defaults=True):
    """Where a reader of raw events stands, by session and part: a cursor of the store, and how many behind it."""

    streams: dict[str, tuple[str | None, int]] = {}

    @property
    def text(self) -> str:
        """It, as an `id` of a message."""
        return base64.urlsafe_b64encode(msgspec.json.encode(self.streams)).decode().rstrip("=")

    @classmethod
    def read(cls, text: str | None) -> Cursor:
        """Return what an `id` says.

        Raises:
            Refused: it is none of ours.
        """
        if not text:
            return cls()
        try:
            data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            return cls(msgspec.json.decode(data, type=dict[str, tuple[str | None, int]]))
        except (ValueError, msgspec.MsgspecError) as error:
            raise Refused(400, "this is no cursor of ours; leave `after` out to begin at the beginning") from error


class Events:
    """The raw events of a session and its parts, from a cursor on. Used by one thread at a time."""

    def __init__(self, journals: Journals, session_id: str, cursor: Cursor) -> None:
        self._journals = journals
        self._session_id = session_id
        self._streams = dict(cursor.streams)
        self._looked = False

    def page(self) -> list[tuple[JournalEvent, str]]:
        """Return what has arrived, each event with the cursor behind it; nothing: there is no more for now."""
        with self._journals.one() as journal:
            return list(self._page(journal.store))

    def _page(self, store: JournalStore) -> Iterator[tuple[JournalEvent, str]]:
        if not self._looked:
            self._looked = True
            for part in (self._session_id, *parts_in(store, self._session_id)):
                self._streams.setdefault(part, (None, 0))
        for name in list(self._streams):
            cursor, had = self._streams[name]
            page = store.follow(cursor, session_id=name, limit=PAGE)
            for count, event in enumerate(page.events[had:], start=had + 1):
                self._streams[name] = (cursor, count)
                if (part := part_named_by(event)) is not None:
                    self._streams.setdefault(part, (None, 0))
                yield event, Cursor(self._streams).text
            if page.events:
                self._streams[name] = (page.cursor, 0)


async def raw(call: Call) -> Response:
    """Stream events as they arrive (`Accept: text/event-stream`), or say those that there are, a line each."""
    session_id = call.args["id"]
    await to_thread.run_sync(_known, call.journals, session_id)
    after = call.request.headers.get("last-event-id") or call.text("after")
    events = Events(call.journals, session_id, Cursor.read(after))
    wanted = _Wanted(call)
    if "text/event-stream" in call.request.headers.get("accept", ""):
        ear = await to_thread.run_sync(call.hub.ear, session_id)
        return sse.response(_streamed(ear, events, wanted))
    return StreamingResponse(_lines(events, wanted, call.number("limit", 0)), media_type=LINES)


def _known(journals: Journals, session_id: str) -> None:
    """Raise SessionNotFound where nothing is known of a session."""
    with journals.one() as journal:
        if journal.exact(session_id) is None:
            raise SessionNotFound(session_id, "agent-journal ls lists them all")


class _Wanted:
    """Which events are wanted."""

    def __init__(self, call: Call) -> None:
        self._kinds = frozenset(kind.upper() for kind in call.texts("kinds"))
        self._tokens = call.text("tokens") != "0"

    def __call__(self, event: JournalEvent) -> bool:
        if not self._tokens and event.type in (CHUNK, REASONING):
            return False
        return not self._kinds or event.type in self._kinds or (kind_of(event.type) or "") in self._kinds


async def _streamed(ear: Ear, events: Events, wanted: Any) -> AsyncGenerator[bytes]:
    feed = Feed(_RESYNC)
    ear.readers.attach(feed)
    frames = feed.frames(HEARTBEAT_S)
    try:
        while True:
            while page := await to_thread.run_sync(events.page):
                for event, cursor in page:
                    if wanted(event):
                        yield sse.message(encode_line(event), at=cursor)
            frame = await anext(frames, None)
            if frame is None:
                if feed.closed:
                    return
                yield sse.BEAT
    finally:
        await frames.aclose()
        ear.detach(feed)


async def _lines(events: Events, wanted: Any, limit: int) -> AsyncGenerator[bytes]:
    said = 0
    while page := await to_thread.run_sync(events.page):
        for event, _ in page:
            if wanted(event):
                yield encode_line(event) + b"\n"
                said += 1
                if said == limit:
                    return
