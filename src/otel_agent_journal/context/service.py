"""An agent's context, kept in the journal: messages and state as numbered events, brought back at any number.

Written at once and durably, each call as one atomic append under the number that is expected next. Another process may
write to the same instance: of two one wins each number, the other reads what came and writes behind it. What was read
is kept in memory, so that a call costs what is new; a snapshot of ranges in the store spares the next process the past.
"""

from __future__ import annotations

import copy
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.codec import decode_value, encode_value, sealed
from otel_agent_journal.context.history import (
    MESSAGES,
    REDACTED,
    REPLACED,
    REWOUND,
    STATE,
    TOOL_CALL,
    TOOL_RESULT,
    History,
    Snapshot,
    TooEarly,
    numbers_in,
    ranges_of,
    state_after,
)
from otel_agent_journal.context.messages import (
    Draft,
    Message,
    Placed,
    drafts_of,
    key_of,
    open_calls,
    placed,
    put_together,
    repairs_of,
    taken_apart,
)
from otel_agent_journal.errors import CodecError, ConflictError, StoreError, WrongExpectedSequence
from otel_agent_journal.event import JournalEvent, derived_id, time_ordered_id
from otel_agent_journal.store import lineage
from otel_agent_journal.store.protocol import Blob, BlobStore, Document, DocumentStore, JournalStore, of_session
from otel_agent_journal.threads import RLock

SNAPSHOT_EVERY: Final = 256  # events between two snapshots in the store
MAX_TRIES: Final = 100  # of one append, where others are always first
_READ_TOGETHER: Final = 32  # events, from the end of the context on


