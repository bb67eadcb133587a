"""Sends OTLP requests to a backend: http/protobuf or gRPC, one attempt a call; `answers` says what came of it.

The official exporters retry inside, block their caller for it, and say only success or failure; who delivers a journal
must know whether to try again, to split a batch, or to give up one record. So requests come encoded, sending is ours.
All that the standard OTEL_EXPORTER_OTLP_* variables set is honoured: endpoint, protocol, headers, TLS, compression,
timeout, each also in its form for one signal. Redirects are never followed: headers go to the host that was named, and
to no other. What sending needs is imported when the first request is sent, since an agent's process opens transports
too. Knows nothing of spans, events and queues.
"""

from __future__ import annotations

from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from otel_agent_journal.errors import ConfigError, MissingExtra
from otel_agent_journal.otlp.answers import Acknowledged, SendFailed, of_grpc, of_http, of_message, one_line
from otel_agent_journal.otlp.target import GRPC, OtlpTarget
from otel_agent_journal.uninstrumented import uninstrumented

if TYPE_CHECKING:
    import ssl
    import urllib.request

OTLP_EXTRA: Final = "otel-agent-journal[otlp]"

_MAX_ANSWER_BYTES: Final = 1024 * 1024


class Transport(Protocol):
    """Takes the requests of one signal to a backend."""

    @property
    def target(self) -> str:
        """The backend's address, secrets left out: safe to print."""
        ...

    def export(self, body: bytes) -> Acknowledged:
        """Send an encoded request; return what the backend acknowledges of it.

        Raises:
            BatchRefused, Unconfirmed, SendFailed: nothing, see `answers`.
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

        class Unjudged(urllib.request.HTTPErrorProcessor):
            def http_response(self, request: Any, response: Any) -> Any:
                return response  # whatever its status, and a redirect is not followed: `answers` reads it

            https_response = http_response

        tls = [] if self._tls is None else [urllib.request.HTTPSHandler(context=self._tls)]
        return urllib.request.build_opener(Unjudged, *tls)

    @property
    def target(self) -> str:
        """The URL, without user and query."""
        return self._target.display

    @uninstrumented()
    def export(self, body: bytes) -> Acknowledged:
        """Send a request; return what is acknowledged. Raises as `Transport.export`."""
        import http.client
        import urllib.error
        import urllib.request

        target = self._target
        body = _compressed(body, target.compression)
        request = urllib.request.Request(target.address, body, self._headers, method="POST")  # noqa: S310 - http(s)
        try:
            with self._opener.open(request, timeout=target.timeout_s) as answer:
                said = answer.read(_MAX_ANSWER_BYTES)
                if answer.length:  # of what was announced, that much did not come
                    raise SendFailed(f"answered {answer.status}, cut short")
                return of_http(target.signal, answer.status, answer.reason, answer.headers, said)
        except urllib.error.URLError as error:
            raise SendFailed(_why(error.reason)) from error
        except http.client.InvalidURL as error:  # whose message has the URL's options in it
            raise SendFailed("has a URL with a character that wants percent encoding") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
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


def _why(error: object) -> str:
    import socket

    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, socket.gaierror):
        return "host not found"
    return f"failed: {one_line(str(error) or type(error).__name__)}"


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

    @uninstrumented()
    def export(self, body: bytes) -> Acknowledged:
        """Send a request; return what is acknowledged. Raises as `Transport.export`."""
        import grpc

        if self._closed:
            raise SendFailed("failed: closed")
        zipped: Any = grpc.Compression.Gzip if self._target.compression == "gzip" else None
        try:
            said = self._export(body, metadata=self._metadata, timeout=self._target.timeout_s, compression=zipped)
        except grpc.RpcError as error:
            raise of_grpc(error) from error
        except ValueError as error:  # the channel was closed under us
            raise SendFailed(_why(error)) from error
        return of_message(self._target.signal, said)

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
