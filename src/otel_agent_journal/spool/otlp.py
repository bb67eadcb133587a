"""Sends batches of spans to an OTLP backend: http/protobuf or gRPC, one attempt a call, every failure told apart.

The official exporters retry inside, block their caller for it, and say only success or failure; the forwarder must
know whether to try again, to split a batch, or to give up one span. So their encoder is used and the sending is ours.
All that the standard OTEL_EXPORTER_OTLP_* variables set is honoured: endpoint, protocol, headers, TLS, compression,
timeout, each also in its _TRACES_ form. Knows nothing of events and queues.
"""

from __future__ import annotations

import base64
import gzip
import http.client
import socket
import ssl
import urllib.error
import urllib.request
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import unquote, urlsplit

import msgspec

from otel_agent_journal.errors import ConfigError, MissingExtra
from otel_agent_journal.mapping.span_record import SpanRecord

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

OTLP_EXTRA: Final = "otel-agent-journal[otlp]"

GRPC: Final = "grpc"
HTTP: Final = "http/protobuf"
_TRACES_PATH: Final = "/v1/traces"
_GRPC_PORT: Final = 4317
_HTTP_PORT: Final = 4318
_DEFAULT_TIMEOUT_S: Final = 10.0  # the specification's default
_MAX_REASON: Final = 300
_MAX_KNOWN_RESOURCES: Final = 256

# Something is wrong with the payload, and will be wrong again: no retry, says the OTLP specification. It says so of 401
# or UNIMPLEMENTED too, but those are settings, which somebody may put right while we wait.
_HTTP_REFUSALS: Final = frozenset((400, 413, 422, 500))
_GRPC_REFUSALS: Final = frozenset(("INVALID_ARGUMENT", "INTERNAL", "UNKNOWN"))


