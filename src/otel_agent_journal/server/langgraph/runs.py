"""Runs: asked for, looked at, waited for, streamed, cancelled; each is a run of the session API."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote

import msgspec
from anyio import to_thread
from starlette.responses import Response, StreamingResponse

from otel_agent_journal.codec import encode_value, format_timestamp
from otel_agent_journal.errors import JournalError
from otel_agent_journal.errors import SessionNotFound as NotFound
from otel_agent_journal.event import time_ordered_id
from otel_agent_journal.pipeline.graph_calls import GraphCall
from otel_agent_journal.server import sse
from otel_agent_journal.server.langgraph.asking import asked_of, checkpoint_of, metadata_of, modes_of
from otel_agent_journal.server.langgraph.following import ASKS, Ended, RunFollowed, runs_of
from otel_agent_journal.server.langgraph.notes import RunNote, note_run, note_thread, thread_note
from otel_agent_journal.server.langgraph.reading import Threads, body_of, bounded, chosen, head_of
from otel_agent_journal.server.langgraph.streams import number_of, streamed, waited
from otel_agent_journal.server.langgraph.wire import LangGraphRun, RunCreate, StateUpdate
from otel_agent_journal.server.problems import Refused
from otel_agent_journal.server.routes import JSON
from otel_agent_journal.sessions.runs import Asked, checked_id
from otel_agent_journal.sessions.runs import Refused as Unfit

if TYPE_CHECKING:
    from otel_agent_journal.reading.journal import Journal
    from otel_agent_journal.server.routes import Call
    from otel_agent_journal.sessions.service import SessionService

_UPDATE_S: Final = 120.0
_PAUSE_S: Final = 0.1
_NO_CONTENT: Final = (
    "this server journals no content (AGENT_JOURNAL_CONTENT), so that nothing of a run can be streamed; ask for it by"
    " POST /threads/{thread_id}/runs, and wait for its end"
)

_NOWHERE: Final = (
    "thread {} cannot be answered: it was run without a checkpointer, and has no state to go on from; give it an input"
)


class Runs:
    """What runs agents for LangGraph's clients.

    Args:
        service: of the session API; None where nothing is run here.
        threads: reads threads.
        content: whether what is streamed is journaled.
    """

    def __init__(self, service: SessionService | None, threads: Threads, *, content: bool = True) -> None:
        self._service = service
        self._threads = threads
        self._content = content

    @property
    def service(self) -> SessionService:
        """The session API.

        Raises:
            Refused: there is none.
        """
        if self._service is None:
            raise Refused(501, "this server runs no agents; start it with --write and --agents, on a store that can")
        return self._service

    # --- asking ---

    def ask(self, call: Call, journal: Journal, *, streams: bool = False) -> RunFollowed:
        """Ask for the run that a request says, and return it."""
        body = body_of(call, RunCreate)
        service = self.service
        if streams and not self._content:
            raise Refused(501, _NO_CONTENT)
        session_id = call.args.get("thread_id")
        metadata = metadata_of(body)
        asked = asked_of(body, session_id, metadata)
        cursor: str | None = None
        if session_id is None:
            fresh = dashed()
            asked = msgspec.structs.replace(asked, session_id=fresh)
        else:
            checked_id(session_id)
            if journal.exact(session_id) is None and body.if_not_exists != "create":
                head_of(journal, session_id)
            cursor = journal.store.tip(session_id)
            self._check_answerable(journal, session_id, body)
        if body.assistant_id not in service.agents:
            raise Refused(
                404, f"there is no assistant {body.assistant_id[:80]}; there are: {', '.join(service.agents)}"
            )
        done = service.ask(asked)
        graph = asked.graph or GraphCall()
        note = RunNote(
            modes=graph.modes,
            subgraphs=graph.subgraphs,
            cursor=cursor,
            strategy=body.multitask_strategy,
            metadata=metadata,
        )
        note_run(journal.store, done.session_id, done.run, note)
        note_thread(journal.store, done.session_id, {"graph_id": body.assistant_id, "assistant_id": body.assistant_id})
        return RunFollowed(call.journals, done.session_id, done.run)

    def _check_answerable(self, journal: Journal, session_id: str, body: RunCreate) -> None:
        """Refuse an answer to what a thread without a state has asked: the graph does not know where it stood."""
        if not body.command or body.command.get("resume") is None or thread_note(journal.store, session_id) is not None:
            return
        if not self._threads.standing(journal, session_id):
            raise Refused(409, _NOWHERE.format(session_id[:200]))

    def create(self, call: Call, journal: Journal) -> Response:
        """Answer `POST /threads/{thread_id}/runs`, and `POST /runs`."""
        run = self.ask(call, journal)
        run.read()
        told = msgspec.to_builtins(self._told(journal, run))
        return Response(encode_value(told), media_type=JSON, headers=named(run))

    async def stream(self, call: Call) -> Response:
        """Answer `POST …/runs/stream`."""
        run, body = await self._begun(call, streams=True)
        ear = await to_thread.run_sync(call.hub.ear, run.session_id)
        modes = modes_of(body.stream_mode)
        response = sse.response(streamed(ear, run, modes, 0, self._left(run, cancels=body.on_disconnect == "cancel")))
        response.headers.update({**named(run), "Location": f"{place_of(run)}/stream"})
        return response

    async def wait(self, call: Call) -> Response:
        """Answer `POST …/runs/wait`."""
        run, body = await self._begun(call)
        ear = await to_thread.run_sync(call.hub.ear, run.session_id)
        left = self._left(run, cancels=body.on_disconnect == "cancel")
        told = waited(ear, run, partial(self.result, call, run), left)
        return StreamingResponse(told, media_type=JSON, headers={**named(run), "Location": f"{place_of(run)}/join"})

    async def _begun(self, call: Call, *, streams: bool = False) -> tuple[RunFollowed, RunCreate]:
        call.request.state.body = await call.request.body()

        def begun() -> tuple[RunFollowed, RunCreate]:
            with call.journals.one() as journal:
                return self.ask(call, journal, streams=streams), body_of(call, RunCreate)

        return await to_thread.run_sync(answering, begun)

    # --- looking ---

    def found(self, call: Call) -> RunFollowed:
        """Return the run that a path names, read as far as it has come.

        Raises:
            Refused: there is none.
        """
        session_id, run_id = call.args["thread_id"], call.args["run_id"]
        with call.journals.one() as journal:
            head_of(journal, session_id)
        run = RunFollowed(call.journals, session_id, run_id)
        run.read()
        if not run.is_known:
            raise Refused(
                404, f"thread {session_id[:200]} has no run {run_id[:80]}; GET …/runs lists those that it has"
            )
        return run

    def get(self, call: Call, journal: Journal) -> bytes:
        """Answer `GET /threads/{thread_id}/runs/{run_id}`."""
        return encode_value(msgspec.to_builtins(self._told(journal, self.found(call))))

    def listed(self, call: Call, journal: Journal) -> bytes:
        """Answer `GET /threads/{thread_id}/runs`."""
        head = head_of(journal, call.args["thread_id"])
        limit, offset, status = (
            call.number("limit", 10, least=1, most=1000),
            call.number("offset", 0),
            call.text("status"),
        )
        select = call.request.query_params.getlist("select") or None
        bounded(limit, min(offset, 5000))
        told: list[dict[str, Any]] = []
        for run_id, _, _ in runs_of(journal, head.session_id):
            run = RunFollowed(call.journals, head.session_id, run_id)
            run.read()
            one = msgspec.to_builtins(self._told(journal, run))
            if status in (None, one["status"]):
                told.append(chosen(one, select))
            if len(told) >= limit + offset:
                break
        return encode_value(told[offset:])

    async def join(self, call: Call) -> Response:
        """Answer `GET …/runs/{run_id}/join`."""
        run = await to_thread.run_sync(answering, partial(self.found, call))
        ear = await to_thread.run_sync(call.hub.ear, run.session_id)
        told = waited(ear, run, partial(self.result, call, run))
        return StreamingResponse(told, media_type=JSON, headers={**named(run), "Location": f"{place_of(run)}/join"})

    async def join_stream(self, call: Call) -> Response:
        """Answer `GET …/runs/{run_id}/stream`: from the beginning, or behind `Last-Event-ID`."""
        after = number_of(call.request.headers.get("last-event-id"))
        if after is None:
            raise Refused(400, "Last-Event-ID is no id of a run's stream; leave it out to begin at the beginning")
        known = await to_thread.run_sync(answering, partial(self.found, call))
        asked = [mode for mode in call.request.query_params.getlist("stream_mode") if mode]
        modes = modes_of(asked) if asked else (known.note.modes or ("values",))
        run = RunFollowed(call.journals, known.session_id, known.run_id)
        ear = await to_thread.run_sync(call.hub.ear, run.session_id)
        cancels = (call.text("cancel_on_disconnect") or "").lower() in ("true", "1")
        response = sse.response(streamed(ear, run, modes, after, self._left(run, cancels=cancels)))
        response.headers.update({**named(run), "Location": f"{place_of(run)}/stream"})
        return response

    def cancel(self, call: Call, journal: Journal) -> bytes:
        """Answer `POST …/runs/{run_id}/cancel`."""
        if call.text("action") == "rollback":
            raise Refused(501, "action rollback deletes what a run did; a journal does not: interrupt")
        run = self.found(call)
        if run.ended is not None:
            raise Refused(409, f"run {run.run_id} is {run.ended.status}: there is nothing to cancel")
        self.service.cancel_run(run.session_id, run.run_id)
        deadline = time.monotonic() + _UPDATE_S
        while call.text("wait") in ("1", "true") and run.ended is None and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)
            run.read()
        return b"{}"

    # --- a state that is written ---

    def update(self, call: Call, journal: Journal) -> bytes:
        """Answer `POST /threads/{thread_id}/state`: by a run, since the graph alone knows what becomes of values."""
        body = body_of(call, StateUpdate)
        head = head_of(journal, call.args["thread_id"])
        cursor = journal.store.tip(head.session_id)
        graph = GraphCall(
            modes=(),
            update={"values": body.values, "as_node": body.as_node},
            checkpoint=checkpoint_of(body.checkpoint, body.checkpoint_id),
        )
        agent = self.service.agent_for(head.session_id)
        done = self.service.ask(Asked(agent=agent, session_id=head.session_id, graph=graph))
        note_run(journal.store, done.session_id, done.run, RunNote(cursor=cursor))
        run = RunFollowed(call.journals, done.session_id, done.run)
        deadline = time.monotonic() + _UPDATE_S
        run.read()
        while run.ended is None and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)
            run.read()
        if run.ended is None:
            raise Refused(504, f"the state is not updated after {_UPDATE_S:g} s; run {run.run_id} goes on: GET …/join")
        if run.ended.error is not None:
            kind, message = run.ended.error
            raise Refused(422, f"the graph did not take the update: {kind}: {message}")
        checkpoint: Any = run.ended.output["checkpoint"]
        return encode_value({"checkpoint": checkpoint, "configurable": checkpoint, **checkpoint})

    # --- within ---

    def result(self, call: Call, run: RunFollowed, ended: Ended) -> Any:
        """Return what a run has answered: a graph's state."""
        if ended.error is not None and ended.reason != "cancelled":
            kind, message = ended.error
            return {"__error__": {"error": kind, "message": message}}
        if ended.output is not None:
            return ended.output
        with call.journals.one() as journal:
            found = self._threads.standing(journal, run.session_id)
            if not found:
                return None
            values = found[0].values
            asks = found[0].interrupts
            return {**cast("dict[str, Any]", values), ASKS: asks} if asks and isinstance(values, dict) else values

    def _told(self, journal: Journal, run: RunFollowed) -> LangGraphRun:
        ended_ns = run.ended.at_ns if run.ended is not None and run.ended.at_ns else time.time_ns()
        return LangGraphRun(
            run_id=run.run_id,
            thread_id=run.session_id,
            assistant_id=run.agent or "",
            created_at=format_timestamp(run.at_ns),
            updated_at=format_timestamp(ended_ns),
            status=run.status(journal),
            metadata=run.note.metadata,
            multitask_strategy=run.note.strategy,
        )

    def _left(self, run: RunFollowed, *, cancels: bool) -> Callable[[], object] | None:
        return partial(self._cancel_quietly, run) if cancels else None

    def _cancel_quietly(self, run: RunFollowed) -> None:
        try:
            self.service.cancel_run(run.session_id, run.run_id)
        except (Refused, JournalError):  # it has ended meanwhile
            return


def answering(work: Callable[[], Any]) -> Any:
    """Return what work does, its refusals as the server answers them."""
    try:
        return work()
    except Unfit as error:
        raise Refused(error.status, str(error)) from error
    except NotFound as error:
        raise Refused(404, str(error)) from error


def dashed() -> str:
    """Return a fresh id of a thread, as a UUID is written: some clients take no other."""
    return str(uuid.UUID(time_ordered_id(time.time_ns(), os.urandom(10))))


def place_of(run: RunFollowed) -> str:
    """Return the path of a run, as clients ask for it: below where they know the server."""
    return f"/threads/{quote(run.session_id, safe='')}/runs/{run.run_id}"


def named(run: RunFollowed) -> Mapping[str, str]:
    """Return the header that says which run was begun."""
    return {"Content-Location": place_of(run)}
