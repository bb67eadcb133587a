"""IdSet: a set of 64-bit ids that costs little more than the ids."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent_journal.projections.id_set import MASK, IdSet


@given(st.lists(st.integers(0, 40) | st.integers(0, MASK)), st.lists(st.integers(0, 40)))
def test_it_is_a_set(added: list[int], asked: list[int]) -> None:
    """`add` says whether an id is new; whatever was added is in it, once, and nothing else is."""
    ids, model = IdSet(), set[int]()
    for number in added:
        assert ids.add(number) is (number not in model)
        model.add(number)
    assert len(ids) == len(model)
    assert all((number in ids) is (number in model) for number in [*added, *asked, 0, MASK])


def test_it_stays_a_set_beyond_a_chunk() -> None:
    """Ten thousand ids in any order are told apart as ten are."""
    numbers = random.Random(3).sample(range(1 << 62), 10_000)
    ids = IdSet()
    assert all(ids.add(number) for number in numbers)
    assert not any(ids.add(number) for number in sorted(numbers))
    assert all(number in ids for number in numbers)
    assert not any(number + 1 in ids for number in numbers)
    assert len(ids) == 10_000


def test_it_takes_ids_that_only_ever_grow() -> None:
    """Ids that are no hashes are taken too."""
    ids = IdSet()
    assert all(ids.add(number) for number in range(5_000))
    assert len(ids) == 5_000
    assert 4_999 in ids
    assert 5_000 not in ids


@pytest.mark.serial
def test_an_id_costs_under_ten_bytes() -> None:
    """A hundred thousand ids take under ten bytes each."""
    source = random.Random(3)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        ids = IdSet()
        for _ in range(100_000):
            ids.add(source.getrandbits(64))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / len(ids) < 10
