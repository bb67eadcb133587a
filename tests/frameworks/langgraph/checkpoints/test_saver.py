"""What the checkpointer keeps, refuses and shares: beyond what LangGraph's suite looks at."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME

from otel_agent_journal import JournalSaver, open_store, session
from otel_agent_journal.errors import StoreError, UnsupportedByStore
from otel_agent_journal.event import derived_id
from otel_agent_journal.frameworks.langgraph.checkpoints import log
from otel_agent_journal.frameworks.langgraph.checkpoints.thread import CheckpointChanged
from otel_agent_journal.frameworks.langgraph.checkpoints.values import OWN
from tests.frameworks.langgraph.checkpoints.puts import Hand, values_of, writes_of

Make = Callable[..., JournalSaver]
LATEST: Any = {"configurable": {"thread_id": "t"}}


# --- values -------------------------------------------------------------------------------------------------------


def stored(url: str) -> list[Any]:
    """Return what the events of thread `t` say."""
    store = open_store(url)
    try:
        return [event.details for event in store.read_context(derived_id("langgraph:t"))]
    finally:
        store.close()


def values_in(url: str) -> int:
    """Count the values that are in the events of thread `t`, without checkpoints' own state and metadata."""
    bodies = [said["body"] for said in stored(url)]
    beside = sum(body[what][0] == OWN for body in bodies for what in ("rest", "metadata") if what in body)
    return sum(len(body["values"]) for body in bodies) - beside


def test_a_list_is_what_was_added(saver: JournalSaver, another: Make, url: str) -> None:
    """Each element is written once, though a task writes it, and each checkpoint has the list."""
    hand, messages = Hand(saver), list[Any]()
    for number in range(20):
        message = HumanMessage(f"{number} " + "x" * 100, id=str(number))
        messages = [*messages, message]
        hand.put(messages=messages)
        hand.write(("messages", [AIMessage(f"answer {number} " + "y" * 100)]))
    assert values_in(url) == 40
    assert values_of(another(), LATEST)["messages"] == messages


@pytest.mark.parametrize(
    "change",
    [
        lambda given: given[3:],
        lambda given: given[:5] + given[8:],
        lambda given: list(reversed(given)),
        lambda given: [],
        lambda given: given + given,
        lambda given: [*given[:2], HumanMessage("new" * 20), *given[2:]],
    ],
    ids=["trimmed", "cut", "reversed", "emptied", "doubled", "inserted"],
)
def test_whatever_becomes_of_a_list(change: Any, saver: JournalSaver, another: Make, url: str) -> None:
    """It is as it was at each checkpoint, in this process and the next, and nothing is written twice."""
    hand = Hand(saver)
    first = [HumanMessage(f"{number} " + "x" * 50, id=str(number)) for number in range(10)]
    before = hand.put(messages=first)
    changed = change(first)
    after = hand.put(messages=changed)
    for reader in (saver, another()):
        assert values_of(reader, after).get("messages", []) == changed
        assert values_of(reader, before)["messages"] == first
        assert values_of(reader, after).get("messages", []) == changed
    assert values_in(url) <= 12


def test_an_element_that_was_changed_in_place_is_seen(saver: JournalSaver, another: Make) -> None:
    """Messages, dicts and objects of any class: the checkpoint before keeps what it had."""
    hand = Hand(saver)
    given: list[Any] = [
        AIMessage("a" * 50, tool_calls=[{"id": "1", "name": "t", "args": {"x": [1]}}]),
        {"deep": [{"x": "b" * 50}]},
        Document("c" * 50),
        HumanMessage([{"type": "text", "text": "d" * 50}]),
    ]
    before = hand.put(messages=given)
    given[0].tool_calls[0]["args"]["x"].append(2)
    given[1]["deep"][0]["x"] = "changed"
    given[2].page_content = "changed"
    given[3].content[0]["text"] = "changed"
    after = hand.put(messages=[*given, "more"])
    reader = another()
    found = values_of(reader, after)["messages"]
    assert found == [*given, "more"]
    assert [type(one) for one in found[:3]] == [AIMessage, dict, Document]
    old = values_of(reader, before)["messages"]
    assert old[0].tool_calls[0]["args"] == {"x": [1]}
    assert (old[1], old[2].page_content, old[3].content[0]["text"]) == ({"deep": [{"x": "b" * 50}]}, "c" * 50, "d" * 50)


