"""An agent's list of messages against its events: whatever is done to the list, it is brought back as it is."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from otel_agent_journal import ContextService
from otel_agent_journal.context import transcript as module
from otel_agent_journal.context.blocks import copied
from otel_agent_journal.context.transcript import Transcript
from otel_agent_journal.errors import StoreError, StoreUnreachable
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import Document, JournalStore, of_session
from otel_agent_journal.store.registry import open_store
from tests.context.transcript_race import check_race, writers_lose_nothing

PHASES = tuple(Phase) if os.environ.get("AGENT_JOURNAL_SOAK") else (Phase.explicit, Phase.generate)
LONG = bool(os.environ.get("AGENT_JOURNAL_SOAK"))
SECRET = "my card is 4711"


def transcript(store: JournalStore) -> Transcript:
    made = Transcript(store, "i", "s1", {"name": "a", "framework": "strands"})
    made.load()
    return made


def user(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"text": text}], **more}


def answer(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"text": text}]}


def calling(*ids: str) -> dict[str, Any]:
    calls = [{"toolUse": {"toolUseId": one, "name": "add", "input": {"a": 1}}} for one in ids]
    return {"role": "assistant", "content": [{"text": "let me"}, *calls]}


def results(*ids: str) -> dict[str, Any]:
    given = [{"toolResult": {"toolUseId": one, "status": "success", "content": [{"text": "3"}]}} for one in ids]
    return {"role": "user", "content": given}


def types_of(store: JournalStore) -> list[str]:
    return [event.type for event in store.read_context("i")]


def at_rest(store: MemoryStore) -> str:
    return repr([list(store.read("s1")), list(store.documents("s1")), vars(store)])


def test_each_message_is_an_event_its_calls_and_results_too() -> None:
    """Verbatim otherwise; the newest of a user's is one more event once it is settled."""
    store = MemoryStore()
    live = [user("add", tracking_id="t1"), calling("c1", "c2"), results("c1", "c2"), answer("3")]
    followed = transcript(store)
    for count in range(1, 5):
        followed.follow(live[:count])
    assert types_of(store) == [
        "USER_MESSAGE",
        "USER_MESSAGE",
        "ASSISTANT_MESSAGE",
        "TOOL_CALL",
        "TOOL_CALL",
        "USER_MESSAGE",
        "USER_MESSAGE",
        "TOOL_RESULT",
        "TOOL_RESULT",
        "ASSISTANT_MESSAGE",
    ]
    assert [event.name for event in store.read_context("i") if event.type == "TOOL_CALL"] == ["add", "add"]
    assert transcript(store).messages == live
    context = ContextService(store, "i")
    assert [len(context.get_messages(at)) for at in range(11)] == [0, 1, 1, 2, 2, 2, 3, 3, 3, 3, 4]
    assert context.get_messages(1) == live[:1], "which has been settled since"


def test_bytes_and_long_texts_come_back_as_they_were() -> None:
    """Whether or not their message is settled."""
    store = MemoryStore()
    picture = {"image": {"format": "png", "source": {"bytes": b"\x89PNG" + bytes(range(256))}}}
    live = [{"role": "user", "content": [picture, {"text": "x" * 20_000}, {"text": "\ud800"}]}]
    followed = transcript(store)
    followed.follow(live)
    assert transcript(store).messages == live
    live.append(answer("a picture"))
    followed.follow(live)
    assert transcript(store).messages == live


def test_a_body_that_no_document_takes_whole_is_in_several() -> None:
    """As DynamoDB's are limited."""

    class Small(MemoryStore):
        @property
        def capabilities(self) -> Any:
            import msgspec

            return msgspec.structs.replace(super().capabilities, max_document_bytes=1_000)

    store = Small()
    followed, live = transcript(store), [user("long " * 2_000)]
    followed.follow(live)
    assert transcript(store).messages == live
    live[0]["content"] = [{"text": "short"}]
    followed.redact_last(live[0])
    assert transcript(store).messages == live
    assert "long long" not in at_rest(store)


