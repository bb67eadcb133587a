"""The port to every place a journal can live: `JournalStore`; beside it `BlobStore`, `StoreAdmin` and more.

A backend implements these, declares what it can do, and passes `otel_agent_journal.testing.StoreContract` against
its real server. Sync; a store is used from one thread at a time unless `Capabilities.threads` or its class says
otherwise. Knows nothing of spools, spans or projections, but for the head it keeps for listings.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol, runtime_checkable

import msgspec

from otel_agent_journal.codec import JSON
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.head import SessionHead

ROLES: Final = ("writer", "reader", "admin")  # whom `StoreAdmin.iam_policy` knows


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend can do; asking for what it cannot raises `UnsupportedByStore`, never answers empty."""

    read: bool = True
    context: bool = True
    blobs: bool = True
    heads: bool = True
    documents: bool = True
    prune: bool = False
    threads: int = 1  # that may use one store at once and gain by it, each waiting for an answer of its own
    max_event_bytes: int | None = None
    max_context_events: int | None = None  # of one `append_context`
    max_document_bytes: int | None = None


def of_session(session_id: str) -> str:
    """Return the scope of the documents that go with a session."""
    return f"session/{session_id}"


def session_of_scope(scope: str) -> str | None:
    """Return the session whose scope this is, or None."""
    return scope.removeprefix("session/") if scope.startswith("session/") else None


class Page(msgspec.Struct, frozen=True):
    """Events in the order they arrived at the store, and the cursor to go on from."""

    events: tuple[JournalEvent, ...]
    cursor: str


class Arrived(msgspec.Struct, frozen=True):
    """Where events of one session arrived: directly behind `after`, None for its beginning; `cursor` is behind them.

    Both are as `JournalStore.follow` of that session gives them, so that they are compared as they are.
    """

    after: str | None
    cursor: str


class ContextTip(msgspec.Struct, frozen=True):
    """The session that an agent instance is in, and the number that its next context event will have."""

    session_id: str
    next_seq: int


class Blob(msgspec.Struct, frozen=True):
    """A value kept apart, and what it is: JSON text, or bytes of another media type, as an image."""

    data: bytes
    media_type: str = JSON


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A small value that changes. `version` is 0 before it was ever written."""

    scope: str
    name: str
    data: bytes
    version: int = 0


BRIEF: Final = ("session_id", "status", "agent", "updated_ns", "part_of", "parts", "forks", "version", "cursor")


class SessionFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which sessions a listing wants, newest `updated_ns` first.

    `since_ns` and `until_ns` bound `updated_ns`, both inclusive. `id_prefix` is matched literally. Sessions that are
    part of another one, which counts their events, are left out but with `parts`.

    `brief`: of a session that has ended, what `BRIEF` names is enough; what else its head has may be left out.
    """

    statuses: tuple[str, ...] = ()
    agent: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    id_prefix: str | None = None
    parts: bool = False
    limit: int | None = None
    brief: bool = False


class StoreInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a store is and holds, for `doctor`. Counts are exact or absent."""

    url: str
    backend: str
    schema_version: int
    sessions: int | None = None
    events: int | None = None
    size_bytes: int | None = None


@runtime_checkable
class JournalStore(Protocol):
    """Append-only sessions of events.

    Every method raises `StoreUnreachable` when the same call may succeed later, another `StoreError` when it will
    not. A fresh store needs no preparation for the embedded backends; others are prepared by `StoreAdmin.init`.
    """

    @property
    def url(self) -> str:
        """Its URL, secrets masked: safe to print."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What this backend can do."""
        ...

    def append(self, events: Sequence[JournalEvent]) -> Mapping[str, Arrived] | None:
        """Write session events, of one or of many sessions.

        Durable when it returns; idempotent (of two events with one `key` one copy stays, the first); not atomic: after
        an error any part may have been written, and the whole is simply appended again. From before its first event
        is there until a head knows of all, a session is one of `unsettled`.

        Returns:
            By session, where its events arrived: only where all of them were new, and none by anybody else came
            between; of other sessions nothing. So whoever has folded a session up to `after` may go on with these. None
            where the store does not know.

        Raises:
            EventTooLarge: one event can never be written; the others of the batch may have been.
        """
        ...

    def append_context(self, instance_id: str, expected_seq: int, events: Sequence[JournalEvent]) -> None:
        """Write context events of one agent instance, atomically, if its next sequence is `expected_seq`.

        `events` carry `instance_id` and gapless `seq` from `expected_seq` on; 0 is the first of an instance. Repeating
        a call whose events are all there already succeeds and changes nothing.

        Raises:
            WrongExpectedSequence: another writer was first; nothing was written.
            ConflictError: an event of that id is there with another digest; nothing was written.
        """
        ...

    def read(self, session_id: str, after: tuple[int, str] | None = None) -> Iterator[JournalEvent]:
        """Yield a session's events, context events included, in order of `(timestamp_ns, event_id)`.

        `after` is the position of the last event already had. An unknown session yields nothing. A read is
        prefix-stable: what was yielded once is yielded again, in the same order, though late events may come between.
        """
        ...

    def read_context(
        self, instance_id: str, from_seq: int = 0, *, limit: int | None = None, newest_first: bool = False
    ) -> Iterator[JournalEvent]:
        """Yield an agent instance's context events from number `from_seq` on, in order of `seq`.

        With `newest_first` from the last one down to it; `limit` of them at most. Costs what is yielded.
        """
        ...

    def context_tip(self, instance_id: str) -> ContextTip | None:
        """Return where an agent instance's sequence ends, or None where there is no such instance."""
        ...

    def instances(self, session_id: str) -> Iterator[str]:
        """Yield the agent instances that have context events in a session, in any order."""
        ...

    def follow(self, cursor: str | None, *, session_id: str | None = None, limit: int = 1000) -> Page:
        """Return the next events in order of arrival, of all sessions or one, and the cursor to go on from.

        `None` starts at the beginning; `tip()` gives the cursor of now. An event is never skipped, however late it
        arrives and whatever its timestamp. No events means there are none yet. The cursor of one session stands
        directly behind the last event that was given; where none was, it is the one that was given (of `tip()` too).
        """
        ...

    def tip(self, session_id: str | None = None) -> str | None:
        """Return the cursor after all that is in the store now; of one session, None where it has no events."""
        ...

    def sessions(self, wanted: SessionFilter | None = None) -> Iterator[SessionHead]:
        """Yield the heads that are stored, without snapshots, the latest updated first.

        They are a cache: `rules.current_sessions` has what the events say.
        """
        ...

    def head(self, session_id: str) -> SessionHead | None:
        """Return the head that is stored of a session, or None: a cache, see `rules.current`."""
        ...

    def unsettled(self) -> Iterator[str]:
        """Yield the sessions that may have events which their stored head does not know, in any order.

        Every session that has such an event is among them, whether or not it has a head. One that has none may be: as
        where a writer died before it wrote a head. It costs what is unsettled, not what is stored.
        """
        ...

    def write_head(self, head: SessionHead) -> SessionHead | None:
        """Replace a session's head if the stored one still has `head.version`; return it with its new version.

        `writers` are merged (`rules.merged_writers`). A head that has ended, no writer with an open step, and whose
        `cursor` is behind all events, settles the session, unless another writer may be at work in it. Returns
        None, and writes nothing, where another was first: fold what is behind that one's, retry.
        """
        ...

    def close(self) -> None:
        """Release what the store holds; it is not used afterwards. May be called twice."""
        ...


@runtime_checkable
class BlobStore(Protocol):
    """Values kept apart from a session's events: over the field limit, or no text at all.

    Each is named by the blake2b of its bytes. They go with their session.
    """

    def put_blobs(self, session_id: str, blobs: Mapping[str, Blob]) -> None:
        """Keep values by their digests; durable when it returns, idempotent: the first of a digest stays."""
        ...

    def get_blobs(self, session_id: str, digests: Collection[str]) -> Mapping[str, Blob]:
        """Return values by their digests; those that are not there are left out."""
        ...

    def put_blob(self, session_id: str, digest: str, data: bytes, media_type: str = JSON) -> None:
        """Keep one value."""
        ...

    def get_blob(self, session_id: str, digest: str) -> bytes | None:
        """Return one value's bytes, or None where it is not there."""
        ...


@runtime_checkable
class DocumentStore(Protocol):
    """Small values that change, each replaced only by who has seen the one before: pointers, states, cursors.

    A document is named within a scope. Those of the scope `of_session(session_id)` are deleted with that session; a
    document alone keeps no session from being deleted.
    """

    def get_document(self, scope: str, name: str) -> Document | None:
        """Return a document, or None where it is not there."""
        ...

    def put_document(self, document: Document) -> Document | None:
        """Replace a document if the stored one still has `document.version`, 0 where there is none.

        Durable when it returns.

        Returns:
            It, with its new version, which no document of that name had before; None where another was first.

        Raises:
            StoreError: it is over `Capabilities.max_document_bytes`; nothing was written.
        """
        ...

    def delete_document(self, scope: str, name: str, version: int) -> bool:
        """Delete a document that still has this version; return whether it was deleted."""
        ...

    def documents(self, scope: str) -> Iterator[Document]:
        """Yield the documents of a scope, in order of their names."""
        ...


