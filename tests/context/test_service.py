"""What a context does beside its model: races, repeated calls, bad input, what is gone, and the public door."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

import otel_agent_journal
from otel_agent_journal import ContextService, session
from otel_agent_journal.context import log
from otel_agent_journal.context.messages import BadMessage
from otel_agent_journal.context.service import MAX_TRIES, Context
from otel_agent_journal.errors import StoreError, StoreUnreachable, UnsupportedByStore, WrongExpectedSequence
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.reading.blobs import Blobs
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import Capabilities
from otel_agent_journal.testing.builders import a_head
from tests.projections.work import operations

CALL = {"id": "c1", "type": "function", "function": {"name": "search", "arguments": "{}"}}
PICTURE = "data:image/png;base64,iVBORw0KGgo="


def texts(context: Context) -> list[Any]:
    return [message["content"] for message in context.get_messages()]


def test_what_can_be_erased_is_nowhere_once_it_is_redacted() -> None:
    """Until then it is as any message, also in a fork and in a replay."""
    store = MemoryStore()
    context = Context(store, "i")
    number = context.append_message("user", "my card is 4711", erasable=True, message_id="m1")
    assert context.append_message("user", "my card is 4711", erasable=True, message_id="m1") == number
    context.append_message("assistant", "thanks")
    assert texts(Context(store, "i")) == texts(Context(store, context.fork())) == ["my card is 4711", "thanks"]
    assert Context(store, "i").replay_from_sequence(0)[0].details["message"]["content"] == "my card is 4711"
    context.redact_message(number)
    assert texts(Context(store, "i")) == ["[redacted]", "thanks"]
    assert context.get_messages(1)[0]["content"] == "[redacted]"
    assert "4711" not in repr(vars(store))
    with pytest.raises(BadMessage, match="without tool calls"):
        context.append_message("assistant", None, [CALL], erasable=True)


class Raced(MemoryStore):
    """In front of each append another writer writes, so often."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def append_context(self, instance_id: str, expected_seq: int, events: Sequence[JournalEvent]) -> None:
        if self.times:
            self.times -= 1
            other, self.times = self.times, 0
            Context(self, instance_id).append_message("user", "another's")
            self.times = other
        super().append_context(instance_id, expected_seq, events)


def test_who_was_second_writes_behind() -> None:
    """No message is lost, and each has its number."""
    context = Context(Raced(3), "i")
    assert context.append_message("user", "ours") == 3
    assert texts(context) == ["another's"] * 3 + ["ours"]


def test_who_is_always_second_is_told() -> None:
    """After so many tries, with what to do next."""
    with pytest.raises(StoreError, match="nothing was written: call again"):
        Context(Raced(2 * MAX_TRIES), "i").append_message("user", "ours")


def test_who_names_the_number_is_told_at_once() -> None:
    """With `expected_sequence` nothing is written where another was first."""
    store = MemoryStore()
    one, other = Context(store, "i"), Context(store, "i")
    assert one.append_message("user", "one", expected_sequence=-1) == 0
    with pytest.raises(WrongExpectedSequence):
        other.append_message("user", "other", expected_sequence=-1)
    assert texts(other) == ["one"]


def test_two_processes_lose_nothing() -> None:
    """Each message of several writers is there once, in the order in which each wrote them."""
    store = MemoryStore()

    def write(writer: int) -> None:
        context = Context(store, "i")
        for number in range(25):
            context.append_message("user", f"{writer} {number}")

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    found = texts(Context(store, "i"))
    for writer in range(4):
        assert [text for text in found if text.startswith(f"{writer} ")] == [
            f"{writer} {number}" for number in range(25)
        ]
    assert [event.seq for event in store.read_context("i")] == list(range(100))


class Silent(MemoryStore):
    """Takes what is appended, and does not say so."""

    silent = False

    def append_context(self, instance_id: str, expected_seq: int, events: Sequence[JournalEvent]) -> None:
        super().append_context(instance_id, expected_seq, events)
        if self.silent:
            raise StoreUnreachable("no answer")


