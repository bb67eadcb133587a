"""The conversation of a session: what models were given and gave, each message once over all its processes, in order.

A call tells the list that its model saw, or was journaled with it whole. What of it calls before it have said is left
out: by where the lists agree, and by what each message is known by. A user who says the same words again is heard
again. Results of tools stand where the tool ended. Where no model step has content, the contexts of agents speak.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import takewhile
from typing import Any, Final, NamedTuple, cast

import msgspec

from otel_agent_journal.codec import UNENCODABLE, encode_value, format_timestamp
from otel_agent_journal.context.history import MESSAGES
from otel_agent_journal.event import REASONING, REQUEST, JournalEvent, mapping_of
from otel_agent_journal.mapping.references import TOOL, key_of, messages_of
from otel_agent_journal.projections.prompt import messages_in, system_message
from otel_agent_journal.projections.request import ListTold, digest_and_name, keys_of_parts, list_told
from otel_agent_journal.reading.blobs import refers_to_blob
from otel_agent_journal.reading.blocks import REASONING as THOUGHT
from otel_agent_journal.reading.blocks import blocks_of, text_of
from otel_agent_journal.reading.contexts import said_in_contexts
from otel_agent_journal.reading.references import is_reference, whole

KEYS: Final = (
    *("timestamp", "session_id", "step_id", "number", "name", "role", "content"),
    *("author", "reasoning", "tool_calls", "tool_call_id"),
)
BRANCHES: Final = 16  # how many conversations at once are known again
_LISTS: Final = 64  # as many lists that others are told by
_USERS: Final = 1000  # what users said that may be said again
_ASKED: Final = ("MODEL_START", REQUEST)
_ANSWERED: Final = ("MODEL_END", "MODEL_ERROR")
_STEPS: Final = frozenset((*_ASKED, *_ANSWERED))
_RESULTS: Final = ("TOOL_END", "TOOL_ERROR", "NODE_END")  # a tool that is not there has no step, only its node's word
_TEXTS: Final = {"input_text": "text", "output_text": "text", "refusal": "refusal", "text": "text"}
_encode_sorted: Final = msgspec.json.Encoder(order="sorted").encode  # the order of keys says nothing

Message = dict[str, Any]
Resolved = Callable[[str, Any], Any]


def conversation(
    events: Callable[[], Iterable[JournalEvent]],
    resolved: Resolved = lambda _session, value: value,
    numbers: Mapping[str, int] | None = None,
) -> Iterator[Message]:
    """Yield the messages of a session as data.

    Args:
        events: gives the session's, in order, each time anew.
        resolved: replaces blob references, given a session and a value.
        numbers: of the steps, by their ids.
    """
    if _contexts_speak(events()):
        said: Iterable[tuple[JournalEvent, Message]] = said_in_contexts(events(), resolved)
    else:
        listener = _Listener(resolved)
        said = ((event, message) for event in events() for message in listener.heard(event))
    for event, message in said:
        yield as_row(event.session_id, event.timestamp_ns, event.step_id, event.name, message, numbers or {})


def as_row(
    session_id: str, at_ns: int, step_id: str | None, name: str | None, message: Message, numbers: Mapping[str, int]
) -> Message:
    """Return a message as a record: where and when it was said, and what."""
    said = {key: value for key, value in message.items() if key not in ("name", "content")}
    author = {"author": message["name"]} if message.get("name") else {}
    return {
        "timestamp": format_timestamp(at_ns),
        "session_id": session_id,
        "step_id": step_id,
        "number": numbers.get(step_id or ""),
        "name": name,
        "role": said.pop("role"),
        "content": as_text(message["content"]),
        **author,
        **said,
    }


def as_text(content: Any) -> Any:
    """Return content blocks that are all text as one text, one block alone as itself, anything else as it is."""
    if not isinstance(content, list | tuple):
        return content
    blocks = cast("list[Any]", content)
    named = [cast("Mapping[str, Any]", one if isinstance(one, Mapping) else {"text": one}) for one in blocks]
    texts = [one.get(_TEXTS.get(str(one.get("type", "text")), "")) for one in named]
    if all(isinstance(text, str) for text in texts):
        return "".join(cast("list[str]", texts))
    return blocks[0] if len(blocks) == 1 and not isinstance(blocks[0], Mapping) else blocks


def _contexts_speak(events: Iterable[JournalEvent]) -> bool:
    """Tell whether there are messages in contexts of agents, and no model step says what it was given or gave."""
    found = False
    for event in events:
        if event.type in _STEPS and not event.details.keys().isdisjoint(("input", "messages", "output")):
            return False
        found = found or event.type in MESSAGES
    return found


class _History:
    """A list that a model was given, and its answer behind that."""

    def __init__(self, marks: list[Any], given: int) -> None:
        self.marks = marks
        self.given = given


class _Nearest(NamedTuple):
    """How many messages at the head of a list a history has too: all that its model was given, all that it has."""

    common: int = 0
    follows: bool = False
    whole: bool = False


class _Listener:
    """Hears a session's events in order and tells what in each of them was not said before."""

    def __init__(self, resolved: Resolved) -> None:
        self._resolved = resolved
        self._results: dict[Any, bytes] = {}  # of what tools gave last, by the id of the call
        self._histories: deque[_History] = deque(maxlen=BRANCHES)
        self._lists: OrderedDict[str, list[str]] = OrderedDict()  # that models were given, by their digests
        self._held: dict[Any, set[str | None]] = {}  # who said what: writers by mark
        self._ids: set[str] = set()  # messages' own
        self._users: OrderedDict[str, Message] = OrderedDict()
        self._open: dict[tuple[str | None, int | None], _History] = {}
        self._thoughts: dict[tuple[str | None, int | None], list[str]] = {}

    def heard(self, event: JournalEvent) -> Iterator[Message]:
        """Yield what an event says that was not said before."""
        details, attempt = event.details, (event.step_id, event.attempt)
        if event.type in _ASKED:
            told = list_told(mapping_of(mapping_of(details.get("request")).get("messages")))
            yield from self._given(event, attempt) if told is None else self._told(event, attempt, told)
        elif event.type in _ANSWERED:
            if "messages" in details and ("output" in details or event.type == "MODEL_ERROR"):
                yield from self._traced(event)
            else:
                yield from self._answer(event, attempt)
        elif event.type in _RESULTS:
            yield from self._result(event)
        elif event.type == REASONING:
            text = details.get("text", details.get("message"))
            if isinstance(text, str):
                self._thoughts.setdefault(attempt, []).append(text)

    def _result(self, event: JournalEvent) -> Iterator[Message]:
        output = event.details.get("output")
        keys = messages_of(output) if refers_to_blob(output) else None
        if keys is not None and not any(key.startswith(TOOL) for key in keys):
            return
        for found in whole(self._resolved(event.session_id, output)):
            if found["role"] != "tool" or not found.get("tool_call_id"):
                continue
            for message in messages_in(found):
                self._hold(found, message, event.writer)
                # A node is given again what the tool's ending has said; a tool that runs again says it again.
                if event.type.startswith("TOOL_") or not self._was_result(message):
                    yield message
                self._results[message.get("tool_call_id")] = mark_of(message)

    def _was_result(self, message: Message) -> bool:
        call_id = message.get("tool_call_id")
        return bool(call_id) and self._results.get(call_id) == mark_of(message)

    def _hold(self, told: Any, message: Message, writer: str | None) -> None:
        digest = key_of(cast("Mapping[str, Any]", told)) if isinstance(told, Mapping) else None
        for mark in (digest, mark_of(message)):
            if mark is not None:
                self._held.setdefault(mark, set()).add(writer)
        if digest is not None and message["role"] == "user":
            self._users[digest] = message
            if len(self._users) > _USERS:
                self._users.popitem(last=False)

    # --- a call of ours, which tells the list by keys ---

    def _told(self, event: JournalEvent, attempt: Any, told: ListTold) -> Iterator[Message]:
        listed = self._resolved(event.session_id, event.details.get("messages"))
        new = cast("list[Any]", listed if isinstance(listed, list) else [])
        before = [] if told.after is None else self._lists.get(told.after)
        keys = None if before is None else keys_of_parts(told.parts, list(before))
        found_ones = [cast("Mapping[str, Any]", one) for one in new if isinstance(one, Mapping)]
        whole_ones = {key: one for one in found_ones if (key := key_of(one))}
        if keys is None:  # what it is told by is not there: what is new is all that can be said
            keys = list(whole_ones)
        else:
            self._lists[told.digest] = keys
            self._lists.move_to_end(told.digest)
            if len(self._lists) > _LISTS:
                self._lists.popitem(last=False)
        digests: list[Any] = [digest_and_name(key)[0] for key in keys]
        nearest = self._nearest(digests)
        self._remember(attempt, digests)
        latest = self._latest_exchange(digests)
        for at, digest in enumerate(digests):
            found = whole_ones.pop(digest, None)
            if found is None:
                if at >= max(nearest.common, latest) and nearest.follows and digest in self._users:
                    yield self._users[digest]
                continue
            is_new = self._is_new(found, digest, event, later=at >= nearest.common, follows=nearest.follows)
            for message in messages_in([found]):
                answered = message["role"] == "assistant" and mark_of(message) in self._held  # by a text without a key
                self._hold(found, message, event.writer)
                if is_new and not answered and not self._was_result(message):
                    yield message

    def _is_new(
        self, found: Mapping[str, Any], digest: str, event: JournalEvent, *, later: bool, follows: bool
    ) -> bool:
        """Tell whether a message that is told whole was not said, or is said again."""
        own_id = found.get("id")
        known_id = isinstance(own_id, str) and own_id in self._ids
        if isinstance(own_id, str):
            self._ids.add(own_id)
        writers = self._held.get(digest)
        if writers is None:
            return True
        if found.get("role") != "user":
            return False
        if isinstance(own_id, str):
            return not known_id
        return event.writer in writers or (later and follows)

    # --- a call that was journaled with all that its model was given ---

    def _given(self, event: JournalEvent, attempt: Any) -> Iterator[Message]:
        details = event.details
        given = self._messages(event.session_id, details.get("messages", details.get("input")), "user")
        instructions = details.get("system_instructions")
        if instructions and not any(message["role"] == "system" for message in given):
            given.insert(0, system_message(self._resolved(event.session_id, instructions)))
        yield from self._unsaid(event, given, attempt)

    def _traced(self, event: JournalEvent) -> Iterator[Message]:
        """Yield what is new in the ending of a call that others traced, which has the request too."""
        answers = self._messages(event.session_id, event.details.get("output"), "assistant")
        yield from self._given(event, (event.step_id, event.attempt))
        yield from self._answers(event, (event.step_id, event.attempt), answers)

    def _unsaid(self, event: JournalEvent, given: Sequence[Message], attempt: Any) -> Iterator[Message]:
        marks: list[Any] = [mark_of(message) for message in given]
        nearest = self._nearest(marks)
        # Without an answer in between, what goes on from no call as a whole was just said once more.
        is_known = nearest.whole or any(message["role"] == "assistant" for message in given[: nearest.common])
        known = nearest.common if is_known else 0
        latest = self._latest_exchange(marks, [message["role"] for message in given])
        held = [mark in self._held for mark in marks]
        self._remember(attempt, marks)
        for at, message in enumerate(given):
            self._hold(None, message, event.writer)
            said_before = held[at] and (message["role"] != "user" or at < latest)
            if at >= known and not said_before and not self._was_result(message):
                yield message

    def _latest_exchange(self, marks: Sequence[Any], roles: Sequence[str] | None = None) -> int:
        """Return the place behind the last message that was said before and is no user's: a question before it, too."""
        for at in range(len(marks) - 1, -1, -1):
            mark = marks[at]
            is_user = mark in self._users if roles is None else roles[at] in ("user", "system")
            if mark in self._held and not is_user:
                return at + 1
        return 0

    # --- answers ---

    def _answer(self, event: JournalEvent, attempt: Any) -> Iterator[Message]:
        details = event.details
        answers = self._messages(event.session_id, details.get("messages", details.get("output")), "assistant")
        yield from self._answers(event, attempt, answers)

    def _answers(self, event: JournalEvent, attempt: Any, answers: Sequence[Message]) -> Iterator[Message]:
        thoughts, history = self._thoughts.pop(attempt, None), self._open.pop(attempt, None)
        output: Any = event.details.get("output")
        for message in answers:
            self._hold(output, message, event.writer)
            if history is not None:
                digest = key_of(cast("Any", output)) if isinstance(output, Mapping) else None
                by_keys = not history.marks or isinstance(history.marks[0], str)
                history.marks.append(digest if by_keys and digest else mark_of(message))
            if thoughts and "reasoning" not in message:
                if not any(block.kind == THOUGHT for block in blocks_of(message["content"])):
                    message["reasoning"] = "".join(thoughts)
                thoughts = None
            yield message

    def _messages(self, session_id: str, value: Any, role: str) -> list[Message]:
        """Return the messages that a value amounts to, those that stand by reference left out."""
        found: Any = self._resolved(session_id, value)
        if isinstance(found, Mapping) and "messages" in found:
            found = cast("Mapping[str, Any]", found)["messages"]
        listed: list[Any] = list(cast("Sequence[Any]", found)) if isinstance(found, list | tuple) else [found]
        return messages_in([one for one in listed if one is not None and not is_reference(one)], role)

    # --- histories ---

    def _nearest(self, marks: Sequence[Any]) -> _Nearest:
        """Return what a list has in common with the history that has most of it; that one goes if it is all there."""
        best = _Nearest()
        for history in tuple(self._histories):
            pairs = zip(history.marks, marks, strict=False)
            common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
            if common == len(history.marks):
                self._histories.remove(history)
            best = max(best, _Nearest(common, 0 < history.given <= common, 0 < common == len(history.marks)))
        return best

    def _remember(self, attempt: Any, marks: list[Any]) -> None:
        history = _History(list(marks), len(marks))
        self._histories.append(history)
        self._open[attempt] = history


def mark_of(message: Mapping[str, Any]) -> bytes:
    """Return what a message is known again by: who said which words, and asked for which tools. Ids are no matter."""
    calls = [(call.get("name"), call.get("arguments")) for call in message.get("tool_calls") or ()]
    said = (message["role"], text_of(message["content"]).strip(), calls, message.get("tool_call_id"))
    try:
        text = _encode_sorted(said)
    except UNENCODABLE:  # half of a surrogate pair, or nested too deep
        text = encode_value(said)
    return blake2b(text, digest_size=16).digest()
