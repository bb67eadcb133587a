"""How a store on AWS is reached: the options that all their URLs have, and how options are read. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Final

import msgspec

from otel_agent_journal.errors import ConfigError
from otel_agent_journal.masking import masked
from otel_agent_journal.store.registry import AWS_CREDENTIALS, options_of, refuse_credentials

OPTIONS: Final = ("region", "endpoint_url", "profile", "timeout", "kms")
TIMEOUT_S: Final = 10.0  # seconds for one answer; a batch of 16 MB takes two of them
_NUMBER: Final = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A store on AWS, and how it is reached. A backend adds what it names there, and its options to `options`.

    `url` may be printed. `timeout_s` bounds one answer of a server. `kms` is the key that table or bucket are encrypted
    with, for policies alone.
    """

    options: ClassVar[Sequence[str]] = OPTIONS

    url: str
    region: str | None = None
    endpoint_url: str | None = None
    profile: str | None = None
    timeout_s: float = TIMEOUT_S
    kms: str | None = None


class Options:
    """The options of a URL, each known and not empty.

    Args:
        url: the whole of it.
        known: the names that there are.
        what: it is the URL of.

    Raises:
        ConfigError: an option is unknown or empty; or, of `number`, none.
    """

    def __init__(self, url: str, known: Sequence[str], what: str = "store") -> None:
        refuse_credentials(url, AWS_CREDENTIALS, what)
        self.url = masked(url)
        self._what = what
        self._given = options_of(url, what)
        for name, value in self._given.items():
            if name not in known:
                raise ConfigError(f"{what} {self.url}: '{name}' is no option; there are {', '.join(known)}")
            if not value:
                raise ConfigError(f"{what} {self.url}: '{name}' is empty; give it a value or leave it out")

    def text(self, name: str) -> str | None:
        """Return an option, None where it is not given."""
        return self._given.get(name)

    def number(self, name: str) -> float | None:
        """Return an option that is a number above 0, None where it is not given."""
        text = self._given.get(name)
        if text is None:
            return None
        if not _NUMBER.fullmatch(text) or float(text) == 0:
            raise ConfigError(f"{self._what} {self.url}: {name} is no number above 0")
        return float(text)

    def reach(self) -> dict[str, Any]:
        """Return the fields that every `Place` has."""
        return {
            "url": self.url,
            "timeout_s": self.number("timeout") or TIMEOUT_S,
            **{name: self.text(name) for name in ("region", "endpoint_url", "profile", "kms")},
        }
