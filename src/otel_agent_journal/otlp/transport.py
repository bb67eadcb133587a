"""Sends OTLP requests to a backend: http/protobuf or gRPC, one attempt a call, every failure told apart.

The official exporters retry inside, block their caller for it, and say only success or failure; who delivers a journal
must know whether to try again, to split a batch, or to give up one record. So requests come encoded, sending is ours.
All that the standard OTEL_EXPORTER_OTLP_* variables set is honoured: endpoint, protocol, headers, TLS, compression,
timeout, each also in its form for one signal. What sending needs is imported when the first request is sent, since an
agent's process opens transports too. Knows nothing of spans, events and queues.
"""

from __future__ import annotations

from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from otel_agent_journal.errors import ConfigError, MissingExtra
from otel_agent_journal.otlp.target import GRPC, OtlpTarget

if TYPE_CHECKING:
    import ssl
    import urllib.error
    import urllib.request

OTLP_EXTRA: Final = "otel-agent-journal[otlp]"

_MAX_REASON: Final = 300

# Something is wrong with the payload, and will be wrong again: no retry, says the OTLP specification. It says so of 401
# or UNIMPLEMENTED too, but those are settings, which somebody may put right while we wait.
_HTTP_REFUSALS: Final = frozenset((400, 413, 422, 500))
_GRPC_REFUSALS: Final = frozenset(("INVALID_ARGUMENT", "INTERNAL", "UNKNOWN"))


class SendFailed(Exception):
    """A request did not arrive; `retry_after_s` is the backend's own wish, where it said one."""

    def __init__(self, reason: str, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


class BatchRefused(SendFailed):
    """The backend refuses this request as it is: something in it is wrong, or it is too large. Halves may pass."""


class Transport(Protocol):
    """Takes the requests of one signal to a backend."""

    @property
    def target(self) -> str:
        """The backend's address, secrets left out: safe to print."""
        ...

    def export(self, body: bytes) -> bytes:
        """Send an encoded request; return the encoded response.

        Raises:
            BatchRefused: the same call will fail again.
            SendFailed: the same call may succeed later.
        """
        ...

    def close(self) -> None:
        """Release connections."""
        ...


def open_transport(target: OtlpTarget) -> Transport:
    """Return what speaks the target's protocol.

    Raises:
        MissingExtra: the OTLP packages are not installed.
        ConfigError: a certificate cannot be used.
    """
    require("opentelemetry.exporter.otlp.proto.common.trace_encoder", "sending OTLP")
    if target.protocol == GRPC:
        require("grpc", "sending OTLP over gRPC")
        return GrpcTransport(target)
    return HttpTransport(target)


def require(module: str, what: str) -> None:
    """Raise MissingExtra where a module of the extra is not installed; does not import it."""
    try:
        found = find_spec(module) is not None
    except (ImportError, ValueError):
        found = False
    if not found:
        raise MissingExtra(what, OTLP_EXTRA)


class HttpTransport:
    """OTLP over HTTP with protobuf bodies. One connection a batch: batches are seconds apart."""

    def __init__(self, target: OtlpTarget) -> None:
        self._target = target
        self._tls = None if target.insecure else _tls(target)
        self._headers = {"content-type": "application/x-protobuf", "user-agent": "otel-agent-journal", **target.headers}
        if target.compression != "none":
            self._headers["content-encoding"] = target.compression

    @cached_property
    def _opener(self) -> urllib.request.OpenerDirector:
        import urllib.request

        if self._tls is None:
            return urllib.request.build_opener()
        return urllib.request.build_opener(urllib.request.HTTPSHandler(context=self._tls))

    @property
    def target(self) -> str:
        """The URL, without user and query."""
        return self._target.display

    def export(self, body: bytes) -> bytes:
        """Send a request; return the response. Raises BatchRefused or SendFailed."""
        import http.client
        import urllib.error
        import urllib.request

        body = _compressed(body, self._target.compression)
        request = urllib.request.Request(self._target.address, body, self._headers, method="POST")  # noqa: S310 - http(s)
        try:
            with self._opener.open(request, timeout=self._target.timeout_s) as response:
                return response.read()
        except urllib.error.HTTPError as error:
            with error:
                raise _http_failure(error) from error
        except urllib.error.URLError as error:
            raise SendFailed(_why(error.reason)) from error
        except (OSError, http.client.HTTPException) as error:
            raise SendFailed(_why(error)) from error

    def close(self) -> None:
        """Do nothing: no connection is kept."""


def _compressed(body: bytes, compression: str) -> bytes:
    if compression == "gzip":
        import gzip

        return gzip.compress(body, compresslevel=6)
    if compression == "deflate":
        import zlib

        return zlib.compress(body)
    return body


def _tls(target: OtlpTarget) -> ssl.SSLContext:
    import ssl

    try:
        context = ssl.create_default_context(cafile=target.certificate)
        if target.client_certificate:
            context.load_cert_chain(target.client_certificate, target.client_key)
    except OSError as error:
        named = ", ".join(filter(None, (target.certificate, target.client_certificate, target.client_key)))
        raise ConfigError(f"OTLP certificates {named} cannot be used: {error}") from error
    return context


def _http_failure(error: urllib.error.HTTPError) -> SendFailed:
    said = error.read(2000)
    text = said.decode("utf-8", "replace") if said.isascii() else ""
    reason = f"answered {error.code} {error.reason}" + (f": {_one_line(text)}" if text.strip() else "")
    if error.code in _HTTP_REFUSALS:
        return BatchRefused(reason)
    wish = error.headers.get("retry-after", "")
    return SendFailed(reason, float(wish) if wish.isdecimal() else 0.0)


def _why(error: object) -> str:
    import socket

    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, socket.gaierror):
        return "host not found"
    return f"failed: {_one_line(str(error) or type(error).__name__)}"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_MAX_REASON]


