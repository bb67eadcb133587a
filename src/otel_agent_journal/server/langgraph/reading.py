"""Threads as the journal has them: which there are, how they stand, their states and what came before."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import msgspec

from otel_agent_journal.codec import encode_value, format_timestamp
from otel_agent_journal.errors import JournalError, StoreError
from otel_agent_journal.projections.head import (
    AWAITING_INPUT,
    COMPLETED,
    ERROR,
    INTERRUPTED,
    KILLED,
    LOST,
    PENDING,
    PROCESSING,
    SessionHead,
)
from otel_agent_journal.server.langgraph.notes import thread_note
from otel_agent_journal.server.langgraph.wire import (
    CheckpointRef,
    HistoryAsked,
    LangGraphState,
    LangGraphThread,
    StateAt,
    ThreadSearch,
)
from otel_agent_journal.server.problems import Refused
from otel_agent_journal.sessions.queue import Lines
from otel_agent_journal.sessions.runs import STARTED
from otel_agent_journal.sessions.watched import ENDINGS, Watched
from otel_agent_journal.store.protocol import SessionFilter

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_agent_journal.frameworks.langgraph.standing import Standing, Standings
    from otel_agent_journal.reading.journal import Journal
    from otel_agent_journal.server.routes import Call

MOST: Final = 1000
_LOOKED_AT: Final = 5000  # sessions that one search looks at
_ANCESTORS: Final = 100
_BY_STATUS: Final[Mapping[str, tuple[str, ...]]] = {
    "busy": (PENDING, PROCESSING),
    "interrupted": (INTERRUPTED, COMPLETED),
    "error": (ERROR, INTERRUPTED),
    "idle": (COMPLETED, INTERRUPTED, PENDING),
}
_Body = TypeVar("_Body", bound=msgspec.Struct)
_STATELESS: Final = (
    "thread {} has no state: no client of LangGraph has run it, and a graph without a checkpointer keeps none; what its"
    " runs came to is at GET /threads/{{thread_id}}/runs/{{run_id}}/join"
)
_SORTS: Final = ("thread_id", "created_at", "updated_at", "state_updated_at")


class Threads:
    """What reads threads.

    Args:
        open_journal: opens the journal that states are read with.
    """

    def __init__(self, open_journal: Callable[[], Journal]) -> None:
        self._open = open_journal
        self._lock = threading.Lock()
        self._journal: Journal | None = None
        self._standings: Standings | None = None

    def close(self) -> None:
        """Close its journal."""
        with self._lock:
            if self._journal is not None:
                self._journal.close()
            self._journal = self._standings = None

    # --- states ---

    def standing(self, journal: Journal, session_id: str, **how: Any) -> list[Standing]:
        """Return where a thread stands, or stood: see `Standings.listed`.

        Raises:
            Refused: LangGraph is not installed here.
        """
        limit = how.pop("limit", None)
        names = list(_ancestors(journal, session_id))
        with self._lock:
            if self._standings is None:
                try:
                    from otel_agent_journal.frameworks.langgraph.standing import Standings
                except ImportError as error:
                    raise Refused(
                        501, "states are read with LangGraph: pip install 'otel-agent-journal[langgraph]'"
                    ) from error
                self._journal = self._open()
                self._standings = Standings(self._journal.store)
            wanted: dict[str, Any] = how.pop("metadata", None) or {}
            found = self._standings.listed(names, **how)
            fitting = (one for one in found if all(one.metadata.get(key) == value for key, value in wanted.items()))
            return list(islice(fitting, limit))

    def state(self, call: Call, journal: Journal) -> bytes:
        """Answer `GET /threads/{thread_id}/state`, and the same at a checkpoint."""
        head = head_of(journal, call.args["thread_id"])
        nested = call.text("subgraphs") in ("true", "True", "1")
        return self._state(journal, head, call.args.get("checkpoint_id"), "", nested=nested)

    def state_at(self, call: Call, journal: Journal) -> bytes:
        """Answer `POST /threads/{thread_id}/state/checkpoint`."""
        body = body_of(call, StateAt)
        head = head_of(journal, call.args["thread_id"])
        at = body.checkpoint
        return self._state(journal, head, at.checkpoint_id, at.checkpoint_ns or "", nested=body.subgraphs)

    def _state(self, journal: Journal, head: SessionHead, checkpoint: str | None, ns: str, *, nested: bool) -> bytes:
        found = self.standing(journal, head.session_id, checkpoint_id=checkpoint, ns=ns, nested=nested)
        if not found and checkpoint is not None:
            raise Refused(404, f"thread {head.session_id} has no checkpoint {checkpoint[:200]}; its history lists them")
        if not found and thread_note(journal.store, head.session_id) is None:
            raise Refused(404, _STATELESS.format(head.session_id[:200]))
        if not found:
            return msgspec.json.encode(_nothing(head.session_id))
        return encode_value(msgspec.to_builtins(state_of(head.session_id, found[0])))

    def history(self, call: Call, journal: Journal) -> bytes:
        """Answer `POST /threads/{thread_id}/history`."""
        body = body_of(call, HistoryAsked)
        bounded(body.limit, 0)
        head = head_of(journal, call.args["thread_id"])
        at = body.checkpoint or CheckpointRef()
        found = self.standing(
            journal,
            head.session_id,
            checkpoint_id=at.checkpoint_id,
            ns=at.checkpoint_ns or "",
            before=_before(body.before),
            history=True,
            limit=body.limit,
            metadata=body.metadata,
        )
        return encode_value([msgspec.to_builtins(state_of(head.session_id, one)) for one in found])

    # --- threads ---

    def thread(self, journal: Journal, head: SessionHead, *, values: bool = True) -> LangGraphThread:
        """Return a session as a thread."""
        note = thread_note(journal.store, head.session_id)
        standing = self._standing_now(journal, head) if values else None
        metadata: dict[str, Any] = {} if note is None else dict(note.metadata)
        if head.agent is not None:
            metadata = {"graph_id": head.agent, "assistant_id": head.agent, **metadata}
        created_ns = head.started_ns if note is None else min(note.created_ns, head.started_ns or note.created_ns)
        updated_ns = max(head.updated_ns, 0 if note is None else note.updated_ns)
        return LangGraphThread(
            thread_id=head.session_id,
            created_at=format_timestamp(created_ns),
            updated_at=format_timestamp(updated_ns),
            metadata=metadata,
            status=_status(journal, head, standing),
            values=None if standing is None else standing.values,
            interrupts={}
            if standing is None
            else {task["id"]: task["interrupts"] for task in standing.tasks if task["interrupts"]},
        )

    def told(self, journal: Journal, session_id: str) -> LangGraphThread:
        """Return one thread; where it has no state, what its last run says: which agent's, and what it has answered.

        Raises:
            Refused: there is none.
        """
        head = head_of(journal, session_id)
        thread = self.thread(journal, head)
        if thread.values is not None or thread_note(journal.store, session_id) is not None:
            return thread
        watched = Watched(journal)
        agent = watched.progress(session_id).agent or head.agent
        named = {} if agent is None else {"graph_id": agent, "assistant_id": agent}
        result: Any = watched.result(session_id) if head.status == COMPLETED else None
        values = cast("Any", result if isinstance(result, dict) else None)
        return msgspec.structs.replace(thread, metadata=thread.metadata | named, values=values)

    def _standing_now(self, journal: Journal, head: SessionHead) -> Standing | None:
        try:
            return next(iter(self.standing(journal, head.session_id)), None)
        except (Refused, JournalError):
            return None

    def search(self, call: Call, journal: Journal) -> bytes:
        """Answer `POST /threads/search`."""
        body = body_of(call, ThreadSearch)
        for name in ("values", "extract"):
            if getattr(body, name):
                raise Refused(501, f"threads are not searched by {name} here; by metadata, ids and status they are")
        bounded(body.limit, body.offset)
        if body.sort_by not in (None, *_SORTS):
            raise Refused(422, f"sort_by is '{body.sort_by}'; here it is one of: {', '.join(_SORTS)}")
        found = (one for head in self._heads(journal, body) if (one := self._fitting(journal, head, body)) is not None)
        if body.sort_by in (None, "updated_at", "state_updated_at") and body.sort_order in (None, "desc"):
            listed = list(islice(found, body.offset, body.offset + body.limit))
        else:
            name = body.sort_by or "updated_at"
            name = "updated_at" if name == "state_updated_at" else name
            every = sorted(found, key=lambda one: getattr(one, name), reverse=body.sort_order != "asc")
            listed = every[body.offset : body.offset + body.limit]
        return encode_value([chosen(msgspec.to_builtins(one), body.select) for one in listed])

    def _heads(self, journal: Journal, body: ThreadSearch) -> Iterator[SessionHead]:
        if body.ids is not None:
            known = (journal.exact(one) for one in body.ids[:MOST])
            yield from (journal.judged(head) for head in known if head is not None)
            return
        statuses = () if body.status is None else _BY_STATUS[body.status]
        yield from islice(journal.heads(SessionFilter(statuses=statuses)), _LOOKED_AT)

    def _fitting(self, journal: Journal, head: SessionHead, body: ThreadSearch) -> LangGraphThread | None:
        wanted = body.metadata or {}
        values = body.select is None or "values" in body.select or "interrupts" in body.select or bool(body.status)
        if wanted:
            brief = self.thread(journal, head, values=False)
            if any(brief.metadata.get(name) != value for name, value in wanted.items()):
                return None
        one = self.thread(journal, head, values=values)
        return one if body.status in (None, one.status) else None


def state_of(session_id: str, one: Standing) -> LangGraphState:
    """Return a standing in the words of the wire."""

    def named(checkpoint_id: str | None) -> dict[str, Any] | None:
        if checkpoint_id is None:
            return None
        return {"thread_id": session_id, "checkpoint_ns": one.ns, "checkpoint_id": checkpoint_id, "checkpoint_map": {}}

    tasks = [
        {**task, "state": msgspec.to_builtins(state_of(session_id, task["state"])) if task["state"] else None}
        for task in one.tasks
    ]
    return LangGraphState(
        values=one.values,
        next=list(one.next),
        checkpoint=named(one.checkpoint_id) or {},
        metadata=one.metadata,
        created_at=one.created_at,
        parent_checkpoint=named(one.parent_id),
        tasks=tasks,
        interrupts=one.interrupts,
    )


def head_of(journal: Journal, session_id: str) -> SessionHead:
    """Return the head of a thread's session, judged.

    Raises:
        Refused: there is none.
    """
    head = journal.exact(session_id)
    if head is None:
        raise Refused(404, f"there is no thread {session_id[:200]}; POST /threads makes one, or if_not_exists=create")
    return journal.judged(head)


def body_of(call: Call, kind: type[_Body]) -> _Body:
    """Return the body of a request; none is an empty one.

    Raises:
        Refused: it does not fit.
    """
    data: bytes = getattr(call.request.state, "body", b"") or b"{}"
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise Refused(
            422, f"the body does not fit: {error}; fields are: {', '.join(kind.__struct_fields__)}"
        ) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Refused(400, f"the body is no JSON: {error or type(error).__name__}") from error


def bounded(limit: int, offset: int) -> None:
    """Refuse a page that is out of bounds.

    Raises:
        Refused: it is.
    """
    if not 0 < limit <= MOST or not 0 <= offset <= _LOOKED_AT:
        raise Refused(422, f"limit is {limit}, offset {offset}; 1 to {MOST} and 0 to {_LOOKED_AT} are expected")


def chosen(told: dict[str, Any], select: Sequence[str] | None) -> dict[str, Any]:
    """Return the fields that are asked for."""
    return told if select is None else {name: value for name, value in told.items() if name in select}


def _before(said: Any) -> str | None:
    if isinstance(said, CheckpointRef):
        return said.checkpoint_id
    if isinstance(said, dict):
        named = cast("dict[str, Any]", said)
        return cast("dict[str, Any]", named.get("configurable") or named).get("checkpoint_id")
    return said


def _status(journal: Journal, head: SessionHead, standing: Standing | None) -> str:
    """Return how a thread stands; busy is one of which a run is asked for and has not ended."""
    if head.status == PROCESSING or run_under_way(journal, head) is not None:
        return "busy"
    if head.status == ERROR or (head.status == INTERRUPTED and head.reason in (KILLED, LOST)):
        return "error"
    waits = head.status == INTERRUPTED and head.reason == AWAITING_INPUT
    if waits or (head.status == COMPLETED and standing is not None and standing.next):
        return "interrupted"
    return "idle"


def run_under_way(journal: Journal, head: SessionHead) -> str | None:
    """Return the run that a session is at, or that waits in it; one that has said its last word is neither."""
    try:
        line = Lines(journal.store).get(head.session_id)
    except StoreError:
        return None
    active = () if line is None else line.active
    over = [
        run.run
        for run in active
        if run.state == STARTED and head.status in ENDINGS and (head.ended_ns or 0) > run.at_ns
    ]
    return next((run.run for run in active if run.run not in over), None)


def _ancestors(journal: Journal, session_id: str) -> Iterator[str]:
    name: str | None = session_id
    for _ in range(_ANCESTORS):
        if name is None:
            return
        yield name
        head = journal.exact(name)
        name = None if head is None else head.forked_from


def _nothing(session_id: str) -> LangGraphState:
    at: dict[str, Any] = {"thread_id": session_id, "checkpoint_ns": "", "checkpoint_id": None, "checkpoint_map": {}}
    return LangGraphState(
        values={}, next=[], checkpoint=at, metadata={}, created_at=None, parent_checkpoint=None, tasks=[], interrupts=[]
    )