def test_a_snapshot_that_fails_is_no_failure_of_the_append(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was appended is there: who is told otherwise appends it again."""

    class NoDocuments(MemoryStore):
        def put_document(self, document: Any) -> Any:
            raise StoreUnreachable("no answer")

    monkeypatch.setattr(log, "SNAPSHOT_EVERY", 2)
    context = Context(NoDocuments(), "i")
    assert [context.append_message("user", str(number)) for number in range(5)] == list(range(5))
    assert len(texts(context)) == 5


def test_a_snapshot_of_what_is_gone_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document that was left over from a session that has begun anew says nothing of it."""
    monkeypatch.setattr(log, "SNAPSHOT_EVERY", 2)
    store, other = MemoryStore(), MemoryStore()
    for number in range(4):
        Context(other, "i").append_message("user", f"gone {number}")
    (document,) = other.documents("session/i")
    Context(store, "i").append_message("user", "anew")
    store.put_document(msgspec.structs.replace(document, version=0))
    assert Context(store, "i").get_last_sequence() == 0
    for _ in range(5):
        Context(store, "i").append_message("user", "more")
    assert texts(Context(store, "i")) == ["anew"] + ["more"] * 5


def test_what_callers_do_to_their_objects_changes_nothing() -> None:
    """A message is what it was when it was given, in the process that wrote it as in any other."""
    store = MemoryStore()
    context = Context(store, "i")
    content = [{"type": "text", "text": "one", "pair": (1, 2)}]
    context.append_message("user", content)
    state = {"a": [1]}
    context.set_state(state)
    content.append({"type": "text", "text": "later"})
    context.get_messages()[0]["content"].clear()
    context.get_state()["a"].append(2)
    for reader in (context, Context(store, "i")):
        assert texts(reader) == [[{"type": "text", "text": "one", "pair": [1, 2]}]]
        assert reader.get_state() == {"a": [1]}


def test_a_message_costs_what_it_is() -> None:
    """However long the context is: one append, and nothing read but where another was first."""

    class Counted(MemoryStore):
        reads = 0

        def read_context(self, *given: Any, **more: Any) -> Any:
            self.reads += 1
            return super().read_context(*given, **more)

    store = Counted()
    context = Context(store, "i")
    work = []
    for number in range(301):
        if number % 100 == 0:
            work.append(operations(lambda: context.append_message("user", "x")))
        else:
            context.append_message("user", "x")
    assert store.reads <= 3
    assert work[3] - work[1] <= 250, work  # a line for an event that is there already: the store's own, in memory


def test_a_message_with_an_id_is_written_once() -> None:
    """By a call that was repeated since nobody knew, by another process, and after a snapshot."""
    store = Silent()
    context = Context(store, "i")
    context.append_message("system", "first")
    store.silent = True
    with pytest.raises(StoreUnreachable):
        context.append_message("assistant", None, [CALL], message_id="m1")
    store.silent = False
    assert context.append_message("assistant", None, [CALL], message_id="m1") == 1
    assert Context(store, "i").append_message("assistant", None, [CALL], message_id="m1") == 1
    assert Context(store, "i").append_message("user", "next", message_id="m2") == 4
    assert [message["role"] for message in context.get_messages()] == ["system", "assistant", "tool", "user"]


def test_a_message_id_that_two_use_at_once_is_one_message() -> None:
    """Who is second is given the number of the first."""

    class Both(MemoryStore):
        before = True

        def append_context(self, instance_id: str, expected_seq: int, events: Sequence[JournalEvent]) -> None:
            if self.before:
                self.before = False
                Context(self, instance_id).append_message("user", "hello", message_id="m1")
            super().append_context(instance_id, expected_seq, events)

    context = Context(Both(), "i")
    assert context.append_message("user", "hello", message_id="m1") == 0
    assert texts(context) == ["hello"]


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ({"role": "robot"}, "is one of system, developer, user, assistant, tool, not 'robot'"),
        ({"role": ["user"]}, "is one of"),
        ({"role": "user", "tool_calls": [CALL]}, "those are an assistant's"),
        ({"role": "tool", "content": "x"}, "tool_call_id"),
        ({"role": "assistant", "tool_calls": "calls"}, "a list of calls"),
    ],
)
def test_a_message_that_no_model_would_take_is_refused(message: dict[str, Any], why: str) -> None:
    """With what is wrong, before anything is written."""
    context = Context(MemoryStore(), "i")
    context.append_message("user", "kept")
    with pytest.raises(BadMessage, match=why):
        context.replace_messages([{"role": "user", "content": "kept"}, message])
    if not isinstance(message.get("tool_calls"), str):
        with pytest.raises(BadMessage, match=why):
            context.append_message(**message)
    assert context.get_last_sequence() == 0


