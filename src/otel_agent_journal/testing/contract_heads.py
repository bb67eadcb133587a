"""The contract of heads: compare-and-set, writers merged, listing by time, status, agent and id."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from otel_agent_journal.delivery.heads import HeadKeeper
from otel_agent_journal.projections.about import About
from otel_agent_journal.projections.cost import Billed
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.projections.spent import Spent, Sum
from otel_agent_journal.store.linked import read_whole
from otel_agent_journal.store.protocol import BRIEF, JournalStore, SessionFilter, StoreAdmin
from otel_agent_journal.store.rules import fold_from_beginning, same_head
from otel_agent_journal.testing.builders import a_head, an_event, events
from otel_agent_journal.testing.contract_setup import THREADS, ContractSetup

LISTED = {
    "a-1": {"status": "COMPLETED", "agent": "researcher", "updated_ns": 50},
    "a-2": {"status": "ERROR", "agent": "writer", "updated_ns": 40},
    "a_2": {"status": "ERROR", "agent": None, "updated_ns": 30},
    "A-3": {"status": "PROCESSING", "agent": "researcher", "updated_ns": 60},
    "b%1": {"status": "INTERRUPTED", "agent": "writer", "updated_ns": 20},
    "b1": {"status": "PENDING", "agent": "researcher", "updated_ns": 10},
    "é": {"status": "COMPLETED", "agent": "reviewer é", "updated_ns": 5},
    "b😀": {"status": "ERROR", "agent": "writer", "updated_ns": 4},
}

BRIEF_FILTERS: list[dict[str, Any]] = [
    {},
    {"parts": True},
    {"statuses": ("ERROR",)},
    {"statuses": ("ERROR", "PROCESSING"), "parts": True},
    {"agent": "researcher"},
    {"since_ns": 20, "until_ns": 45},
    {"until_ns": 44, "statuses": ("COMPLETED", "ERROR")},
    {"id_prefix": "a"},
    {"limit": 5},
]


def said_of(head: SessionHead) -> tuple[Any, ...]:
    """Return what a brief head says."""
    return tuple(getattr(head, name) for name in BRIEF)


def _call(call: Callable[[], object]) -> None:
    call()


class HeadContract(ContractSetup):
    """A head is a cache that no writer spoils."""

    @pytest.fixture(autouse=True)
    def _head_store(self, request: pytest.FixtureRequest) -> None:
        if "store" in request.fixturenames and request.function.__name__.startswith(("test_head", "test_list")):
            store = request.getfixturevalue("store")
            self.needs(store, "heads", lambda: store.write_head(a_head()))

    def test_head_round_trip(self, store: JournalStore) -> None:
        """A head is read back as it was written, with the store's version."""
        head = SessionHead(
            session_id="s1",
            status="INTERRUPTED",
            reason="awaiting_input",
            agent="researcher é",
            stage="CostCalculator",
            progress=33.5,
            events=1,
            steps=2,
            errors=3,
            input_tokens=4,
            output_tokens=5,
            cache_read_tokens=6,
            cache_write_tokens=7,
            reasoning_tokens=8,
            started_ns=9,
            updated_ns=10,
            ended_ns=11,
            writers={"w1": 12, "w2": 2**62},
            open_writers=("w1", "w2"),
            parts=("p1", "p é"),
            about=About(
                tags=("a é",),
                labels={"user": "anna"},
                spent=Spent(
                    sums=(Sum(Billed(48, "openai", "gpt é", "", "batch", 2), 3, (4, 5, 6, 7, 2**60)),),
                    reported=1,
                    reported_usd=Decimal("0.000000000001"),
                    untold=2,
                ),
            ),
        )
        written = store.write_head(head)
        assert written == msgspec.structs.replace(head, version=1)
        assert store.head("s1") == written
        assert list(store.sessions()) == [written]

    def test_head_of_defaults(self, store: JournalStore) -> None:
        """A head with nothing known is read back as such."""
        written = store.write_head(SessionHead(session_id="s1"))
        assert written == SessionHead(session_id="s1", version=1)
        assert store.head("s1") == written

    def test_head_of_strange_text(self, store: JournalStore) -> None:
        """A lone surrogate in a head is kept as its escape."""
        store.write_head(a_head(agent="a\udc80", stage="b\ud800"))
        head = store.head("s1")
        assert head is not None
        assert (head.agent, head.stage) == ("a\\udc80", "b\\ud800")

    def test_head_not_there(self, store: JournalStore) -> None:
        """A session without a head has none."""
        assert store.head("s1") is None
        assert list(store.sessions()) == []

    def test_head_versions(self, store: JournalStore) -> None:
        """A head is written over the version it was read at, and counts on."""
        head = store.write_head(a_head())
        for version in range(2, 6):
            assert head is not None
            head = store.write_head(msgspec.structs.replace(head, events=version))
            assert head is not None
            assert (head.version, head.events) == (version, version)
        assert store.head("s1") == head

    @pytest.mark.parametrize("version", [0, 1, 3])
    def test_head_stale(self, store: JournalStore, version: int) -> None:
        """A head of another version is not written: the caller gets None, the store keeps what it has."""
        first = store.write_head(a_head())
        assert first is not None
        second = store.write_head(msgspec.structs.replace(first, events=2))
        assert store.write_head(a_head(version=version, events=99, writers={"w": 2**60})) is None
        assert store.head("s1") == second

    def test_head_of_nothing(self, store: JournalStore) -> None:
        """A head that claims a version where there is none is not written."""
        assert store.write_head(a_head(version=1)) is None
        assert store.head("s1") is None

    def test_head_writers_merge(self, store: JournalStore) -> None:
        """Writers are merged: none is lost, and the later time of each stays."""
        first = store.write_head(a_head(writers={"w1": 100, "w2": 100}))
        assert first is not None
        second = store.write_head(msgspec.structs.replace(first, writers={"w1": 50, "w2": 150, "w3": 10}))
        assert second is not None
        assert second.writers == {"w1": 100, "w2": 150, "w3": 10}
        assert store.head("s1") == second

    def test_head_one_winner(self, store: JournalStore) -> None:
        """Of writers that read the same version one wins, and no count is lost when the others retry."""
        rounds = 10

        def count(client: JournalStore, number: int) -> int:
            refused = 0
            for _ in range(rounds):
                while True:
                    head = client.head("s1") or a_head(events=0, writers={})
                    counted = msgspec.structs.replace(head, events=head.events + 1, writers={f"w{number}": 1})
                    if client.write_head(counted) is not None:
                        break
                    refused += 1
            return refused

        self.in_threads(store, count)
        head = store.head("s1")
        assert head is not None
        assert (head.events, head.version) == (THREADS * rounds, THREADS * rounds)
        assert set(head.writers) == {f"w{number}" for number in range(THREADS)}

    @pytest.mark.parametrize(
        ("wanted", "expected"),
        [
            ({}, "A-3 a-1 a-2 a_2 b%1 b1 é b😀"),
            ({"statuses": ("ERROR",)}, "a-2 a_2 b😀"),
            ({"statuses": ("ERROR", "COMPLETED")}, "a-1 a-2 a_2 é b😀"),
            ({"statuses": ("NEVER",)}, ""),
            ({"agent": "researcher"}, "A-3 a-1 b1"),
            ({"agent": "reviewer é"}, "é"),
            ({"since_ns": 40}, "A-3 a-1 a-2"),
            ({"until_ns": 30}, "a_2 b%1 b1 é b😀"),
            ({"since_ns": 20, "until_ns": 40}, "a-2 a_2 b%1"),
            ({"since_ns": 41, "until_ns": 49}, ""),
            ({"id_prefix": "a-"}, "a-1 a-2"),
            ({"id_prefix": "a_"}, "a_2"),
            ({"id_prefix": "b%"}, "b%1"),
            ({"id_prefix": "b"}, "b%1 b1 b😀"),
            ({"id_prefix": "A"}, "A-3"),
            ({"id_prefix": "a-1"}, "a-1"),
            ({"id_prefix": ""}, "A-3 a-1 a-2 a_2 b%1 b1 é b😀"),
            ({"id_prefix": "zz"}, ""),
            ({"limit": 2}, "A-3 a-1"),
            ({"limit": 0}, ""),
            ({"limit": 100}, "A-3 a-1 a-2 a_2 b%1 b1 é b😀"),
            ({"agent": "researcher", "statuses": ("COMPLETED", "PENDING"), "since_ns": 10, "limit": 1}, "a-1"),
            ({"agent": "writer", "id_prefix": "a", "until_ns": 100}, "a-2"),
        ],
    )
    def test_list(self, store: JournalStore, wanted: dict[str, Any], expected: str) -> None:
        """Sessions are listed latest first, by status, agent, time (both bounds in) and literal prefix of the id."""
        for session_id, fields in LISTED.items():
            store.write_head(a_head(session_id, **fields))
        assert [head.session_id for head in store.sessions(SessionFilter(**wanted))] == expected.split()

    def test_head_of_a_part(self, store: JournalStore) -> None:
        """A head keeps which session it is part of, strange text and all."""
        store.write_head(a_head("t1", part_of="s\udc80"))
        head = store.head("t1")
        assert head is not None
        assert head.part_of == "s\\udc80"

    @pytest.mark.parametrize(
        ("wanted", "expected"),
        [
            ({}, "s3 s1"),
            ({"limit": 2}, "s3 s1"),
            ({"limit": 1}, "s3"),
            ({"statuses": ("ERROR",)}, "s1"),
            ({"id_prefix": "t"}, ""),
            ({"parts": True}, "t4 s3 t2 s1"),
            ({"parts": True, "limit": 3}, "t4 s3 t2"),
            ({"parts": True, "statuses": ("ERROR",)}, "t4 s1"),
            ({"parts": True, "id_prefix": "t"}, "t4 t2"),
            ({"parts": True, "since_ns": 20, "until_ns": 30}, "s3 t2"),
        ],
    )
    def test_list_parts(self, store: JournalStore, wanted: dict[str, Any], expected: str) -> None:
        """What is part of another session is listed where parts are wanted, and does not count towards a limit else."""
        heads = {"s1": ("ERROR", None), "t2": ("COMPLETED", "s1"), "s3": ("COMPLETED", None), "t4": ("ERROR", "s3")}
        for number, (session_id, (status, part_of)) in enumerate(heads.items(), 1):
            store.write_head(a_head(session_id, updated_ns=number * 10, status=status, part_of=part_of))
        assert [head.session_id for head in store.sessions(SessionFilter(**wanted))] == expected.split()

    def test_list_what_becomes_a_part(self, store: JournalStore) -> None:
        """A session that turns out to be part of another is listed no more, and counted no more."""
        written = store.write_head(a_head("t1", status="COMPLETED"))
        assert [head.session_id for head in store.sessions()] == ["t1"]
        assert written is not None
        store.write_head(a_head("s1", status="COMPLETED", parts=("t1",)))
        store.write_head(msgspec.structs.replace(written, part_of="s1"))
        assert [head.session_id for head in store.sessions()] == ["s1"]
        if isinstance(store, StoreAdmin):
            assert store.info().sessions in (None, 1)

    def test_head_of_a_session_with_parts(self, store: JournalStore) -> None:
        """As a drain delivers it: session and part are read as one, each event once, and the head counts both."""
        if not store.capabilities.read:
            pytest.skip("the store cannot be read")
        details = {"session": "s1", "trace": "t1", "other": "?"}
        links = [
            an_event(5, session_id=kept_in, event_id="link", type="SESSION_LINKED", details=details)
            for kept_in in ("s1", "t1")
        ]
        late = [an_event(9, session_id="t1"), an_event(0, session_id="t1", event_id=events(1)[0].event_id)]
        keeper = HeadKeeper(store, _call)
        for batch in (events(3, session_id="t1"), [*events(4), *links], late):
            keeper.note(batch, store.append(batch))
            keeper.write()
        found = list(read_whole(store, "s1"))
        assert [(event.timestamp_ns, event.event_id) for event in found] == sorted(
            {(event.timestamp_ns, event.event_id) for event in found}
        )
        assert sorted(event.session_id for event in found) == ["s1"] * 5 + ["t1"] * 4
        for session_id, parts, part_of, count in (("s1", ("t1",), None, 9), ("t1", (), "s1", 6)):
            head = store.head(session_id)
            assert head is not None
            assert (head.parts, head.part_of, head.events) == (parts, part_of, count)
            assert same_head(head, fold_from_beginning(store, session_id).head(session_id))
        assert [head.session_id for head in store.sessions()] == ["s1"]

    def test_list_moves(self, store: JournalStore) -> None:
        """A session whose head is written anew moves in the listing, and is listed once."""
        for number in range(3):
            store.write_head(a_head(f"s{number}", updated_ns=number))
        head = store.head("s0")
        assert head is not None
        store.write_head(msgspec.structs.replace(head, updated_ns=10, status="COMPLETED"))
        assert [head.session_id for head in store.sessions()] == ["s0", "s2", "s1"]
        assert [head.session_id for head in store.sessions(SessionFilter(statuses=("PROCESSING",)))] == ["s2", "s1"]

    @pytest.mark.parametrize("wanted", BRIEF_FILTERS)
    def test_list_briefly(self, store: JournalStore, wanted: dict[str, Any]) -> None:
        """A brief listing says the same of the same sessions as far as it says anything."""
        fields = {**LISTED, "p": {"part_of": "w"}, "w": {"parts": ("p",)}, "f": {"forks": ("g",)}, "g" * 300: {}}
        fields |= {"old": {"agent": "x" * 300, "updated_ns": 70}, "none": {"agent": "", "updated_ns": 80}}
        for session_id, more in fields.items():
            store.write_head(a_head(session_id, **{"status": "ERROR", "updated_ns": 45, **more}))
        full, brief = (list(store.sessions(SessionFilter(brief=said, **wanted))) for said in (False, True))
        assert [said_of(head) for head in brief] == [said_of(head) for head in full]
        assert len(full) == len({head.session_id for head in full}) > 1
        assert [head for head in brief if head.status == "PROCESSING"] == [
            head for head in full if head.status == "PROCESSING"
        ]

    def test_list_briefly_what_is_written(self, store: JournalStore) -> None:
        """Whatever is written meanwhile, a brief listing says of a session what a head of it said."""
        written: set[tuple[Any, ...]] = set()
        ended: list[int] = []

        def work(client: JournalStore, number: int) -> None:
            if number == 0:
                while len(ended) < THREADS - 1:
                    listed = list(client.sessions(SessionFilter(brief=True)))
                    assert len({head.session_id for head in listed}) == len(listed)
                    assert {said_of(head) for head in listed} <= written
                return
            try:
                for turn in range(6):
                    head = client.head(f"s{number % 2}") or a_head(f"s{number % 2}")
                    status = ("COMPLETED", "PROCESSING", "ERROR")[(turn + number) % 3]
                    new = msgspec.structs.replace(head, status=status, updated_ns=(turn * 7 + number) % 5 * 10**10)
                    written.add(said_of(msgspec.structs.replace(new, version=head.version + 1)))
                    client.write_head(new)
            finally:
                ended.append(number)

        self.in_threads(store, work)
        full, brief = (list(store.sessions(SessionFilter(brief=said))) for said in (False, True))
        assert [said_of(head) for head in brief] == [said_of(head) for head in full]
        assert sorted(head.session_id for head in brief) == ["s0", "s1"]

    def test_list_many(self, store: JournalStore) -> None:
        """A listing longer than any page is whole and in order, equal times included.

        One that is under way neither loses nor repeats a session while heads are written.
        """
        names = [f"s{number:04}" for number in range(1_100)]
        for number, name in enumerate(names):
            store.write_head(a_head(name, updated_ns=number // 3))
        listed = list(store.sessions())
        assert sorted(head.session_id for head in listed) == names
        times = [head.updated_ns for head in listed]
        assert times == sorted(times, reverse=True)
        listing = store.sessions()
        seen = [next(listing).session_id for _ in range(5)]
        for number in (3, 1_099, 550):
            head = store.head(names[number])
            assert head is not None
            store.write_head(msgspec.structs.replace(head, updated_ns=10_000 + number))
        seen += [head.session_id for head in listing]
        assert sorted(seen) == names
