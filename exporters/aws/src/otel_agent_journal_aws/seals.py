"""Seals on AWS: keys that stay in KMS, and anchors in a bucket with Object Lock.

A key of KMS is of ECC_NIST_EDWARDS25519. An anchor is an object a checkpoint, written once and locked in compliance
mode, so that nobody, not the account's root either, deletes it before its day; best in another account's bucket.
"""

from __future__ import annotations

import hashlib
import os
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from otel_agent_journal.errors import ConfigError, JournalError
from otel_agent_journal.seals.anchors import Anchored
from otel_agent_journal.seals.notes import KEY_BYTES, BadNote, PublicKey, read_note
from otel_agent_journal_aws.failures import Refusal
from otel_agent_journal_aws.place import Options, Place
from otel_agent_journal_aws.service import Service

DAYS: Final = 400
ALGORITHM: Final = "ED25519_SHA_512"
_KEY: Final = re.compile(r"arn:aws[\w-]*:kms:([a-z0-9-]+):\d{12}:key/([\w-]+)", re.ASCII)
_SPKI: Final = bytes.fromhex("302a300506032b6570032100")  # what stands before an Ed25519 key in DER, RFC 8410
_ENDED: Final = "PreconditionFailed"


class KmsSigner:
    """A key of KMS."""

    def __init__(self, arn: str) -> None:
        match = _KEY.fullmatch(arn)
        if match is None:
            raise ConfigError(f"kms:{arn} is no key; kms:arn:aws:kms:REGION:ACCOUNT:key/ID is expected")
        self._arn = arn
        endpoint = os.environ.get("AWS_ENDPOINT_URL_KMS") or os.environ.get("AWS_ENDPOINT_URL") or None
        self._service = Service(Place(url=f"kms:{arn}", region=match[1]), "kms", endpoint)
        der: bytes = self._ask("its public key", lambda client: client.get_public_key(KeyId=arn))["PublicKey"]
        if not der.startswith(_SPKI) or len(der) != len(_SPKI) + KEY_BYTES:
            raise ConfigError(f"kms:{arn} is no key of ECC_NIST_EDWARDS25519; make one: --key-usage SIGN_VERIFY")
        self.public = PublicKey(f"kms-{match[2]}", der[len(_SPKI) :])

    def sign(self, data: bytes) -> bytes:
        """Return the signature of bytes, at most 4,096. Raises JournalError."""
        said = {"KeyId": self._arn, "Message": data, "MessageType": "RAW", "SigningAlgorithm": ALGORITHM}
        return self._ask("to sign", lambda client: client.sign(**said))["Signature"]

    def _ask(self, what: str, work: Callable[[Any], Any]) -> Any:
        try:
            return self._service.ask(what, work)
        except Refusal as error:
            raise JournalError(f"kms:{self._arn}: {error}") from error


class BucketAnchor:
    """Checkpoints as objects of a bucket, each locked for so many days."""

    def __init__(self, url: str) -> None:
        options = Options(url, (*Place.options, "days"))
        parts = urlsplit(url)
        if not parts.hostname:
            raise ConfigError(f"anchor {options.url}: s3://BUCKET/PREFIX is expected")
        self._bucket, self._prefix = unquote(parts.netloc), unquote(parts.path).strip("/")
        self._days = int(options.number("days") or DAYS)
        place = Place(**options.reach())
        endpoint = place.endpoint_url or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        self._service = Service(place, "s3", endpoint or None)
        self.shown = options.url

    def put(self, note: str, size: int, now_ns: int) -> None:
        """Write a checkpoint, and lock it; one that is there already stays. Raises JournalError."""
        data = note.encode()
        until = datetime.fromtimestamp(now_ns // 1_000_000_000, tz=UTC) + timedelta(days=self._days)
        said: dict[str, Any] = {
            "Bucket": self._bucket,
            "Key": self._key(f"{size:012d}-{hashlib.sha256(data).hexdigest()[:16]}.note"),
            "Body": data,
            "ContentType": "text/plain; charset=utf-8",
            "IfNoneMatch": "*",
            "ObjectLockMode": "COMPLIANCE",
            "ObjectLockRetainUntilDate": until,
            "ContentMD5": b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode(),
        }
        try:
            self._service.ask(f"keep a checkpoint in {self._bucket}", lambda client: client.put_object(**said))
        except Refusal as error:
            if error.code != _ENDED:
                raise JournalError(f"anchor {self.shown}: {error}; the bucket needs Object Lock") from error

    def kept(self) -> Iterator[Anchored]:
        """Yield the checkpoints of the bucket, with when they were written. Raises JournalError."""
        try:
            for key, (at_ns, version) in self._first_versions().items():
                named = {"Bucket": self._bucket, "Key": key, "VersionId": version}
                got = self._service.ask(f"read {key}", lambda client, named=named: client.get_object(**named))
                try:
                    yield Anchored(self.shown, at_ns, read_note(got["Body"].read().decode()))
                except (BadNote, UnicodeDecodeError) as error:
                    raise JournalError(f"anchor {self.shown}: {key} is no checkpoint: {error}") from error
        except Refusal as error:
            raise JournalError(f"anchor {self.shown}: {error}") from error

    def _first_versions(self) -> dict[str, tuple[int, str]]:
        """Return of each checkpoint when its first version was written, and which that is.

        A lock keeps a version, and nobody from writing a later one or a marker that the object was deleted.
        """
        found: dict[str, tuple[int, str]] = {}
        more: dict[str, str] = {}
        while True:
            said = {"Bucket": self._bucket, "Prefix": self._key(""), **more}
            page = self._service.ask("list checkpoints", lambda client, said=said: client.list_object_versions(**said))
            for one in page.get("Versions", ()):
                at_ns = int(one["LastModified"].timestamp()) * 1_000_000_000
                first = found.get(one["Key"])
                if one["Key"].endswith(".note") and (first is None or at_ns <= first[0]):  # the newest comes first
                    found[one["Key"]] = at_ns, one["VersionId"]
            if not page.get("IsTruncated"):
                return found
            more = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name


def open_kms(arn: str) -> KmsSigner:
    """Return what signs with a key of KMS. Raises ConfigError and JournalError."""
    return KmsSigner(arn)


def open_bucket(url: str) -> BucketAnchor:
    """Return the anchor of a bucket. Raises ConfigError; connects to nothing."""
    return BucketAnchor(url)