@pytest.mark.parametrize("long", [0, 3_000, 100_000])
def test_what_is_redacted_is_nowhere(tmp_path: Path, long: int) -> None:
    """Not in an event, a document, or the file."""
    url = f"sqlite:///{tmp_path}/journal.db"
    store = open_store(url)
    followed, live = transcript(store), [user("hello"), answer("hello"), user(long * "x" + SECRET)]
    for count in range(1, 4):
        followed.follow(live[:count])
    traces = (SECRET, "eHh4" * 20)  # of a long text in base64
    assert any(trace in _bytes(tmp_path) for trace in traces)
    live[-1]["content"] = [{"text": "[redacted]"}]
    assert followed.redact_last(live[-1])
    assert not any(trace in _bytes(tmp_path) for trace in traces)
    live.append(answer("I cannot"))
    followed.follow(live)
    assert transcript(store).messages == live
    assert ContextService(store, "i").get_messages() == live
    store.close()
    assert SECRET not in _bytes(tmp_path)


def _bytes(folder: Path) -> str:
    return "".join(path.read_bytes().decode("latin-1") for path in folder.iterdir())


def test_what_another_process_has_left_open_is_redacted_too() -> None:
    """As where a model is asked again after a crash."""
    store = MemoryStore()
    transcript(store).follow([user(SECRET)])
    later = transcript(store)
    live = later.messages
    live[-1]["content"] = [{"text": "[redacted]"}]
    assert later.redact_last(live[-1])
    assert SECRET not in at_rest(store)
    assert transcript(store).messages == live


def test_a_prompt_that_is_tried_again_is_redacted_in_both_places() -> None:
    """It is the same object, twice in the list."""
    store = MemoryStore()
    prompt = user(SECRET, tracking_id="t1")
    followed, live = transcript(store), [prompt]
    followed.follow(live)
    live.append(prompt)
    followed.follow(live)
    assert transcript(store).messages == live
    prompt["content"] = [{"text": "[redacted]"}]
    assert followed.redact_last(prompt)
    assert SECRET not in at_rest(store)
    live.append(answer("no"))
    followed.follow(live)
    assert transcript(store).messages == live


def test_a_redacted_form_of_its_own_leaves_the_list_as_it_is() -> None:
    """What is kept is redacted, and stays so when the list goes on."""
    store = MemoryStore()
    followed, live = transcript(store), [user(SECRET, tracking_id="t1")]
    followed.follow(live)
    assert followed.redact_last(user("[redacted]", tracking_id="t1"))
    live.append(answer("no"))
    followed.follow(live, look="all")
    assert SECRET not in at_rest(store)
    assert transcript(store).messages == [user("[redacted]", tracking_id="t1"), answer("no")]


def test_an_answer_that_is_redacted_stays_in_its_event_and_that_is_said() -> None:
    """Only a user's newest message is held."""
    store = MemoryStore()
    followed, live = transcript(store), [user("q"), answer(SECRET)]
    followed.follow(live)
    live[-1]["content"] = [{"text": "[redacted]"}]
    assert not followed.redact_last(live[-1])
    assert transcript(store).messages == live
    assert "MESSAGE_REDACTED" in types_of(store)


def test_the_newest_message_may_be_changed_until_it_is_settled() -> None:
    """As an offloader does: nothing of what it said is kept."""
    store = MemoryStore()
    followed, live = transcript(store), [user(SECRET, tracking_id="t1")]
    followed.follow(live)
    live[0] = user("short", tracking_id="t1")
    live.append(answer("ok"))
    followed.follow(live)
    assert transcript(store).messages == live
    assert SECRET not in at_rest(store)


def test_documents_do_not_grow_with_processes() -> None:
    """Each takes the one whose body is settled; one that is not stays."""
    store = MemoryStore()
    live: list[dict[str, Any]] = []
    for number in range(5):
        followed = transcript(store)
        live += [user(f"q{number}")]
        followed.follow([*followed.messages, live[-1]])
        live += [answer(f"a{number}")]
        followed.follow([*followed.messages, live[-1]])
    assert len(list(store.documents("session/s1"))) == 1
    transcript(store).follow([*live, user("crashed")])
    later = transcript(store)
    later.follow([*later.messages, user("again")])
    assert len(list(store.documents("session/s1"))) == 2
    assert [one["content"][0]["text"] for one in transcript(store).messages[-2:]] == ["crashed", "again"]


