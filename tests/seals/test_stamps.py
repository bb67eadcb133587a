"""Time stamps of RFC 3161, by a service of OpenSSL on this machine."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from otel_agent_journal.errors import ConfigError, JournalError, StoreUnreachable
from otel_agent_journal.seals.log import Log
from otel_agent_journal.seals.proofs import problems_of, proof_of
from otel_agent_journal.seals.stamps import StampAnchor, checked_ns, roots_of, stamped, stamps_in
from otel_agent_journal.store.memory import MemoryStore
from tests.seals.sessions import a_session, keep, seal, signer, verify

CONFIG = """
[tsa]
dir = {folder}
serial = $dir/serial
signer_cert = $dir/tsa.pem
signer_key = $dir/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
ess_cert_id_alg = sha256
[ext]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[req]
distinguished_name = dn
[dn]
"""


def openssl(folder: Path, *words: str) -> None:
    """Run openssl in a folder."""
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A time-stamp service: its URL, and its root certificate."""
    if shutil.which("openssl") is None:
        pytest.fail("openssl is not installed; it is the time-stamp service of this test")
    folder = tmp_path_factory.mktemp("tsa")
    (folder / "conf").write_text(CONFIG.format(folder=folder))
    (folder / "serial").write_text("01\n")
    root = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650", "-config", "conf")
    openssl(folder, "req", "-x509", *root, "-subj", "/CN=root", "-keyout", "ca.key", "-out", "ca.pem")
    openssl(folder, "req", *root[:5], "-config", "conf", "-subj", "/CN=tsa", "-keyout", "tsa.key", "-out", "tsa.csr")
    openssl(folder, "x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "3650", "-extfile", "conf", "-extensions", "ext", "-out", "tsa.pem")  # fmt: skip

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"]))
            (folder / "query").write_bytes(asked)
            openssl(
                folder, "ts", "-reply", "-config", "conf", "-section", "tsa", "-queryfile", "query", "-out", "answer"
            )
            answer = {"/": (folder / "answer").read_bytes(), "/nonsense": b"nonsense"}.get(self.path)
            self.send_response(200 if answer else 503)
            self.end_headers()
            self.wfile.write(answer or b"")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", folder / "ca.pem"
    server.shutdown()
    server.server_close()


def test_a_stamp_is_an_anchor(service: tuple[str, Path]) -> None:
    """By the certificate of the service; by another one it is none. A proof carries its token."""
    url, root = service
    store = MemoryStore()
    keep(store, a_session())
    seal(store, "s")
    head = Log(store).head()
    assert head is not None
    StampAnchor(store, url).put(head.note, head.size, 0)
    (anchored,) = stamped(store, [str(root)])
    assert anchored.at_ns > 1_700_000_000_000_000_000
    assert list(stamped(store, [])) == []
    assert list(stamped(store, [str(root.with_name("tsa.pem"))])) in ([], [anchored])
    assert verify(store, anchors=(anchored,))[0] == []
    proof = proof_of(store, next(iter(store.read("s"))), [])
    assert proof.anchors[0].stamp is not None
    assert problems_of(proof, [signer().public]) == []
    (stamp,) = stamps_in(store)
    assert checked_ns(head.note + "x", b"", roots_of([str(root)])) is None
    assert stamp.note == head.note


def test_what_is_no_service_is_said(service: tuple[str, Path]) -> None:
    """Nonsense, an error, nobody there, no URL, no certificate."""
    url, _ = service
    store = MemoryStore()
    with pytest.raises(JournalError, match="did not answer with a time stamp"):
        StampAnchor(store, f"{url}nonsense").put("note", 1, 0)
    with pytest.raises(StoreUnreachable, match="503"):
        StampAnchor(store, f"{url}else").put("note", 1, 0)
    with pytest.raises(StoreUnreachable, match="cannot be reached"):
        StampAnchor(store, "http://127.0.0.1:1/").put("note", 1, 0)
    with pytest.raises(ConfigError):
        StampAnchor(store, "ftp://x")
    with pytest.raises(ConfigError):
        roots_of([__file__])
