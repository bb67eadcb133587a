"""Who may send: bearer tokens and certificates. Pure but for the files they are read from."""

from __future__ import annotations

import hmac
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from otel_agent_journal.errors import ConfigError

_SCHEME: Final = b"bearer "


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """Files in PEM: our certificate chain, its key, and the authority of clients' certificates where they need one."""

    certificate: Path
    key: Path
    client_authority: Path | None = None


class Tokens:
    """The bearer tokens that let somebody send; none: everybody may."""

    def __init__(self, tokens: Iterable[str] = ()) -> None:
        self._tokens = tuple(token.encode() for token in tokens)

    def admit(self, authorization: bytes) -> bool:
        """Tell whether an `authorization` header is one of them, in a time that says nothing of the tokens."""
        if not self._tokens:
            return True
        if authorization[: len(_SCHEME)].lower() != _SCHEME:
            return False
        offered = authorization[len(_SCHEME) :].strip()
        matches = [hmac.compare_digest(offered, token) for token in self._tokens]  # all of them, always
        return any(matches)


def is_loopback(host: str) -> bool:
    """Tell whether a host is reached from this machine alone; a name, whether all that it stands for is."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)
    except (OSError, ValueError):  # no such name: whoever listens there says so
        return False


def check_files(tls: Tls) -> None:
    """Find out whether certificates can be used, before anybody serves with them.

    Raises:
        ConfigError: one cannot be; names the file.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authorities = (tls.certificate,) if tls.client_authority is None else (tls.certificate, tls.client_authority)
    for file in (*authorities, tls.key):
        try:
            file.read_bytes()
        except OSError as error:
            raise ConfigError(f"certificate file {file} cannot be read: {error.strerror}") from error
    for file in authorities:
        try:
            context.load_verify_locations(file)
        except OSError as error:
            raise ConfigError(f"{file} holds no certificate in PEM") from error
    try:
        context.load_cert_chain(tls.certificate, tls.key, password="")
    except OSError as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            raise ConfigError(f"key {tls.key} is not the key of certificate {tls.certificate}") from error
        raise ConfigError(f"{tls.key} holds no private key in PEM, or it has a password: take it off") from error


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
