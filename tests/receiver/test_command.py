"""`agent-journal collect` as it is called: addresses, what it refuses, how it ends."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from tests.e2e.conftest import BIN, Workdir
from tests.processes import started
from tests.receiver.collecting import ANY, TRACES, Collecting, eventually, request


def refused(folder: Path, *options: str, **env: str) -> tuple[int, str]:
    """Return exit code and message of a call that is refused."""
    done = subprocess.run(
        [BIN / "agent-journal", "collect", "--store", f"sqlite:///{folder}/journal.db", *options],
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize("gzip", [False, True])
def test_the_sdks_exporters(tmp_path: Path, protocol: str, gzip: bool) -> None:
    """What OpenTelemetry's own exporters send is journaled: names, tokens, tree."""
    with Collecting(tmp_path) as collecting:
        if protocol == "grpc":
            compression = grpc.Compression.Gzip if gzip else grpc.Compression.NoCompression
            exporter = GrpcExporter(endpoint=collecting.grpc, insecure=True, compression=compression)
        else:
            kind = Compression.Gzip if gzip else Compression.NoCompression
            exporter = HttpExporter(endpoint=f"http://{collecting.http}/v1/traces", compression=kind)
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(exporter))
        tracer = provider.get_tracer("test")
        agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "helper", "session.id": "s1"}
        model = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
        with (
            tracer.start_as_current_span("a", attributes=agent),
            tracer.start_as_current_span("b", attributes=model) as b,
        ):
            b.set_attribute("gen_ai.usage.input_tokens", 5)
        provider.shutdown()
        said = collecting.stop()
        assert "delivered 4 events" in said
        events = collecting.events("s1")
    assert [(event.type, event.name) for event in events] == [
        ("AGENT_START", "helper"),
        ("MODEL_START", "m"),
        ("MODEL_END", "m"),
        ("AGENT_END", "helper"),
    ]
    assert events[1].parent_step_id == events[0].step_id
    assert events[2].usage is not None
    assert events[2].usage.input_tokens == 5


def test_one_door_alone(tmp_path: Path) -> None:
    """Either door can be left out, but not both."""
    assert refused(tmp_path, "--no-grpc", "--no-http")[0] == 2
    with started(
        [BIN / "agent-journal", "collect", "--store", f"sqlite:///{tmp_path}/journal.db", "--no-http", "--grpc", ANY],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    ) as done:
        assert done.stderr is not None
        said = [done.stderr.readline() for _ in range(2)]
        done.terminate()
        rest = done.stderr.read()
        done.wait(30)
    assert "OTLP/grpc" in said[1]
    assert "OTLP/http" not in rest
    assert done.returncode == 0


def test_before_anything_comes(tmp_path: Path) -> None:
    """As soon as it listens there is a journal to look into; a store that takes nothing is told of."""
    with Collecting(tmp_path) as collecting:
        listed = Workdir(tmp_path).journal("ls", "--store", collecting.url)
        assert (listed.returncode, listed.stdout) == (0, ""), listed.stderr
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "journal.db").write_bytes(b"noise" * 1000)
    with Collecting(tmp_path / "away") as collecting:
        eventually(lambda: "is not a journal, or a damaged one" in collecting.said(), 30)
        assert "what is received stays in the spool until the store takes it" in collecting.said()


def test_workers(tmp_path: Path) -> None:
    """Several processes share the ports; what each took is in one journal, once."""
    with Collecting(tmp_path, "--grpc", ANY, "--http", ANY, "--workers", "3") as collecting:
        assert len(collecting.workers()) == 3
        for number in range(30):
            body = request([("a" * 32, f"{number + 1:016x}")]).SerializeToString()
            with grpc.insecure_channel(collecting.grpc) as channel:
                channel.unary_unary(TRACES)(body, timeout=30)
        collecting.stop()
        assert len(collecting.events("s1")) == 60


def test_addresses(tmp_path: Path) -> None:
    """An address that is none, or that somebody has, is named, with what to do."""
    assert refused(tmp_path, "--grpc", "4317")[1] == (
        "error: --grpc is '4317'; HOST:PORT is expected, as 127.0.0.1:4317\n"
    )
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, said = refused(tmp_path, "--grpc", address)
        assert code == 2
        assert f"--grpc {address} cannot be listened at: Address already in use" in said
    with Collecting(tmp_path) as collecting:
        assert "already in use" in refused(tmp_path, "--grpc", collecting.grpc, "--http", ANY)[1]


def test_content_that_is_to_be_left_out(tmp_path: Path) -> None:
    """What is not to be journaled does not reach the store, and a value over the limit is kept beside its event."""
    made = request([("a" * 32, "1" * 16)])
    attributes = made.resource_spans[0].scope_spans[0].spans[0].attributes
    attributes.add(key="gen_ai.input.messages").value.string_value = json.dumps(
        [{"role": "user", "text": "s" * 70_000}]
    )
    (tmp_path / "hiding.py").write_text("def hidden(field, value):\n    return 'hidden'\n")
    path = os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))
    for number, (env, kept) in enumerate(
        (
            ({"AGENT_JOURNAL_CONTENT": "metadata"}, False),
            ({"AGENT_JOURNAL_REDACTOR": "hiding:hidden", "PYTHONPATH": path}, True),
            ({}, True),
        )
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        with Collecting(folder, env=env) as collecting, grpc.insecure_channel(collecting.grpc) as channel:
            channel.unary_unary(TRACES)(made.SerializeToString(), timeout=30)
            collecting.stop()
            found = [event.details["messages"] for event in collecting.events("s1") if "messages" in event.details]
        assert bool(found) is kept
        if env:
            assert found in ([], ["hidden"])
        else:
            assert found[0]["bytes"] > 70_000, "a reference"
    code, said = refused(tmp_path, AGENT_JOURNAL_REDACTOR="no_such_module:f")
    assert (code, "no_such_module:f', which cannot be imported" in said) == (2, True)