def test_what_was_read_by_itself_is_let_go_of() -> None:
    """A settled body's document is deleted when its writer is done."""
    store = MemoryStore()
    followed = transcript(store)
    followed.follow([user("q")])
    followed.close()
    assert len(list(store.documents("session/s1"))) == 1, "nobody else has the body"
    followed.follow([*followed.messages, answer("a")])
    followed.close()
    assert list(store.documents("session/s1")) == []


def test_two_writers_keep_each_question_with_its_answer() -> None:
    """What both say is in view, and what one trims is its own alone."""
    store = MemoryStore()
    one, other = transcript(store), transcript(store)
    first: list[dict[str, Any]] = [user("q1")]
    second: list[dict[str, Any]] = [user("q2")]
    one.follow(first)
    other.follow(second)
    first.append(answer("a1"))
    one.follow(first)
    second.append(answer("a2"))
    other.follow(second)
    assert transcript(store).messages == [*first, *second]
    first.append(user("q3"))
    one.follow(first)
    del first[:2]
    one.follow(first, look="all")
    assert transcript(store).messages == [*second, *first]


@pytest.mark.long_form
def test_writers_at_a_time_lose_nothing(tmp_path: Path) -> None:
    """In one SQLite file, each with a connection of its own."""

    def opened() -> JournalStore:
        return open_store(f"sqlite:///{tmp_path}/journal.db?synchronous=normal")

    writers, each = (8, 20) if LONG else (3, 6)
    writers_lose_nothing(opened, writers, each)
    with closing(opened()) as store:
        check_race(store, writers, each)


class Forgetful(MemoryStore):
    """Loses calls, or their answers, as told."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []

    def append_context(self, instance_id: str, expected_seq: int, events: Sequence[JournalEvent]) -> None:
        fault = self.faults.pop() if self.faults else ""
        if fault == "before":
            raise StoreUnreachable("away")
        super().append_context(instance_id, expected_seq, events)
        if fault == "after":
            raise StoreUnreachable("away")

    def put_document(self, document: Document) -> Document | None:
        fault = self.faults.pop() if self.faults else ""
        if fault == "before":
            raise StoreUnreachable("away")
        written = super().put_document(document)
        if fault == "after":
            raise StoreUnreachable("away")
        return written


TEXTS = st.sampled_from(["a", "b", "a longer text"])
OPERATIONS = st.sampled_from(
    ["ask", "answer", "call", "trim", "summary", "drop", "cut", "pin", "copy", "state", "again", "reload", "redact"]
)


@pytest.mark.long_form
@settings(max_examples=2_000 if LONG else 40, deadline=None, phases=PHASES)
@given(data=st.data(), faulty=st.booleans())
def test_whatever_is_done_to_the_list_it_is_brought_back(data: st.DataObject, faulty: bool) -> None:
    """Appended, trimmed, summarised, changed in place, copied, read anew; also where calls and answers are lost."""
    store = Forgetful()
    followed, live, state = transcript(store), list[dict[str, Any]](), dict[str, Any]()
    calls = 0
    for _ in range(data.draw(st.integers(1, 14))):
        operation = data.draw(OPERATIONS)
        text = data.draw(TEXTS)
        if operation == "ask":
            live.append(user(text, tracking_id=str(len(live))))
        elif operation == "answer":
            live.append(answer(text))
        elif operation == "call":
            calls += 1
            live += [calling(f"c{calls}"), results(f"c{calls}")]
        elif operation == "trim" and live:
            del live[: data.draw(st.integers(1, len(live)))]
        elif operation == "summary" and live:
            live[: len(live) // 2] = [user(f"summary: {text}")]
        elif operation == "drop" and live:
            live.pop(data.draw(st.integers(0, len(live) - 1)))
        elif operation == "cut" and live:
            live[data.draw(st.integers(0, len(live) - 1))]["content"] = [{"text": text}]
        elif operation == "pin" and live:
            live[data.draw(st.integers(0, len(live) - 1))]["metadata"] = {"pinned": True}
        elif operation == "copy":
            live = copy.deepcopy(live)
        elif operation == "state":
            state[data.draw(st.sampled_from("xyz"))] = data.draw(st.integers(0, 2))
        elif operation == "again" and live:
            live.append(live[-1])
        elif operation == "reload":
            followed = transcript(store)
            live = followed.messages
        elif operation == "redact" and live and not faulty:
            live[-1]["content"] = [{"text": "[redacted]"}]
            followed.follow(live[:-1] if followed.messages == live[:-1] else live, look="all")
            followed.follow(live)
            followed.redact_last(live[-1])
        _follow(
            store,
            followed,
            live,
            state,
            data.draw(st.lists(st.sampled_from(["", "before", "after"]))) if faulty else [],
        )
        found = transcript(store)
        assert found.messages == live
        assert found.state == state


def _follow(
    store: Forgetful, followed: Transcript, live: list[dict[str, Any]], state: Mapping[str, Any], faults: list[str]
) -> None:
    store.faults = [*faults]
    while True:
        try:
            followed.follow(live, state, "all")
        except StoreError:
            continue
        store.faults = []
        return


def test_a_redacted_message_that_is_changed_again_says_what_it_was_changed_to() -> None:
    """The redaction stands for what it redacted, not for what is put in its place later."""
    store = MemoryStore()
    followed, live = transcript(store), [user(SECRET, tracking_id="0")]
    followed.follow(live)
    live[0]["content"] = [{"text": "[redacted]"}]
    assert followed.redact_last(live[0])
    live[0]["content"] = [{"text": "better"}]
    followed.follow(live, look="all")
    live.append(answer("so it is"))
    followed.follow(live, look="all")
    assert transcript(store).messages == live
    assert SECRET not in at_rest(store)


def test_a_body_whose_replacement_s_answer_was_lost_is_replaced_in_its_own_document() -> None:
    """A retry finds its own write in the document that the event names, and no other document is taken."""
    store = Forgetful()
    followed, live = transcript(store), [user("q")]
    followed.follow(live)
    for text in ("again", "and again"):
        live[0]["content"] = [{"text": text}]
        store.faults = ["after"]
        with pytest.raises(StoreUnreachable):
            followed.follow(live)
        followed.follow(live)
        assert transcript(store).messages == live
    assert len(list(store.documents(of_session("s1")))) == 1


def test_a_lost_answer_writes_nothing_twice() -> None:
    """Where the append was there, and where it was not."""
    for fault in ("before", "after"):
        store = Forgetful()
        followed, live = transcript(store), [user("q")]
        followed.follow(live)
        live.append(answer("a"))
        store.faults = [fault]
        with pytest.raises(StoreUnreachable):
            followed.follow(live)
        live.append(user("q2"))
        followed.follow(live)
        assert transcript(store).messages == live
        assert types_of(store).count("ASSISTANT_MESSAGE") == 1


def test_an_append_costs_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a long list nothing is read, and only the last message looked into."""
    store = MemoryStore()
    followed = transcript(store)
    live = [answer(str(number)) for number in range(3_000)]
    followed.follow(live)
    monkeypatch.setattr(store, "read_context", None)
    copies = 0

    def counted(value: Any) -> Any:
        nonlocal copies
        copies += 1
        return copied(value)

    monkeypatch.setattr(module, "copied", counted)
    live.append(answer("more"))
    followed.follow(live)
    assert copies == 1


