"""Tries again what a spool has set aside: `agent-journal drain --set-aside`.

A file goes when all that is in it is in the store; what is refused again stays as it is. Broken off, or run twice at
once, it loses nothing and stores nothing twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from otel_agent_journal.delivery.batches import Delivery, RefusesAll
from otel_agent_journal.delivery.heads import HeadKeeper
from otel_agent_journal.delivery.patience import Patience
from otel_agent_journal.delivery.reception import Reception
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.spool.set_aside import Kept, count, kept
from otel_agent_journal.store.protocol import JournalStore
from otel_agent_journal.uninstrumented import uninstrumented


class Redelivered(msgspec.Struct, frozen=True, kw_only=True):
    """What became of what was set aside. `left`: still there, `last_error`: why, of the last one."""

    delivered: int = 0
    left: int = 0
    last_error: str | None = None


class _Refused:
    """Notes that something was refused again: its file is there."""

    def __init__(self) -> None:
        self.why: str | None = None

    def add_event(self, event: JournalEvent, why: str, now_ns: int) -> bool:
        self.why = why
        return False

    def add_record(self, payload: bytes, writer: str, why: str, now_ns: int) -> bool:
        self.why = why
        return False


@uninstrumented()
def redeliver(
    root: Path,
    store: JournalStore,
    *,
    reception: Callable[[], Reception],
    patience_s: float = 10.0,
    progress: Callable[[int, int], object] = lambda _done, _total: None,
) -> Redelivered:
    """Deliver what a spool has set aside, each by itself, and return what became of it.

    Args:
        root: the spool.
        store: where it goes.
        reception: makes what reads received OTLP.
        patience_s: how long a store that cannot be reached is waited for.
        progress: called with how many were tried, and of how many.

    Raises:
        StoreUnreachable: the store cannot be reached; what was not delivered stays.
        OSError: a file that was delivered cannot be removed.
    """
    shelf, patience = _Refused(), Patience()
    delivery = Delivery(store, shelf, patience, time.time_ns, reception=reception)
    heads = HeadKeeper(store, delivery.insist)
    delivery.appended = heads.note
    delivered, last_error, total = 0, None, count(root)
    for tried, (path, item) in enumerate(kept(root)):
        progress(tried, total)
        patience.until(time.monotonic() + patience_s)
        shelf.why = None if item is not None else f"{path.name} cannot be read"
        if item is not None:
            try:
                _deliver(delivery, item)
                heads.write()
            except RefusesAll as error:
                shelf.why = str(error)
        if shelf.why is None:
            path.unlink(missing_ok=True)
            delivered += 1
        else:
            last_error = shelf.why
    progress(total, total)
    return Redelivered(delivered=delivered, left=count(root), last_error=last_error)


def _deliver(delivery: Delivery, item: Kept) -> None:
    if item.event is not None:
        delivery.append([item.event])
    else:
        delivery.deliver(delivery.decode([item.record], item.writer), item.writer)
