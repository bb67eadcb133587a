"""The table of the routes that LangGraph's clients ask, and of those that are not done here: each says so."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from otel_agent_journal.codec import encode_value
from otel_agent_journal.server.langgraph import wire
from otel_agent_journal.server.langgraph.assistants import Assistants
from otel_agent_journal.server.langgraph.reading import Threads
from otel_agent_journal.server.langgraph.runs import Runs
from otel_agent_journal.server.langgraph.writing import Writing
from otel_agent_journal.server.problems import Refused
from otel_agent_journal.server.routes import Call, Param, Route
from otel_agent_journal.server.sse import EVENTS

if TYPE_CHECKING:
    from otel_agent_journal.reading.journal import Journal

_THREADS: Final = "/threads"
_THREAD: Final = "/threads/{thread_id}"
_RUN: Final = "/threads/{thread_id}/runs/{run_id}"
_ASSISTANT: Final = "/assistants/{assistant_id}"
_LIST: Final = (Param("limit", "At most so many.", "integer"), Param("offset", "But for so many.", "integer"))
_MODES: Final = Param("stream_mode", "What is streamed, of what the run was asked to.", several=True)
_NOT_DONE: Final = {
    "store": "a store of items beside the threads",
    "runs/crons": "crons",
    "runs/batch": "runs asked for several at once",
    "runs/cancel": "runs cancelled several at once",
    "threads/count": "counts of threads",
    "threads/prune": "pruning of threads by clients",
    "assistants/count": "counts of assistants",
}


def langgraph_routes(threads: Threads, runs: Runs, assistants: Assistants) -> tuple[Route, ...]:
    """Return the routes; those that change something need `--write`."""
    writing = Writing(threads, runs)
    return (
        *_thread_routes(threads, writing, runs),
        *_run_routes(runs),
        *_assistant_routes(assistants),
        Route(
            method="GET",
            path="/info",
            about="What this server does for LangGraph's clients.",
            answers="Info",
            does=_info,
        ),
        Route(method="GET", path="/ok", about="Whether it answers LangGraph's clients.", answers="Ok", does=_ok),
        *_missing(),
    )


def _thread_routes(threads: Threads, writing: Writing, runs: Runs) -> tuple[Route, ...]:
    get, post = partial(Route, method="GET"), partial(Route, method="POST")
    thread, state = wire.LangGraphThread, wire.LangGraphState
    return (
        post(
            path=_THREADS,
            about="Make a thread.",
            answers=thread,
            takes=wire.ThreadCreate,
            does=writing.create,
            writes=True,
        ),
        post(
            path=f"{_THREADS}/search",
            about="Threads, the latest first.",
            answers="LangGraphThreads",
            takes=wire.ThreadSearch,
            does=threads.search,
        ),
        get(path=_THREAD, about="One thread.", answers=thread, does=writing.get),
        Route(
            method="PATCH",
            path=_THREAD,
            about="Add to a thread's metadata.",
            answers=thread,
            takes=wire.ThreadPatch,
            does=writing.patch,
            writes=True,
        ),
        Route(method="DELETE", path=_THREAD, about="Delete a thread.", does=writing.delete, writes=True, status=204),
        post(path=f"{_THREAD}/copy", about="Fork a thread.", answers=thread, does=writing.copy, writes=True),
        get(path=f"{_THREAD}/state", about="Where a thread stands.", answers=state, does=threads.state),
        get(
            path=f"{_THREAD}/state/{{checkpoint_id}}",
            about="Where a thread stood.",
            answers=state,
            does=threads.state,
        ),
        post(
            path=f"{_THREAD}/state/checkpoint",
            about="Where a thread stood, or a graph within it.",
            answers=state,
            takes=wire.StateAt,
            does=threads.state_at,
        ),
        post(
            path=f"{_THREAD}/state",
            about="Write to a thread's state.",
            answers="Checkpoint",
            takes=wire.StateUpdate,
            does=runs.update,
            writes=True,
        ),
        post(
            path=f"{_THREAD}/history",
            about="Where a thread stood, the last first.",
            answers="LangGraphStates",
            takes=wire.HistoryAsked,
            does=threads.history,
        ),
    )


def _run_routes(runs: Runs) -> tuple[Route, ...]:
    begins: dict[str, Any] = {"takes": wire.RunCreate, "writes": True, "method": "POST"}
    found: list[Route] = []
    for before in (_THREAD, ""):
        about = "" if before else ", in a thread of its own"
        found += (
            Route(
                path=f"{before}/runs",
                about=f"Run an assistant{about}.",
                answers=wire.LangGraphRun,
                does=runs.create,
                **begins,
            ),
            Route(
                path=f"{before}/runs/stream",
                about=f"Run an assistant, and stream it{about}.",
                flows=runs.stream,
                media_types=(EVENTS,),
                **begins,
            ),
            Route(
                path=f"{before}/runs/wait",
                about=f"Run an assistant, and wait for its state{about}.",
                answers="Values",
                flows=runs.wait,
                **begins,
            ),
        )
    get = partial(Route, method="GET")
    return (
        *found,
        get(
            path=f"{_THREAD}/runs",
            about="A thread's runs, the latest first.",
            answers="LangGraphRuns",
            does=runs.listed,
            params=(*_LIST, Param("status", "Only these.")),
        ),
        get(path=_RUN, about="One run.", answers=wire.LangGraphRun, does=runs.get),
        get(path=f"{_RUN}/join", about="Wait for a run's state.", answers="Values", flows=runs.join),
        get(
            path=f"{_RUN}/stream",
            about="Stream a run, from its beginning or behind Last-Event-ID.",
            flows=runs.join_stream,
            params=(_MODES, Param("cancel_on_disconnect", "Cancel the run as the client leaves.")),
            media_types=(EVENTS,),
        ),
        Route(
            method="POST",
            path=f"{_RUN}/cancel",
            about="Cancel a run.",
            answers="Cancelled",
            does=runs.cancel,
            params=(Param("wait", "1: answer once it has ended."), Param("action", "interrupt.")),
            writes=True,
        ),
    )


def _assistant_routes(assistants: Assistants) -> tuple[Route, ...]:
    get = partial(Route, method="GET")
    return (
        get(path=_ASSISTANT, about="One assistant.", answers=wire.LangGraphAssistant, does=assistants.get),
        Route(
            method="POST",
            path="/assistants/search",
            about="The agents that can be run here.",
            answers="LangGraphAssistants",
            takes=wire.AssistantSearch,
            does=assistants.search,
        ),
        get(path=f"{_ASSISTANT}/graph", about="An assistant's graph.", answers="Graph", does=assistants.graph),
        get(path=f"{_ASSISTANT}/schemas", about="Its schemas.", answers="Schemas", does=assistants.schemas),
    )


def _missing() -> tuple[Route, ...]:
    """Return a route for each thing that clients know and this server does not do."""
    told = [(method, f"/{path}", what) for path, what in _NOT_DONE.items() for method in ("GET", "POST")]
    told += [(method, "/store/items", _NOT_DONE["store"]) for method in ("GET", "PUT", "DELETE")]
    told += [("POST", "/store/items/search", _NOT_DONE["store"]), ("POST", "/store/namespaces", _NOT_DONE["store"])]
    told += [("POST", "/runs/crons/search", "crons"), ("POST", f"{_THREAD}/runs/crons", "crons")]
    told += [("POST", "/assistants", "assistants made by clients: they are what --agents names")]
    told += [(method, _ASSISTANT, "assistants changed by clients") for method in ("PATCH", "DELETE")]
    told += [("POST", f"{_ASSISTANT}/versions", "versions of assistants")]
    told += [("POST", f"{_ASSISTANT}/latest", "versions of assistants")]
    told += [("GET", f"{_ASSISTANT}/subgraphs", "subgraphs of assistants, told apart")]
    told += [("GET", f"{_THREAD}/stream", "streams of a thread; those of its runs are: GET …/runs/{run_id}/stream")]
    told += [("DELETE", _RUN, "the deletion of one run: a journal keeps it as long as its thread")]
    told += [("POST", f"{_THREAD}/stream/events", "streams of a thread"), ("POST", f"{_THREAD}/commands", "commands")]
    return tuple(
        Route(method=method, path=path, about=f"Not done here: {what}.", does=partial(_refuse, what))
        for method, path, what in dict.fromkeys(told)
    )


def _refuse(what: str, _call: Call, _journal: Journal) -> bytes:
    raise Refused(501, f"this server has no {what}; docs/langgraph_clients.md says what it has")


def _info(_call: Call, _journal: Journal) -> Response | bytes:
    flags = {"assistants": True, "crons": False, "langsmith": False, "store": False}
    return encode_value({"version": version("otel-agent-journal"), "flags": flags, "context": "otel-agent-journal"})


def _ok(_call: Call, _journal: Journal) -> bytes:
    return encode_value({"ok": True})


def nothing() -> tuple[Route, ...]:
    """Return the routes as a server has them that runs and reads nothing: for their document."""
    threads = Threads(_none)
    return langgraph_routes(threads, Runs(None, threads), Assistants({}, _undescribed))


def _none() -> Any:
    raise Refused(501, "this server was made without what reads threads")


def _undescribed(_name: str) -> Any:
    raise Refused(501, "this server runs no agents")
