"""A watcher of alerts, as the settings say: the file of rules, its receivers, the journal."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otel_agent_journal.alerts.rules import Rules
    from otel_agent_journal.alerts.watch import Change, Watch
    from otel_agent_journal.config import Settings
    from otel_agent_journal.reading.journal import Journal


def open_rules(settings: Settings, given: str | None = None) -> Rules:
    """Return the rules of the file that was named, by an option or AGENT_JOURNAL_ALERTS, or else is found.

    Raises:
        ConfigError: there is none, or it is malformed.
    """
    from otel_agent_journal.alerts.file import found_rules, read_rules

    return read_rules(found_rules(given or settings.alerts, Path.cwd()))


def open_watch(
    rules: Rules,
    journal: Journal,
    *,
    told: Callable[[Change], object] = lambda change: None,
    note: Callable[[str], object] = lambda line: None,
) -> Watch:
    """Return what watches a journal, its receivers opened; it sends nothing yet.

    Args:
        rules: what is looked for, and who is told.
        journal: what is watched; it stays the caller's.
        told: called with each change.
        note: takes a line that the operator should see.

    Raises:
        ConfigError: a receiver is malformed, or a secret is not where it says.
        MissingExtra: a receiver's distribution is not installed.
        UnsupportedByStore: the store keeps no documents.
    """
    from otel_agent_journal.alerts.receivers import open_receivers
    from otel_agent_journal.alerts.watch import Watch

    return Watch(journal, rules, open_receivers(rules, os.environ), told=told, note=note)
