"""A state told by what changes is the state that was."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from otel_agent_journal.pipeline.graph_calls import PIECE, Changes

scalars: Any = st.one_of(st.none(), st.booleans(), st.integers(0, 1), st.just(1.0), st.sampled_from(["", "a"]))
lists: Any = st.lists(st.one_of(scalars, st.fixed_dictionaries({"n": scalars})), max_size=4)
states: Any = st.one_of(
    st.dictionaries(st.sampled_from("abc"), st.one_of(scalars, lists, st.builds(lambda one: one * 40, lists))), scalars
)


@given(st.lists(states, max_size=6))
def test_what_is_folded_is_what_was_told(given_states: list[Any]) -> None:
    """Whatever a state becomes, who takes in the pieces has it, byte by byte, after the last of them and not before."""
    telling, taking = Changes(), Changes()
    for state in given_states:
        pieces = [json.loads(json.dumps(piece)) for piece in telling.told(state)]
        assert [taking.take(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
        assert json.dumps(taking.state) == json.dumps(state)


def test_a_chat_costs_what_is_new() -> None:
    """Of a long list that grows by one item that item is told; a long one at first in pieces."""
    telling = Changes()
    chat = [{"content": str(number)} for number in range(3 * PIECE)]
    assert len(telling.told({"messages": chat, "topic": "seats"})) == 3
    (piece,) = telling.told({"messages": [*chat, {"content": "new"}], "topic": "seats"})
    assert piece == {"names": ["messages", "topic"], "add": {"messages": [3 * PIECE, [{"content": "new"}]]}}
