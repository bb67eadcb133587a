"""Where telemetry goes: an OTLP endpoint and all that the standard OTEL_EXPORTER_OTLP_* variables say of it. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from otel_agent_journal.errors import ConfigError
from otel_agent_journal.masking import masked

GRPC: Final = "grpc"
HTTP: Final = "http/protobuf"
_GRPC_PORT: Final = 4317
_HTTP_PORT: Final = 4318
_DEFAULT_TIMEOUT_S: Final = 10.0  # the specification's default
# What both protocols take: clients refuse the rest when they send, and repeat it, secrets and all.
_HEADER_NAME: Final = re.compile(r"[0-9a-z_.-]+")
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e\t]*")


class Signal(msgspec.Struct, frozen=True):
    """A kind of telemetry: its part of the variables' names, its path over HTTP, its service, what an answer counts."""

    variable: str
    path: str
    method: str
    rejected: str


TRACES: Final = Signal(
    "TRACES", "/v1/traces", "/opentelemetry.proto.collector.trace.v1.TraceService/Export", "rejected_spans"
)
LOGS: Final = Signal(
    "LOGS", "/v1/logs", "/opentelemetry.proto.collector.logs.v1.LogsService/Export", "rejected_log_records"
)


class OtlpTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Where a signal goes and how. `address` is a URL for HTTP, host:port for gRPC."""

    signal: Signal = TRACES
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


def otlp_target(url: str | None, environ: Mapping[str, str], signal: Signal = TRACES) -> OtlpTarget:
    """Return where a signal goes: to `url`, or where the OTLP variables say, by default to localhost.

    A URL without a path gets the signal's (`/v1/traces`), without a scheme `http`. gRPC is spoken for `grpc://` and
    `grpcs://`, on port 4317, and where OTEL_EXPORTER_OTLP_PROTOCOL says so and neither path nor port speaks for HTTP.

    Raises:
        ConfigError: the URL or a variable is malformed.
    """
    said = _variable(environ, signal, "PROTOCOL").lower()
    if said not in ("", GRPC, HTTP, "http/json"):
        raise ConfigError(f"OTEL_EXPORTER_OTLP_PROTOCOL is '{said}'; it is one of: {GRPC}, {HTTP}")
    text, from_url, is_base = _endpoint(url, environ, signal, said)
    parts, host, port = _parsed(text)
    headers = _headers(_variable(environ, signal, "HEADERS"))
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    path = parts.path.rstrip("/")
    protocol = _protocol(parts.scheme, port, path, said, from_url=from_url)
    secure = parts.scheme in ("https", "grpcs")
    if protocol == GRPC:
        address = f"{host}:{port or _GRPC_PORT}"
        insecure = not secure and _variable(environ, signal, "INSECURE").lower() != "false"
        display = f"{'grpc' if insecure else 'grpcs'}://{address}"
    else:
        if is_base or (from_url and not path):
            path += signal.path
        netloc = host if port is None else f"{host}:{port}"
        insecure = not secure
        address = display = f"{'https' if secure else 'http'}://{netloc}{path or '/'}"
        if parts.query:
            address += f"?{parts.query}"
    return OtlpTarget(
        signal=signal,
        protocol=protocol,
        address=address,
        insecure=insecure,
        headers=headers,
        timeout_s=_timeout(_variable(environ, signal, "TIMEOUT")),
        compression=_compression(_variable(environ, signal, "COMPRESSION").lower()),
        certificate=_variable(environ, signal, "CERTIFICATE") or None,
        client_key=_variable(environ, signal, "CLIENT_KEY") or None,
        client_certificate=_variable(environ, signal, "CLIENT_CERTIFICATE") or None,
        display=masked(display),  # a path may hold what was meant for a login
    )


def _endpoint(url: str | None, environ: Mapping[str, str], signal: Signal, said: str) -> tuple[str, bool, bool]:
    """Return the endpoint, whether it is `url`, and whether it is one for all signals, each at a path below it."""
    own, base = (
        environ.get(name, "").strip()
        for name in (f"OTEL_EXPORTER_OTLP_{signal.variable}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    )
    if url and url not in (own, base):
        return url, True, False
    if own:  # handed down from the variables: their rules hold
        return own, False, False
    return base or f"http://localhost:{_GRPC_PORT if said == GRPC else _HTTP_PORT}", False, True


def _parsed(text: str) -> tuple[SplitResult, str, int | None]:
    scheme, _, rest = text.partition("://") if "://" in text else ("http", "", text)
    try:
        parts = urlsplit(f"{scheme.lower()}://{rest}")
        port = parts.port
    except ValueError:  # its text may repeat a password that stands where the port should
        raise ConfigError(f"OTLP endpoint {masked(text)} is malformed, or its port is no number") from None
    mistyped = "://" not in text and parts.netloc.endswith(":")  # as http:/host, whose scheme would be the host
    if parts.scheme not in ("http", "https", "grpc", "grpcs") or not parts.hostname or mistyped:
        raise ConfigError(
            f"OTLP endpoint {masked(text)} is not a URL like http://localhost:4318 or grpc://localhost:4317"
        )
    return parts, f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname, port


def _variable(environ: Mapping[str, str], signal: Signal, name: str) -> str:
    own = environ.get(f"OTEL_EXPORTER_OTLP_{signal.variable}_{name}")
    return (own or environ.get(f"OTEL_EXPORTER_OTLP_{name}") or "").strip()


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
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ConfigError("OTEL_EXPORTER_OTLP_HEADERS: a header's name is letters, digits, '-', '_' and '.'")
        if not _HEADER_VALUE.fullmatch(value):
            raise ConfigError(f"OTEL_EXPORTER_OTLP_HEADERS: the value of '{name}' is not printable ASCII")
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


def default_resource(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the resource that OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES give, and what we are."""
    resource = {"service.name": "unknown_service"}
    for entry in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        key, equals, value = entry.partition("=")
        if equals and key.strip():
            resource[key.strip()] = unquote(value.strip())
    service = environ.get("OTEL_SERVICE_NAME", "").strip()
    if service:
        resource["service.name"] = service
    return resource