def test_what_is_given_is_nobody_elses(saver: JournalSaver) -> None:
    """Whoever changes what a checkpoint gave him changes the journal's in nothing."""
    Hand(saver).put(messages=[{"x": "a" * 50}], state={"deep": [1]})
    found = values_of(saver, LATEST)
    found["messages"][0]["x"] = "changed"
    found["state"]["deep"].append(2)
    assert values_of(saver, LATEST) == {"messages": [{"x": "a" * 50}], "state": {"deep": [1]}}


def test_the_next_process_goes_on_from_what_it_read(saver: JournalSaver, another: Make, url: str) -> None:
    """A list that it got and put again with more costs what was added."""
    messages = [HumanMessage("x" * 100, id=str(number)) for number in range(50)]
    config = Hand(saver).put(messages=messages)
    other = another()
    hand = Hand(other)
    hand.config = config
    hand.put(messages=[*values_of(other, LATEST)["messages"], HumanMessage("new" * 50)])
    assert values_in(url) == 51


def test_values_that_are_large(saver: JournalSaver, another: Make, url: str) -> None:
    """They are blobs of the session, each event's in one; bytes, dicts and text of any kind come back."""
    given = {"bytes": os.urandom(100_000), "text": "ä\x00\ud7ff" * 30_000, "state": {"a": [b"\x00", 1.5, None, {1, 2}]}}
    Hand(saver).put(**given)
    assert set(stored(url)[0]["body"]) == {"$blob", "bytes"}
    assert values_of(another(), LATEST) == given


