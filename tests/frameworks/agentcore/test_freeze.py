"""A real app in a process of its own, frozen the moment its answer is there, and killed in a background task."""

from __future__ import annotations

import contextlib
import gzip
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_agent_journal.delivery.drain import Drain
from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.event import END_TYPES, START_TYPES, JournalEvent
from otel_agent_journal.projections.steps import fold_steps
from otel_agent_journal.store.registry import open_store
from tests.frameworks.agentcore.serving import Served, wait_until

APP = Path(__file__).with_name("served_app.py")
SPANS = {"sync", *(f"lookup {number}" for number in range(20)), *(f"execute_tool search {n}" for n in range(20))}


class Sink:
    """A backend that keeps the names of the spans it was sent by OTLP over HTTP."""

    def __init__(self) -> None:
        self.names: list[str] = []
        sink = self

        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                request = ExportTraceServiceRequest.FromString(body)
                sink.names += [
                    span.name for one in request.resource_spans for scope in one.scope_spans for span in scope.spans
                ]
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/traces"


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A backend for spans."""
    made = Sink()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join(10)


@contextlib.contextmanager
def running(kind: str, folder: Path, sink: Sink, *prefix: str, **env: str) -> Iterator[tuple[Served, psutil.Process]]:
    """Run an app in a process of its own; afterwards it and all that it started are killed."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "AGENT_JOURNAL_"))}
    with (folder / "stderr").open("w") as log:
        child = subprocess.Popen(
            [*prefix, sys.executable, str(APP), kind],
            cwd=folder,
            env=inherited | {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": sink.url, "OTEL_TRACES_EXPORTER": "none"} | env,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert child.stdout is not None
        port = child.stdout.readline()
        assert port.strip().isdecimal(), (folder / "stderr").read_text()
        whole = psutil.Process(child.pid)
        agent = next((one for one in whole.children(recursive=True) if str(APP) in one.cmdline()), whole)
        yield Served(None, int(port)), agent  # type: ignore[arg-type]
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            for one in [*psutil.Process(child.pid).children(recursive=True), psutil.Process(child.pid)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.send_signal(signal.SIGKILL)
        child.wait(20)
        assert child.stdout is not None
        child.stdout.close()


def freeze(agent: psutil.Process) -> None:
    """Stop a process as a microVM stops: at once, with all its threads."""
    os.kill(agent.pid, signal.SIGSTOP)
    wait_until(lambda: agent.status() == psutil.STATUS_STOPPED)


def journaled(folder: Path, session_id: str = "s1") -> list[JournalEvent]:
    """Read a session from the store as it is, with nobody's help."""
    store = open_store(f"sqlite:///{folder}/.agent-journal/journal.db", create=False)
    try:
        return list(store.read(session_id))
    except StoreUnreachable:  # not made yet
        return []
    finally:
        store.close()


def assert_whole(events: list[JournalEvent], name: str, last: str) -> None:
    """Assert that the journal has a request, its twenty steps, and how it ended."""
    assert sum(event.type in START_TYPES for event in events) == 21
    assert sum(event.type in END_TYPES for event in events) == 21
    assert events[-1].type == last
    (root,) = fold_steps(events).roots
    assert root.name == name


@pytest.mark.parametrize(
    ("kind", "last"),
    [
        ("sync", "AGENT_ENTRYPOINT_COMPLETED"),
        ("stream", "AGENT_ENTRYPOINT_COMPLETED"),
        ("fails", "AGENT_ENTRYPOINT_FAILED"),
    ],
)
def test_frozen_after_the_response(tmp_path: Path, sink: Sink, kind: str, last: str) -> None:
    """Frozen as soon as the response is received, an app has all its events in the store and its spans delivered."""
    with running(kind, tmp_path, sink) as (app, agent):
        answer = app.call({})
        freeze(agent)
        assert answer.status == (500 if kind == "fails" else 200)
        assert_whole(journaled(tmp_path), kind, last)
        assert sorted(sink.names) == sorted({kind, *SPANS} - ({"sync"} - {kind}))


def test_what_the_flush_is_for(tmp_path: Path, sink: Sink) -> None:
    """Without us nothing is flushed: an app that is frozen then has delivered no span."""
    with running("sync", tmp_path, sink, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="agent_journal_agentcore") as (
        app,
        agent,
    ):
        app.call({})
        freeze(agent)
        assert sink.names == []


def test_frozen_under_run(tmp_path: Path, sink: Sink) -> None:
    """Under `agent-journal run` the spans are delivered as well, and the parent delivers the events of a frozen app."""
    with running("sync", tmp_path, sink, str(Path(sys.executable).with_name("agent-journal")), "run", "--") as (
        app,
        agent,
    ):
        app.call({})
        freeze(agent)
        assert sorted(sink.names) == sorted(SPANS)
        wait_until(lambda: len(journaled(tmp_path)) == 44)
        assert_whole(journaled(tmp_path), "sync", "AGENT_ENTRYPOINT_COMPLETED")


def test_frozen_after_the_last_task(tmp_path: Path, sink: Sink) -> None:
    """What a background task did is delivered before the app says that it is idle, which is when it may be frozen."""
    with running("task", tmp_path, sink) as (app, agent):
        app.call({"until": str(tmp_path / "done")})
        assert app.ping() == "HealthyBusy"
        (tmp_path / "done").touch()
        wait_until(lambda: app.ping() == "Healthy")
        freeze(agent)
        assert [event.type for event in journaled(tmp_path)][-2:] == ["STEP_END", "AGENT_BACKGROUND_TASK_COMPLETED"]
        assert sorted(sink.names) == ["report", "task"]


def test_killed_in_a_task(tmp_path: Path, sink: Sink) -> None:
    """Killed in a background task, the session was PROCESSING and is INTERRUPTED; the task and its input are kept."""
    with running("task", tmp_path, sink) as (app, agent):
        app.call({"until": "never"})
        store = open_store(f"sqlite:///{tmp_path}/.agent-journal/journal.db", create=False)
        wait_until(lambda: (head := store.head("s1")) is not None and head.status == "PROCESSING")
        agent.kill()
        agent.wait(20)
        Drain(tmp_path / ".agent-journal" / "spool", store).drain_once()
        head = store.head("s1")
        events = list(store.read("s1"))
        store.close()
    assert head is not None
    assert (head.status, head.reason) == ("INTERRUPTED", "killed")
    by_name = {step.name: step.last for step in fold_steps(events).roots}
    assert by_name["task"].outcome == "ok"
    assert by_name["report"].outcome == "interrupted"
    assert by_name["report"].details_start["input"] == {"pages": 3}
    assert [event.type for event in events if event.name == "report"][:2] == [
        "STEP_START",
        "AGENT_BACKGROUND_TASK_STARTED",
    ]
