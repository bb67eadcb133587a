"""Time stamps of RFC 3161: a service signs that it had seen a checkpoint of the log by some time.

The token is kept in the store, beside the log. Nobody can make one up or date it back; who takes it out is found where
the checkpoint is anchored elsewhere, too.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, Final, cast
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import msgspec

from otel_agent_journal.errors import ConfigError, JournalError, MissingExtra, StoreUnreachable
from otel_agent_journal.masking import masked
from otel_agent_journal.seals.log import SCOPE
from otel_agent_journal.seals.notes import BadNote, read_note
from otel_agent_journal.seals.verifying import Anchored
from otel_agent_journal.store.protocol import Document, DocumentStore, JournalStore
from otel_agent_journal.uninstrumented import uninstrumented

_NAME: Final = "stamp/"
_TIMEOUT_S: Final = 20.0
_MAX_ANSWER: Final = 256 * 1024


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """A time stamp: of which checkpoint, whose, and the answer of the service as it came, in base64."""

    note: str
    service: str
    answer: str


class StampAnchor:
    """A time-stamp service, by its URL behind `tsa+`."""

    def __init__(self, store: JournalStore, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"anchor {masked(url)}: tsa+http://HOST or tsa+https://HOST is expected")
        self._documents = cast("DocumentStore", store)
        self._url = url
        self.shown = f"tsa+{masked(url)}"

    def put(self, note: str, size: int, now_ns: int) -> None:
        """Have a checkpoint stamped, and keep the token in the store."""
        del now_ns
        client = _rfc3161()
        asked = client.TimestampRequestBuilder().data(note.encode()).build()
        answer = self._answer(asked.as_bytes())
        try:
            found = client.decode_timestamp_response(answer)
            granted = found.status in (0, 1)  # granted, or with modifications
            same = granted and found.tst_info.message_imprint.message == asked.message_imprint.message
        except ValueError as error:
            raise JournalError(f"{self.shown} did not answer with a time stamp: {error}") from error
        if not same:
            raise JournalError(f"{self.shown} gave no time stamp of this checkpoint, status {found.status}")
        stamp = Stamp(note=note, service=self.shown, answer=b64encode(answer).decode())
        name = f"{_NAME}{size:012d}/{sha256(self._url.encode()).hexdigest()[:16]}"
        there = self._documents.get_document(SCOPE, name)
        version = 0 if there is None else there.version
        data = msgspec.json.encode(stamp)
        self._documents.put_document(Document(scope=SCOPE, name=name, data=data, version=version))

    def kept(self) -> Iterator[Anchored]:
        """Yield nothing: stamps count with the certificates of the service, see `stamped`."""
        yield from ()

    @uninstrumented()
    def _answer(self, data: bytes) -> bytes:
        request = Request(self._url, data, {"Content-Type": "application/timestamp-query"})  # noqa: S310 - http, see above
        try:
            with urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - as above
                return answer.read(_MAX_ANSWER)
        except HTTPError as error:
            raise StoreUnreachable(f"{self.shown} answers {error.code} {error.reason}") from error
        except (URLError, OSError, ValueError) as error:
            raise StoreUnreachable(f"{self.shown} cannot be reached: {getattr(error, 'reason', error)}") from error


def stamps_in(store: JournalStore) -> Iterator[Stamp]:
    """Yield the time stamps that a store keeps; what cannot be read is none."""
    for document in cast("DocumentStore", store).documents(SCOPE):
        if document.name.startswith(_NAME):
            try:
                yield msgspec.json.decode(document.data, type=Stamp)
            except (msgspec.DecodeError, ValueError):
                continue


def stamped(store: JournalStore, files: Sequence[str]) -> Iterator[Anchored]:
    """Yield the checkpoints that have a time stamp by one of the certificates in files.

    Raises:
        ConfigError: a file is no certificate.
        MissingExtra: `rfc3161-client` is not installed.
    """
    roots = roots_of(files)
    for stamp in stamps_in(store):
        at_ns = checked_ns(stamp.note, b64decode(stamp.answer), roots)
        try:
            note = read_note(stamp.note)
        except BadNote:
            continue
        if at_ns is not None:
            yield Anchored(stamp.service, at_ns, note)


def checked_ns(note: str, answer: bytes, roots: Sequence[Any]) -> int | None:
    """Return when a note was stamped, None where no certificate shows that it was."""
    client = _rfc3161()
    try:
        found = client.decode_timestamp_response(answer)
        builder = client.VerifierBuilder()
        for root in roots:
            builder = builder.add_root_certificate(root)
        builder.build().verify_message(found, note.encode())
    except (client.VerificationError, ValueError):
        return None
    return int(found.tst_info.gen_time.timestamp()) * 1_000_000_000


def roots_of(files: Sequence[str]) -> list[Any]:
    """Return the certificates of files. Raises ConfigError."""
    return [root for file in files for root in _certificates(file)]


def _certificates(file: str) -> list[Any]:
    _rfc3161()
    x509: Any = import_module("cryptography.x509")
    try:
        return list(x509.load_pem_x509_certificates(Path(file).read_bytes()))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--tsa {file} has no certificate that can be read: {error}") from error


def _rfc3161() -> Any:
    try:
        return import_module("rfc3161_client")
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "rfc3161-client, which asks for time stamps and checks them,", "otel-agent-journal[seal]"
        ) from error
