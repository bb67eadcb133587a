"""Keys that seal: in a file, or at a service that keeps them; and those that a reader trusts, by file or by text.

A public key is never taken from the store: whoever can write there could put his own. A service is found by the scheme
in front of its name, `kms:ARN`, an entry point of the group `otel_agent_journal.signers`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final, Protocol

from otel_agent_journal.errors import ConfigError, MissingExtra
from otel_agent_journal.seals.notes import (
    BadNote,
    PublicKey,
    SecretKey,
    is_name,
    read_public_key,
    read_secret_key,
    written,
)

GROUP: Final = "otel_agent_journal.signers"
EXPORTERS: Final = {"kms": "otel-agent-journal[aws]"}
_EXTRA: Final = "otel-agent-journal[seal]"
_MAX_FILE: Final = 64 * 1024


class Signer(Protocol):
    """Signs with one key. Thread-safe."""

    @property
    def public(self) -> PublicKey:
        """The key that its signatures are checked with."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Return the signature of bytes. Raises JournalError."""
        ...


class FileSigner:
    """Signs with a secret key that is at hand."""

    def __init__(self, secret: SecretKey) -> None:
        self._private = _ed25519().Ed25519PrivateKey.from_private_bytes(secret.seed)
        self.public = PublicKey(secret.name, self._private.public_key().public_bytes_raw())

    def sign(self, data: bytes) -> bytes:
        """Return the signature of bytes."""
        return self._private.sign(data)


def check(key: bytes, signature: bytes, data: bytes) -> bool:
    """Tell whether a signature of Ed25519 is this key's, of these bytes.

    Raises:
        MissingExtra: `cryptography` is not installed.
    """
    from importlib import import_module

    public = _ed25519().Ed25519PublicKey.from_public_bytes(key)
    invalid = import_module("cryptography.exceptions").InvalidSignature
    try:
        public.verify(signature, data)
    except invalid:
        return False
    return True


def make_key(path: Path, name: str) -> PublicKey:
    """Write a new secret key into a file for its owner alone, and return the public one.

    Raises:
        ConfigError: the name parts a line, or the file is there already.
    """
    if not is_name(name):
        raise ConfigError(f"'{name}' cannot be the name of a key: no spaces, no plus sign, nothing that is not printed")
    secret = SecretKey(name, os.urandom(32))
    public = FileSigner(secret).public
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise ConfigError(
            f"{path} is there already, and may be a key; nothing was written: give another file"
        ) from error
    with os.fdopen(descriptor, "w") as file:
        file.write(written(secret, public) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return public


def open_signer(where: str) -> Signer:
    """Return what signs with the key of a file, or of a service, as `kms:ARN`.

    Raises:
        ConfigError: it is no key, or nobody knows the service.
        MissingExtra: what it needs is not installed.
    """
    scheme, colon, name = where.partition(":")
    if colon and (scheme in EXPORTERS or scheme in {one.name for one in entry_points(group=GROUP)}):
        for entry in entry_points(group=GROUP, name=scheme):
            return entry.load()(name)
        raise MissingExtra(f"the signer {scheme}", EXPORTERS[scheme])
    text = _read(where)
    try:
        secret = read_secret_key(text)
    except BadNote as error:
        raise ConfigError(
            f"{where} is no secret key: {error}; make one: agent-journal seal keygen FILE, or give kms:ARN"
        ) from error
    return FileSigner(secret)


def public_keys(given: Iterable[str]) -> list[PublicKey]:
    """Return the keys that are trusted: each given as text, or as a file with a key a line.

    Raises:
        ConfigError: one is neither.
    """
    found: list[PublicKey] = []
    for one in given:
        lines = [one] if not Path(one).exists() and one.count("+") >= 2 else _read(one).splitlines()
        try:
            found += [read_public_key(line) for line in lines if line.strip() and not line.startswith("#")]
        except BadNote as error:
            what = "a secret key; give the public one" if "PRIVATE+KEY" in "".join(lines) else f"no public key: {error}"
            raise ConfigError(f"--key {one if 'PRIVATE' not in one else '***'} is {what}") from error
    if not found:
        raise ConfigError("there is no public key to check with; give --key FILE: what `seal keygen` had printed")
    return found


def _read(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(_MAX_FILE).decode("utf-8", "replace")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"key {path if 'PRIVATE' not in path else '***'} cannot be read: {why}") from error


def _ed25519() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ModuleNotFoundError as error:
        raise MissingExtra("cryptography, which signs and checks seals,", _EXTRA) from error
    return ed25519
