"""A rule judged: what it finds in the journal at a moment, whatever its kind. Writes and sends nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from otel_agent_journal.alerts import rules as of
from otel_agent_journal.alerts.calls import Calls
from otel_agent_journal.alerts.groups import dear, failing, slow
from otel_agent_journal.alerts.rules import Rule
from otel_agent_journal.alerts.sessions import looping, stuck
from otel_agent_journal.alerts.sql import rows
from otel_agent_journal.alerts.state import Found
from otel_agent_journal.alerts.summary import one_line, summed_up
from otel_agent_journal.alerts.unjudged import Unjudged
from otel_agent_journal.errors import JournalError, StoreUnreachable
from otel_agent_journal.reading.journal import Journal

MAX_FOUND: Final = 200  # alerts of one rule; of more nobody can make anything


class Judge:
    """Judges the rules of one journal, and remembers of its sessions what does not change. Not thread-safe."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._calls = Calls(journal)

    def found(self, rule: Rule, now_ns: int) -> list[Found]:
        """Return what a rule finds, labels each once.

        Raises:
            Unjudged: the rule cannot be judged as it stands: whether its alerts hold is not known.
            StoreUnreachable: the store cannot be read now.
        """
        try:
            found = self._find(rule, now_ns)
            said = [_said(rule, one) for one in found]
        except (Unjudged, StoreUnreachable):
            raise
        except JournalError as error:
            raise Unjudged(str(error)) from error
        distinct = {tuple(sorted(one.labels.items())): one for one in reversed(said)}
        if len(distinct) > MAX_FOUND:
            raise Unjudged(f"it finds {len(distinct):,} at once, more than {MAX_FOUND}; group it, or narrow it")
        return list(distinct.values())[::-1]

    def _find(self, rule: Rule, now_ns: int) -> list[Found]:
        if rule.kind == of.SQL:
            return rows(self._journal, rule, now_ns)
        if rule.kind in _OF_SESSIONS:
            return _OF_SESSIONS[rule.kind](self._journal, rule, now_ns)
        return _OF_GROUPS[rule.kind](self._calls, rule, now_ns)


_OF_SESSIONS: Final[dict[str, Callable[[Journal, Rule, int], list[Found]]]] = {of.STUCK: stuck, of.LOOP: looping}
_OF_GROUPS: Final[dict[str, Callable[[Calls, Rule, int], list[Found]]]] = {
    of.SPEND: dear,
    of.ERROR_RATE: failing,
    of.SLOW: slow,
}


def _said(rule: Rule, found: Found) -> Found:
    """Return what was found with the rule's own sentence for it."""
    if rule.summary is None:
        return msgspec.structs.replace(found, summary=one_line(found.summary))
    row = {**found.values, **found.labels}
    try:
        return msgspec.structs.replace(found, summary=summed_up(rule.summary, row))
    except ValueError as error:
        raise Unjudged(str(error)) from error
