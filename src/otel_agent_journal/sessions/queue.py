"""The lines of a store: documents that are replaced only by who has seen the one before, so that one process wins.

A run starts once, however many servers look at it, however often it is asked for: who starts it first writes a document
of the run's id into the session, and that stays as long as the session does.
"""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Iterator
from typing import Any, Final

import msgspec

from otel_agent_journal.context.pieces import NOTHING, Pieces
from otel_agent_journal.errors import StoreError, UnsupportedByStore
from otel_agent_journal.event import derived_id
from otel_agent_journal.projections.head import CANCELLED, INTERRUPTED
from otel_agent_journal.sessions.runs import (
    CLAIMED,
    ENDED,
    QUEUED,
    STARTED,
    Change,
    Line,
    Run,
    decode_line,
    encode_line,
)
from otel_agent_journal.store.protocol import Document, DocumentStore, JournalStore, of_session

LINES: Final = "sessions/lines"
INPUTS: Final = "sessions/inputs"
KEYS: Final = "sessions/keys"
MARK: Final = "sessions/run/"  # in a session's own scope: who started a run; nothing of one that has ended
LAST: Final = "sessions/last"  # and the agent that ran in it last
INLINE_BYTES: Final = 16 * 1024  # an input over this lies beside its line
KEPT_KEYS_NS: Final = 24 * 3600 * 1_000_000_000
CLAIM_NS: Final = 30 * 1_000_000_000  # for a process to come up
_TRIES: Final = 200
_PAUSE_S: Final = 0.005


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """What stands behind an Idempotency-Key: the digest of the body, and the answer. `done`: the answer was durable."""

    digest: str
    session_id: str
    run: str
    at_ns: int
    done: bool = False