class Context:
    """The context of one agent instance. Thread-safe; two of one instance, in any processes, see each other's events.

    Numbers count all events of the instance from 0, also those of the base that it was forked from. None of them is
    ever changed or deleted.

    Args:
        store: where the journal lives; it must keep contexts.
        instance_id: the agent instance; a UUID, or any text.
        session_id: the session of an instance that is not there yet; its own id by default.
        name: what the agent is called.
        parent_id: the instance that this one works for.
    """

    def __init__(
        self,
        store: JournalStore,
        instance_id: str | uuid.UUID,
        *,
        session_id: str | None = None,
        name: str | None = None,
        parent_id: str | uuid.UUID | None = None,
    ) -> None:
        self.instance_id = str(instance_id)
        self._store = store
        self._session_id = session_id
        self._agent = {"name": name, "parent": None if parent_id is None else str(parent_id)}
        self._lock = RLock()
        self._history = History()
        self._bases: tuple[tuple[str, int], ...] = ()  # what it was forked from, and how many events of each
        self._said: dict[int, tuple[str, Mapping[str, Any]]] = {}  # type and details of what was read
        self._numbers: dict[str, int] | None = None  # of the events, by their ids, from when a caller first gives one
        self._last_ns = 0
        self._read_from = 0  # events before that number are read when they are asked for
        self._snapshot_at = 0
        self._loaded = False

    # --- reading ---

    @property
    def session_id(self) -> str:
        """The session that the instance is in."""
        with self._lock:
            self._refresh()
            return self._session_id or self.instance_id

    def get_messages(self, at: int | None = None) -> list[Message]:
        """Return the messages that a model gets now, or got after the first `at` events, as they were given.

        Raises:
            StoreUnreachable: and other errors of the store.
        """
        with self._lock:
            self._refresh()
            return [copy.deepcopy(one.message) for one in self._placed(at)]

    def get_state(self, at: int | None = None) -> dict[str, Any]:
        """Return the agent's state now, or after the first `at` events."""
        with self._lock:
            self._refresh()
            changes = self._known(at).changes(at)
            return copy.deepcopy(state_after(self._details(number)[1] for number in self._read(changes)))

    def get_last_sequence(self) -> int:
        """Return the number of the last event, -1 where there is none."""
        with self._lock:
            self._refresh()
            return self._history.next_number - 1

    def replay_from_sequence(self, first: int) -> list[JournalEvent]:
        """Return the events from a number on, in their order, with what was kept apart in its place.

        Those of a base that the instance was forked from are among them.
        """
        with self._lock:
            self._refresh()
            events = self._events(max(0, first), self._history.next_number)
            return [msgspec.structs.replace(event, details=self._whole(event.details, event)) for _, event in events]

    # --- writing ---

    def append_message(
        self,
        role: str,
        content: Any = None,
        tool_calls: Iterable[Mapping[str, Any]] | None = None,
        tool_call_id: str | None = None,
        *,
        message_id: str | None = None,
        expected_sequence: int | None = None,
        **more: Any,
    ) -> int:
        """Append a message, durably, and return its number. Its tool calls are the events behind it.

        Calls before it that have no result are given one that says so first, since no model takes a context without:
        where the message is no tool's.

        Args:
            role: system, developer, user, assistant or tool.
            content: a text, or a list of blocks as the OpenAI API has them; what is large, or bytes, is kept apart.
            tool_calls: of an assistant.
            tool_call_id: of a tool: the call that it answers.
            message_id: what makes a repeated call harmless: of two with one id the first counts.
            expected_sequence: the number of the last event as the caller knows it; None takes what is there.
            more: other keys of the message, such as name.

        Raises:
            BadMessage: a role that is not known, calls or their id where they do not belong; nothing was written.
            WrongExpectedSequence: `expected_sequence` was given, and another writer was first.
            StoreUnreachable: and other errors of the store; with a `message_id` the call may be repeated.
        """
        message: Message = {"role": role, "content": content, **more}
        if tool_calls is not None:
            message["tool_calls"] = [dict(call) for call in tool_calls]
        if tool_call_id is not None:
            message["tool_call_id"] = tool_call_id
        drafts = drafts_of(message)
        with self._lock:
            return self._write(
                lambda: [*self._repairs(role), *drafts],
                len(drafts),
                expected_sequence=expected_sequence,
                message_id=message_id,
            )

    def repair(self) -> int:
        """Give the tool calls that have no result one that says so, as after a crash; return how many there were."""
        with self._lock:
            self._refresh()
            drafts = self._repairs("user")
            if drafts:
                self._write(lambda: self._repairs("user"))
            return len(drafts)

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Make this the agent's state: what has changed since is written, and nothing where nothing has."""

        def drafts() -> list[Draft]:
            known = self.get_state()
            wanted = cast("dict[str, Any]", decode_value(encode_value(dict(state))))
            changed = {key: value for key, value in wanted.items() if key not in known or known[key] != value}
            removed = [key for key in known if key not in wanted]
            if not changed and not removed:
                return []
            if len(self._history.changes()) >= SNAPSHOT_EVERY:
                return [Draft(STATE, {"set": wanted, "replaces": True})]
            return [Draft(STATE, {"set": changed} | ({"removed": removed} if removed else {}))]

        with self._lock:
            self._write(drafts)

    def replace_messages(self, messages: Iterable[Mapping[str, Any]]) -> None:
        """Make these the messages from here on, as after a summary or where a window moves; nothing is deleted.

        Those that are in view already, in any order, are referred to; only what is new is written.
        """
        wanted = [dict(message) for message in messages]

        def drafts() -> list[Draft]:
            before = list(self._placed(None))
            if [one.message for one in before] == wanted:
                return []
            known: dict[bytes, list[Placed]] = {}
            for one in reversed(before):
                known.setdefault(key_of(one.message), []).append(one)
            made: list[Draft] = []
            numbers: list[int] = []
            first_new = self._history.next_number
            for message in wanted:
                same = known.get(key_of(message))
                if same:
                    one = same.pop()
                    numbers += range(one.first, one.last)
                    continue
                new = drafts_of(message)
                numbers += range(first_new + len(made), first_new + len(made) + len(new))
                made += [draft._replace(details={**draft.details, "staged": True}) for draft in new]
            return [*made, Draft(REPLACED, {"view": [list(one) for one in ranges_of(numbers)]})]

        for message in wanted:
            drafts_of(message)  # what is bad is refused before anything is written
        with self._lock:
            self._write(drafts)

    def redact_message(self, number: int, content: Any = "[redacted]") -> None:
        """Show another content in a message's place from now on, wherever it is in view; its tool calls stay.

        The event stays as it was written: who must not have it at rest writes it only once it is known to be harmless.

        Raises:
            StoreError: no message has this number.
        """

        def drafts() -> list[Draft]:
            if not any(event.type in MESSAGES - {TOOL_CALL} for _, event in self._events(number, number + 1)):
                raise StoreError(f"instance {self.instance_id}: event {number} is no message that could be redacted")
            return [Draft(REDACTED, {"number": number, "content": content})]

        with self._lock:
            self._write(drafts)

    def truncate_after_sequence(self, last: int) -> None:
        """Rewind: what came after a number counts no more. Nothing is deleted, and the numbers go on.

        Args:
            last: the number of the last event that still counts, with the tool calls behind it; -1 leaves none.

        Raises:
            StoreError: there is no such event.
        """

        def drafts() -> list[Draft]:
            if not -1 <= last < self._history.next_number:
                raise StoreError(
                    f"instance {self.instance_id} has events up to {self._history.next_number - 1};"
                    f" it cannot be rewound to {last}"
                )
            return [Draft(REWOUND, {"to": self._behind_message(last + 1)})]

        with self._lock:
            self._write(drafts)

    def fork(
        self, target: str | uuid.UUID | None = None, up_to_sequence: int | None = None, *, session_id: str | None = None
    ) -> str:
        """Fork: make an instance whose context begins as this one's, in a session of its own, and return its id.

        Nothing is copied; both sessions say what they have to do with each other.

        Args:
            target: the id of the new instance; by default a fresh one.
            up_to_sequence: the number of the last event that it begins with; all by default.
            session_id: the session that it is in; by default one of the instance's id.

        Raises:
            StoreError: there is no such event, or the target is there already, made otherwise.
        """
        new = uuid.uuid4().hex if target is None else str(target)
        with self._lock:
            self._refresh()
            count = self._history.next_number if up_to_sequence is None else up_to_sequence + 1
            if not 0 <= count <= self._history.next_number:
                raise StoreError(
                    f"instance {self.instance_id} has events up to {self._history.next_number - 1};"
                    f" it cannot be forked at {up_to_sequence}"
                )
            base, at = self._place_of(self._behind_message(count))
            lineage.fork(self._store, base, at, new, session_id or new, now_ns=time.time_ns())
        return new

    def copy_to_new_instance(self, target: str | uuid.UUID, up_to_sequence: int | None = None) -> str:
        """Fork to an instance of that id; see `fork`."""
        return self.fork(target, up_to_sequence)

    # --- what is read ---

    def _refresh(self) -> None:
        """Take in what has been written since, by anybody."""
        if not self._loaded:
            self._load()
        own = self._history.next_number - self._before()
        for event in self._store.read_context(self.instance_id, own):
            self._take(event)

    def _load(self, *, from_snapshot: bool = True) -> None:
        self._bases = tuple(lineage.bases(self._store, self.instance_id))
        tip = self._store.context_tip(self.instance_id)
        if tip is not None:
            self._session_id = tip.session_id
        snapshot = self._snapshot() if from_snapshot and tip is not None else None
        self._history = History(snapshot)
        self._read_from = self._snapshot_at = self._history.next_number
        if snapshot is None:
            for base, count in self._bases:
                for event in self._store.read_context(base, limit=count):
                    self._take(event)
        self._loaded = True

    def _take(self, event: JournalEvent) -> None:
        number = self._history.next_number
        try:
            self._history.apply(event)
        except TooEarly:  # a rewind past the snapshot
            self._load(from_snapshot=False)
            for later in self._store.read_context(self.instance_id, self._history.next_number - self._before()):
                self._take(later)
                if later.event_id == event.event_id:
                    return
            return
        self._last_ns = max(self._last_ns, event.timestamp_ns)
        if self._numbers is not None:
            self._numbers[event.event_id] = number
        if event.type in MESSAGES or event.type in (STATE, REDACTED):
            self._said[number] = (event.type, event.details)

    def _known(self, at: int | None) -> History:
        """Return the history, from the beginning where an earlier number is asked for than its snapshot's."""
        if at is not None:
            if not 0 <= at <= self._history.next_number:
                raise StoreError(f"instance {self.instance_id} has {self._history.next_number} events, not {at}")
            try:
                self._history.view(at)
            except TooEarly:
                self._load(from_snapshot=False)
                self._refresh()
        return self._history

    def _placed(self, at: int | None) -> Iterator[Placed]:
        """Yield the messages in view, with the numbers of their events."""
        view = self._known(at).view(at)
        numbers = self._read(numbers_in(view))
        kinds = ((number, *self._details(number)) for number in numbers)
        for one in placed((number, kind, details) for number, kind, details in kinds if kind in MESSAGES):
            redaction = self._history.redactions.get(one.first)
            if redaction is not None:
                self._read((redaction,))
                one.message["content"] = self._details(redaction)[1].get("content")
            yield one

    def _end(self) -> Iterator[Placed]:
        """Return the last message that is no tool's, and what tools have answered since: where calls may be open."""
        found: list[tuple[int, str, Mapping[str, Any]]] = []
        for first, last in reversed(self._history.view()):
            for end in range(last, first, -_READ_TOGETHER):
                for number in reversed(self._read(range(max(first, end - _READ_TOGETHER), end))):
                    found.append((number, *self._details(number)))
                    if found[-1][1] not in (TOOL_CALL, TOOL_RESULT):
                        return placed(reversed(found))
        return placed(reversed(found))

    def _read(self, numbers: Iterable[int]) -> list[int]:
        """Have the events of these numbers here, and return the numbers of those that are messages or changes."""
        wanted = list(numbers)
        missing = sorted({number for number in wanted if number not in self._said and number < self._read_from})
        for first, last in ranges_of(missing):
            for number, event in self._events(first, last):
                self._said[number] = (event.type, event.details)
        return [number for number in wanted if number in self._said]

    def _details(self, number: int) -> tuple[str, Mapping[str, Any]]:
        kind, details = self._said[number]
        if "apart" in details:
            details = self._whole(details, None, number)
            self._said[number] = (kind, details)
        return kind, details

    def _whole(self, details: Mapping[str, Any], event: JournalEvent | None, number: int = 0) -> dict[str, Any]:
        """Return details with what was kept apart, which is in the session of the instance that wrote it."""

        def get(digests: list[str]) -> Mapping[str, Blob]:
            if not isinstance(self._store, BlobStore):
                return {}
            session_id = event.session_id if event is not None else self._session_of(number)
            return self._store.get_blobs(session_id, digests)

        return put_together(details, get)

    def _events(self, first: int, last: int) -> Iterator[tuple[int, JournalEvent]]:
        """Yield events by their numbers, the last not included, from wherever they are."""
        begin = 0
        for instance_id, count in (*self._bases, (self.instance_id, max(0, last - self._before()))):
            end = begin + count
            if first < end and last > begin:
                low = max(first, begin)
                found = self._store.read_context(instance_id, low - begin, limit=min(last, end) - low)
                yield from enumerate(found, low)
            begin = end

    def _before(self) -> int:
        """How many events there are of the bases."""
        return sum(count for _, count in self._bases)

    def _place_of(self, count: int) -> tuple[str, int]:
        """Return the instance whose own events the first `count` end in, and how many of its own that are."""
        begin = 0
        for instance_id, own in self._bases:
            if count <= begin + own:
                return instance_id, count - begin
            begin += own
        return self.instance_id, count - begin

    def _session_of(self, number: int) -> str:
        instance_id = self._place_of(number + 1)[0]
        if instance_id == self.instance_id:
            return self._session_id or self.instance_id
        tip = self._store.context_tip(instance_id)
        return instance_id if tip is None else tip.session_id

    def _behind_message(self, count: int) -> int:
        """Return a number of events that ends no message between itself and its calls: some more, where it would."""
        for number, event in self._events(count, self._history.next_number):
            if event.type != TOOL_CALL:
                return number
        return self._history.next_number

    # --- what is written ---

    def _repairs(self, role: str) -> list[Draft]:
        return [] if role == "tool" else repairs_of(open_calls(one.message for one in self._end()))

    def _write(
        self,
        drafts: Callable[[], list[Draft]],
        size: int = 0,
        *,
        expected_sequence: int | None = None,
        message_id: str | None = None,
    ) -> int:
        """Append what `drafts` returns, made anew whenever another writer was first.

        Returns:
            The number of the first of the last `size` events that were written; where none was, of the last there is.
        """
        for attempt in range(MAX_TRIES):
            # A message goes behind what is known, and the store says where there is more by now.
            by_name = message_id is not None or expected_sequence is not None
            if attempt or by_name or not size or not self._loaded:
                self._refresh()
            number = self._history.next_number
            if expected_sequence is not None and expected_sequence != number - 1:
                raise WrongExpectedSequence(self.instance_id, expected_sequence + 1, number)
            if message_id is not None and (there := self._written(message_id)) is not None:
                return there
            made = drafts()
            if not made:
                return number - 1
            events = self._events_of(made, {} if message_id is None else {len(made) - size: self._id_of(message_id)})
            if all(self._append(some) for some in batched(events, self._store.capabilities.max_context_events)):
                self._keep_snapshot(events[-1].event_id)
                return number + len(made) - size
        raise StoreError(
            f"instance {self.instance_id}: others were first {MAX_TRIES} times; nothing was written: call again"
        )

    def _append(self, events: list[JournalEvent]) -> bool:
        """Append events atomically; return whether nobody else was first."""
        try:
            self._store.append_context(self.instance_id, events[0].seq or 0, events)
        except (WrongExpectedSequence, ConflictError):  # a conflict: by somebody with the same `message_id`
            return False
        for event in events:
            self._take(event)
        return True

    def _written(self, message_id: str) -> int | None:
        """Return the number of the message of an id that is there already."""
        if self._numbers is None:
            everything = self._events(0, self._history.next_number)
            self._numbers = {event.event_id: number for number, event in everything}
        return self._numbers.get(self._id_of(message_id))

    def _id_of(self, message_id: str) -> str:
        return derived_id(f"context:{self.instance_id}:{message_id}")

    def _events_of(self, drafts: list[Draft], ids: Mapping[int, str]) -> list[JournalEvent]:
        """Return what is to be appended, its blobs in the store; `ids`: of those that have one of the caller's."""
        session_id, blobs = self._session_id or self.instance_id, dict[str, Blob]()
        own = self._history.next_number - self._before()
        agent = {key: value for key, value in self._agent.items() if value is not None} if own == 0 else {}
        apart = isinstance(self._store, BlobStore) and self._store.capabilities.blobs
        events: list[JournalEvent] = []
        for index, draft in enumerate(drafts):
            now_ns = self._last_ns = max(time.time_ns(), self._last_ns + 1)
            details = taken_apart(draft.details, blobs) if apart else draft.details
            details = cast("dict[str, Any]", decode_value(encode_value(details)))  # as every process will read it
            event = JournalEvent(
                session_id=session_id,
                event_id=ids.get(index) or time_ordered_id(now_ns, os.urandom(10)),
                type=draft.type,
                timestamp_ns=now_ns,
                name=draft.name,
                instance_id=self.instance_id,
                seq=own + index,
                details={**details, "agent": agent} if agent and not index else details,
            )
            events.append(sealed(event))
        if blobs:
            assert isinstance(self._store, BlobStore)
            self._store.put_blobs(session_id, blobs)
        return events

    # --- snapshots ---

    def _snapshot(self) -> Snapshot | None:
        document = self._document()
        if document is None or not document.data:
            return None
        try:
            kept = cast("dict[str, Any]", decode_value(document.data))
            last = next(self._events(int(kept["next"]) - 1, int(kept["next"])), None)
            if last is None or last[1].event_id != kept["last"]:
                return None  # of a session that was deleted, and has begun anew
            self._last_ns = last[1].timestamp_ns
            ranges = tuple((int(first), int(last)) for first, last in kept["view"])
            redactions = {int(number): int(by) for number, by in kept["redactions"]}
            return Snapshot(int(kept["next"]), ranges, tuple(map(int, kept["changes"])), redactions)
        except (CodecError, KeyError, TypeError, ValueError):
            return None  # it is a cache: what cannot be read is made anew

    def _document(self) -> Document | None:
        if not isinstance(self._store, DocumentStore) or not self._store.capabilities.documents:
            return None
        return self._store.get_document(of_session(self._session_id or self.instance_id), self._name())

    def _name(self) -> str:
        return f"context/{self.instance_id}"

    def _keep_snapshot(self, last: str) -> None:
        """Write down what is in view, now and then; where that fails what was appended is there all the same."""
        now = self._history.snapshot()
        if now.next_number - self._snapshot_at < SNAPSHOT_EVERY:
            return
        self._snapshot_at = now.next_number
        if not isinstance(self._store, DocumentStore) or not self._store.capabilities.documents:
            return
        kept = {
            "next": now.next_number,
            "last": last,
            "view": now.view,
            "changes": now.changes,
            "redactions": list(now.redactions.items()),
        }
        scope = of_session(self._session_id or self.instance_id)
        with suppress(StoreError):
            known = self._document()
            version = 0 if known is None else known.version
            self._store.put_document(Document(scope=scope, name=self._name(), data=encode_value(kept), version=version))


def batched(events: list[JournalEvent], size: int | None) -> Iterator[list[JournalEvent]]:
    """Yield events in runs of so many at most; None: in one."""
    for first in range(0, len(events), size or len(events)):
        yield events[first : first + (size or len(events))]
