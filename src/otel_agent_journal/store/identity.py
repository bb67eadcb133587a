"""Which store a URL names, however it is spelled and whoever asks: what all URLs of one store share. Pure.

A spool belongs to the place where its events go: host, database and schema, table and region, bucket and prefix. User,
password, timeouts and other options say how a store is reached, and change. What names the place is each backend's
own, and kept here in one table, since whoever looks for a spool need not have the backend installed. Of a scheme that
is not known here all options are kept: no two stores ever share a spool.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

_PORTS: Final = {"otlp": "4317", "otlps": "4317", "otlp+http": "80", "otlp+https": "443", "http": "80", "https": "443"}
_HAS_PORT: Final = re.compile(r":\d+$")


class _Url(msgspec.Struct, frozen=True):
    """A URL taken apart; `place` is what lies between user and options."""

    scheme: str
    user: str
    place: str
    options: Mapping[str, str]
    environ: Mapping[str, str]

    @property
    def host(self) -> str:
        return self.place.partition("/")[0]

    @property
    def path(self) -> str:
        return unquote(self.place.partition("/")[2]).strip("/")

    def said(self, option: str, *variables: str) -> str:
        """Return an option, or the first of the variables that stand for it; empty where none is set."""
        found = (self.options.get(option), *(self.environ.get(name) for name in variables))
        return next((value for value in found if value), "")


def identity_of(url: str, environ: Mapping[str, str]) -> str:
    """Return the place that a store's URL names, in one spelling; no user, password or option is in it.

    Args:
        url: the store's.
        environ: variables that fill in what the URL leaves out, as the backends' clients read them.
    """
    scheme, _, rest = url.partition("://")
    place, _, query = rest.partition("?")
    if "@" in query.partition("=")[0]:  # a password may hold what should have been escaped
        place, _, query = rest.rpartition("@")[2].partition("?")
    user, _, place = place.rpartition("@")
    scheme = scheme.lower()
    parts = _Url(scheme, unquote(user.partition(":")[0]), place, dict(parse_qsl(query)), environ)
    family = scheme.partition("+")[0]
    rule = _RULES.get(scheme) or _RULES.get(family)
    return f"{scheme}://{_other(parts)}" if rule is None else f"{scheme if rule is _otlp else family}://{rule(parts)}"


def _postgresql(url: _Url) -> str:
    """Hosts, database and schema, as libpq finds them."""
    hosts = (url.host or url.said("host", "PGHOST") or url.said("hostaddr")).lower().split(",")
    ports = (url.said("port", "PGPORT") or "5432").split(",")
    named = [_with_port(host, ports[min(at, len(ports) - 1)]) for at, host in enumerate(hosts)]
    user = url.user or url.said("user", "PGUSER")
    database = url.path or url.said("dbname", "PGDATABASE") or user  # libpq's own default
    schemas = [url.said("schema"), *re.findall(r"search_path\W+(\S+)", url.said("options"))]
    return "/".join(filter(None, (",".join(sorted(named)), url.said("service"), database, *schemas)))


def _dynamodb(url: _Url) -> str:
    """Region and table, and the endpoint where it is not Amazon's own."""
    region = url.said("region", "AWS_REGION", "AWS_DEFAULT_REGION") or url.said("profile", "AWS_PROFILE")
    return "/".join(filter(None, (_endpoint(url, "DYNAMODB"), region, unquote(url.host))))


def _kinesis(url: _Url) -> str:
    """Region and stream, and the endpoint where it is not Amazon's own."""
    region = url.said("region", "AWS_REGION", "AWS_DEFAULT_REGION") or url.said("profile", "AWS_PROFILE")
    return "/".join(filter(None, (_endpoint(url, url.scheme.upper()), region, unquote(url.host))))


def _s3(url: _Url) -> str:
    """Bucket and prefix, and the endpoint where it is not Amazon's own: a bucket's name is good for all regions."""
    return "/".join(filter(None, (_endpoint(url, "S3"), unquote(url.host), url.path)))


def _otlp(url: _Url) -> str:
    return "/".join(filter(None, (_with_port(url.host.lower(), _PORTS.get(url.scheme, "")), url.path)))


def _other(url: _Url) -> str:
    options = "&".join(f"{name}={value}" for name, value in sorted(url.options.items()))
    return f"{url.host.lower()}/{url.path}" + (f"?{options}" if options else "")


def _endpoint(url: _Url, service: str) -> str:
    said = url.said("endpoint_url", f"AWS_ENDPOINT_URL_{service}", "AWS_ENDPOINT_URL")
    if not said:
        return ""
    parts = urlsplit(said.lower() if "://" in said else f"http://{said.lower()}")
    return _with_port(parts.netloc.rpartition("@")[2], _PORTS.get(parts.scheme, "")) + parts.path.rstrip("/")


def _with_port(host: str, default: str) -> str:
    return host if _HAS_PORT.search(host) or not default else f"{host}:{default}"


_RULES: Final[Mapping[str, Callable[[_Url], str]]] = {
    "dynamodb": _dynamodb,
    "firehose": _kinesis,
    "kinesis": _kinesis,
    "otlp": _otlp,
    "otlps": _otlp,
    "otlp+http": _otlp,
    "otlp+https": _otlp,
    "postgresql": _postgresql,
    "s3": _s3,
}
