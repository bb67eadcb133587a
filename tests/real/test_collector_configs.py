"""Every configuration of `collector-config/`: the stock Collector takes it, and lets pass what it should."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
import trustme

from tests.real.fixtures import server_program
from tests.real.otlp import Sink, eventually, send, send_logs
from tests.real.servers import CONFIGS, Collector, running

OVERLAY = "with-tls-and-token.yaml"
TOPOLOGIES = sorted({file.name for file in CONFIGS.glob("*.yaml")} - {"builder.yaml", OVERLAY})
TO_THE_JOURNAL = [name for name in TOPOLOGIES if not name.startswith(("agent", "gateway"))]
TOKEN = "a-token-of-the-tests"


def backends(sink: Sink) -> dict[str, str]:
    """Return what leads every exporter of every configuration to one backend."""
    return dict.fromkeys(("journal", "jaeger", "journal_1", "journal_2", "gateway"), sink.address)


@pytest.mark.parametrize("config", TOPOLOGIES)
def test_each_works(tmp_path: Path, config: str) -> None:
    """Each is sound, starts, and brings spans and the journal's own logs to its backend, but nobody else's logs."""
    with Sink() as sink:
        collector = Collector(server_program("collector"), tmp_path, config, decision_wait="1s", **backends(sink))
        assert collector.validate().returncode == 0, collector.validate().stderr
        with running(collector):
            send(collector.grpc, "a" * 32, 3)
            send_logs(collector.grpc, "agent_journal.step.started", "", "app.started", "agent_journalist.x")
            send_logs(collector.grpc, "agent_journal.heartbeat")
            eventually(lambda: len(set(sink.span_ids())) == 3)
            eventually(lambda: len(set(sink.event_names())) == 2)
    assert set(sink.event_names()) == {"agent_journal.step.started", "agent_journal.heartbeat"}


@pytest.mark.parametrize("config", TO_THE_JOURNAL)
def test_with_tls_and_token(tmp_path: Path, config: str) -> None:
    """Laid over each with one receiver, TLS and the token are on the way to it, and it stays sound."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    own = authority.issue_cert("127.0.0.1")
    chain = b"".join(part.bytes() for part in own.cert_chain_pems)
    credentials = grpc.ssl_server_credentials([(own.private_key_pem.bytes(), chain)])
    with Sink(credentials=credentials) as sink, Sink() as jaeger:
        collector = Collector(
            server_program("collector"),
            tmp_path,
            config,
            OVERLAY,
            journal=sink.address,
            jaeger=jaeger.address,
            journal_ca=str(tmp_path / "ca.pem"),
            journal_token_file=str(tmp_path / "token"),
        )
        with running(collector):
            send(collector.grpc, "a" * 32, 3)
            eventually(lambda: len(sink.span_ids()) == 3)
    assert {told["authorization"] for told in sink.metadata} == {f"Bearer {TOKEN}"}
    assert all("authorization" not in told for told in jaeger.metadata)
