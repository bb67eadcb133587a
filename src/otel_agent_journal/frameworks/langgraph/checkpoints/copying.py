"""Threads that go on from others: a fork, in a session of its own, that copies nothing."""

from __future__ import annotations

import time

from otel_agent_journal.frameworks.langgraph.checkpoints.threads import Threads, agent_of
from otel_agent_journal.store import lineage


def copy_thread(threads: Threads, source: str, target: str) -> None:
    """Make a thread begin with all events of another. Of one that is not there nothing is made.

    Raises:
        StoreError: there is a thread of the new id already, and no such fork.
    """
    store, instance = threads.store, threads.instance_of(source)
    with threads.use(source):
        tip = store.context_tip(instance)
        if tip is None:
            return
        threads.note(target)
        new = threads.instance_of(target)
        session_id = target if target != tip.session_id else f"{target}~{new[:8]}"
        lineage.fork(store, instance, tip.next_seq, new, session_id, now_ns=time.time_ns(), agent=agent_of(target))
