"""Keys of KMS and buckets as anchors, over the wire: a KMS of ours that signs with Ed25519, as AWS' does."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from otel_agent_journal.errors import ConfigError, JournalError
from otel_agent_journal.seals.keys import check
from otel_agent_journal.seals.notes import signed
from otel_agent_journal_aws.seals import BucketAnchor, KmsSigner, open_bucket, open_kms

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
ARN = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict]]:
    """A KMS with one key; what it was asked to sign."""
    found: list[dict] = []

    class Kms(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.append(said)
            status, answer = 200, {}
            if said["KeyId"] != ARN:
                status, answer = 400, {"__type": "NotFoundException", "message": "no such key"}
            elif self.headers["X-Amz-Target"] == "TrentService.GetPublicKey":
                key = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
                answer = {"KeyId": ARN, "KeySpec": "ECC_NIST_EDWARDS25519", "PublicKey": base64.b64encode(key).decode()}
            else:
                data = base64.b64decode(said["Message"])
                answer = {"KeyId": ARN, "Signature": base64.b64encode(KEY.sign(data)).decode()}
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Kms)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, value in {
        "AWS_ENDPOINT_URL_KMS": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    yield found
    server.shutdown()
    server.server_close()


def test_a_key_of_kms_signs(asked: list[dict]) -> None:
    """The text goes there whole and comes back as a signature that anybody can check."""
    signer = open_kms(ARN)
    note = signed("origin\n1\nroot\n", signer.public, signer.sign)
    assert note.signed_by(signer.public, check)
    assert signer.public.name == "kms-1234abcd-12ab-34cd-56ef-1234567890ab"
    assert asked[-1]["SigningAlgorithm"] == "ED25519_SHA_512"
    assert asked[-1]["MessageType"] == "RAW"


@pytest.mark.usefixtures("asked")
def test_a_key_that_is_not_there_is_said() -> None:
    """By what KMS says, in one line; what is no ARN of a key is not asked for."""
    with pytest.raises(JournalError, match="no such key"):
        KmsSigner(ARN[:-1] + "c")
    for wrong in ("", "alias/x", "arn:aws:kms:eu-west-1:123456789012:alias/x"):
        with pytest.raises(ConfigError, match="is expected"):
            KmsSigner(wrong)


def test_a_bucket_is_named() -> None:
    """With a bucket, and no credentials in it."""
    assert isinstance(open_bucket("s3://bucket/a?days=10"), BucketAnchor)
    for wrong in ("s3:///a", "s3://k:secret@bucket", "s3://bucket?days=0", "s3://bucket?other=1"):
        with pytest.raises(ConfigError) as refused:
            open_bucket(wrong)
        assert "secret" not in str(refused.value)
