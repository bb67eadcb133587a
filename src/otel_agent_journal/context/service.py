"""An agent's context, kept in the journal: messages and state as numbered events, brought back at any number.

Written at once and durably, each call as one atomic append under the number that is expected next. Another process may
write to the same instance: of two one wins each number, the other reads what came and writes behind it. What was read
is kept in memory, so that a call costs what is new; a snapshot of ranges in the store spares the next process the past.
"""

from __future__ import annotations

import copy
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, cast

from otel_agent_journal.codec import decode_value, encode_value
from otel_agent_journal.context.held import can_hold, put_apart, replace_body
from otel_agent_journal.context.history import (
    MESSAGES,
    OWN_STATE,
    REDACTED,
    REPLACED,
    REWOUND,
    TOOL_CALL,
    TOOL_RESULT,
    numbers_in,
    ranges_of,
    state_after,
)
from otel_agent_journal.context.log import ContextLog
from otel_agent_journal.context.messages import (
    BadMessage,
    Draft,
    Message,
    Placed,
    drafts_of,
    drafts_of_state,
    key_of,
    open_calls,
    placed,
    repairs_of,
)
from otel_agent_journal.errors import StoreError, WrongExpectedSequence
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.store import lineage
from otel_agent_journal.store.protocol import Erases, JournalStore
from otel_agent_journal.threads import RLock

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
        agent = {"name": name, "parent": None if parent_id is None else str(parent_id)}
        said = {key: value for key, value in agent.items() if value is not None}
        self._log = ContextLog(store, self.instance_id, session_id, said)
        self._lock = RLock()

    # --- reading ---

    @property
    def session_id(self) -> str:
        """The session that the instance is in."""
        with self._lock:
            self._refresh()
            return self._log.session_id

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
            state = self._whole_state(at)
            return copy.deepcopy({key: state[key] for key in state if not key.startswith(OWN_STATE)})

    def get_own_state(self, at: int | None = None) -> dict[str, Any]:
        """Return what the agent's framework keeps beside its state, by keys that begin with `$agent.`."""
        with self._lock:
            self._refresh()
            state = self._whole_state(at)
            return copy.deepcopy({key: state[key] for key in state if key.startswith(OWN_STATE)})

    def get_last_sequence(self) -> int:
        """Return the number of the last event, -1 where there is none."""
        with self._lock:
            self._refresh()
            return self._log.count - 1

    def replay_from_sequence(self, first: int) -> list[JournalEvent]:
        """Return the events from a number on, in their order, with what was kept apart in its place.

        Those of a base that the instance was forked from are among them.
        """
        with self._lock:
            self._refresh()
            return [
                self._log.whole(number, event) for number, event in self._log.events(max(0, first), self._log.count)
            ]

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
        erasable: bool = False,
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
            erasable: keep what it says out of the event, such that `redact_message` leaves nothing of it.
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
        if erasable and (len(drafts) > 1 or not can_hold(self._log.store)):
            raise BadMessage("what can be erased is a message without tool calls, in a store that keeps documents")
        with self._lock:
            if erasable:
                drafts = [self._held(message, drafts[0], message_id)]
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
            known = self._whole_state(None)
            wanted = {key: value for key, value in known.items() if key.startswith(OWN_STATE)}
            wanted |= cast("dict[str, Any]", decode_value(encode_value(dict(state))))
            return drafts_of_state(known, wanted, len(self._log.history.changes()))

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
            first_new = self._log.count
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

        What it said is nowhere any more where it was appended `erasable`, or is the newest of a Strands agent's. Of
        other messages the event stays as it was written.

        Raises:
            StoreError: no message has this number.
        """

        def drafts() -> list[Draft]:
            event = next((event for _, event in self._log.events(number, number + 1)), None)
            if event is None or event.type not in MESSAGES - {TOOL_CALL}:
                raise StoreError(f"instance {self.instance_id}: event {number} is no message that could be redacted")
            held: Any = event.details.get("held")
            if held is not None:
                shown: Message = {"role": str(event.details.get("role")), "content": content}
                if replace_body(self._log.store, event.session_id, held, shown) and isinstance(self._log.store, Erases):
                    self._log.store.erase()
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
            if not -1 <= last < self._log.count:
                raise StoreError(
                    f"instance {self.instance_id} has events up to {self._log.count - 1};"
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
        self._fork(new, up_to_sequence, session_id or new)
        return new

    def copy_to_new_instance(self, target: str | uuid.UUID, up_to_sequence: int | None = None) -> str:
        """Fork to an instance of that id; see `fork`."""
        return self.fork(target, up_to_sequence)

    def _fork(self, new: str, up_to_sequence: int | None, session_id: str) -> None:
        with self._lock:
            self._refresh()
            count = self._log.count if up_to_sequence is None else up_to_sequence + 1
            if not 0 <= count <= self._log.count:
                raise StoreError(
                    f"instance {self.instance_id} has events up to {self._log.count - 1};"
                    f" it cannot be forked at {up_to_sequence}"
                )
            base, at = self._log.place_of(self._behind_message(count))
            lineage.fork(self._log.store, base, at, new, session_id, now_ns=time.time_ns())

    # --- what is read ---

    def _refresh(self) -> None:
        """Take in what has been written since, by anybody."""
        self._log.refresh()

    def _whole_state(self, at: int | None) -> dict[str, Any]:
        """Return the state with what the agent's framework keeps beside it."""
        changes = self._log.history_at(at).changes(at)
        return state_after(details for _, _, details in self._log.said(changes))

    def _placed(self, at: int | None) -> Iterator[Placed]:
        """Yield the messages in view, with the numbers of their events."""
        history = self._log.history_at(at)
        said = self._log.said(numbers_in(history.view(at)))
        for one in placed((number, kind, details) for number, kind, details in said if kind in MESSAGES):
            by = history.redactions.get(one.first)
            for _, _, redaction in self._log.said(() if by is None else (by,)):
                one.message["content"] = redaction.get("content")
            yield one

    def _end(self) -> Iterator[Placed]:
        """Return the last message that is no tool's, and what tools have answered since: where calls may be open."""
        found: list[tuple[int, str, Mapping[str, Any]]] = []
        for first, last in reversed(self._log.history.view()):
            for end in range(last, first, -_READ_TOGETHER):
                for one in reversed(list(self._log.said(range(max(first, end - _READ_TOGETHER), end)))):
                    found.append(one)
                    if one[1] not in (TOOL_CALL, TOOL_RESULT):
                        return placed(reversed(found))
        return placed(reversed(found))

    def _behind_message(self, count: int) -> int:
        """Return a number of events that ends no message between itself and its parts: some more, where it would."""
        for number, event in self._log.events(count, self._log.count):
            of_the_last = event.type == TOOL_CALL or event.details.get("part") is True
            if not of_the_last and event.details.get("settles") != number - 1:
                return number
        return self._log.count

    # --- what is written ---

    def _held(self, message: Message, draft: Draft, message_id: str | None) -> Draft:
        """Keep a message in a document, and return the event that names it."""
        self._refresh()
        body = uuid.uuid4().hex if message_id is None else self._log.id_of(message_id)
        held = put_apart(self._log.store, self._log.session_id, self.instance_id, body, message)
        return draft._replace(details={"held": held, "role": message["role"]})

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
            if attempt or by_name or not size or not self._log.loaded:
                self._refresh()
            number = self._log.count
            if expected_sequence is not None and expected_sequence != number - 1:
                raise WrongExpectedSequence(self.instance_id, expected_sequence + 1, number)
            if message_id is not None and (there := self._log.number_of(message_id)) is not None:
                return there
            made = drafts()
            if not made:
                return number - 1
            first = len(made) - size
            if self._log.append(made, {} if message_id is None else {first: self._log.id_of(message_id)}):
                return number + first
        raise StoreError(
            f"instance {self.instance_id}: others were first {MAX_TRIES} times; nothing was written: call again"
        )
