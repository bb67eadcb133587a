"""Who may send: certificates, tokens, addresses; and that no secret is ever told."""

from __future__ import annotations

import http.client
import os
import signal
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import psutil
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from grpc_health.v1 import health_pb2, health_pb2_grpc

from otel_agent_journal.receiver.security import Tls, Tokens, is_loopback
from otel_agent_journal.receiver.signals import SIGNALS
from tests.e2e.conftest import BIN
from tests.receiver.asking import PROTOBUF, ask, over_grpc, over_http, spans
from tests.receiver.collecting import ANY, Collecting
from tests.receiver.serving import Serving

BODY = spans("a").SerializeToString()


class Files(NamedTuple):
    """Certificates for tests: ours, its authority, a client's, and one of an authority that nobody knows."""

    folder: Path
    tls: Tls
    authority: bytes
    client: tuple[bytes, bytes]
    stranger: tuple[bytes, bytes]

    def of(self, who: tuple[bytes, bytes] | None, authority: bytes | None = None) -> tuple[Any, ssl.SSLContext]:
        """Return credentials for gRPC and HTTP."""
        key, chain = who or (None, None)
        context = ssl.create_default_context(cadata=(authority or self.authority).decode())
        if key is not None and chain is not None:
            pem = self.folder / "presented.pem"
            pem.write_bytes(key + chain)
            context.load_cert_chain(pem)
        return grpc.ssl_channel_credentials(authority or self.authority, key, chain), context


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Certificates of this test's own authority."""
    folder = tmp_path_factory.mktemp("certificates")
    ours, others = trustme.CA(), trustme.CA()
    server = ours.issue_cert("localhost", "127.0.0.1")
    server.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
    ours.cert_pem.write_to_path(folder / "ca.pem")
    client, stranger = ours.issue_cert("agent"), others.issue_cert("agent")
    tls = Tls(certificate=folder / "cert.pem", key=folder / "key.pem", client_authority=folder / "ca.pem")
    return Files(folder, tls, ours.cert_pem.bytes(), presented(client), presented(stranger))


def presented(cert: trustme.LeafCert) -> tuple[bytes, bytes]:
    """Return key and chain as a client presents them."""
    return cert.private_key_pem.bytes(), cert.cert_chain_pems[0].bytes()


@pytest.fixture(scope="module")
def mutual(files: Files) -> Iterator[Serving]:
    """A receiver that asks for certificates."""
    with Serving(tls=files.tls) as running:
        yield running


def sent(served: Any, credentials: Any, context: ssl.SSLContext | None) -> tuple[str, int | str]:
    """Send through both doors; return what was told, or the name of why there was no answer."""
    over = over_grpc(served.grpc, "traces", BODY, credentials=credentials).status
    try:
        return over, over_http(served.http, "/v1/traces", BODY, {"content-type": PROTOBUF}, context=context)[0]
    except (OSError, http.client.HTTPException):
        return over, "refused"


def test_tls(files: Files) -> None:
    """Over TLS both doors serve; a client that does not know the authority, or speaks plain text, gets nowhere."""
    tls = Tls(certificate=files.tls.certificate, key=files.tls.key)
    with Serving(tls=tls) as served:
        assert sent(served, *files.of(None)) == ("OK", 200)
        assert sent(served, *files.of(None, trustme.CA().cert_pem.bytes())) == ("UNAVAILABLE", "refused")
        assert sent(served, None, None) == ("UNAVAILABLE", "refused")
        assert served.log.names() == ["a", "a"]
        assert sent(served, *files.of(None)) == ("OK", 200), "and it goes on"


def test_mutual_tls(files: Files, mutual: Serving) -> None:
    """Who is asked for a certificate gets in with one of the authority, not without, and not with a stranger's."""
    mutual.log.payloads.clear()
    assert sent(mutual, *files.of(files.client)) == ("OK", 200)
    assert sent(mutual, *files.of(None)) == ("UNAVAILABLE", "refused")
    assert sent(mutual, *files.of(files.stranger)) == ("UNAVAILABLE", "refused")
    assert sent(mutual, None, None) == ("UNAVAILABLE", "refused")
    assert mutual.log.names() == ["a", "a"]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_versions_of_tls(files: Files, mutual: Serving) -> None:
    """TLS below 1.2 is not spoken."""
    _, context = files.of(files.client)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.raises(OSError):
        over_http(mutual.http, "/healthz", method="GET", context=context)


