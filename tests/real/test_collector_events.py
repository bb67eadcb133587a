"""An agent behind the stock Collector: its events as log records, its spans to Jaeger, one journal of both."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_agent_journal import JournalEvent, open_store
from scripts.ports import reserved_port
from tests.e2e.conftest import Workdir
from tests.e2e.test_otlp_store import AGENT, under_run
from tests.real.fixtures import server_program
from tests.real.jaeger import Jaeger
from tests.real.otlp import FAST, PATIENCE_S, eventually
from tests.real.servers import Collector, running
from tests.receiver.collecting import ANY, Collecting


@pytest.fixture
def workdir(tmp_path: Path) -> Workdir:
    """A folder for the agent."""
    (tmp_path / "agent").mkdir()
    return Workdir(tmp_path / "agent")


@pytest.fixture
def collector(tmp_path: Path, jaeger: Jaeger) -> Iterator[tuple[Collector, Collecting]]:
    """A Collector before a receiver and a Jaeger."""
    program, at_journal = server_program("collector"), f"127.0.0.1:{reserved_port()}"
    there = tmp_path / "receiver"
    there.mkdir()
    target = jaeger.otlp_grpc.removeprefix("http://")
    server = Collector(program, tmp_path, "jaeger-and-journal.yaml", FAST, journal=at_journal, jaeger=target)
    with running(server), Collecting(there, "--grpc", at_journal, "--http", ANY) as collecting:
        yield server, collecting


def test_events_and_spans(workdir: Workdir, collector: tuple[Collector, Collecting], jaeger: Jaeger) -> None:
    """Both arrive, in one journal each event once; Jaeger has each step's span."""
    server, collecting = collector
    workdir.write("agent.py", AGENT)
    env = {"AGENT_JOURNAL_STORE": f"otlp://{server.grpc}"}
    done = workdir.run("agent.py", env=env, options=("--otlp", f"grpc://{server.grpc}"))
    assert "1 session shipped" in done.stderr, done.stderr
    eventually(lambda: len(collecting.events("s1")) == 6)
    events = collecting.events("s1")
    trace_id = events[0].trace_id or ""
    trace = jaeger.trace(trace_id, until=lambda trace: len(trace["spans"]) == 3, timeout_s=PATIENCE_S)
    assert {span["spanID"] for span in trace["spans"]} == {event.span_id for event in events}
    collecting.stop()
    assert len({event.event_id for event in collecting.events("s1")}) == len(collecting.events("s1")) == 6
    checked = workdir.journal("verify", "--store", collecting.url)
    assert checked.returncode == 0, checked.stdout


def test_a_killed_agent_is_seen_where_it_died(
    workdir: Workdir, collector: tuple[Collector, Collecting], jaeger: Jaeger
) -> None:
    """The step that ran is in the journal before it ends, and never ends."""
    server, collecting = collector
    with under_run(workdir, f"otlp://{server.grpc}") as (_, agent):
        eventually(lambda: "b" in [event.name for event in collecting.events("s1") if event.type == "NODE_START"])
        os.kill(agent, signal.SIGKILL)
    eventually(lambda: collecting.events("s1")[-1].type == "SESSION_INTERRUPTED")

    def interrupted() -> bool:
        store = open_store(collecting.url)
        try:
            head = store.head("s1")
        finally:
            store.close()
        return head is not None and (head.status, head.reason) == ("INTERRUPTED", "killed")

    eventually(interrupted)


def test_other_logs_do_not_reach_the_journal(collector: tuple[Collector, Collecting]) -> None:
    """The Collector keeps them back; the receiver would leave them out."""
    import grpc
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

    from otel_agent_journal.mapping.log_record import event_record, request_of
    from otel_agent_journal.otlp.target import LOGS
    from tests.receiver.test_counted import counted

    server, collecting = collector
    event = JournalEvent(session_id="s1", event_id="e" * 32, type="NOTE", timestamp_ns=5)
    records = [LogRecord(event_name="gen_ai.choice"), LogRecord(), event_record(event, 6)]
    with grpc.insecure_channel(server.grpc) as channel:
        channel.unary_unary(LOGS.method)(request_of(records, {}).SerializeToString(), timeout=PATIENCE_S)
    eventually(lambda: collecting.events("s1") == [event])
    assert counted(collecting)["received"] == 1
