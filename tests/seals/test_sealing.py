"""Sealed sessions in embedded stores: what was changed is found and named, and what was not is not."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from otel_agent_journal.codec import decode_line, encode_line
from otel_agent_journal.errors import CodecError, StoreError, UnsupportedByStore
from otel_agent_journal.seals import log as log_module
from otel_agent_journal.seals.anchors import FileAnchor, open_anchor
from otel_agent_journal.seals.carrying import carry
from otel_agent_journal.seals.entries import Entry
from otel_agent_journal.seals.erasing import erase
from otel_agent_journal.seals.log import SCOPE, Log, SealBroken
from otel_agent_journal.seals.records import Followed
from otel_agent_journal.seals.retention import record_deletions
from otel_agent_journal.seals.rotating import key_note
from otel_agent_journal.seals.sorting import in_order
from otel_agent_journal.seals.state import NAME, Seals
from otel_agent_journal.store.deleting import delete
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.protocol import Document, DocumentStore, JournalStore, of_session
from otel_agent_journal.store.registry import open_store
from tests.seals.sessions import (
    DIGEST,
    LARGE,
    NOW_NS,
    Tampered,
    a_session,
    altered,
    instead,
    keep,
    late,
    seal,
    signer,
    verify,
)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JournalStore]:
    """An embedded store."""
    opened = open_store("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/journal.db")
    yield opened
    opened.close()


def test_what_was_sealed_is_as_it_was(store: JournalStore) -> None:
    """A seal changes nothing of a session; a second one without anything new is none."""
    events = keep(store, a_session())
    (made,) = seal(store, "s")
    assert (made.seal, made.new, made.size) == (1, len(events), len(events))
    assert list(store.read("s")) == events
    assert verify(store) == ([], [(len(events), 0, 0)])
    assert seal(store, "s") == []
    assert seal(store, "nobody") == []


def test_any_byte_of_any_event_is_found_and_named(store: JournalStore) -> None:
    """Whatever a byte of an event becomes, the event is named; unless it is the same event still."""
    events = keep(store, a_session())
    seal(store, "s")
    chance = random.Random(7)
    found = 0
    for event in events:
        line = encode_line(event)
        for _ in range(25):
            data = bytearray(line)
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            try:
                other = decode_line(bytes(data))
            except CodecError:
                continue
            if other != event:
                told, _ = verify(Tampered(store, instead(event, other)))  # type: ignore[arg-type]
                assert event.event_id in {one.event_id for one in told}, (line, data)
                found += 1
    assert found > 50


def test_who_knows_the_format_is_found(store: JournalStore) -> None:
    """An event with a digest that fits is another event nevertheless; one that is gone or came in between is named."""
    events = keep(store, a_session())
    seal(store, "s")
    other = altered(events[0], details={"input": "no"})
    told, _ = verify(Tampered(store, instead(events[0], other)))  # type: ignore[arg-type]
    assert [(one.check, one.event_id) for one in told] == [("altered", events[0].event_id)]
    told, _ = verify(Tampered(store, instead(events[3], None)))  # type: ignore[arg-type]
    assert [(one.check, one.event_id) for one in told] == [("missing", events[3].event_id)]


def test_an_event_that_was_slipped_in_is_found(store: JournalStore) -> None:
    """One that did not arrive behind the seal, and yet is there, is no late event."""
    events = keep(store, a_session())
    seal(store, "s")

    class Slipped(Tampered):
        def read(self, session_id: str, after: tuple[int, str] | None = None) -> Iterator:
            del after
            extra = late("s", 99, events[2].timestamp_ns)
            yield from sorted([*events, extra], key=lambda one: (one.timestamp_ns, one.event_id))

    told, _ = verify(Slipped(store, lambda event: event))  # type: ignore[arg-type]
    assert [(one.check, one.event_id) for one in told] == [("added", f"{99:032x}")]

    class Turned(Tampered):
        def read(self, session_id: str, after: tuple[int, str] | None = None) -> Iterator:
            del after
            yield from [events[1], events[0], *events[2:], events[-1]]

    told, _ = verify(Turned(store, lambda event: event))  # type: ignore[arg-type]
    assert {one.check for one in told} == {"reordered", "added", "missing"}


def test_late_events_are_in_a_later_seal(store: JournalStore) -> None:
    """Before it they are an unsealed tail, whatever their time; the first seal's events keep their places."""
    events = keep(store, a_session())
    seal(store, "s")
    store.append([late("s", 1, events[0].timestamp_ns), late("s", 2, events[-1].timestamp_ns + 5)])
    told, verdicts = verify(store)
    assert [(one.check, one.detail[:9]) for one in told] == [("unsealed", "tail of 2")]
    assert verdicts == [(len(events), 0, 2)]
    (made,) = seal(store, "s")
    assert (made.seal, made.new, made.size) == (2, 2, len(events) + 2)
    assert verify(store) == ([], [(len(events) + 2, 0, 0)])