def refused(*options: str, cwd: Path) -> str:
    """Return what a call says that is refused."""
    done = subprocess.run(
        [BIN / "agent-journal", "collect", *options], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_certificates_that_cannot_be_used(files: Files, tmp_path: Path) -> None:
    """A file that is not what it is to be is named before anybody listens."""
    from otel_agent_journal.bootstrap.collecting import Doors, _keys
    from otel_agent_journal.errors import ConfigError

    other = tmp_path / "other.pem"
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(other)
    garbage = tmp_path / "garbage.pem"
    garbage.write_bytes(b"-----BEGIN CERTIFICATE-----\nhello\n-----END CERTIFICATE-----\n")
    missing = tmp_path / "missing.pem"
    locked = tmp_path / "locked.pem"
    key = load_pem_private_key(files.tls.key.read_bytes(), None)
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    good = {"certificate": files.tls.certificate, "key": files.tls.key}
    for changed, said in (
        ({"certificate": missing}, f"certificate file {missing} cannot be read: No such file"),
        ({"certificate": tmp_path}, f"certificate file {tmp_path} cannot be read: Is a directory"),
        ({"certificate": garbage}, f"{garbage} holds no certificate in PEM"),
        ({"certificate": files.tls.key}, f"{files.tls.key} holds no certificate in PEM"),
        ({"key": garbage}, f"{garbage} holds no private key in PEM"),
        ({"key": locked}, f"{locked} holds no private key in PEM, or it has a password"),
        ({"key": other}, f"key {other} is not the key of certificate {files.tls.certificate}"),
        ({"client_authority": garbage}, f"{garbage} holds no certificate in PEM"),
        ({"client_authority": missing}, f"certificate file {missing} cannot be read"),
        ({"key": None}, "--tls-cert and --tls-key go together"),
        ({"certificate": None, "key": None, "client_authority": files.folder / "ca.pem"}, "--client-ca asks clients"),
    ):
        with pytest.raises(ConfigError) as failure:
            _keys(Doors(**{**good, **changed}), ["127.0.0.1"])
        assert str(failure.value).startswith(said)
    said = refused("--tls-cert", str(garbage), "--tls-key", str(files.tls.key), cwd=tmp_path)
    assert said == f"error: {garbage} holds no certificate in PEM\n"


def test_beyond_this_machine(tmp_path: Path) -> None:
    """Beyond this machine it listens only to who proves who they are, or where it is told to listen to all."""
    from otel_agent_journal.bootstrap.collecting import Doors, _keys
    from otel_agent_journal.errors import ConfigError

    for host in ("0.0.0.0", "::", "192.0.2.1", "no-such-host.invalid"):
        with pytest.raises(ConfigError, match="can be reached from other machines") as failure:
            _keys(Doors(), ["127.0.0.1", host])
        assert str(failure.value).startswith(host)
        assert _keys(Doors(open_to_all=True), [host]) == ((), None)
    tokens = tmp_path / "tokens"
    tokens.write_text("one\n\n two \n")
    assert _keys(Doors(token_file=tokens), ["0.0.0.0"]) == (("one", "two"), None)
    said = refused("--grpc", "0.0.0.0:0", "--http", ANY, cwd=tmp_path)
    assert "name --token-file or --client-ca, or say --open-to-all" in said
    for content in (b"", b" \n\n", b"\xff"):
        tokens.write_bytes(content)
        with pytest.raises(ConfigError, match=f"token file {tokens}"):
            _keys(Doors(token_file=tokens), ["127.0.0.1"])


def test_loopback() -> None:
    """Names are what they stand for: all of it has to be on this machine."""
    for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
        assert is_loopback(host)
    for host in ("0.0.0.0", "::", "::ffff:192.0.2.1", "192.0.2.1", "fe80::1", "no-such-host.invalid", "a..b", ""):
        assert not is_loopback(host)


def test_admitted() -> None:
    """A token is compared as a whole, and all of them each time; without any everybody is let in."""
    tokens = Tokens(("one", "two"))
    assert all(tokens.admit(given) for given in (b"Bearer one", b"bearer two", b"BEARER  two "))
    for given in (b"", b"one", b"Basic one", b"Bearer", b"Bearer ", b"Bearer on", b"Bearer one two", b"Bearer \xff"):
        assert not tokens.admit(given)
    assert not tokens.admit(b"Bearer ONE")
    assert Tokens().admit(b"")


def test_a_receiver_beyond_this_machine(files: Files, tmp_path: Path) -> None:
    """With tokens and TLS, on IPv6, as users start it: tokens rotate, health is for all, no secret is ever told."""
    tokens = tmp_path / "tokens"
    tokens.write_text("old-s3cret\nnew-s3cret\n")
    key, cert = str(files.tls.key), str(files.tls.certificate)
    options = ("--grpc", "[::1]:0", "--http", "[::1]:0", "--tls-cert", cert, "--tls-key", key)
    with Collecting(tmp_path, *options, "--token-file", str(tokens)) as collecting:
        assert collecting.grpc.startswith("[::1]:")
        assert "with TLS" in collecting.said()
        credentials, context = files.of(None)
        context.check_hostname = False
        for number, token in enumerate(("old", "new", "wrong")):
            header = f"Bearer {token}-s3cret"
            body = spans(f"{number}").SerializeToString()
            metadata = [("authorization", header)]
            told = over_grpc(collecting.grpc, "traces", body, metadata=metadata, credentials=credentials)
            named = {"content-type": PROTOBUF, "authorization": header}
            status = over_http(collecting.http, "/v1/traces", body, named, context=context)[0]
            assert (told.status, status) == (("UNAUTHENTICATED", 401) if token == "wrong" else ("OK", 200))
        told_all = [
            over_http(collecting.http, path, headers=given, method="GET", context=context)
            for path in ("/metrics", "/healthz", "/readyz")
            for given in ({}, {"authorization": "Bearer new-s3cret"})
        ]
        assert [status for status, _, _ in told_all] == [401, 200, 200, 200, 200, 200]
        health(collecting, credentials)
        processes = [psutil.Process(collecting.process.pid), *collecting.workers()]
        shown = [" ".join([*process.cmdline(), *process.environ().values()]) for process in processes]
        said = collecting.stop()
        assert len(collecting.events("s1")) == 4
    everything = [said, *shown, *(repr(told) for told in told_all)]
    left = [file for file in tmp_path.rglob("*") if file.is_file() and file != tokens]
    everything += [file.read_bytes().decode("latin-1") for file in left]
    assert not [text for text in everything if "s3cret" in text]


def health(collecting: Collecting, credentials: Any) -> None:
    """Ask after each service, and for one that is not there, with no token: whoever balances load has none."""
    options = [("grpc.ssl_target_name_override", "localhost")]
    with grpc.secure_channel(collecting.grpc, credentials, options) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", *(each.service for each in SIGNALS)):
            said = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
            assert said.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as failure:
            stub.Check(health_pb2.HealthCheckRequest(service="another"), timeout=10)
        assert failure.value.code() is grpc.StatusCode.NOT_FOUND


def test_health_as_it_ends(tmp_path: Path) -> None:
    """Who watches a service hears that it serves, and on SIGTERM that it does no more; `localhost` is listened at."""
    with Collecting(tmp_path, "--grpc", "localhost:0", "--no-http") as collecting:
        with grpc.insecure_channel(collecting.grpc) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            watched = [
                stub.Watch(health_pb2.HealthCheckRequest(service=service), timeout=60)
                for service in ("", *(each.service for each in SIGNALS))
            ]
            assert [next(each).status for each in watched] == [health_pb2.HealthCheckResponse.SERVING] * 3
            os.kill(collecting.process.pid, signal.SIGTERM)
            assert [next(each).status for each in watched] == [health_pb2.HealthCheckResponse.NOT_SERVING] * 3
        assert collecting.process.wait(60) == 0


def test_asked_by_door(mutual: Serving) -> None:
    """What comes without a certificate is not even counted: it never was a request."""
    before = mutual.counters.totals()["requests"]
    assert ask(mutual, "grpc", "logs", b"").status == "UNAVAILABLE"
    assert mutual.counters.totals()["requests"] == before