def test_a_call_without_a_result_gets_one_that_says_so() -> None:
    """By `repair`, once, or in front of the next message that is no tool's."""
    context = Context(MemoryStore(), "i")
    context.append_message("assistant", None, [CALL, {**CALL, "id": "c2"}])
    context.append_message("tool", "42", tool_call_id="c1")
    assert (context.repair(), context.repair()) == (1, 0)
    (_, _, repaired) = context.get_messages()
    assert (repaired["tool_call_id"], repaired["content"]) == ("c2", "The tool was interrupted: there is no result.")
    assert context.replay_from_sequence(4)[0].details["repair"] is True


def test_what_is_kept_apart_is_whole_again() -> None:
    """Pictures as their bytes and type, long texts, bytes; in the events too, and of a fork from its base's session."""
    store = MemoryStore()
    context = Context(store, "i", session_id="s1", name="clerk", parent_id="boss")
    content = [
        {"type": "image_url", "image_url": {"url": PICTURE}},
        {"type": "text", "text": "x" * 50_000},
        {"raw": b"\0\1"},
    ]
    context.append_message("user", content, name="ann")
    (event,) = store.read_context("i")
    assert len(str(event.details)) < 1_000
    assert event.details["agent"] == {"name": "clerk", "parent": "boss"}
    kept = store.get_blobs("s1", [event.details["message"]["content"][0]["image_url"]["url"]["$blob"]])
    assert [blob.media_type for blob in kept.values()] == ["image/png"]
    context.append_message("user", content)
    seen = Blobs(store).resolved("s1", event.details["message"])  # as any reader of the journal has it
    assert seen["content"][:2] == content[:2]
    fork = Context(store, context.fork(session_id="s2"))
    assert [message["content"] for message in fork.get_messages()] == [content, content]
    assert fork.replay_from_sequence(1)[0].details["message"]["content"] == content
    assert (fork.session_id, context.session_id) == ("s2", "s1")


def test_a_part_that_is_gone_is_said() -> None:
    """A context that cannot be brought back whole is not brought back."""

    class Forgetful(MemoryStore):
        def get_blobs(self, session_id: str, digests: Any) -> dict[str, Any]:
            return {}

    context = Context(Forgetful(), "i")
    context.append_message("user", "x " * 25_000)
    with pytest.raises(StoreError, match="a part of the context, 50,002 bytes, is not there"):
        context.get_messages()


def test_what_is_not_there_cannot_be_gone_back_to() -> None:
    """Nor forked, redacted or asked for."""
    context = Context(MemoryStore(), "i")
    context.append_message("user", "one")
    for attempt in (
        lambda: context.truncate_after_sequence(1),
        lambda: context.truncate_after_sequence(-2),
        lambda: context.fork("f", 1),
        lambda: context.redact_message(1),
        lambda: context.redact_message(-1),
        lambda: context.get_messages(2),
        lambda: context.fork("i", session_id="other"),
    ):
        with pytest.raises(StoreError):
            attempt()
    assert context.get_last_sequence() == 0


