"""Sessions as their profiles want them: their steps, with how long was waited before what was tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from otel_agent_journal.event import WARNING, JournalEvent
from otel_agent_journal.projections.outline import outline
from otel_agent_journal.projections.profile import BACKOFF
from otel_agent_journal.projections.steps import StepTree, fold_steps
from otel_agent_journal.store.linked import read_whole

if TYPE_CHECKING:
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.reading.journal import Journal


def timed_tree(journal: Journal, head: SessionHead) -> StepTree:
    """Return a session's step tree as `Journal.tree` has it, its warnings with the waits that they tell of."""
    events = read_whole(journal.store, head.session_id, head=head)
    return fold_steps(map(_timed, events), lost_writers=journal.silent(head))


def _timed(event: JournalEvent) -> JournalEvent:
    shown = outline(event)
    if event.type == WARNING and BACKOFF in event.details:
        return msgspec.structs.replace(shown, details={BACKOFF: event.details[BACKOFF]})
    return shown
