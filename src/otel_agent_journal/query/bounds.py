"""What a query can possibly need of a table, read out of DuckDB's own plan for it. Pure but for that plan.

A plan names the filters that stand right at a scan, as SQL. DuckDB parses them into a tree (`json_serialize_sql`), and
they are turned into `Bounds`: sessions, the beginning of their ids, a span of time. Bounds are never narrower than the
filters, which DuckDB applies itself; what is not understood bounds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Any, Final, NamedTuple, cast

import msgspec

from otel_agent_journal.event import EMPTY
from otel_agent_journal.query.conditions import MIRRORED, Tree, column_of, constant_of, prefix_of, time_of
from otel_agent_journal.query.tables import TABLES, Table

_SINCE: Final = frozenset(("COMPARE_GREATERTHAN", "COMPARE_GREATERTHANOREQUALTO", "COMPARE_EQUAL"))
_UNTIL: Final = frozenset(("COMPARE_LESSTHAN", "COMPARE_LESSTHANOREQUALTO", "COMPARE_EQUAL"))
_ROWS_PASS: Final = frozenset(("PROJECTION", "FILTER"))  # one by one, in any order


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What rows can matter; None bounds nothing. Times are UTC nanoseconds, both inclusive.

    `updated_until_ns` bounds when a session was last updated, `ended_since_ns` when it ended, the others any event of
    it. `statuses` are as readers judge them.
    """

    session_ids: frozenset[str] | None = None
    id_prefix: str | None = None
    statuses: frozenset[str] | None = None
    agents: frozenset[str] | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    updated_until_ns: int | None = None
    ended_since_ns: int | None = None

    def both(self, other: Bounds) -> Bounds:
        """Return what lies within both."""
        return Bounds(
            session_ids=_chosen(self.session_ids, other.session_ids, frozenset[str].intersection),
            statuses=_chosen(self.statuses, other.statuses, frozenset[str].intersection),
            agents=_chosen(self.agents, other.agents, frozenset[str].intersection),
            id_prefix=_chosen(self.id_prefix, other.id_prefix, lambda one, two: max(one, two, key=len)),
            since_ns=_chosen(self.since_ns, other.since_ns, max),
            until_ns=_chosen(self.until_ns, other.until_ns, min),
            updated_until_ns=_chosen(self.updated_until_ns, other.updated_until_ns, min),
            ended_since_ns=_chosen(self.ended_since_ns, other.ended_since_ns, max),
        )

    def either(self, other: Bounds) -> Bounds:
        """Return what lies within one of the two, or between them."""
        return Bounds(
            session_ids=_widest(self.session_ids, other.session_ids, frozenset[str].union),
            statuses=_widest(self.statuses, other.statuses, frozenset[str].union),
            agents=_widest(self.agents, other.agents, frozenset[str].union),
            id_prefix=_widest(self.id_prefix, other.id_prefix, _common),
            since_ns=_widest(self.since_ns, other.since_ns, min),
            until_ns=_widest(self.until_ns, other.until_ns, max),
            updated_until_ns=_widest(self.updated_until_ns, other.updated_until_ns, max),
            ended_since_ns=_widest(self.ended_since_ns, other.ended_since_ns, min),
        )

    def described(self) -> dict[str, Any]:
        """Return what it bounds, as data."""
        said = msgspec.structs.asdict(self)
        for name in ("session_ids", "statuses", "agents"):
            said[name] = None if said[name] is None else sorted(said[name])
        return {name: value for name, value in said.items() if value is not None}


EVERYTHING: Final = Bounds()


class Scan(NamedTuple):
    """A scan in a plan: its table, and the filters at it and right above it, as SQL.

    `first`: limit and offset of the ORDER BY that alone stands above these, where there is one.
    """

    table: str
    filters: Sequence[str] = ()
    first: tuple[int, int] | None = None


def scans(plan: Tree, above: str = "", first: tuple[int, int] | None = None) -> Iterator[Scan]:
    """Yield each scan in a plan. `above`: the filter right above it; `first`: as of a scan, so far."""
    extra = cast("Tree", plan.get("extra_info") or EMPTY)
    name = str(plan.get("name", "")).strip()
    if name.endswith("ARROW_SCAN"):
        table = next((_table(column) for column in _texts(extra.get("Projections")) if _table(column)), None)
        if table is not None:
            yield Scan(table, [*_texts(extra.get("Filters")), *_texts(above)], first)
        else:  # nothing is known of it: whichever it is, it is not bounded
            yield from (Scan(name) for name in TABLES)
        return
    if name == "TOP_N":
        first = _counts(extra, "Top")
    elif name.endswith("LIMIT"):
        first = _counts(extra, "Limit")
    elif (name not in _ROWS_PASS and name != "ORDER_BY") or above:
        first = None
    children: Sequence[Tree] = plan.get("children") or ()
    if name.endswith("LIMIT") and not (children and str(children[0].get("name", "")).strip() == "ORDER_BY"):
        first = None
    filters = str(extra.get("Expression", "")) if name == "FILTER" else ""
    for child in children:
        yield from scans(child, filters, first)


