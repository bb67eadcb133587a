"""What the spool's tests share: writers, facts, and what a spool holds."""

from __future__ import annotations

import time
from pathlib import Path
from uuid import uuid4

from otel_agent_journal.mapping.facts import Heartbeat, SessionNoted, StepEnded, StepStarted, encode_fact
from otel_agent_journal.spool.folder import SpoolFolder
from otel_agent_journal.spool.writer import SpoolWriter

BASE_NS = 1_760_000_000_000_000_000


def new_writer(root: Path, **options) -> SpoolWriter:
    return SpoolWriter(root, writer=uuid4().hex, **options)


def die(writer: SpoolWriter) -> None:
    """End a writer as SIGKILL does: the lock goes, nothing is sealed or marked."""
    writer._segments.drop()


def started(number: int, session_id: str = "s1", *, parent: str | None = None, at_ns: int | None = None) -> bytes:
    """A START; without `parent` a root's."""
    at_ns = BASE_NS + number * 1000 if at_ns is None else at_ns
    return encode_fact(StepStarted(session_id, "TOOL", f"tool{number}", f"step{number}", parent, 1, at_ns, None, None))


def ended(number: int, session_id: str = "s1", *, parent: str | None = None) -> bytes:
    begun = BASE_NS + number * 1000
    fact = StepEnded(
        session_id, "TOOL", f"tool{number}", f"step{number}", parent, 1, begun, None, None, begun + 500, "ok"
    )
    return encode_fact(fact)


def noted(number: int, session_id: str = "s1", **details) -> bytes:
    """An event of the session, in order of its number."""
    return encode_fact(
        SessionNoted(session_id, f"{number:032x}", "NOTED", "INFO", BASE_NS + number, details={"n": number, **details})
    )


def heartbeat(at_ns: int, *sessions: str) -> bytes:
    return encode_fact(Heartbeat(at_ns, sessions))


def everything(folder: Path, max_bytes: int = 1024 * 1024) -> list[bytes]:
    """All that a fresh reader finds, in order."""
    reader = SpoolFolder(folder)
    found: list[bytes] = []
    while records := reader.read(max_bytes):
        found += [payload for _, payload in records]
    reader.close()
    return found


def eventually(holds, timeout_s: float = 60.0) -> None:
    """Wait until `holds()`; fail where that never comes."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "did not come about in time"
        time.sleep(0.005)
