"""SESSION_INTERRUPTED: the event that says which writer went away with steps open, and when it was last seen.

Its id is derived from session, writer and that time, so that everybody who notices the same death writes the same
event. The drain writes it for writers whose folder it finishes, `interruptions` for those nobody heard of any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from otel_agent_journal.delivery.heads import HeadKeeper
from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.mapping.facts import interruption
from otel_agent_journal.projections.head import KILLED, LOST, PROCESSING, SessionHead
from otel_agent_journal.projections.verdict import SILENCE_NS
from otel_agent_journal.spool.folder import SpoolFolder
from otel_agent_journal.spool.home import is_home
from otel_agent_journal.store.protocol import JournalStore, SessionFilter
from otel_agent_journal.store.rules import current_sessions, settle

_TRIES: Final = 3
# A step that is open in a part is so in its session as well: both are told, so that each head is right by itself.
_IN_PROGRESS: Final = SessionFilter(statuses=(PROCESSING,), parts=True)


def interruption_of(head: SessionHead, writer: str, reason: str, alive_ns: int = 0) -> JournalEvent:
    """Return the event for a writer that the head knows. `alive_ns`: when its process was seen alive, if it was."""
    return interruption(head.session_id, writer, max(head.writers.get(writer, head.updated_ns), alive_ns), reason)


def sessions_left_open(store: JournalStore, writer: str) -> Iterator[SessionHead]:
    """Yield the heads of sessions in which this writer has steps open."""
    if store.capabilities.heads and store.capabilities.read:
        heads = list(current_sessions(store, _IN_PROGRESS))
        yield from (head for head in heads if writer in head.open_writers)


def interruptions(
    store: JournalStore,
    spool_root: Path,
    now_ns: int,
    silence_ns: int = SILENCE_NS,
    *,
    is_heard: Callable[[str], bool] = lambda writer: False,
) -> list[JournalEvent]:
    """Write SESSION_INTERRUPTED for writers with open steps that are gone, and return what was written.

    Gone is a writer whose folder in the spool shows it dead with nothing left to deliver (reason killed), or that has
    no folder here and was silent for `silence_ns` (reason lost). One that lives, or whose spool waits to be drained,
    is left alone, and so is one that `is_heard` knows to have been heard of, whatever the clocks say. Idempotent.

    Raises:
        StoreUnreachable: and other errors of the store, some events perhaps written.
    """
    written: list[JournalEvent] = []
    for head in list(current_sessions(store, _IN_PROGRESS)):
        for writer in head.open_writers:
            silent_ns = now_ns - head.writers.get(writer, head.updated_ns)
            reason = _fate(spool_root / writer, silent_ns >= silence_ns and not is_heard(writer))
            if reason is not None:
                written.append(interruption_of(head, writer, reason))
    if written:
        keeper = HeadKeeper(store, _insist)
        keeper.note(written, store.append(written))
        keeper.write()
    settle(store, now_ns - silence_ns)
    return written


def _fate(folder: Path, silent: bool) -> str | None:
    if not folder.is_dir() or not is_home(folder):
        return LOST if silent else None
    spool = SpoolFolder(folder)
    if spool.is_alive() or spool.pending_bytes > 0:
        return None
    if spool.is_closed():
        return LOST if silent else None
    return KILLED


def _insist(call: Callable[[], object]) -> None:
    for _ in range(_TRIES - 1):
        try:
            call()
        except StoreUnreachable:
            continue
        return
    call()
