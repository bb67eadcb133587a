"""The write-only store: events go to a Collector, or to any receiver of OTLP, as log records.

`otlp://host:4317` speaks gRPC, `otlps://` gRPC over TLS, `otlp+http://` and `otlp+https://` HTTP; headers,
certificates, compression and timeout are those of the standard OTEL_EXPORTER_OTLP_* variables. An append returns when
the backend has acknowledged it by a well-formed answer; how safe that is, the backend says. All else is waited for, but
for a request that is refused as it is. What an event is as a log record is `mapping/log_record.py`'s.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NoReturn

from otel_agent_journal.codec import JSON
from otel_agent_journal.errors import ConfigError, StoreError, StoreUnreachable, UnsupportedByStore
from otel_agent_journal.event import SCHEMA_VERSION, JournalEvent
from otel_agent_journal.mapping.facts import BlobKept
from otel_agent_journal.mapping.log_record import (
    WriterHeard,
    blob_record,
    event_record,
    heartbeat_record,
    request_of,
)
from otel_agent_journal.masking import masked
from otel_agent_journal.otlp.answers import BatchRefused, SendFailed
from otel_agent_journal.otlp.target import LOGS, default_resource, otlp_target
from otel_agent_journal.otlp.transport import Transport, open_transport
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.protocol import Blob, Capabilities, Document, SessionFilter, StoreInfo

if TYPE_CHECKING:
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

MAX_REQUEST_BYTES: Final = 3_000_000  # the Collector takes 4 MiB over gRPC unless told otherwise
_SCHEMES: Final[Mapping[str, str]] = {
    "otlp": "grpc",
    "otlps": "grpcs",
    "otlp+http": "http",
    "otlp+https": "https",
}


def open_store(url: str, *, create: bool = True, environ: Mapping[str, str] | None = None) -> OtlpStore:
    """Return the store of an OTLP endpoint. Nothing is sent before the first append; `create` changes nothing.

    Raises:
        ConfigError: the URL, or one of OpenTelemetry's variables, is malformed.
        MissingExtra: the OTLP packages are not installed.
    """
    scheme, _, rest = url.partition("://")
    protocol = _SCHEMES.get(scheme.lower())
    if protocol is None or not rest.strip("/"):
        raise ConfigError(f"store {masked(url)} names no OTLP endpoint; one is named as in otlp://localhost:4317")
    variables = os.environ if environ is None else environ
    target = otlp_target(f"{protocol}://{rest}", variables, LOGS)
    return OtlpStore(scheme.lower(), open_transport(target), default_resource(variables))


class OtlpStore:
    """Ships events, blobs and heartbeats. Used from one thread at a time; reads nothing.

    Args:
        scheme: what it was opened by.
        transport: takes requests for logs to the backend.
        resource: whose records they are, as OpenTelemetry's resource attributes.
        clock: UTC nanoseconds.
    """

    def __init__(
        self,
        scheme: str,
        transport: Transport,
        resource: Mapping[str, str],
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._scheme = scheme
        self._transport = transport
        self._resource = resource
        self._clock = clock

    @property
    def url(self) -> str:
        """Its URL, secrets masked."""
        address = self._transport.target.partition("://")[2]
        return f"{self._scheme}://{address.removesuffix(LOGS.path)}"

    @property
    def capabilities(self) -> Capabilities:
        """It takes events and blobs, and gives nothing back."""
        return Capabilities(read=False, context=False, blobs=True, heads=False, documents=False)

    def append(self, events: Sequence[JournalEvent]) -> None:
        """Ship session events; return when the backend has acknowledged them.

        Raises:
            StoreUnreachable: it did not; the same call may succeed later.
            StoreError: the backend refuses some of them for good, an event over its limit for one.
        """
        now_ns = self._clock()
        self._ship([event_record(event, now_ns) for event in events])

    def put_blobs(self, session_id: str, blobs: Mapping[str, Blob]) -> None:
        """Ship values that events refer to. Raises as `append` does."""
        kept = [BlobKept(session_id, digest, blob.data, blob.media_type) for digest, blob in blobs.items()]
        self._ship([blob_record(one, self._clock()) for one in kept])

    def put_blob(self, session_id: str, digest: str, data: bytes, media_type: str = JSON) -> None:
        """Ship one value. Raises as `append` does."""
        self.put_blobs(session_id, {digest: Blob(data, media_type)})

    def heard(self, writer: str, timestamp_ns: int, sessions: Iterable[str]) -> None:
        """Ship a heartbeat. Raises as `append` does."""
        self._ship([heartbeat_record(WriterHeard(writer, timestamp_ns, tuple(sessions)), self._clock())])

    def _ship(self, records: Sequence[LogRecord]) -> None:
        batch: list[LogRecord] = []
        size = 0
        for record in records:
            length = record.ByteSize()
            if batch and size + length > MAX_REQUEST_BYTES:
                self._export(batch)
                batch, size = [], 0
            batch.append(record)
            size += length
        if batch:
            self._export(batch)

    def _export(self, batch: Sequence[LogRecord]) -> None:
        body = request_of(batch, self._resource).SerializeToString() if batch else b""
        try:
            answer = self._transport.export(body)
        except BatchRefused as error:
            raise StoreError(f"store {self.url} refuses a request of {len(body):,} bytes: {error.reason}") from error
        except SendFailed as error:
            message = f"store {self.url} {error.reason}"
            raise StoreUnreachable(message, retry_after_s=error.retry_after_s) from error
        if answer.rejected:  # which ones is not said: whoever appends in halves finds out
            raise StoreError(f"store {self.url} rejected {answer.rejected} of {len(batch)} records: {answer.why}")

    def close(self) -> None:
        """Release the connection; a call under way ends."""
        self._transport.close()

    # --- what an operator asks ---

    def init_plan(self) -> list[str]:
        """Return nothing: there is nothing to prepare."""
        return []

    def init(self) -> None:
        """Do nothing."""

    def info(self) -> StoreInfo:
        """Return what it is, once the backend has answered an empty request. Raises as `append` does."""
        self._export(())
        return StoreInfo(url=self.url, backend="otlp", schema_version=SCHEMA_VERSION)

    def delete_session(self, session_id: str, cursor: str | None, version: int) -> NoReturn:
        """Raise UnsupportedByStore."""
        raise self._unsupported("prune")

    def iam_policy(self, role: str, note: Callable[[str], object] | None = None) -> NoReturn:
        """Raise UnsupportedByStore."""
        raise self._unsupported("iam_policy")

    # --- what a write-only store cannot ---

    def append_context(self, instance_id: str, expected_seq: int, events: Sequence[JournalEvent]) -> NoReturn:
        """Raise UnsupportedByStore: who was first is for a store to decide."""
        raise self._unsupported("context")

    def read(self, session_id: str, after: tuple[int, str] | None = None) -> NoReturn:
        """Raise UnsupportedByStore, as all below."""
        raise self._unsupported("read")

    def read_context(
        self, instance_id: str, from_seq: int = 0, *, limit: int | None = None, newest_first: bool = False
    ) -> NoReturn:
        """Raise UnsupportedByStore."""
        raise self._unsupported("context")

    def context_tip(self, instance_id: str) -> NoReturn:
        """Raise UnsupportedByStore."""
        raise self._unsupported("context")

    def instances(self, session_id: str) -> NoReturn:
        """Raise UnsupportedByStore."""
        raise self._unsupported("context")

    def follow(self, cursor: str | None, *, session_id: str | None = None, limit: int = 1000) -> NoReturn:
        """Raise UnsupportedByStore."""
        raise self._unsupported("read")

    def tip(self, session_id: str | None = None) -> NoReturn:
        """Raise UnsupportedByStore."""
        raise self._unsupported("read")

    def sessions(self, wanted: SessionFilter | None = None) -> NoReturn:
        """Raise UnsupportedByStore."""
        raise self._unsupported("heads")

    def unsettled(self) -> NoReturn:
        """Raise UnsupportedByStore."""
        raise self._unsupported("heads")

    def session_ids(self) -> NoReturn:
        """Raise UnsupportedByStore."""
        raise self._unsupported("read")

    def head(self, session_id: str) -> NoReturn:
        """Raise UnsupportedByStore."""
        raise self._unsupported("heads")

    def write_head(self, head: SessionHead) -> NoReturn:
        """Raise UnsupportedByStore."""
        raise self._unsupported("heads")

    def get_blobs(self, session_id: str, digests: Collection[str]) -> NoReturn:
        """Raise UnsupportedByStore."""
        raise self._unsupported("read")

    def get_blob(self, session_id: str, digest: str) -> NoReturn:
        """Raise UnsupportedByStore."""
        raise self._unsupported("read")

    def get_document(self, scope: str, name: str) -> NoReturn:
        """Raise UnsupportedByStore."""
        raise self._unsupported("documents")

    def put_document(self, document: Document) -> NoReturn:
        """Raise UnsupportedByStore."""
        raise self._unsupported("documents")

    def delete_document(self, scope: str, name: str, version: int) -> NoReturn:
        """Raise UnsupportedByStore."""
        raise self._unsupported("documents")

    def documents(self, scope: str) -> NoReturn:
        """Raise UnsupportedByStore."""
        raise self._unsupported("documents")

    def _unsupported(self, capability: str) -> UnsupportedByStore:
        return UnsupportedByStore(
            self.url, capability, "it only ships events: name the store of the receiver behind it with --store"
        )
