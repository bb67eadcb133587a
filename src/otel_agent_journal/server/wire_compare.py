"""What the server says of two sessions that are compared. Times are milliseconds; what is not known is null."""

from __future__ import annotations

from typing import Any

import msgspec


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two sessions, and what it took."""

    session_id: str
    status: str
    agent: str | None
    steps: int
    worked_ms: float
    input_tokens: int
    output_tokens: int


class SideStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step on one side."""

    step_id: str
    number: int
    kind: str
    name: str
    status: str
    attempts: int
    worked_ms: float | None
    input_tokens: int | None
    output_tokens: int | None
    error: str | None


class StepPair(msgspec.Struct, frozen=True, kw_only=True):
    """A step of either session, or of both: `state` and `differs` as in `agent-journal diff`.

    `depth` below a root. `within`: it is changed only as something beneath it is.
    """

    state: str
    differs: tuple[str, ...]
    depth: int
    within: bool
    a: SideStep | None
    b: SideStep | None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two sessions on one column of steps, a fork behind what it was forked from.

    `shared`: steps of `a` that a fork has in common with it, which are not among `pairs`; null where it is no fork.
    `totals`: how many pairs have each state. `first`: the place in `pairs` of the first difference, null where there is
    none. `more`: pairs that are left out of a very long comparison.
    """

    a: Side
    b: Side
    shared: int | None
    totals: dict[str, int]
    first: int | None
    pairs: tuple[StepPair, ...]
    more: int = 0


class FieldDifference(msgspec.Struct, frozen=True, kw_only=True):
    """Where a field of two steps differs first, as a JSON pointer, and what each side has there, long texts cut."""

    name: str
    at: str
    a: Any
    b: Any


class StepDifference(msgspec.Struct, frozen=True, kw_only=True):
    """What the content of one pair of steps differs in, field by field."""

    fields: tuple[FieldDifference, ...]