def test_what_was_said_is_not_kept_in_memory() -> None:
    """But for the messages that the agent itself has: a window that moves costs what is in it."""
    store = MemoryStore()
    followed = transcript(store)
    live: list[dict[str, Any]] = []
    for number in range(50):
        live += [user(f"{number} {'x' * 1_000}"), answer("ok")]
        followed.follow(live)
        del live[:-4]
        followed.follow(live, {"n": number}, "all")
    assert len(followed._log._said) == 0
    assert len(followed._known) == 4
    assert transcript(store).messages == live


def test_what_is_changed_inside_an_old_message_is_seen_in_its_turn() -> None:
    """Of a very long list those at the end are looked into each time, and the others by and by."""
    store = MemoryStore()
    followed = transcript(store)
    live = [answer(str(number)) for number in range(4_000)]
    followed.follow(live)
    live[5]["content"][0]["text"] = "changed"
    for _ in range(32):  # turns of 128
        followed.follow(live, look="some")
    assert transcript(store).messages == live


def test_a_state_that_has_changed_often_is_said_whole() -> None:
    """So that reading it costs what it is."""
    store = MemoryStore()
    followed = transcript(store)
    state: dict[str, Any] = {}
    for number in range(300):
        state |= {"n": number, str(number % 7): number}
        followed.follow([], state)
    assert transcript(store).state == state
    assert any(event.details.get("replaces") for event in store.read_context("i"))
