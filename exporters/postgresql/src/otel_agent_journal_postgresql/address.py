"""A store's URL taken apart: our own options, and what libpq connects by. Pure.

Passwords stay in what libpq gets: no message is made of a URL but through `masked`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

from otel_agent_journal.errors import ConfigError
from otel_agent_journal.masking import masked

_HOST_WITH_OPTIONS: Final = re.compile(r"[^:?#@/]*(:\d+)?[/?#].*[?#&;][^=&;?#@/]*=|[^:?#@/]*(:\d+)?[?#][^=&;?#@/]*=")
TIMEOUT_S: Final = 30.0  # for one statement; the drain retries what did not come to an end
# What libpq would wait for without a bound: a host that does not answer, a network that swallows packets.
PATIENCE: Final[dict[str, Any]] = {
    "connect_timeout": "5",
    "tcp_user_timeout": "15000",
    "keepalives_idle": "30",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "fallback_application_name": "otel-agent-journal",
}
_OURS: Final = ("schema", "timeout")
_SCHEMES: Final = ("postgresql", "postgresql+psycopg")
_MAX_NAME_BYTES: Final = 63  # NAMEDATALEN: PostgreSQL cuts longer names silently


@dataclass(frozen=True)
class Address:
    """Where a journal is. `url` is safe to print, `connection` is not."""

    url: str
    connection: dict[str, Any] = field(repr=False)
    schema: str | None = None
    timeout_s: float = TIMEOUT_S

    @property
    def database(self) -> str:
        """The database's name, as messages call it."""
        return str(self.connection.get("dbname") or "of the user's name")

    def scrubbed(self, text: str) -> str:
        """Return a text of libpq's without the password."""
        password = self.connection.get("password")
        return text.replace(password, "***") if password else text


def address_of(url: str) -> Address:
    """Take a URL apart: `postgresql://user:password@host:port/database?option=value`.

    Options of our own are `schema` and `timeout` (seconds a statement); all others go to libpq as they are.

    Raises:
        ConfigError: the URL is malformed, or an option is not known.
    """
    place, _, query = url.partition("?")
    scheme, _, rest = place.partition("://")
    if scheme.lower() not in _SCHEMES:
        raise ConfigError(f"store {masked(url)}: the form is postgresql://user:***@host:5432/database")
    options = parse_qsl(query, keep_blank_values=True)
    ours = {name: value for name, value in options if name in _OURS}
    theirs = urlencode([(name, value) for name, value in options if name not in _OURS], quote_via=quote)
    return Address(
        url=masked(url),
        connection=PATIENCE | _connection(url, f"postgresql://{rest}" + (f"?{theirs}" if theirs else "")),
        schema=_schema(url, ours.get("schema")),
        timeout_s=_timeout(url, ours.get("timeout")),
    )


def _connection(url: str, conninfo: str) -> dict[str, Any]:
    authority = conninfo.removeprefix("postgresql://").partition("?")[0]
    user, _, _ = authority.rpartition("@")
    # libpq would take the rest of the password for a host and name it in its messages; `masked` would not find it.
    if "/" in user or "@" in user or "#" in authority:
        raise _unescaped(url)
    try:
        found: dict[str, Any] = dict(conninfo_to_dict(conninfo))
    except psycopg.Error as error:
        if "@" in url.partition("?")[2]:  # what libpq takes for an option may be a password
            raise _unescaped(url) from None
        unknown = str(error).startswith("invalid URI query parameter")
        why = "it has an option that libpq does not know" if unknown else "libpq cannot read it"
        raise ConfigError(f"store {masked(url)}: {why}; see the README of otel-agent-journal-postgresql") from None
    ports = [part for part in str(found.get("port", "")).split(",") if part]
    if not all(port.isascii() and port.isdigit() and 0 < int(port) < 2**16 for port in ports):
        raise ConfigError(f"store {masked(url)}: the port is a number from 1 to 65535")
    return found


def _unescaped(url: str) -> ConfigError:
    """Return the error of a URL that may have a password anywhere before its last `@`."""
    login, _, place = url.partition("://")[2].rpartition("@")
    shown = "postgresql://***"
    if not _HOST_WITH_OPTIONS.match(login):  # else what follows the last @ may be the end of an option's value
        shown = masked(f"{shown}@{place}")
    return ConfigError(f"store {shown}: '/', '?', '#' and '@' in a user or password are written %2F, %3F, %23 and %40")


def _schema(url: str, schema: str | None) -> str | None:
    if schema is None:
        return None
    if not schema or "\0" in schema or len(schema.encode()) > _MAX_NAME_BYTES:
        raise ConfigError(f"store {masked(url)}: schema is no name of 1 to {_MAX_NAME_BYTES} bytes")
    return schema


def _timeout(url: str, text: str | None) -> float:
    if text is None:
        return TIMEOUT_S
    if not text.isascii() or not text.replace(".", "", 1).isdecimal() or not float(text):
        raise ConfigError(f"store {masked(url)}: timeout is no number of seconds above 0")
    return float(text)