class SendFailed(Exception):
    """A batch did not arrive; `retry_after_s` is the backend's own wish, where it said one."""

    def __init__(self, reason: str, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


class BatchRefused(SendFailed):
    """The backend refuses this batch as it is: something in it is wrong, or it is too large. Halves may pass."""


class SpanSender(Protocol):
    """Takes spans to a backend."""

    @property
    def target(self) -> str:
        """The backend's address, secrets left out: safe to print."""
        ...

    def send(self, spans: Sequence[SpanRecord]) -> int:
        """Send spans; return how many of them the backend rejected although it took the rest.

        Raises:
            BatchRefused: the same call will fail again.
            SendFailed: the same call may succeed later.
        """
        ...

    def close(self) -> None:
        """Release connections."""
        ...


class OtlpTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Where spans go and how. `address` is a URL for HTTP, host:port for gRPC."""

    protocol: str
    address: str
    insecure: bool
    headers: Mapping[str, str]
    timeout_s: float = _DEFAULT_TIMEOUT_S
    compression: str = "none"
    certificate: str | None = None
    client_key: str | None = None
    client_certificate: str | None = None
    display: str = ""


def otlp_target(url: str | None, environ: Mapping[str, str]) -> OtlpTarget:
    """Return where spans go: to `url`, or where the OTLP variables say, by default to localhost.

    A URL without a path gets `/v1/traces`, without a scheme `http`. gRPC is spoken for `grpc://` and `grpcs://`, on
    port 4317, and where OTEL_EXPORTER_OTLP_PROTOCOL says so and neither path nor port speaks for HTTP.

    Raises:
        ConfigError: the URL or a variable is malformed.
    """
    traces_url, base_url = (
        environ.get(name, "").strip() for name in ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    )
    if url in (traces_url, base_url):  # handed down from the variables: their rules hold
        url = None
    said = _variable(environ, "PROTOCOL").lower()
    if said not in ("", GRPC, HTTP, "http/json"):
        raise ConfigError(f"OTEL_EXPORTER_OTLP_PROTOCOL is '{said}'; it is one of: {GRPC}, {HTTP}")
    whole = url or traces_url
    base = "" if whole else base_url
    if not whole and not base:
        base = f"http://localhost:{_GRPC_PORT if said == GRPC else _HTTP_PORT}"
    text = whole or base
    scheme, _, rest = text.partition("://") if "://" in text else ("http", "", text)
    parts = urlsplit(f"{scheme.lower()}://{rest}")
    try:
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"OTLP endpoint {text}: {error}") from error
    if parts.scheme not in ("http", "https", "grpc", "grpcs") or not parts.hostname:
        raise ConfigError(f"OTLP endpoint {text} is not a URL like http://localhost:4318 or grpc://localhost:4317")
    headers = _headers(_variable(environ, "HEADERS"))
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    path = parts.path.rstrip("/")
    protocol = _protocol(parts.scheme, port, path, said, from_url=url is not None)
    secure = parts.scheme in ("https", "grpcs")
    if protocol == GRPC:
        address = f"{host}:{port or _GRPC_PORT}"
        insecure = not secure and _variable(environ, "INSECURE").lower() != "false"
        display = f"{'grpc' if insecure else 'grpcs'}://{address}"
    else:
        if base or (url and not path):
            path += _TRACES_PATH
        netloc = host if port is None else f"{host}:{port}"
        insecure = not secure
        address = display = f"{'https' if secure else 'http'}://{netloc}{path or '/'}"
        if parts.query:
            address += f"?{parts.query}"
    return OtlpTarget(
        protocol=protocol,
        address=address,
        insecure=insecure,
        headers=headers,
        timeout_s=_timeout(_variable(environ, "TIMEOUT")),
        compression=_compression(_variable(environ, "COMPRESSION").lower()),
        certificate=_variable(environ, "CERTIFICATE") or None,
        client_key=_variable(environ, "CLIENT_KEY") or None,
        client_certificate=_variable(environ, "CLIENT_CERTIFICATE") or None,
        display=display,
    )


def _variable(environ: Mapping[str, str], name: str) -> str:
    return (environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or environ.get(f"OTEL_EXPORTER_OTLP_{name}") or "").strip()


def _protocol(scheme: str, port: int | None, path: str, said: str, *, from_url: bool) -> str:
    if scheme in ("grpc", "grpcs"):
        return GRPC
    if from_url and (path or port == _HTTP_PORT):
        return HTTP
    if said and not (from_url and port == _GRPC_PORT):
        return GRPC if said == GRPC else HTTP
    return GRPC if port == _GRPC_PORT and not path else HTTP


def _headers(text: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    for entry in text.split(","):
        name, equals, value = entry.partition("=")
        if equals and name.strip():
            headers[unquote(name).strip().lower()] = unquote(value).strip()
    return headers


def _timeout(text: str) -> float:
    """Return seconds, as the Python SDK takes OTEL_EXPORTER_OTLP_TIMEOUT."""
    if not text:
        return _DEFAULT_TIMEOUT_S
    try:
        seconds = float(text)
    except ValueError as error:
        raise ConfigError(f"OTEL_EXPORTER_OTLP_TIMEOUT is '{text}', a number of seconds is expected") from error
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"OTEL_EXPORTER_OTLP_TIMEOUT is '{text}', a number of seconds above 0 is expected")
    return seconds


def _compression(text: str) -> str:
    if text not in ("", "none", "gzip", "deflate"):
        raise ConfigError(f"OTEL_EXPORTER_OTLP_COMPRESSION is '{text}'; it is one of: none, gzip, deflate")
    return text or "none"


def open_sender(target: OtlpTarget) -> SpanSender:
    """Return what speaks the target's protocol.

    Raises:
        MissingExtra: the OTLP packages are not installed.
    """
    if target.protocol == GRPC:
        return GrpcSender(target)
    return HttpSender(target)


class _Encoder:
    """Encodes spans by the official encoder; a resource that comes again is made once."""

    def __init__(self) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
            from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
        except ImportError as error:
            raise MissingExtra("forwarding to OTLP", OTLP_EXTRA) from error
        self._encode_spans: Any = encode_spans
        self._response: Any = ExportTraceServiceResponse
        self._resources: dict[int, tuple[Mapping[str, Any], Resource]] = {}

    def request(self, spans: Sequence[SpanRecord]) -> Any:
        """Return the ExportTraceServiceRequest of spans."""
        from otel_agent_journal.mapping.from_sdk import readable_span

        return self._encode_spans([readable_span(span, self._resource(span.resource)) for span in spans])

    def _resource(self, attributes: Mapping[str, Any]) -> Resource:
        from opentelemetry.sdk.resources import Resource

        from otel_agent_journal.mapping.span_record import plain_attributes

        known = self._resources.get(id(attributes))
        if known is None or known[0] is not attributes:
            if len(self._resources) >= _MAX_KNOWN_RESOURCES:
                self._resources.clear()
            known = self._resources[id(attributes)] = (attributes, Resource(plain_attributes(attributes)))
        return known[1]

    def rejected(self, body: bytes) -> int:
        """Return how many spans a response says were rejected; a body that is none says nothing."""
        response = self._response()
        try:
            response.ParseFromString(body)
        except Exception:  # noqa: BLE001 - protobuf's DecodeError; a proxy may answer anything
            return 0
        return int(response.partial_success.rejected_spans)


class HttpSender:
    """OTLP over HTTP with protobuf bodies. One connection a batch: batches are seconds apart."""

    def __init__(self, target: OtlpTarget) -> None:
        self._target = target
        self._encoder = _Encoder()
        handlers: list[urllib.request.BaseHandler] = []
        if not target.insecure:
            handlers.append(urllib.request.HTTPSHandler(context=_tls(target)))
        self._opener = urllib.request.build_opener(*handlers)
        self._headers = {"content-type": "application/x-protobuf", "user-agent": "otel-agent-journal", **target.headers}
        if target.compression != "none":
            self._headers["content-encoding"] = target.compression

    @property
    def target(self) -> str:
        """The URL, without user and query."""
        return self._target.display

    def send(self, spans: Sequence[SpanRecord]) -> int:
        """Send spans; return how many the backend rejected. Raises BatchRefused or SendFailed."""
        body: bytes = self._encoder.request(spans).SerializeToString()
        if self._target.compression == "gzip":
            body = gzip.compress(body, compresslevel=6)
        elif self._target.compression == "deflate":
            body = zlib.compress(body)
        request = urllib.request.Request(self._target.address, body, self._headers, method="POST")  # noqa: S310 - http(s)
        try:
            with self._opener.open(request, timeout=self._target.timeout_s) as response:
                return self._encoder.rejected(response.read())
        except urllib.error.HTTPError as error:
            with error:
                raise _http_failure(error) from error
        except urllib.error.URLError as error:
            raise SendFailed(_why(error.reason)) from error
        except (OSError, http.client.HTTPException) as error:
            raise SendFailed(_why(error)) from error

    def close(self) -> None:
        """Do nothing: no connection is kept."""


def _tls(target: OtlpTarget) -> ssl.SSLContext:
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
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, socket.gaierror):
        return "host not found"
    return f"failed: {_one_line(str(error) or type(error).__name__)}"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_MAX_REASON]


class GrpcSender:
    """OTLP over gRPC, one channel, reconnecting by itself."""

    def __init__(self, target: OtlpTarget) -> None:
        try:
            import grpc
            from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
        except ImportError as error:
            raise MissingExtra("forwarding to OTLP over gRPC", OTLP_EXTRA) from error
        self._grpc: Any = grpc
        self._target = target
        self._encoder = _Encoder()
        self._metadata = tuple(target.headers.items())
        self._compression: Any = grpc.Compression.Gzip if target.compression == "gzip" else None
        options = [
            ("grpc.max_reconnect_backoff_ms", 2000),  # the forwarder backs off itself
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.min_reconnect_backoff_ms", 200),
            ("grpc.primary_user_agent", "otel-agent-journal"),
        ]
        if target.insecure:
            self._channel: Any = grpc.insecure_channel(target.address, options)
        else:
            self._channel = grpc.secure_channel(target.address, _credentials(grpc, target), options)
        stub: Any = TraceServiceStub(self._channel)
        self._export: Any = stub.Export

    @property
    def target(self) -> str:
        """The address as a `grpc://` URL."""
        return self._target.display

    def send(self, spans: Sequence[SpanRecord]) -> int:
        """Send spans; return how many the backend rejected. Raises BatchRefused or SendFailed."""
        request = self._encoder.request(spans)
        try:
            response = self._export(
                request, metadata=self._metadata, timeout=self._target.timeout_s, compression=self._compression
            )
        except self._grpc.RpcError as error:
            raise _grpc_failure(error) from error
        except ValueError as error:  # the channel was closed under us
            raise SendFailed(_why(error)) from error
        return int(response.partial_success.rejected_spans)

    def close(self) -> None:
        """Close the channel; a call under way ends."""
        self._channel.close()


def _credentials(grpc: Any, target: OtlpTarget) -> Any:
    try:
        return grpc.ssl_channel_credentials(
            *(
                None if path is None else Path(path).read_bytes()
                for path in (target.certificate, target.client_key, target.client_certificate)
            )
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
