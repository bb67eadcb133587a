"""How a caller has a graph called, where it asks for more than its input, and what of it is streamed. Pure.

A run that has a `GraphCall` records what the graph streams, part by part, as STREAM_PART events of its session: what a
client of LangGraph is told is what is in the journal, whoever tells it and however often.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

ATTEMPT: Final = 1_000_000_000  # parts of the first attempt are numbered from 1, of the next from here on
END: Final = "end"  # the mode of the last part that an attempt records: the graph has had its say
VALUES: Final = "values"
EVENTS: Final = "events"
PIECE: Final = 50  # items of a list that go into one part


class GraphCall(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a graph is called with beside its input, in LangGraph's own terms.

    `modes`: what is streamed. `command`: in the place of an input. `config`: without its thread. `checkpoint`: what it
    goes on from, where that is not the last. `update`: nothing is run; `values` are written `as_node`, and the result
    is the checkpoint that came of it. `says`: an input that is a text is what a user says.
    """

    modes: tuple[str, ...] = (VALUES,)
    subgraphs: bool = False
    command: dict[str, Any] | None = None
    config: dict[str, Any] = {}
    context: Any = None
    checkpoint: dict[str, Any] = {}
    interrupt_before: list[str] | str | None = None
    interrupt_after: list[str] | str | None = None
    durability: str | None = None
    update: dict[str, Any] | None = None
    says: bool = False


class Changes:
    """A graph's state as it changes: told by what is new in it, so that a chat of n messages is not told n times."""

    def __init__(self) -> None:
        self.state: Any = None
        self._names: list[str] = []
        self._making: dict[str, Any] = {}

    def told(self, state: Any) -> list[dict[str, Any]]:
        """Return what makes the state before into this one, in pieces; all but the last say that there is `more`."""
        before, self.state = self.state, state
        if not isinstance(state, dict):
            return [{"whole": state}]
        named = cast("dict[str, Any]", state)
        known = cast("dict[str, Any]", before) if isinstance(before, dict) else {}
        fixed: dict[str, Any] = {}
        pieces: list[dict[str, Any]] = []
        for name, value in named.items():
            if name in known and _equal(known[name], value):
                continue
            if not isinstance(value, list) or not value:
                fixed[name] = value
                continue
            items = cast("list[Any]", value)
            kept = _kept(known.get(name), items)
            starts = range(kept, max(len(items), kept + 1), PIECE)
            pieces.extend({"add": {name: [start, items[start : start + PIECE]]}} for start in starts)
        first: dict[str, Any] = {"names": list(named)} | ({"set": fixed} if fixed else {})
        joined = [{**first, **(pieces[0] if pieces else {})}, *pieces[1:]]
        return [*({**piece, "more": True} for piece in joined[:-1]), joined[-1]]

    def take(self, piece: Mapping[str, Any]) -> bool:
        """Take in what was told; tell whether the state is whole again."""
        if "whole" in piece:
            self.state = piece["whole"]
            return True
        if "names" in piece:
            self._names = list(piece["names"])
            self._making = dict(cast("dict[str, Any]", self.state)) if isinstance(self.state, dict) else {}
        self._making |= piece.get("set", {})
        for name, (start, items) in piece.get("add", {}).items():
            had: Any = self._making.get(name)
            self._making[name] = [*(had[:start] if isinstance(had, list) else ()), *items]
        if piece.get("more"):
            return False
        self.state = {name: self._making.get(name) for name in self._names}
        return True


def _equal(one: Any, other: Any) -> bool:
    """Tell whether two values are the same in JSON: 1 is neither true nor 1.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        named = cast("dict[str, Any]", one)
        return len(named) == len(other) and all(
            name in other and _equal(value, other[name]) for name, value in named.items()
        )
    if isinstance(one, list):
        items = cast("list[Any]", one)
        return len(items) == len(other) and all(map(_equal, items, other))
    return bool(one == other)


def _kept(before: Any, now: list[Any]) -> int:
    """Return how many items at the beginning are as they were."""
    if not isinstance(before, list):
        return 0
    had = cast("list[Any]", before)
    pairs = zip(had, now, strict=False)
    return next((at for at, (one, other) in enumerate(pairs) if not _equal(one, other)), min(len(had), len(now)))
