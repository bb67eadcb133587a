"""What is kept apart is fetched when it is asked for, once as long as there is room, from wherever it is."""

from __future__ import annotations

from otel_agent_journal.reading.blobs import Blobs
from otel_agent_journal.reading.values import rebuilt
from otel_agent_journal.testing.builders import a_head
from tests.reading.counting import CountingStore

DEEP = 20_000


def test_each_value_is_fetched_once() -> None:
    """What is referred to several times, and what is not there, is asked for once."""
    store = CountingStore()
    one = store.kept_apart({"a": 1})
    blobs = Blobs(store)
    missing = {"$blob": "0" * 32}
    value = {"x": [one, one, {"y": one}], "z": missing}
    assert blobs.resolved("s1", value) == {"x": [{"a": 1}, {"a": 1}, {"y": {"a": 1}}], "z": missing}
    assert blobs.resolved("s1", one) == {"a": 1}
    assert set(store.fetched.values()) == {1}


def test_the_values_of_an_event_are_fetched_together() -> None:
    """Twenty values in one event are asked for in two calls, and in a third those that its part has."""
    store = CountingStore()
    store.write_head(a_head("s1", parts=("p1",)))
    own = [store.kept_apart(f"own {number}") for number in range(17)]
    of_part = [store.kept_apart(f"of the part {number}", "p1") for number in range(3)]
    blobs = Blobs(store)
    expected = [f"own {number}" for number in range(17)] + [f"of the part {number}" for number in range(3)]
    assert blobs.resolved("s1", [*own, *of_part]) == expected
    assert store.calls_for_values == 3
    assert blobs.resolved("s1", {"again": [*own, *of_part]}) == {"again": expected}
    assert store.calls_for_values == 3


def test_what_is_kept_in_memory_is_bounded() -> None:
    """Beyond the bound what was used least lately is dropped, and fetched again when it is asked for."""
    store = CountingStore()
    values = [store.kept_apart(str(number) * 1000) for number in range(5)]
    blobs = Blobs(store, max_kept_bytes=3 * 1300)
    for one in (*values, values[4], values[3], values[0]):
        blobs.resolved("s1", one)
    assert [store.fetched[str(one["$blob"])] for one in values] == [2, 1, 1, 1, 1]


def test_a_value_of_a_part_is_looked_for_where_the_last_one_was() -> None:
    """Of a session whose values are in a part of it the second is found at once."""
    store = CountingStore()
    store.write_head(a_head("s1", parts=("p1", "p2", "p3")))
    first, second = (store.kept_apart(text, "p2") for text in ("one", "two"))
    blobs = Blobs(store)
    assert (blobs.resolved("s1", first), blobs.resolved("s1", second)) == ("one", "two")
    assert (store.fetched[str(first["$blob"])], store.fetched[str(second["$blob"])]) == (3, 1)


def test_what_is_no_json_stays_a_reference() -> None:
    """A value that cannot be read is shown as what refers to it."""
    store = CountingStore()
    store.put_blob("s1", "1" * 32, b"[" * 100_000)
    reference = {"$blob": "1" * 32}
    assert Blobs(store).resolved("s1", reference) == reference


def test_no_value_is_too_deep() -> None:
    """Values are walked through without a bound to their depth."""
    value: list[object] = []
    for _ in range(DEEP):
        value = [{"x": value}]
    copied = rebuilt(value, lambda mapping: mapping)
    depth = 0
    while copied:
        copied, depth = copied[0]["x"], depth + 1
    assert depth == DEEP
