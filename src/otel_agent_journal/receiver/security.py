"""Who may send: bearer tokens and certificates. Pure but for the files they are read from."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from otel_agent_journal.errors import ConfigError

_SCHEME: Final = "bearer "


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """Files in PEM: our certificate chain, its key, and the authority of clients' certificates where they need one."""

    certificate: Path
    key: Path
    client_authority: Path | None = None


class Tokens:
    """The bearer tokens that let somebody send; none: everybody may."""

    def __init__(self, tokens: Iterable[str] = ()) -> None:
        self._tokens = tuple(token.encode() for token in tokens)

    def admit(self, authorization: str | None) -> bool:
        """Tell whether an `authorization` header is one of them, in a time that says nothing of the tokens."""
        if not self._tokens:
            return True
        given = authorization or ""
        if given[: len(_SCHEME)].lower() != _SCHEME:
            return False
        offered = given[len(_SCHEME) :].strip().encode("utf-8", "surrogateescape")
        matches = [hmac.compare_digest(offered, token) for token in self._tokens]  # all of them, always
        return any(matches)


def is_loopback(host: str) -> bool:
    """Tell whether an address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_tokens(file: Path) -> tuple[str, ...]:
    """Return the tokens of a file, one a line; several, so that one can take another's place.

    Raises:
        ConfigError: it cannot be read, or holds none.
    """
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"token file {file} cannot be read: {error}") from error
    tokens = tuple(line for line in lines if line)
    if not tokens:
        raise ConfigError(f"token file {file} holds no token; one is made with: openssl rand -hex 32")
    return tokens