def _counts(extra: Tree, limit: str) -> tuple[int, int] | None:
    found = str(extra.get(limit, "")), str(extra.get("Offset", "0"))
    return (int(found[0]), int(found[1])) if all(one.isdecimal() for one in found) else None


def bounds_by_table(plans: Sequence[Tree], parse: Callable[[str], Tree | None]) -> dict[str, Bounds]:
    """Return for each table that a plan scans what all scans of it can need together.

    Args:
        plans: of `EXPLAIN (FORMAT json)`, the columns of a scan named `table.column`.
        parse: returns a condition as `json_serialize_sql` has it, or None.
    """
    found: dict[str, Bounds] = {}
    for plan in plans:
        for name, filters, _ in scans(plan):
            trees = [parse(text) for text in filters]
            # A plan cuts a text at its line ends: of filters of which one is a mere piece, none is believed.
            whole = [] if None in trees else [tree for tree in trees if tree is not None]
            within = reduce(Bounds.both, (_bounds(tree, TABLES[name]) for tree in whole), EVERYTHING)
            found[name] = within if name not in found else found[name].either(within)
    return found


def _bounds(tree: Tree, table: Table) -> Bounds:
    match tree.get("class"), tree.get("type"):
        case "CONJUNCTION", "CONJUNCTION_AND":
            return reduce(Bounds.both, (_bounds(child, table) for child in tree["children"]))
        case "CONJUNCTION", "CONJUNCTION_OR":
            return reduce(Bounds.either, (_bounds(child, table) for child in tree["children"]))
        case "COMPARISON", str(kind) if kind in MIRRORED:
            if column_of(tree["left"], table) is not None:
                return _compared(kind, tree["left"], tree["right"], table)
            return _compared(MIRRORED[kind], tree["right"], tree["left"], table)
        case "BETWEEN", _:
            lower = _compared("COMPARE_GREATERTHANOREQUALTO", tree["input"], tree["lower"], table)
            return lower.both(_compared("COMPARE_LESSTHANOREQUALTO", tree["input"], tree["upper"], table))
        case "OPERATOR", "COMPARE_IN":
            column, *values = tree["children"]
            return reduce(Bounds.either, (_compared("COMPARE_EQUAL", column, value, table) for value in values))
        case "FUNCTION", _:
            prefix = prefix_of(tree, table)
            return Bounds(id_prefix=prefix[1]) if prefix and prefix[0] == "session_id" else EVERYTHING
        case _:
            return EVERYTHING


def _compared(kind: str, column: Tree, value: Tree, table: Table) -> Bounds:
    name, constant = column_of(column, table), constant_of(value)
    if name is None or constant is None:
        return EVERYTHING
    if name in table.named:
        if kind != "COMPARE_EQUAL" or not isinstance(constant, str):
            return EVERYTHING
        return msgspec.structs.replace(EVERYTHING, **{table.named[name]: frozenset((constant,))})
    if name not in table.times and name not in table.ended:
        return EVERYTHING
    at = time_of(constant, next(one.kind for one in table.columns if one.name == name))
    if at is None:
        return EVERYTHING
    if name in table.ended:
        return Bounds(ended_since_ns=at) if kind in _SINCE else EVERYTHING
    return Bounds(
        since_ns=at if kind in _SINCE else None,
        until_ns=at if kind in _UNTIL and name not in table.reckoned else None,
        updated_until_ns=at if kind in _UNTIL and name in table.updated else None,
    )


def _table(column: str) -> str | None:
    name = column.strip('"').partition(".")[0]
    return name if name in TABLES else None


def _texts(value: Any) -> list[str]:
    if not value:
        return []
    return [value] if isinstance(value, str) else [str(one) for one in cast("list[Any]", value)]


def _common(one: str, two: str) -> str | None:
    short, long = sorted((one, two), key=len)
    return short if long.startswith(short) else None


def _chosen(one: Any, two: Any, choose: Callable[[Any, Any], Any]) -> Any:
    if one is None or two is None:
        return two if one is None else one
    return choose(one, two)


def _widest(one: Any, two: Any, choose: Callable[[Any, Any], Any]) -> Any:
    return None if one is None or two is None else choose(one, two)