@runtime_checkable
class StoreAdmin(Protocol):
    """What an operator does to a store."""

    def init_plan(self) -> list[str]:
        """Say what `init` would create or set, a line each for people; empty when nothing is missing.

        Changes nothing, and needs no more rights than to look.
        """
        ...

    def init(self) -> None:
        """Create what is missing: tables, indexes, settings. Idempotent; changes nothing that is there."""
        ...

    def info(self) -> StoreInfo:
        """Return what the store is and holds."""
        ...

    def session_ids(self) -> Iterator[str]:
        """Yield every session that has an event, each once, in any order; costs what is stored. For repairs."""
        ...

    def delete_session(self, session_id: str, cursor: str | None, version: int) -> bool:
        """Delete a session in which nothing has happened since it was judged, and return whether it was deleted.

        With it go its events, head, blobs and instances. Where something arrived meanwhile nothing of that is deleted,
        whenever it came: either all stays, or what had been there before goes and the rest is a session of its own,
        which is one of `unsettled`. A cursor of `follow` stays good, and the session may begin anew. Which sessions
        may go is for `rules.prune` to say. One that was broken off is simply repeated.

        Args:
            session_id: the session; of one that is not there nothing is deleted, and that is said.
            cursor: of this session, behind what the caller has seen of it; None where it has seen no event.
            version: of the head that the caller has seen, 0 where there was none.

        Raises:
            UnsupportedByStore: where the backend cannot.
        """
        ...

    def iam_policy(self, role: str, note: Callable[[str], object] | None = None) -> dict[str, Any]:
        """Return the least that a role needs, as an AWS policy document.

        Args:
            role: one of `ROLES`; an `admin` is who runs `init`, `prune`, `repair` and `sweep`.
            note: told, in words, what the server was asked for and did not say, as with which key it encrypts, and how
                to give it. Without it no server is asked.

        Raises:
            UnsupportedByStore: where the backend has no such thing.
            ConfigError: there is no such role.
        """
        ...


@runtime_checkable
class Compacts(Protocol):
    """A store whose sessions can be rewritten into a form that is cheaper to keep and to read."""

    def compact(
        self, session_id: str | None = None, *, progress: Callable[[int], object] = lambda _looked_at: None
    ) -> int:
        """Rewrite one session, or each that would gain by it; return how many were rewritten.

        Idempotent, and safe at any time: readers and writers go on meanwhile, and no event is lost or doubled.

        Args:
            session_id: the session; None: all.
            progress: called with how many sessions were looked at by now.
        """
        ...


@runtime_checkable
class Erases(Protocol):
    """A store whose files keep for a while what was replaced or deleted."""

    def erase(self) -> None:
        """See to it that what was replaced or deleted is in no file of the store; as far as other readers let it."""
        ...


@runtime_checkable
class Vanishes(Protocol):
    """A store that somebody may remove while it is written to, as a file."""

    def incarnation(self) -> int:
        """Return a number that stays while all that was written is there; another one says that it may be gone."""
        ...


@runtime_checkable
class Wakes(Protocol):
    """A store that tells followers when there is something new, so that they need not look so often."""

    def wait(self, timeout_s: float) -> None:
        """Return when something may have been appended since this thread's last call, at `timeout_s` at the latest.

        A matter of latency alone: it may return early, and where the store cannot be reached it only waits. Whoever
        follows looks with `follow` before the first call and after each. Safe in any number of threads.
        """
        ...


@runtime_checkable
class HearsWriters(Protocol):
    """A store that keeps no heads itself, and passes heartbeats on to whoever does."""

    def heard(self, writer: str, timestamp_ns: int, sessions: Iterable[str]) -> None:
        """Pass on that a writer was alive at a time, with these sessions open. Raises as `JournalStore.append`."""
        ...


@runtime_checkable
class PutByOthers(Protocol):
    """A store into which other programs may put events by themselves, which `JournalStore.follow` does not give."""

    def put_by_others(self, session_id: str, since_ns: int | None = None) -> Iterator[JournalEvent]:
        """Yield what others put into a session, in order of `(timestamp_ns, event_id)`, from a time on."""
        ...


@runtime_checkable
class DeletesBesideOthers(PutByOthers, Protocol):
    """Such a store that looks for what others have put as it deletes."""

    def delete_before(self, session_id: str, cursor: str | None, version: int, before_ns: int) -> bool:
        """Delete as `StoreAdmin.delete_session` does, unless others have put an event of that time or a later one."""
        ...
