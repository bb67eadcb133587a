"""The fold of a thread's checkpoints: what is newest, what is listed, which writes count, after any event."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from otel_agent_journal.context.checkpoints import Checkpoints
from otel_agent_journal.event import JournalEvent


class Told(Checkpoints):
    """A fold that is told of events in short."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[JournalEvent] = []

    def tell(self, kind: str, **details: Any) -> int:
        number = self.next_number
        event = JournalEvent(session_id="s", event_id=str(number), type=kind, timestamp_ns=number, details=details)
        self.told.append(event)
        self.apply(event)
        return number

    def save(self, checkpoint: str, ns: str = "", parent: str | None = None, **more: Any) -> int:
        return self.tell("CHECKPOINT_SAVED", ns=ns, checkpoint=checkpoint, parent=parent, **more)

    def write(self, checkpoint: str, ns: str = "") -> int:
        return self.tell("CHECKPOINT_WRITES", ns=ns, checkpoint=checkpoint, task="t")

    def rewind(self, to: int, **checkpoint: str) -> int:
        return self.tell("CONTEXT_REWOUND", to=to, **({"checkpoint": {"": checkpoint["at"]}} if checkpoint else {}))

    def newest_id(self, ns: str = "") -> str | None:
        saved = self.newest(ns)
        return None if saved is None else saved.id

    def ids(self, ns: str | None = "") -> list[str]:
        return [saved.id for saved in self.listed(ns)]


def test_what_came_last_is_the_newest() -> None:
    """It is, whatever its id: clocks differ."""
    told = Told()
    told.save("z")
    told.save("a", parent="z")
    assert (told.newest_id(), told.ids()) == ("a", ["a", "z"])
    assert told.newest("elsewhere") is None


def test_namespaces_stand_apart() -> None:
    """Each has its newest; all are listed together, the last one first."""
    told = Told()
    told.save("1")
    told.save("2", "child:t")
    told.save("3")
    assert (told.newest_id(), told.newest_id("child:t")) == ("3", "2")
    assert told.ids(None) == ["3", "2", "1"]
    assert told.namespaces() == ["", "child:t"]


def test_a_rewind_brings_the_earlier_one_back() -> None:
    """What came after is not listed and is found by its id; another rewind may undo the first."""
    told = Told()
    told.save("1")
    told.save("2")
    told.rewind(1)
    assert (told.newest_id(), told.ids()) == ("1", ["1"])
    assert told.get("", "2") is not None
    told.save("3")
    assert told.ids() == ["3", "1"]
    told.rewind(2)
    assert told.ids() == ["2", "1"]
    told.rewind(4)
    assert told.ids() == ["3", "1"]


def test_writes_behind_the_point_do_not_count() -> None:
    """Of a rewind to a number those before it stay; where a checkpoint is named, none that was there before."""
    told = Told()
    told.save("1")
    early = told.write("1")
    told.write("1")
    told.rewind(2)
    assert told.writes("", "1") == [early]
    late = told.write("1")
    assert told.writes("", "1") == [early, late]
    told.rewind(2, at="1")
    assert told.writes("", "1") == []
    assert [told.write("1")] == told.writes("", "1")


def test_writes_on_what_is_left_behind_are_kept_for_it() -> None:
    """A checkpoint that is not in view has its writes; and the child that was made of writes is built of them still."""
    told = Told()
    told.save("1")
    first = told.write("1")
    told.save("2", parent="1")
    second = told.write("2")
    told.rewind(1, at="1")
    assert told.writes("", "2") == [second]
    child = told.get("", "2")
    assert child is not None
    assert (told.writes("", "1", child), told.writes("", "1")) == ([first], [])


def test_a_subgraph_goes_back_with_its_graph() -> None:
    """What ran on the checkpoint that a graph goes on from is not the newest, though it was stored before that."""
    told = Told()
    told.save("child-of-2", "node:t", parents={"": "2"})
    told.save("2")
    told.save("child-of-1", "node:s", parents={"": "1"})
    told.tell("CONTEXT_FORKED", instance="i", seq=3, checkpoint={"": "2"})
    assert (told.newest_id(), told.newest_id("node:t"), told.newest_id("node:s")) == ("2", None, "child-of-1")
    told.save("again", "node:t", parents={"": "2"})
    assert told.newest_id("node:t") == "again"