def test_many_seals_of_one_session_hold(store: JournalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists and records that are too many for one document are in several."""
    from otel_agent_journal.seals import state

    monkeypatch.setattr(state, "_TOGETHER", 3)
    monkeypatch.setattr(log_module, "TOGETHER", 4)
    keep(store, a_session())
    for number in range(20):
        store.append([late("s", number, 1_000_000_000 + number * (-1) ** number * 7)])
        seal(store, "s")
    found, verdicts = verify(store)
    assert (found, verdicts[0].unsealed) == ([], 0)
    gone = next(one for one in documents(store).documents(SCOPE) if one.name.startswith("log/"))
    documents(store).delete_document(SCOPE, gone.name, gone.version)
    told, _ = verify(store)
    assert [one.check for one in told] == ["altered"]


def documents(store: JournalStore) -> DocumentStore:
    """Return a store as who keeps documents."""
    assert isinstance(store, DocumentStore)
    return store


def test_a_deleted_session_is_found(store: JournalStore) -> None:
    """One that nobody recorded; one that its keeper deleted is not missing."""
    for one in ("a", "b", "c"):
        keep(store, a_session(one))
    seal(store, "a", "b", "c")
    record_deletions(store, ["a", "nobody"], "pruned", signer(), lambda: NOW_NS)
    delete(store, "a")
    delete(store, "b")
    told, verdicts = verify(store)
    assert [(one.check, one.session_id) for one in told] == [("missing", "b")]
    assert len(verdicts) == 1


def test_a_seal_that_was_put_back_is_found(store: JournalStore) -> None:
    """An older seal with the events that it had is a lie: the log has a newer one."""
    events = keep(store, a_session())
    seal(store, "s")
    old = documents(store).get_document(of_session("s"), NAME)
    assert old is not None
    store.append([late("s", 1, events[0].timestamp_ns)])
    seal(store, "s")
    now = documents(store).get_document(of_session("s"), NAME)
    assert now is not None
    documents(store).put_document(msgspec.structs.replace(old, version=now.version))
    told, _ = verify(Tampered(store, instead(late("s", 1, events[0].timestamp_ns), None)))  # type: ignore[arg-type]
    assert [(one.check, one.session_id) for one in told] == [("missing", "s")]
    assert "its newest seal is gone" in told[0].detail


def test_a_seal_that_is_gone_is_found(store: JournalStore) -> None:
    """As are its list, and one in another form."""
    keep(store, a_session())
    seal(store, "s")
    there = documents(store).get_document(of_session("s"), NAME)
    assert there is not None
    for data, what in ((b"{}", "cannot be read"), (None, "its seal is gone")):
        now = documents(store).get_document(of_session("s"), NAME)
        assert now is not None
        if data is None:
            documents(store).delete_document(of_session("s"), NAME, now.version)
        else:
            documents(store).put_document(msgspec.structs.replace(now, data=data))
        told, _ = verify(store)
        assert len(told) == 1
        assert what in told[0].detail


def test_a_value_kept_apart_is_sealed(store: JournalStore) -> None:
    """What an event refers to is missing, or another."""
    keep(store, a_session())
    seal(store, "s")

    class Lossy(Tampered):
        blob: bytes | None = None

        def get_blobs(self, session_id: str, digests: list[str]) -> dict:
            del session_id, digests
            from otel_agent_journal.store.protocol import Blob

            return {} if self.blob is None else {DIGEST: Blob(self.blob)}

    lossy = Lossy(store, lambda event: event)
    assert [one.check for one in verify(lossy)[0]] == ["missing"]  # type: ignore[arg-type]
    lossy.blob = LARGE[:-1]
    assert [one.check for one in verify(lossy)[0]] == ["altered"]  # type: ignore[arg-type]


def test_another_key_is_named(store: JournalStore) -> None:
    """A checkpoint by a key that was not given shows nothing."""
    keep(store, a_session())
    seal(store, "s", by=signer("mallory", 9))
    told, verdicts = verify(store)
    assert [one.check for one in told] == ["wrong key"]
    assert verdicts == []
    keep(store, a_session("t"))
    with pytest.raises(SealBroken, match="not signed by ops"):
        seal(store, "t")


def test_nothing_is_signed_over_what_was_changed(store: JournalStore) -> None:
    """Who writes to the store cannot have his log signed: the frontier is that of the root, or nothing is written."""
    keep(store, a_session())
    seal(store, "s")
    there = documents(store).get_document(SCOPE, "head")
    assert there is not None
    head = msgspec.json.decode(there.data)
    documents(store).put_document(
        msgspec.structs.replace(there, data=msgspec.json.encode({**head, "nodes": ["A" * 43 + "="]}))
    )
    keep(store, a_session("t"))
    with pytest.raises(SealBroken, match="not what was signed"):
        seal(store, "t")


def test_records_that_were_changed_are_found(store: JournalStore) -> None:
    """The records are not those of the root that was signed."""
    keep(store, a_session())
    keep(store, a_session("t"))
    seal(store, "s", "t")
    there = documents(store).get_document(SCOPE, "head")
    assert there is not None
    data = there.data.replace(b'\\"session\\":\\"t\\"', b'\\"session\\":\\"u\\"')
    assert data != there.data
    documents(store).put_document(msgspec.structs.replace(there, data=data))
    told, _ = verify(store)
    assert [one.check for one in told] == ["altered"]
    now = documents(store).get_document(SCOPE, "head")
    assert now is not None
    documents(store).delete_document(SCOPE, "head", now.version)
    told, _ = verify(store, "s")
    assert [one.check for one in told] == ["missing"]


def test_a_log_that_was_rolled_back_is_found(store: JournalStore, tmp_path: Path) -> None:
    """Store and log as they were an hour ago are consistent; only an anchor knows better."""
    keep(store, a_session())
    seal(store, "s")
    old = documents(store).get_document(SCOPE, "head")
    assert old is not None
    anchor = FileAnchor(tmp_path / "anchors.txt")
    first = Log(store).head()
    assert first is not None
    anchor.put(first.note, first.size, NOW_NS)
    keep(store, a_session("t"))
    seal(store, "t")
    told, _ = verify(store, anchors=tuple(anchor.kept()))
    assert [one.check for one in told] == ["not anchored"]
    second = Log(store).head()
    assert second is not None
    anchor.put(second.note, second.size, NOW_NS)
    kept = tuple(open_anchor(str(tmp_path / "anchors.txt")).kept())
    assert verify(store, anchors=kept)[0] == []
    documents(store).put_document(msgspec.structs.replace(old, version=second.version))
    told, _ = verify(store, anchors=kept)
    assert [one.check for one in told] == ["log rolled back"]
    delete(store, "t")
    (made,) = seal(store, "nobody", "s") or [None]
    assert made is None


def test_content_is_erased_and_the_seal_holds(store: JournalStore, tmp_path: Path) -> None:
    """What was said is nowhere in the store; what happened is, and the seal holds; late events are sealed on."""
    events = keep(store, a_session())
    seal(store, "s")
    done = erase(store, "s", (), signer(), tmp_path / "erasing", lambda: NOW_NS)
    assert (done.events, done.sealed) == (sum(bool(e.details) or e.error is not None for e in events), True)
    told, verdicts = verify(store)
    assert told == []
    assert verdicts == [(len(events), done.events, 0)]
    lines = b"".join(map(encode_line, store.read("s")))
    assert b"sky" not in lines
    assert b"Anna" not in lines
    assert [(e.type, e.name, e.usage) for e in store.read("s")] == [(e.type, e.name, e.usage) for e in events]
    store.append([late("s", 1, events[0].timestamp_ns)])
    seal(store, "s")
    assert verify(store)[0] == []
    assert list((tmp_path / "erasing").iterdir()) == []


def test_one_event_is_erased_alone(store: JournalStore, tmp_path: Path) -> None:
    """The others keep their content; an event without any, or that is not there, is said."""
    events = keep(store, a_session())
    seal(store, "s")
    erase(store, "s", (events[0].event_id,), signer(), tmp_path, lambda: NOW_NS)
    left = list(store.read("s"))
    assert left[1:] == events[1:]
    assert b"sky" not in encode_line(left[0])
    assert verify(store) == ([], [(len(events), 1, 0)])
    with pytest.raises(StoreError, match="nothing can be erased"):
        erase(store, "s", ("nobody",), signer(), tmp_path, lambda: NOW_NS)
    with pytest.raises(StoreError, match="is sealed"):
        erase(store, "s", (), None, tmp_path, lambda: NOW_NS)


def test_content_that_somebody_took_out_is_told(store: JournalStore, tmp_path: Path) -> None:
    """Erased without a record, the event has its leaf, and is told nevertheless."""
    keep(store, a_session())
    seal(store, "s")
    before = documents(store).get_document(SCOPE, "head")
    erase(store, "s", (), signer(), tmp_path, lambda: NOW_NS)
    now = documents(store).get_document(SCOPE, "head")
    assert before is not None
    assert now is not None
    documents(store).put_document(msgspec.structs.replace(before, version=now.version))
    assert [one.check for one in verify(store)[0]] == ["erased"]


def test_an_erasure_that_was_broken_off_goes_on(tmp_path: Path) -> None:
    """Whatever call fails, the next run finishes it: no event is lost, and the seal holds."""
    for failing in range(40):
        store = MemoryStore()
        events = keep(store, a_session())
        seal(store, "s")
        broken = Failing(store, failing)
        folder = tmp_path / str(failing)
        try:
            erase(broken, "s", (), signer(), folder, lambda: NOW_NS)  # type: ignore[arg-type]
        except ConnectionError:
            erase(store, "s", (), signer(), folder, lambda: NOW_NS)
        else:
            assert failing > 5
            break
        assert [event.key for event in store.read("s")] == [event.key for event in events]
        told, verdicts = verify(store)
        assert told == []
        assert verdicts[0].erased > 5


class Failing:
    """A store of which one call fails, counted from the first."""

    def __init__(self, store: JournalStore, at: int) -> None:
        self._store = store
        self._left = at

    def __getattr__(self, name: str):
        found = getattr(self._store, name)
        if not callable(found):
            return found

        def call(*given, **named):
            self._left -= 1
            if self._left == -1:
                raise ConnectionError(name)
            return found(*given, **named)

        return call


def test_an_unsealed_session_can_be_erased_and_sealed(store: JournalStore, tmp_path: Path) -> None:
    """What was gone before the seal is in the log with it."""
    keep(store, a_session())
    assert not erase(store, "s", (), None, tmp_path, lambda: NOW_NS).sealed
    seal(store, "s")
    told, verdicts = verify(store)
    assert told == []
    assert verdicts[0].erased > 5


def test_a_copy_has_the_seal(store: JournalStore, tmp_path: Path) -> None:
    """It holds there, by the session's own checkpoint, and is logged there by the next seal."""
    events = keep(store, a_session())
    seal(store, "s")
    erase(store, "s", (events[0].event_id,), signer(), tmp_path, lambda: NOW_NS)
    target = MemoryStore()
    target.append(list(store.read("s")))
    target.put_blob("s", DIGEST, LARGE)
    assert carry(store, target, "s")
    assert not carry(store, target, "s")
    told, verdicts = verify(target, "s")
    assert [one.session_id for one in told] == [""]
    assert verdicts == [(len(events), 1, 0)]
    assert [one.new for one in seal(target, "s")] == [0]
    target.append([late("s", 1, 5)])
    assert [one.new for one in seal(target, "s")] == [1]
    assert verify(target)[0] == []


def test_a_key_follows_another(store: JournalStore) -> None:
    """Who trusts either of them believes what both have sealed; who trusts neither, nothing."""
    old, new = signer(), signer("ops-2", 2)
    keep(store, a_session())
    seal(store, "s", by=old)
    Log(store).resign([Followed(note=str(key_note(old, new)), at="now")], new, old)
    keep(store, a_session("t"))
    store.append([late("s", 1, 5)])
    assert [one.seal for one in seal(store, "s", "t", by=new)] == [2, 1]
    for trusted in (old, new):
        assert verify(store, keys=[trusted.public])[0] == []
    assert [one.check for one in verify(store, keys=[signer("x", 3).public])[0]] == ["wrong key"]
    keep(store, a_session("u"))
    with pytest.raises(SealBroken, match="but by ops-2"):
        seal(store, "u", by=old)
    assert Seals(store, "u").state() is None


def test_a_note_of_one_key_ties_nothing(store: JournalStore) -> None:
    """A record that the old key has not signed lets nobody in."""
    old, new = signer(), signer("ops-2", 2)
    keep(store, a_session())
    seal(store, "s", by=old)
    forged = key_note(old, new)
    alone = str(forged._replace(signatures=forged.signatures[1:]))
    Log(store).append([Followed(note=alone, at="now"), Followed(note="nonsense", at="now")], old)
    assert [one.check for one in verify(store, keys=[new.public])[0]] == ["wrong key"]


def test_a_store_that_cannot_keep_seals_says_so() -> None:
    """Nothing is signed where it would be lost."""
    with pytest.raises(UnsupportedByStore):
        Log(open_store("otlp://127.0.0.1:1"))


def test_two_that_seal_at_once_make_one_history(store: JournalStore) -> None:
    """Who is second seals over what the first has sealed."""
    keep(store, a_session())

    class Racing(Tampered):
        raced = False

        def put_document(self, document: Document) -> Document | None:
            if document.name == NAME and not self.raced:
                self.raced = True
                seal(self._store, "s")
            return self._store.put_document(document)  # type: ignore[attr-defined]

    assert seal(Racing(store, lambda event: event), "s") == []  # type: ignore[arg-type]
    assert verify(store)[0] == []
    assert Seals(store, "s").state() is not None


def test_entries_are_sorted_in_bounded_memory() -> None:
    """What is too much to be sorted at once comes in the same order; what comes twice comes once."""
    entries = [Entry(number * 7 % 101, f"{number:x}", bytes(32), bytes(16)) for number in range(300)]
    assert list(in_order(iter([*entries, *entries[:50]]), run=16)) == sorted(entries, key=lambda one: one.position)
    ordered = sorted(entries, key=lambda one: one.position)  # runs that do not overlap, but for one at both their ends
    assert list(in_order(iter([*ordered[:16], ordered[15], *ordered[16:]]), run=16)) == ordered
