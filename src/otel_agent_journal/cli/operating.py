"""What an operator's commands share: the store of a URL, its administration, asking before anything changes."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import click

from otel_agent_journal.cli.contract import CliError
from otel_agent_journal.cli.invocation import Invocation
from otel_agent_journal.terminal import say

if TYPE_CHECKING:
    from otel_agent_journal.store.protocol import JournalStore, StoreAdmin

_FAILED: Final = 1
_USAGE: Final = 2

yes_option = click.option("--yes", is_flag=True, help="Do not ask; for where nobody can answer.")


def opened(invocation: Invocation, url: str | None, *, create: bool = False) -> JournalStore:
    """Open the store of a URL, else that of --store or the environment; it is closed when the command ends.

    Raises:
        StoreUnreachable: an embedded store is not there, and `create` was not said.
        ConfigError: the URL is malformed, or no installed package answers to it.
    """
    from otel_agent_journal.bootstrap import open_store

    invocation.log()
    invocation.store = url or invocation.store
    store = open_store(invocation.settings(), create=create)
    invocation.resources.callback(store.close)
    return store


def administered(store: JournalStore) -> StoreAdmin:
    """Return a store's administration.

    Raises:
        UnsupportedByStore: it has none.
    """
    from otel_agent_journal.errors import UnsupportedByStore
    from otel_agent_journal.store.protocol import StoreAdmin

    if not isinstance(store, StoreAdmin):
        raise UnsupportedByStore(store.url, "administration")
    return store


def agree(what: str, plan: Iterable[str], *, yes: bool) -> None:
    """Show on stderr what is about to be done, and ask; returns where the answer is yes.

    Raises:
        CliError: it was no, or nobody can be asked.
    """
    for line in (f"{what}:", *(f"  {one}" for one in plan)):
        say(line)
    if yes:
        return
    if not sys.stdin.isatty():
        raise CliError("nothing was changed: there is no terminal to ask on; --yes answers for you", _USAGE)
    if not click.confirm("go on?", default=False, err=True):
        raise CliError("nothing was changed", _FAILED)