def test_a_fork_goes_on_from_the_checkpoint_that_is_named() -> None:
    """Later ones that its base had by then are left behind, since their namespace goes on from an earlier one."""
    told = Told()
    for checkpoint in ("1", "2", "3"):
        told.save(checkpoint)
    told.tell("CONTEXT_FORKED", instance="i", seq=3, checkpoint={"": "2"})
    assert told.ids() == ["2", "1"]
    told.save("4")
    assert told.ids() == ["4", "2", "1"]
    told.rewind(3)
    assert told.ids() == ["3", "2", "1"]


def test_a_fork_of_all_changes_nothing() -> None:
    """One that names no checkpoint has all of its base."""
    told = Told()
    told.save("1")
    write = told.write("1")
    told.tell("CONTEXT_FORKED", instance="i", seq=2)
    assert (told.newest_id(), told.writes("", "1")) == ("1", [write])


def test_the_point_of_a_checkpoint_has_all_that_it_was_made_of() -> None:
    """Writes on its ancestors count though they were stored after it; those on itself do not."""
    told = Told()
    told.save("1")
    told.save("2", parent="1")
    told.write("2")
    late = told.write("1")
    told.write("2")
    second = told.get("", "2")
    assert second is not None
    assert told.point_of(second) == late + 1
    first = told.get("", "1")
    assert first is not None
    assert told.point_of(first) == 1


def test_before() -> None:
    """In a namespace by order; in a subgraph's by what it ran on, where it says so; unknown ids as text."""
    told = Told()
    told.save("1")
    told.save("early", "node:t", parents={"": "2"})
    told.save("2")
    told.save("old", "node:s", parents={"": "1"})
    told.save("alone", "node:u")
    saved = {one.id: one for one in told.all()}
    assert told.is_before(saved["1"], "", "2")
    assert not told.is_before(saved["2"], "", "2")
    assert not told.is_before(saved["early"], "", "2")
    assert told.is_before(saved["old"], "node:s", "2")
    assert not told.is_before(saved["alone"], "", "2")
    assert told.is_before(saved["1"], "", "9")


def test_deleting() -> None:
    """All of it, all but what is kept, or those of runs; a rewind brings nothing back; what comes after stays."""
    told = Told()
    told.save("1", run_id="r")
    told.save("2", run_id="s")
    told.save("3", run_id="r")
    told.write("3")
    told.write("orphan")
    told.tell("CHECKPOINTS_DELETED", run_ids=["s"])
    assert told.ids() == ["3", "1"]
    told.tell("CHECKPOINTS_DELETED", keep={"": "3"})
    assert (told.ids(), len(told.writes("", "3")), told.writes("", "orphan")) == (["3"], 1, [])
    told.rewind(2)
    assert told.newest_id() is None
    assert told.get("", "1") is None
    told.tell("CHECKPOINTS_DELETED", all=True)
    assert told.get("", "3") is None
    told.save("1", run_id="r")
    assert told.ids() == ["1"]


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 9), st.sampled_from(["", "1", "2", "node:t"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(["", "n"]), inner, max_size=2)
    ),
    max_leaves=4,
)
KEYS = ("ns", "checkpoint", "parent", "parents", "to", "keep", "run_ids", "run_id", "step")
EVENTS = st.tuples(
    st.sampled_from(
        ["CHECKPOINT_SAVED", "CHECKPOINT_WRITES", "CHECKPOINTS_DELETED", "CONTEXT_REWOUND", "CONTEXT_FORKED", "X"]
    ),
    st.dictionaries(st.sampled_from(KEYS), JSON, max_size=5),
)


@given(st.lists(EVENTS, max_size=12))
def test_it_is_total(events: list[tuple[str, dict[str, Any]]]) -> None:
    """Whatever events say, all can be asked; the newest is the first that is listed, and what is listed is found."""
    told = Told()
    for kind, details in events:
        told.tell(kind, **details)
    for ns in told.namespaces():
        assert told.newest_id(ns) == next(iter(told.ids(ns)), None)
    for saved in told.listed():
        assert told.get(*saved.key) is saved
        assert 0 < told.point_of(saved) <= told.next_number
        assert not told.is_before(saved, *saved.key)
        told.writes(*saved.key)