def test_a_redacted_message_shows_another_content_everywhere() -> None:
    """Also after going back to before it was redacted."""
    context = Context(MemoryStore(), "i")
    number = context.append_message("user", "my card is 1234")
    context.redact_message(number)
    context.truncate_after_sequence(number)
    assert texts(context) == texts(Context(context._log.store, "i")) == ["[redacted]"]


def test_large_replacements_are_written_in_parts() -> None:
    """As many events at once as a store takes; they come into view together."""

    class Small(MemoryStore):
        @property
        def capabilities(self) -> Capabilities:
            return Capabilities(max_context_events=10)

        def append_context(self, instance_id: str, expected_seq: int, events: Sequence[JournalEvent]) -> None:
            assert len(events) <= 10
            super().append_context(instance_id, expected_seq, events)

    context = Context(Small(), "i")
    wanted = [{"role": "user", "content": str(number)} for number in range(25)]
    context.replace_messages(wanted)
    assert context.get_messages() == wanted


def test_a_window_that_moves_writes_no_message_again() -> None:
    """Of messages that are in view already ranges are written: a window over a long chat costs what is new."""
    store = MemoryStore()
    context = Context(store, "i")
    for number in range(50):
        context.append_message("user", f"{number}: " + "x" * 1000)
        context.replace_messages(context.get_messages()[-10:])
    assert len(context.get_messages()) == 10
    replaced = [event for event in store.read_context("i") if event.type == "CONTEXT_REPLACED"]
    assert all(len(str(event.details)) < 200 for event in replaced)
    assert sum(event.type == "USER_MESSAGE" for event in store.read_context("i")) == 50


# --- the public door ----------------------------------------------------------------------------------------------


def test_by_url_and_in_the_session_around_it(tmp_path: Path) -> None:
    """A store by its URL, an instance of its own, the session of the block."""
    url = f"sqlite:///{tmp_path}/journal.db"
    with session("around"):
        first = ContextService(url)
        first.append_message("user", "hello")
    again = ContextService(url, first.instance_id)
    assert (again.get_messages(), again.session_id) == ([{"role": "user", "content": "hello"}], "around")
    again.close()
    first.close()


def test_by_an_open_store_and_by_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is the environment's; a store that was given stays open."""
    store = MemoryStore()
    given = ContextService(store, "i")
    given.append_message("user", "hello")
    given.close()
    assert len(list(store.read_context("i"))) == 1
    monkeypatch.setenv("AGENT_JOURNAL_STORE", f"sqlite:///{tmp_path}/journal.db")
    own = ContextService(instance_id="i")
    assert own.append_message("user", "hello") == 0
    own.close()
    assert (tmp_path / "journal.db").exists()


def test_off_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file, no message, no error."""
    monkeypatch.setenv("AGENT_JOURNAL_CONTEXT", "off")
    off = ContextService(f"sqlite:///{tmp_path}/journal.db", "i")
    assert off.append_message("user", "hello") == -1
    off.set_state({"a": 1})
    off.replace_messages([{"role": "user", "content": "x"}])
    assert (off.get_messages(), off.get_state(), off.get_last_sequence()) == ([], {}, -1)
    assert (off.replay_from_sequence(0), off.repair()) == ([], 0)
    off.truncate_after_sequence(7)
    assert off.copy_to_new_instance("another", 7) == "another"
    off.close()
    assert not list(tmp_path.iterdir())


def test_a_store_without_contexts_says_so() -> None:
    """At once, not at the first message."""

    class Without(MemoryStore):
        @property
        def capabilities(self) -> Capabilities:
            return Capabilities(context=False)

    with pytest.raises(UnsupportedByStore):
        ContextService(Without(), "i")


def test_it_is_public() -> None:
    """By the name that the documentation has."""
    assert otel_agent_journal.ContextService is ContextService


def test_a_session_of_context_alone_is_found() -> None:
    """Its head can be written by whoever reads it, as of any session."""
    store = MemoryStore()
    Context(store, "i", session_id="s1").append_message("user", "hello")
    assert list(store.unsettled()) == ["s1"]
    assert store.write_head(a_head("s1")) is not None
