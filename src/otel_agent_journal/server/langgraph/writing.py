"""Threads that clients make, change, copy and delete: each is a session."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response

from otel_agent_journal.codec import encode_value
from otel_agent_journal.server.langgraph.notes import note_thread, thread_note
from otel_agent_journal.server.langgraph.reading import Threads, body_of, head_of, run_under_way
from otel_agent_journal.server.langgraph.runs import Runs, answering, dashed
from otel_agent_journal.server.langgraph.wire import ThreadCreate, ThreadPatch
from otel_agent_journal.server.problems import Refused
from otel_agent_journal.sessions.runs import MAX_METADATA, checked_id
from otel_agent_journal.store.deleting import StandsUnder, delete, forks_of
from otel_agent_journal.store.protocol import StoreAdmin

if TYPE_CHECKING:
    from otel_agent_journal.reading.journal import Journal
    from otel_agent_journal.server.routes import Call


class Writing:
    """What changes threads."""

    def __init__(self, threads: Threads, runs: Runs) -> None:
        self._threads = threads
        self._runs = runs

    def create(self, call: Call, journal: Journal) -> bytes:
        """Answer `POST /threads`."""
        body = body_of(call, ThreadCreate)
        for name in ("ttl", "supersteps"):
            if getattr(body, name) is not None:
                raise Refused(501, f"{name} is not done here; leave it out")
        metadata = _checked(body.metadata)
        session_id = body.thread_id or dashed()
        answering(partial(checked_id, session_id))
        if journal.exact(session_id) is not None:
            if body.if_exists == "raise":
                raise Refused(409, f"there is a thread {session_id[:200]}; if_exists=do_nothing gives that")
            return self._told(journal, session_id)
        note_thread(journal.store, session_id, metadata)
        self._runs.service.telling.opened(session_id, metadata)
        return self._told(journal, session_id)

    def get(self, call: Call, journal: Journal) -> bytes:
        """Answer `GET /threads/{thread_id}`."""
        return self._told(journal, call.args["thread_id"])

    def patch(self, call: Call, journal: Journal) -> Response | bytes:
        """Answer `PATCH /threads/{thread_id}`."""
        body = body_of(call, ThreadPatch)
        if body.ttl is not None:
            raise Refused(501, "ttl is not done here; leave it out")
        head = head_of(journal, call.args["thread_id"])
        note_thread(journal.store, head.session_id, _checked(body.metadata))
        if "return=minimal" in call.request.headers.get("prefer", ""):
            return Response(status_code=204)
        return self._told(journal, head.session_id)

    def delete(self, call: Call, journal: Journal) -> Response:
        """Answer `DELETE /threads/{thread_id}`."""
        head = head_of(journal, call.args["thread_id"])
        if (run_id := run_under_way(journal, head)) is not None:
            raise Refused(409, f"thread {head.session_id} is busy; cancel run {run_id} first")
        if not isinstance(journal.store, StoreAdmin):
            raise Refused(501, "sessions of this store cannot be deleted one by one")
        if forks := forks_of(journal.store, head):
            names = ", ".join(one.session_id for one in forks[:5])
            raise Refused(
                409, f"thread {head.session_id} was copied, and is read through by {names}; delete these first"
            )
        try:
            delete(journal.store, head.session_id)
        except StandsUnder as error:
            raise Refused(409, str(error)) from error
        return Response(status_code=204)

    def copy(self, call: Call, journal: Journal) -> bytes:
        """Answer `POST /threads/{thread_id}/copy`: a fork, which copies nothing."""
        head = head_of(journal, call.args["thread_id"])
        made = answering(partial(self._runs.service.fork, head.session_id, new=dashed()))
        note = thread_note(journal.store, head.session_id)
        note_thread(journal.store, made, {} if note is None else note.metadata)
        return self._told(journal, made)

    def _told(self, journal: Journal, session_id: str) -> bytes:
        return encode_value(msgspec.to_builtins(self._threads.told(journal, session_id)))


def _checked(metadata: dict[str, Any] | None) -> dict[str, Any]:
    if metadata is not None and len(metadata) > MAX_METADATA:
        raise Refused(422, f"metadata has {len(metadata)} names, {MAX_METADATA} is the most")
    return metadata or {}
