"""Graphs on another server: a call of a RemoteGraph is a step, however it is made and however it ends."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.pregel.remote import RemoteException, RemoteGraph
from langgraph.types import Command
from langgraph_sdk import get_client
from opentelemetry import trace

from tests.frameworks.langgraph import graphs
from tests.frameworks.langgraph.recording import Recording

ANSWER = ("values", {"notes": ["far away"]})
ASKS = {"__interrupt__": [{"id": "i1", "value": "go on?"}]}
FAILS = ("error", {"error": "ValueError", "message": "no"})


class Server:
    """A server of graphs that tells what it is told to."""

    def __init__(self) -> None:
        self.tells: list[tuple[str, Any]] = []
        self.asked: list[Any] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                server.asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                parts = [("metadata", {"run_id": "r1"}), *server.tells]
                data = "".join(f"event: {name}\r\ndata: {json.dumps(value)}\r\n\r\n" for name, value in parts).encode()
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None: ...

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self.port = self._http.server_port
        self.graph = RemoteGraph("far", url=f"http://127.0.0.1:{self.port}", api_key="none")

    def close(self) -> None:
        """End it."""
        self.graph.sync_client.http.client.close()  # type: ignore[union-attr]
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture(scope="module")
def serving() -> Iterator[Server]:
    """Serve graphs."""
    server = Server()
    yield server
    server.close()


@pytest.fixture
async def far(serving: Server) -> AsyncIterator[Server]:
    """Ask the server with an async client of the test's own loop, closed with it."""
    serving.graph.client = client = get_client(url=f"http://127.0.0.1:{serving.port}", api_key="none")
    yield serving
    await client.http.client.aclose()


async def run(graph: Any, how: str, **options: Any) -> Any:
    """Run a graph in one of the ways there are."""
    given, config = {"notes": ["hi"]}, graphs.on_thread()
    match how:
        case "invoke":
            return graph.invoke(given, config, **options)
        case "ainvoke":
            return await graph.ainvoke(given, config, **options)
        case "stream":
            return list(graph.stream(given, config, **options))
        case "astream":
            return [part async for part in graph.astream(given, config, **options)]
        case _:
            return graph.batch([given], config)[0]


HOW = ["invoke", "ainvoke", "stream", "astream", "batch"]


@pytest.mark.parametrize("how", HOW)
async def test_a_call(recording: Recording, far: Server, how: str) -> None:
    """A call is a step of the thread's session, with what went there, what came back, and where that was."""
    far.tells = [ANSWER]
    more: Any = {"stream_mode": "values"} if "stream" in how else {}
    assert "far away" in str(await run(far.graph, how, **more))
    attempt = recording.attempt("far")
    assert (set(recording.sessions), attempt.kind, attempt.outcome) == ({"t1"}, "AGENT", "ok")
    assert attempt.details_start["input"] == {"notes": ["hi"]}
    assert attempt.details_end["output"] == {"notes": ["far away"]}
    where = attempt.details_start["attributes"]
    assert (where["server.address"], where["server.port"]) == ("127.0.0.1", far.port)


@pytest.mark.parametrize("how", HOW)
async def test_an_error(recording: Recording, far: Server, how: str) -> None:
    """An error of the other server's fails the step, and reaches the program."""
    far.tells = [FAILS]
    with pytest.raises(RemoteException):
        await run(far.graph, how)
    error = recording.attempt("far").error
    assert error is not None
    assert error.type == "langgraph.pregel.remote.RemoteException"


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
async def test_a_server_that_is_not_there(recording: Recording, how: str) -> None:
    """A server that cannot be reached fails the step."""
    graph = RemoteGraph("far", url="http://127.0.0.1:9", api_key="none")
    with pytest.raises(Exception, match=r"[Cc]onnect"):
        await run(graph, how)
    await graph.client.http.client.aclose()  # type: ignore[union-attr]
    assert recording.attempt("far").outcome == "error"


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("how", ["invoke", "ainvoke", "stream", "astream"])
async def test_a_question(recording: Recording, far: Server, how: str, version: str) -> None:
    """A graph that asks leaves the session awaiting input."""
    far.tells = [("updates", ASKS), ("values", {"notes": [], **ASKS})]
    more: Any = {"stream_mode": ["updates", "values"]} if "stream" in how else {}
    await run(far.graph, how, version=version, **more)
    assert recording.status == ("INTERRUPTED", "awaiting_input")
    assert recording.attempt("far").details_end["interrupts"] == [{"id": "i1", "value": "go on?"}]


@pytest.mark.parametrize("how", ["stream", "astream"])
async def test_left_at_a_question(recording: Recording, far: Server, how: str) -> None:
    """A stream that is left at the question is no cancel; one that is left before is."""
    for number, tells in enumerate([[("updates", ASKS), ANSWER], [ANSWER, ANSWER]]):
        far.tells = tells
        config, more = graphs.on_thread(f"t{number}"), {"stream_mode": ["updates", "values"]}
        if how == "stream":
            parts = far.graph.stream({}, config, **more)
            next(parts)
            parts.close()
        else:
            streamed = far.graph.astream({}, config, **more)
            await anext(streamed)
            await streamed.aclose()
    recording.drain()
    statuses = {head.session_id: (head.status, head.reason) for head in recording.store.sessions()}
    assert statuses == {"t0": ("INTERRUPTED", "awaiting_input"), "t1": ("INTERRUPTED", "cancelled")}


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
async def test_as_a_node(recording: Recording, far: Server, how: str) -> None:
    """As a node of another graph it is a step below the node, its question the question of all of them."""
    builder = StateGraph(graphs.Notes)
    builder.add_node("far", far.graph)
    builder.add_edge(START, "far")
    graph = builder.compile(name="near", checkpointer=InMemorySaver())
    far.tells = [("updates", ASKS)]
    await run(graph, how)
    assert recording.status == ("INTERRUPTED", "awaiting_input")
    far.tells = [ANSWER]
    again = Command(resume="yes")
    await graph.ainvoke(again, graphs.on_thread()) if how == "ainvoke" else graph.invoke(again, graphs.on_thread())
    assert recording.status == ("COMPLETED", None)
    assert recording.tree(details=False) == (
        "AGENT near interrupted\n  NODE far interrupted\n    AGENT far interrupted\n"
        "AGENT near ok\n  · RUN_RESUMED\n  NODE far #2 ok\n    AGENT far #2 ok"
    )


def test_spans_between_two_parts(recording: Recording, far: Server) -> None:
    """Spans of the caller do not fall into the call, also between two parts of its stream."""
    far.tells = [ANSWER, ANSWER]
    for _ in far.graph.stream({}, graphs.on_thread(), stream_mode="values"):
        with trace.get_tracer("user").start_as_current_span("mine"):
            pass
    assert all(span.parent is None for span in recording.spans)


def test_with_content_off(recording: Recording, far: Server) -> None:
    """With content off neither what went there nor what came back is journaled."""
    recording.recorder.encoder.content = False
    far.tells = [("updates", ASKS), ANSWER]
    far.graph.invoke({"notes": ["a secret"]}, graphs.on_thread())
    assert not [event for event in recording.events if {"input", "output", "interrupts"} & event.details.keys()]