class Lines:
    """The lines of one store. As thread-safe as the store is.

    Raises:
        UnsupportedByStore: it keeps no documents, or cannot be read.
    """

    def __init__(self, store: JournalStore) -> None:
        if not (store.capabilities.documents and store.capabilities.read and isinstance(store, DocumentStore)):
            raise UnsupportedByStore(store.url, "documents")
        self._store: DocumentStore = store
        self._inputs = Pieces(store, INPUTS)

    def get(self, session_id: str) -> Line | None:
        """Return a session's line, or None where nothing is asked of it."""
        known = self._store.get_document(LINES, _name(session_id))
        return None if known is None else decode_line(known.data)

    def all(self) -> Iterator[Line]:
        """Yield the line of every session that something is asked of."""
        for document in self._store.documents(LINES):
            yield decode_line(document.data)

    def change(self, session_id: str, change: Change) -> Line | None:
        """Replace a session's line by what `change` makes of it, called again where another was first; return that.

        An empty line goes. What `change` raises passes: then nothing was written.
        """
        name = _name(session_id)
        for _ in range(_TRIES):
            known = self._store.get_document(LINES, name)
            before = None if known is None else decode_line(known.data)
            after = change(before)
            if after == before:
                return after
            if after is None or not after.runs:
                if known is None or self._store.delete_document(LINES, name, known.version):
                    return None
            else:
                version = 0 if known is None else known.version
                written = Document(scope=LINES, name=name, data=encode_line(after), version=version)
                if self._store.put_document(written) is not None:
                    return after
            time.sleep(random.uniform(0, _PAUSE_S))  # noqa: S311 - others are at it, too
        raise StoreError(f"session {session_id}: others were first {_TRIES} times; nothing was changed: try again")

    # --- from asked for to ended ----------------------------------------------------------------------------------

    def keep_input(self, run: str, text: str) -> str | None:
        """Return an input as it goes into a line: itself, or None once it lies beside."""
        if len(text) <= INLINE_BYTES:
            return text
        self._inputs.write(run, {}, text.encode(), NOTHING)
        return None

    def input_of(self, run: Run) -> str:
        """Return a run's input as JSON text; null where it is gone."""
        if run.input is not None:
            return run.input
        found = self._inputs.read(run.run)
        return "null" if found is None else found[1].decode()

    def claim(self, session_id: str, run_id: str, claim: str, now_ns: int) -> Run | None:
        """Take it upon oneself to start a run; return it, or None where somebody else has, or it is not its turn."""

        def claimed(line: Line | None) -> Line | None:
            run = None if line is None or not line.active else line.active[0]
            free = run is not None and (run.state == QUEUED or (run.state == CLAIMED and run.until_ns < now_ns))
            if line is None or run is None or run.run != run_id or not free:
                return line
            return line.changed(run_id, state=CLAIMED, claim=claim, until_ns=now_ns + CLAIM_NS)

        line = self.change(session_id, claimed)
        run = None if line is None else line.find(run_id)
        return run if run is not None and run.state == CLAIMED and run.claim == claim else None

    def start(self, session_id: str, run_id: str, claim: str | None, **me: Any) -> Run | None:
        """Start a run as this process; return it, or None where it may not be started, or was started before.

        Args:
            session_id: its session.
            run_id: the run.
            claim: under which it was claimed; None where no claim is needed.
            me: `host`, `pid` and `process` of who runs it, and `seen_ns`.
        """
        line = self.get(session_id)
        run = None if line is None else line.find(run_id)
        if line is None or run is None or run.state not in (QUEUED, CLAIMED) or line.active[0].run != run_id:
            return None
        if claim is not None and run.claim != claim:
            return None
        scope = of_session(session_id)
        told = msgspec.json.encode(me)
        if self._store.put_document(Document(scope=scope, name=f"{MARK}{run_id}", data=told)) is None:
            self._started_before(session_id, run_id)
            return None
        self._remember(scope, run.agent)

        def started(line: Line | None) -> Line | None:
            run = None if line is None else line.find(run_id)
            if line is None or run is None or run.state not in (QUEUED, CLAIMED):
                return line
            return line.changed(run_id, state=STARTED, until_ns=0, **me)

        line = self.change(session_id, started)
        run = None if line is None else line.find(run_id)
        return run if run is not None and run.state == STARTED else None  # else it was cancelled meanwhile

    def cancel(self, session_id: str, run_ids: Collection[str]) -> list[Run]:
        """Ask runs to stop; those that have not begun are done with. Return them, as they were but for that."""
        asked: list[Run] = []

        def cancelled(line: Line | None) -> Line | None:
            asked.clear()
            for run in () if line is None else line.active:
                if line is None or run.run not in run_ids:
                    continue
                if run.state == STARTED:
                    line = line.changed(run.run, cancel=True)
                elif run.webhook is None and run.task_token is None:
                    line = line.without(run.run)
                else:
                    line = line.changed(run.run, state=ENDED, status=INTERRUPTED, reason=CANCELLED, until_ns=0)
                asked.append(run)
            return line

        self.change(session_id, cancelled)
        return asked

    def seen(self, session_id: str, run_id: str, now_ns: int) -> Run | None:
        """Say that a run's process is alive; return the run as it is asked for now."""
        line = self.change(session_id, lambda line: line and line.changed(run_id, seen_ns=now_ns))
        return None if line is None else line.find(run_id)

    def end(self, session_id: str, run_id: str, status: str, reason: str | None) -> Run | None:
        """Say that a run has ended; return it where somebody is still to be told, else it goes."""
        line = self.get(session_id)
        run = None if line is None else line.find(run_id)
        if run is None:
            return None
        self._mark_ended(session_id, run_id)
        if run.webhook is None and run.task_token is None:
            self.remove(session_id, run)
            return None
        line = self.change(
            session_id,
            lambda line: line and line.changed(run_id, state=ENDED, status=status, reason=reason, until_ns=0),
        )
        return None if line is None else line.find(run_id)

    def remove(self, session_id: str, run: Run) -> None:
        """Have done with a run."""
        self.change(session_id, lambda line: line and line.without(run.run))
        known = self._inputs.head(run.run) if run.input is None else None
        if known is not None:
            self._inputs.delete(run.run, known)

    def take_notice(self, session_id: str, run_id: str, now_ns: int, wait_ns: int) -> Run | None:
        """Take it upon oneself to tell who asked for a run; None where somebody else does, or it is not time yet."""
        taken: list[Run] = []

        def take(line: Line | None) -> Line | None:
            taken.clear()
            run = None if line is None else line.find(run_id)
            if line is None or run is None or run.state != ENDED or run.until_ns > now_ns:
                return line
            taken.append(msgspec.structs.replace(run, until_ns=now_ns + wait_ns, tries=run.tries + 1))
            return line.with_run(taken[0])

        self.change(session_id, take)
        return taken[0] if taken else None

    def told_webhook(self, session_id: str, run_id: str) -> None:
        """Say that a run's webhook was told, and that somebody else is still to be."""
        self.change(session_id, lambda line: line and line.changed(run_id, webhook=None, tries=0, until_ns=0))

    def _started_before(self, session_id: str, run_id: str) -> None:
        """Say in the line what is known of a run that was started before, or take it out where it has ended.

        It may be in the line once more, asked for by a caller that was slow; or who started it died right then.
        """
        known = self._store.get_document(of_session(session_id), f"{MARK}{run_id}")
        me: dict[str, Any] = {} if known is None else msgspec.json.decode(known.data)

        def said(line: Line | None) -> Line | None:
            run = None if line is None else line.find(run_id)
            if line is None or run is None or run.state not in (QUEUED, CLAIMED):
                return line
            return line.without(run_id) if not me else line.changed(run_id, state=STARTED, until_ns=0, **me)

        self.change(session_id, said)

    def _mark_ended(self, session_id: str, run_id: str) -> None:
        known = self._store.get_document(of_session(session_id), f"{MARK}{run_id}")
        if known is None or known.data != b"{}":  # one that was given up before it began has none
            version = 0 if known is None else known.version
            name = f"{MARK}{run_id}"
            self._store.put_document(Document(scope=of_session(session_id), name=name, data=b"{}", version=version))

    def _remember(self, scope: str, agent: str) -> None:
        known = self._store.get_document(scope, LAST)
        if known is None or known.data != agent.encode():
            version = 0 if known is None else known.version
            self._store.put_document(Document(scope=scope, name=LAST, data=agent.encode(), version=version))

    def last_agent(self, session_id: str) -> str | None:
        """Return the agent that was asked for in a session last, or None."""
        line = self.get(session_id)
        if line is not None and line.runs:
            return line.runs[-1].agent
        known = self._store.get_document(of_session(session_id), LAST)
        return None if known is None else known.data.decode()

    # --- keys ------------------------------------------------------------------------------------------------------

    def key(self, key: str, first: Key) -> Key:
        """Return what stands behind an Idempotency-Key: `first`, where nothing does yet."""
        name = derived_id(key)
        for _ in range(_TRIES):
            known = self._store.get_document(KEYS, name)
            if known is not None:
                return msgspec.json.decode(known.data, type=Key)
            if self._store.put_document(Document(scope=KEYS, name=name, data=msgspec.json.encode(first))) is not None:
                return first
        raise StoreError(f"the Idempotency-Key {key} could not be kept; nothing was submitted: try again")

    def key_done(self, key: str, kept: Key) -> None:
        """Say that the answer behind a key is durable."""
        known = self._store.get_document(KEYS, derived_id(key))
        if known is not None:
            data = msgspec.json.encode(msgspec.structs.replace(kept, done=True))
            self._store.put_document(msgspec.structs.replace(known, data=data))

    def forget_keys(self, before_ns: int) -> int:
        """Forget keys that are older; return how many."""
        old = [one for one in self._store.documents(KEYS) if msgspec.json.decode(one.data, type=Key).at_ns < before_ns]
        return sum(self._store.delete_document(KEYS, one.name, one.version) for one in old)


def _name(session_id: str) -> str:
    return derived_id(f"line:{session_id}")
