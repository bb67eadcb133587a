"""What of an event is in its leaf, and how content goes from an event while its leaf stays."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from otel_agent_journal.codec import PLAIN_FIELDS, decode_line, encode_line, intact, sealed
from otel_agent_journal.errors import CodecError
from otel_agent_journal.event import ErrorInfo, JournalEvent
from otel_agent_journal.seals.entries import CHUNK, Entry, chunk_of, chunks, entries_in
from otel_agent_journal.seals.leaves import ERASED, NO_SALT, Unsealable, disclosed, erased, is_erased, leaf_of
from otel_agent_journal.seals.records import Deleted, Erased, Followed, Sealed, line_of, record_of
from tests.seals.sessions import a_session
from tests.strategies import events as any_events

SALT = bytes(range(16))
EVENTS = [decode_line(encode_line(event)) for event in a_session().events]


@given(st.sampled_from(EVENTS), st.data())
def test_every_byte_counts(event: JournalEvent, data: st.DataObject) -> None:
    """An event of which any byte is another has another leaf, or is no event, or is not intact, or the same event."""
    line = bytearray(encode_line(event))
    at = data.draw(st.integers(0, len(line) - 1))
    line[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        other = decode_line(bytes(line))
        same = leaf_of(other, SALT) == leaf_of(event, SALT) and intact(other)
    except (CodecError, Unsealable):
        return
    assert not same or other == event


@given(any_events, st.binary(min_size=16, max_size=16), st.data())
def test_an_erased_event_has_its_leaf(event: JournalEvent, salt: bytes, data: st.DataObject) -> None:
    """Whatever is kept, in one step or in two; and what is gone is in no byte of it, nor can its salt be had."""
    event = decode_line(encode_line(event))
    assume(ERASED not in event.details and len(set(salt)) > 4)
    names = sorted(event.details)
    kept = set(data.draw(st.lists(st.sampled_from(names)))) if names else set()
    gone = decode_line(encode_line(erased(event, salt, kept)))
    assert leaf_of(gone, NO_SALT) == leaf_of(event, salt)
    assert intact(gone)
    assert is_erased(gone)
    assert gone.details.keys() == kept | {ERASED}
    assert salt.hex() not in encode_line(gone).decode()
    again = decode_line(encode_line(erased(gone, NO_SALT, ())))
    assert leaf_of(again, NO_SALT) == leaf_of(event, salt)
    assert again.details.keys() == {ERASED}
    assert disclosed(again, NO_SALT).fields == {}


@given(any_events)
def test_a_leaf_is_json_with_sorted_keys_and_says_all_of_an_event(event: JournalEvent) -> None:
    """Its bytes are what any JSON library writes of it, and must stay so: seals of years ago are checked by them."""
    event = decode_line(encode_line(event))
    assume(ERASED not in event.details)
    leaf = leaf_of(event, SALT)
    told = msgspec.json.decode(leaf)
    assert msgspec.json.Encoder(order="sorted").encode(told) == leaf
    there = msgspec.to_builtins(event)
    plain = {name: there[name] for name in (*PLAIN_FIELDS, "usage") if there[name] is not None}
    always = {name: there[name] for name in ("event_id", "level", "schema_version", "session_id", "type")}
    always |= {"digest": event.digest is not None, "timestamp_ns": str(event.timestamp_ns)}
    hidden = {"details": told["details"]} | ({} if event.error is None else {"error": told["error"]})
    assert told == plain | always | hidden
    assert told["details"].keys() == event.details.keys()
    assert all(set(one) == {"sha256"} for one in told["details"].values())
    if event.error is not None:
        message = told["error"].pop("message")
        assert told["error"] == {"code": event.error.code, "type": event.error.type}
        assert set(message) == {"sha256"}


def test_the_same_content_has_another_commitment_each_time() -> None:
    """Nobody learns from two leaves that two answers were alike, nor finds a short one by trying."""
    assert leaf_of(EVENTS[0], SALT) != leaf_of(EVENTS[0], SALT[::-1])
    assert b"sky" not in leaf_of(EVENTS[0], SALT)
    failed = next(event for event in EVENTS if event.error is not None)
    assert b"Anna" not in leaf_of(failed, SALT)
    assert b"TimeoutError" in leaf_of(failed, SALT)


def erasure(event: JournalEvent, **changes: Any) -> JournalEvent:
    """Return an erased event whose note of that is another."""
    gone = erased(event, SALT, ())
    note = {**gone.details[ERASED], **changes}
    return sealed(msgspec.structs.replace(gone, details={**gone.details, ERASED: note}))


@pytest.mark.parametrize(
    "changes",
    [
        {"fields": None},
        {"salts": {"input": "00"}},
        {"salts": {"input": "00" * 16}},
        {"salts": {"input": "A0" * 16}},
        {"fields": {"input": "zz"}},
        {"more": 1},
        {"message": "00" * 32},
        {"message": 3},
        {"message_salt": "0"},
    ],
)
def test_an_erasure_that_contradicts_itself_has_no_leaf(changes: dict[str, Any]) -> None:
    """What an event says of its erasure is strict: there is one way to say it."""
    with pytest.raises(Unsealable):
        leaf_of(erasure(EVENTS[0], **changes), SALT)


def test_no_erasure_is_made_up() -> None:
    """`$erased` that is no mapping, or stands beside what is said to be gone."""
    for note in (None, "x", {}, {"fields": {"input": "00" * 32}, "salts": {"input": "00" * 16}}):
        with pytest.raises(Unsealable):
            leaf_of(msgspec.structs.replace(EVENTS[0], details={**EVENTS[0].details, ERASED: note}), SALT)


def test_a_message_that_was_erased_cannot_come_back() -> None:
    """In its place stands one word; any other is found."""
    failed = next(event for event in EVENTS if event.error is not None)
    gone = erased(failed, SALT, ())
    assert gone.error == ErrorInfo(type="TimeoutError", message="erased", code="408")
    for error in (ErrorInfo(type="TimeoutError", message="other", code="408"), None):
        with pytest.raises(Unsealable):
            leaf_of(msgspec.structs.replace(gone, error=error), SALT)
    empty = msgspec.structs.replace(failed, error=ErrorInfo(type="E"), digest=None)
    assert leaf_of(erased(empty, SALT, ()), NO_SALT) == leaf_of(empty, SALT)


def test_lists_come_back_as_they_were() -> None:
    """In chunks of a bounded number; what is none is refused."""
    entries = [Entry(number, f"{number:x}", bytes(32), SALT) for number in range(CHUNK + 1)]
    packed = list(map(chunk_of, chunks(entries)))
    assert [len(entries_in(one)) for one in packed] == [CHUNK, 1]
    assert [one for chunk in packed for one in entries_in(chunk)] == entries
    assert list(chunks(())) == []
    for bad in (b"", b"\xc1", msgspec.msgpack.encode([(1, "a", b"short", SALT)]), msgspec.msgpack.encode([(1, "a")])):
        with pytest.raises(CodecError):
            entries_in(bad)


def test_records_come_back_as_they_were() -> None:
    """Each kind of record is a line of JSON with sorted keys; what is none is refused."""
    for record in (
        Sealed(session="s", seal=1, size=2, root="r", at="t"),
        Deleted(session="s", why="pruned", at="t"),
        Erased(session="s", events=("a",), at="t"),
        Erased(session="s", all=True, at="t"),
        Followed(note="n", at="t"),
    ):
        assert record_of(line_of(record)) == record
    for bad in (b"", b"{}", b'{"is":"other"}'):
        with pytest.raises(CodecError):
            record_of(bad)