def test_values_are_read_again_where_there_is_no_room_for_all(
    saver: JournalSaver, another: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded: what was let go of is read again."""
    monkeypatch.setattr(log, "KEPT_BYTES", 500)
    hand, messages = Hand(saver), list[Any]()
    for number in range(20):
        messages = [*messages, HumanMessage(f"{number}" + "x" * 200, id=str(number))]
        hand.put(messages=messages)
    reader = another()
    for _ in range(2):
        assert values_of(reader, LATEST)["messages"] == messages
        assert values_of(saver, LATEST)["messages"] == messages


class Cipher:
    """A cipher whose every text is another, as it should be."""

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        nonce = os.urandom(16)
        return "test", nonce + self._with(plaintext, nonce)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        assert ciphername == "test"
        return self._with(ciphertext[16:], ciphertext[:16])

    def _with(self, data: bytes, nonce: bytes) -> bytes:
        stream = hashlib.shake_256(nonce).digest(len(data))
        return bytes(one ^ other for one, other in zip(data, stream, strict=True))


def test_encryption(another: Make, url: str, tmp_path: Path) -> None:
    """Nothing plain is at rest, elements are written once all the same, and a re-put is told from another."""
    serde = EncryptedSerializer(Cipher())
    saver = another(serde=serde)
    hand, messages = Hand(saver), list[Any]()
    for number in range(5):
        messages = [*messages, HumanMessage(f"secret {number}" + "x" * 100, id=str(number))]
        hand.put({"note": "secret"}, messages=messages)
        hand.write(("messages", [messages[-1]]))
    assert values_in(url) == 5
    saver.put(*hand.given)
    other = another(serde=serde)
    assert values_of(other, LATEST)["messages"] == messages
    hand = Hand(other)
    hand.put(messages=[*values_of(other, LATEST)["messages"], *messages])
    assert values_in(url) == 5
    saver.close()
    assert b"secret" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_copies_share_what_they_know(saver: JournalSaver) -> None:
    """`with_allowlist` and LangGraph make shallow copies: both go on with one thread."""
    hand = Hand(copy.copy(saver))
    hand.put(messages=["a" * 50])
    assert values_of(saver.with_allowlist([("tests", "X")]), LATEST) == {"messages": ["a" * 50]}  # type: ignore[arg-type]


# --- putting ------------------------------------------------------------------------------------------------------


def test_an_identical_put_is_accepted_and_another_refused(saver: JournalSaver, another: Make, url: str) -> None:
    """A checkpoint never changes: whoever puts it again with something else is told so, and nothing is written."""
    hand = Hand(saver)
    hand.put(messages=["a" * 50, "b"], state={"x": ["c"]}, none=None)
    hand.put(messages=["a" * 50, "b", "d"], state={"x": ["e"]})
    config, checkpoint, metadata, new = hand.given
    for one in (saver, another()):
        assert one.put(config, copy.deepcopy(checkpoint), dict(metadata), new) == hand.config  # type: ignore[arg-type]
        for what, changed in (
            ("value of messages", {"channel_values": {"messages": ["b"], "state": {"x": ["e"]}}}),
            ("value of state", {"channel_values": {"messages": ["a" * 50, "b", "d"], "state": {"x": ["f"]}}}),
            ("state", {"ts": "another"}),
        ):
            with pytest.raises(CheckpointChanged, match=f"another {what}, and a checkpoint never changes"):
                one.put(config, {**checkpoint, **changed}, metadata, new)  # type: ignore[typeddict-item]
        with pytest.raises(CheckpointChanged, match="another metadata"):
            one.put(config, checkpoint, {**metadata, "step": 99}, new)
    assert len(stored(url)) == 2


def test_writes_of_a_task(saver: JournalSaver, another: Make, url: str) -> None:
    """The first of a place stays, and those of special channels are replaced, as LangGraph's own savers do it."""
    hand = Hand(saver)
    hand.put()
    hand.write(("a", 1), ("b", 2))
    hand.write(("a", "another"), ("b", 2), ("c", 3))
    hand.write((INTERRUPT, "first"), (RESUME, ["once"]))
    hand.write((INTERRUPT, "second"))
    hand.write((INTERRUPT, "second"))
    for one in (saver, another()):
        assert writes_of(one, LATEST) == [(RESUME, ["once"]), (INTERRUPT, "second"), ("a", 1), ("b", 2), ("c", 3)]
    assert len(stored(url)) == 5


def test_writes_are_in_order(saver: JournalSaver, another: Make) -> None:
    """By the path of the task, then by the task and their own numbers: 2 comes before 10."""
    hand = Hand(saver)
    hand.put()
    hand.write(*(("c", number) for number in range(12)), task="1", path="~b")
    hand.write(("c", "a"), task="9", path="~a")
    assert [value for _, value in writes_of(another(), LATEST)] == ["a", *range(12)]


def test_writes_before_their_checkpoint(saver: JournalSaver, another: Make) -> None:
    """LangGraph's executor may bring them first; they are there once it is."""
    hand = Hand(saver)
    hand.put()
    _, checkpoint, metadata, _ = hand.given
    config = {"configurable": {**hand.config["configurable"], "checkpoint_id": "later"}}
    saver.put_writes(config, [("c", 1)], "t")  # type: ignore[arg-type]
    assert saver.get_tuple(config) is None  # type: ignore[arg-type]
    saver.put(hand.config, {**checkpoint, "id": "later"}, metadata, {})  # type: ignore[typeddict-item]
    assert writes_of(another(), config) == [("c", 1)]


def test_writes_name_their_checkpoint(saver: JournalSaver) -> None:
    """Without one nobody would find them: that is said. So is a config without a thread."""
    with pytest.raises(StoreError, match="writes of task x name no checkpoint_id"):
        saver.put_writes(LATEST, [("c", 1)], "x")
    with pytest.raises(ValueError, match="a checkpointer needs a thread"):
        saver.get_tuple({"configurable": {}})


def test_two_processes_lose_nothing(saver: JournalSaver, another: Make, url: str) -> None:
    """Each event has one number, whoever was first; what one writes the other sees."""
    first, other = Hand(saver), another()
    first.put(messages=["a" * 50])
    values_of(other, LATEST)
    second = Hand(other)
    second.config = first.config

    def write(saver: JournalSaver, task: str) -> None:
        for number in range(10):
            saver.put_writes(first.config, [("c", f"{task} {number}")], f"{task} {number}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, (saver, other, saver, other), "abcd"))
    second.put(messages=["a" * 50, "b"])
    assert values_of(saver, LATEST) == {"messages": ["a" * 50, "b"]}
    assert len(writes_of(saver, first.config)) == 40
    store = open_store(url)
    assert [event.seq for event in store.read_context(derived_id("langgraph:t"))] == list(range(42))
    store.close()


async def test_async_beside_each_other(saver: JournalSaver) -> None:
    """Many tasks of one loop use one saver."""
    config = Hand(saver).put()
    await asyncio.gather(*(saver.aput_writes(config, [("c", n)], str(n)) for n in range(20)))
    assert sorted(value for _, value in writes_of(saver, config)) == list(range(20))
    assert [one async for one in saver.alist(LATEST)] == list(saver.list(LATEST))


def test_versions_go_up(saver: JournalSaver) -> None:
    """They sort as text, also behind those of another saver, and no two branches have the same."""
    version, seen = None, list[str]()
    for _ in range(12):
        version = saver.get_next_version(version, None)
        seen.append(version)
    assert sorted(seen) == seen
    assert saver.get_next_version(seen[3], None) != seen[4]
    wide = "00000000000000000000000000000012.0.4"
    assert saver.get_next_version(wide, None) > wide
    assert saver.get_next_version(3, None).startswith("0000000004.")


# --- threads ------------------------------------------------------------------------------------------------------


def test_threads_are_found(saver: JournalSaver, another: Make) -> None:
    """Without a config all are listed, those of other processes too; a limit is one of all."""
    for thread in ("one", "two", "three"):
        Hand(saver, thread).put()
        Hand(saver, thread, "child:x").put()
    found = [one.config["configurable"]["thread_id"] for one in another().list(None)]
    assert sorted(found) == sorted(["one", "two", "three"] * 2)
    assert len(list(saver.list(None, limit=4))) == 4
    saver.delete_thread("two")
    assert {one.config["configurable"]["thread_id"] for one in another().list(None)} == {"one", "three"}


def test_a_deleted_thread_begins_anew(saver: JournalSaver, another: Make) -> None:
    """Its id may be used again, and nothing of what it had comes back: no checkpoint, no write, no list."""
    hand = Hand(saver)
    old = hand.put(messages=["a" * 50])
    hand.write(("c", 1))
    saver.delete_thread("t")
    for one in (saver, another()):
        assert (one.get_tuple(LATEST), one.get_tuple(old), list(one.list(LATEST))) == (None, None, [])
    saver.put(*hand.given)
    assert (values_of(another(), LATEST), writes_of(saver, LATEST)) == ({"messages": ["a" * 50]}, [])


def test_a_fork_and_its_base_go_their_own_ways(saver: JournalSaver, another: Make, url: str) -> None:
    """Nothing is copied, both go on, and an id that is taken is refused."""
    hand = Hand(saver)
    old = hand.put(messages=["a" * 50])
    hand.write(("c", 1))
    saver.copy_thread("t", "fork")
    saver.copy_thread("t", "fork")
    fork = Hand(saver, "fork")
    fork.config["configurable"]["checkpoint_id"] = old["configurable"]["checkpoint_id"]
    fork.put(messages=["a" * 50, "of the fork"])
    hand.put(messages=["a" * 50, "of the base"])
    for one in (saver, another()):
        assert values_of(one, LATEST) == {"messages": ["a" * 50, "of the base"]}
        assert values_of(one, {"configurable": {"thread_id": "fork"}}) == {"messages": ["a" * 50, "of the fork"]}
        assert [len(list(one.list({"configurable": {"thread_id": name}}))) for name in ("t", "fork")] == [2, 2]
    with pytest.raises(StoreError, match="is there already"):
        saver.copy_thread("fork", "t")
    store = open_store(url)
    first = next(store.read_context(derived_id("langgraph:fork")))
    assert (first.type, first.session_id, first.details["agent"]["thread"]) == ("CONTEXT_FORKED", "fork", "fork")
    assert len(list(store.read_context(derived_id("langgraph:fork")))) == 2
    store.close()


def test_the_session_of_a_thread(saver: JournalSaver, url: str) -> None:
    """It is the one that the code runs in as the thread begins, else one of the thread's id; it stays there."""
    with session("outer"):
        hand = Hand(saver, "inside")
        hand.put()
    hand.put()
    Hand(saver, "alone").put()
    store = open_store(url)
    found = {thread: list(store.read_context(derived_id(f"langgraph:{thread}"))) for thread in ("inside", "alone")}
    assert {thread: {event.session_id for event in events} for thread, events in found.items()} == {
        "inside": {"outer"},
        "alone": {"alone"},
    }
    assert found["alone"][0].details["agent"] == {"framework": "langgraph", "thread": "alone"}
    store.close()


def test_turned_off_it_keeps_in_memory(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AGENT_JOURNAL_CONTEXT=off: nothing is written, and a graph that needs a checkpointer has one."""
    monkeypatch.setenv("AGENT_JOURNAL_CONTEXT", "off")
    saver = JournalSaver(url)
    Hand(saver).put(messages=["a"])
    assert values_of(saver, LATEST) == {"messages": ["a"]}
    assert not list(tmp_path.iterdir())


def test_a_store_without_contexts_is_refused() -> None:
    """It is told as the saver is made."""
    with pytest.raises(UnsupportedByStore, match="context"):
        JournalSaver("otlp://127.0.0.1:1")


def test_a_strategy_that_there_is_not(saver: JournalSaver) -> None:
    """Pruning names what it knows."""
    with pytest.raises(ValueError, match="'some' is none of keep_latest, delete"):
        saver.prune(["t"], strategy="some")
