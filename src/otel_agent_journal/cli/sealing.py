"""What the commands that seal share: which key signs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from otel_agent_journal.cli.contract import CliError

if TYPE_CHECKING:
    from otel_agent_journal.seals.keys import Signer
    from otel_agent_journal.store.protocol import JournalStore

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])
_USAGE: Final = 2
SEAL_KEY: Final = "AGENT_JOURNAL_SEAL_KEY"


def key_option(function: _Decorated) -> _Decorated:
    """Add --key, which signs."""
    help_text = "The secret key: a file of `seal keygen`, or kms:ARN. [env: AGENT_JOURNAL_SEAL_KEY]"
    return click.option("--key", metavar="KEY", help=help_text)(function)


def seal_key_option(function: _Decorated) -> _Decorated:
    """Add --seal-key, which a deletion of sealed sessions is recorded by."""
    help_text = "The key that seals here, so that the log says what was deleted. [env: AGENT_JOURNAL_SEAL_KEY]"
    return click.option("--seal-key", metavar="KEY", help=help_text)(function)


def recorder_of(store: JournalStore, key: str | None) -> Callable[[Sequence[str], str], object] | None:
    """Return what records in the log of seals which sessions go, and why; None where nothing here was ever sealed.

    Raises:
        CliError: something was, and no key is named: what went unrecorded would look like a theft.
    """
    from otel_agent_journal.seals.retention import has_seals, record_deletions

    if not has_seals(store):
        return None
    if not (key or os.environ.get(SEAL_KEY)):
        raise CliError(
            "sessions here are sealed, so a deletion is recorded first; nothing was deleted: give --seal-key KEY",
            _USAGE,
        )
    signer = signer_of(key)
    return lambda sessions, why: record_deletions(store, sessions, why, signer, time.time_ns)


def signer_of(key: str | None) -> Signer:
    """Return what signs with the key that was given, or that the environment names.

    Raises:
        CliError: none is named.
        ConfigError: it is no key.
    """
    from otel_agent_journal.seals.keys import open_signer

    named = key or os.environ.get(SEAL_KEY)
    if not named:
        raise CliError(f"no key: give --key FILE or set {SEAL_KEY}; agent-journal seal keygen FILE makes one", _USAGE)
    return open_signer(named)