class GrpcTransport:
    """OTLP over gRPC, one channel, reconnecting by itself."""

    def __init__(self, target: OtlpTarget) -> None:
        self._target = target
        self._certificates = () if target.insecure else _certificates(target)
        self._metadata = tuple(target.headers.items())
        self._closed = False

    @cached_property
    def _channel(self) -> Any:
        import grpc

        gate: Any = grpc
        options = [
            ("grpc.max_reconnect_backoff_ms", 2000),  # the forwarder backs off itself
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.min_reconnect_backoff_ms", 200),
            ("grpc.primary_user_agent", "otel-agent-journal"),
        ]
        if self._target.insecure:
            return gate.insecure_channel(self._target.address, options)
        return gate.secure_channel(self._target.address, gate.ssl_channel_credentials(*self._certificates), options)

    @cached_property
    def _export(self) -> Any:
        return self._channel.unary_unary(self._target.signal.method)

    @property
    def target(self) -> str:
        """The address as a `grpc://` URL."""
        return self._target.display

    def export(self, body: bytes) -> bytes:
        """Send a request; return the response. Raises BatchRefused or SendFailed."""
        import grpc

        if self._closed:
            raise SendFailed("failed: closed")
        compression: Any = grpc.Compression.Gzip if self._target.compression == "gzip" else None
        try:
            return self._export(body, metadata=self._metadata, timeout=self._target.timeout_s, compression=compression)
        except grpc.RpcError as error:
            raise _grpc_failure(error) from error
        except ValueError as error:  # the channel was closed under us
            raise SendFailed(_why(error)) from error

    def close(self) -> None:
        """Close the channel; a call under way ends."""
        self._closed = True
        if "_channel" in self.__dict__:
            self._channel.close()


def _certificates(target: OtlpTarget) -> tuple[bytes | None, ...]:
    try:
        return tuple(
            None if path is None else Path(path).read_bytes()
            for path in (target.certificate, target.client_key, target.client_certificate)
        )
    except OSError as error:
        raise ConfigError(f"OTLP certificate cannot be read: {error}") from error


def _grpc_failure(error: Any) -> SendFailed:
    code, said = str(error.code().name), _one_line(str(error.details() or ""))
    if code == "UNAVAILABLE" and "refused" in said.lower():
        return SendFailed("refused")
    if code == "DEADLINE_EXCEEDED":
        return SendFailed("timed out")
    reason = f"answered {code}" + (f": {said}" if said else "")
    # A message over the receiver's limit is RESOURCE_EXHAUSTED, and so is overload: halves tell them apart.
    too_large = code == "RESOURCE_EXHAUSTED" and "larger than max" in said
    if too_large or code in _GRPC_REFUSALS:
        return BatchRefused(reason)
    return SendFailed(reason, _retry_after_s(error))


def _retry_after_s(error: Any) -> float:
    try:
        from google.rpc.error_details_pb2 import RetryInfo

        trailing: dict[str, Any] = dict(error.trailing_metadata() or ())
        packed = trailing.get("google.rpc.retryinfo-bin")
        if packed is None:
            return 0.0
        info: Any = RetryInfo()
        info.ParseFromString(packed)
        return float(info.retry_delay.seconds) + float(info.retry_delay.nanos) / 1e9
    except Exception:  # noqa: BLE001 - a wish only
        return 0.0
