"""Sessions to seal, with all that events can hold, and stores that were tampered with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Any

import msgspec

from otel_agent_journal.codec import DIGEST_BYTES, sealed
from otel_agent_journal.event import ErrorInfo, JournalEvent, Usage
from otel_agent_journal.seals.keys import FileSigner, Signer
from otel_agent_journal.seals.log import Log
from otel_agent_journal.seals.notes import PublicKey, SecretKey
from otel_agent_journal.seals.sealing import Made, Sealer
from otel_agent_journal.seals.verifying import Anchored, Finding, Verdict, read_log, verify_session
from otel_agent_journal.store.protocol import Blob, BlobStore, JournalStore
from otel_agent_journal.testing.builders import JournalBuilder

NOW_NS = 1_767_225_600_000_000_000
LARGE = b'{"long": "' + b"x" * 500 + b'"}'
DIGEST = blake2b(LARGE, digest_size=DIGEST_BYTES).hexdigest()


def signer(name: str = "ops", number: int = 1) -> FileSigner:
    """Return a key that is the same each time."""
    return FileSigner(SecretKey(name, bytes([number]) * 32))


def a_session(session_id: str = "s") -> JournalBuilder:
    """Return a session with content, an error, usage, and a value that is kept apart."""
    journal = JournalBuilder(session_id)
    root = journal.start("AGENT", "asks", details={"input": {"question": "why is the sky blü?", "n": [1, 2.5, None]}})
    model = journal.start("MODEL", "m", parent=root, details={"messages": [{"role": "user", "content": "why?"}]})
    journal.note(model, "PROGRESS", details={"message": "half", "progress": 0.5})
    journal.end(
        model, usage=Usage(input_tokens=3, output_tokens=4), details={"output": {"$blob": DIGEST, "bytes": 513}}
    )
    tool = journal.start("TOOL", "search", parent=root, details={"input": {"q": "sky"}})
    journal.end(tool, "error", error=ErrorInfo(type="TimeoutError", message="Anna was not at home", code="408"))
    journal.end(root, details={"output": "scattering"})
    return journal


def keep(store: JournalStore, journal: JournalBuilder) -> list[JournalEvent]:
    """Write a session and what it keeps apart; return its events as the store has them."""
    assert isinstance(store, BlobStore)
    store.put_blobs(journal.session_id, {DIGEST: Blob(LARGE)})
    store.append(journal.events)
    return list(store.read(journal.session_id))


def seal(store: JournalStore, *sessions: str, by: Signer | None = None) -> list[Made]:
    """Seal sessions; return what was made."""
    return list(Sealer(store, by or signer(), lambda: NOW_NS).seal(sessions))


def late(session_id: str, number: int, at_ns: int) -> JournalEvent:
    """Return an event that comes late, of a time of its own."""
    return sealed(
        JournalEvent(
            session_id=session_id,
            event_id=f"{number:032x}",
            type="PROGRESS",
            timestamp_ns=at_ns,
            details={"message": f"late {number}"},
        )
    )


def verify(
    store: JournalStore, *sessions: str, keys: list[PublicKey] | None = None, anchors: tuple[Anchored, ...] = ()
) -> tuple[list[Finding], list[Verdict]]:
    """Check the log, and sessions: those that are named, or all that the log has."""
    told: list[Finding] = []
    verdicts: list[Verdict] = []
    known = read_log(Log(store), keys or [signer().public], anchors, told.append)
    if known is not None:
        for one in sessions or tuple(known.sealed):
            verdict = verify_session(store, one, known, told.append)
            verdicts += [] if verdict is None else [verdict]
    return told, verdicts


class Tampered:
    """A store in which events are other than they are; all else is the store's."""

    def __init__(self, store: JournalStore, change: Callable[[JournalEvent], JournalEvent | None]) -> None:
        self._store = store
        self._change = change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def read(self, session_id: str, after: tuple[int, str] | None = None) -> Iterator[JournalEvent]:
        """Yield the events as they were tampered with, in their order."""
        found = [changed for one in self._store.read(session_id, after) if (changed := self._change(one)) is not None]
        yield from sorted(found, key=lambda one: (one.timestamp_ns, one.event_id))


def instead(of: JournalEvent, other: JournalEvent | None) -> Callable[[JournalEvent], JournalEvent | None]:
    """Return what puts another event in the place of one, or none."""
    return lambda event: other if event.key == of.key else event


def altered(event: JournalEvent, **changes: Any) -> JournalEvent:
    """Return an event changed, with a digest that fits, as who knows the format would make it."""
    return sealed(msgspec.structs.replace(event, **changes))
