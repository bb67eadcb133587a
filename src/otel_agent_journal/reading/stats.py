"""Statistics over sessions: many are read side by side, and one after the other is forgotten."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final

from otel_agent_journal.projections.stats import Stats, measured, within
from otel_agent_journal.projections.steps import StepTree
from otel_agent_journal.store.protocol import SessionFilter

if TYPE_CHECKING:
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.reading.journal import Journal

USER: Final = "user"  # the label of a session that says whose it is


def stats_of(
    journal: Journal,
    by: str,
    *,
    agent: str | None = None,
    tags: Collection[str] = (),
    since_ns: int | None = None,
    until_ns: int | None = None,
    moved: Callable[[], object] = lambda: None,
) -> Stats:
    """Return what sessions amount to.

    Args:
        journal: what is read.
        by: what to group by, one of `projections.stats.BY`.
        agent: only sessions of this agent.
        tags: what each session must have: see `About.has`.
        since_ns: only calls that began by then, UTC.
        until_ns: only those that had begun by then.
        moved: called for every session that was read.
    """
    heads = (
        head
        for head in journal.heads(SessionFilter(agent=agent, since_ns=since_ns), tags)
        if until_ns is None or head.started_ns <= until_ns
    )
    stats, wanted = Stats(), within(since_ns, until_ns)

    def read(head: SessionHead) -> tuple[SessionHead, StepTree]:
        return head, journal.tree(head)

    for head, tree in journal.each(read, heads):
        for one in measured(tree, by, journal.price, user=head.about.labels.get(USER), wanted=wanted):
            stats.add(one)
        moved()
    return stats
