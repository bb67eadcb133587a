"""What a query can possibly need of a table, read out of DuckDB's own plan for it. Pure but for that plan.

A plan names the filters that stand right at a scan, as SQL. DuckDB parses them into a tree (`json_serialize_sql`), and
they are turned into `Bounds`: sessions, the beginning of their ids, a span of time. Bounds are never narrower than the
filters, which DuckDB applies itself; what is not understood bounds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.codec import parse_timestamp
from otel_agent_journal.errors import CodecError
from otel_agent_journal.event import EMPTY
from otel_agent_journal.query.tables import TABLES, TIME, Table

Tree = Mapping[str, Any]

_MIRRORED: Final = {
    "COMPARE_EQUAL": "COMPARE_EQUAL",
    "COMPARE_GREATERTHAN": "COMPARE_LESSTHAN",
    "COMPARE_GREATERTHANOREQUALTO": "COMPARE_LESSTHANOREQUALTO",
    "COMPARE_LESSTHAN": "COMPARE_GREATERTHAN",
    "COMPARE_LESSTHANOREQUALTO": "COMPARE_GREATERTHANOREQUALTO",
}
_SINCE: Final = frozenset(("COMPARE_GREATERTHAN", "COMPARE_GREATERTHANOREQUALTO", "COMPARE_EQUAL"))
_UNTIL: Final = frozenset(("COMPARE_LESSTHAN", "COMPARE_LESSTHANOREQUALTO", "COMPARE_EQUAL"))
_PREFIX: Final = frozenset(("prefix", "starts_with", "^@"))


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What rows can matter; None bounds nothing. Times are UTC nanoseconds, both inclusive.

    `updated_until_ns` bounds when a session was last updated, the others any event of it.
    """

    session_ids: frozenset[str] | None = None
    id_prefix: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    updated_until_ns: int | None = None

    def both(self, other: Bounds) -> Bounds:
        """Return what lies within both."""
        ids = _chosen(self.session_ids, other.session_ids, frozenset[str].intersection)
        return Bounds(
            session_ids=ids,
            id_prefix=_chosen(self.id_prefix, other.id_prefix, lambda one, two: max(one, two, key=len)),
            since_ns=_chosen(self.since_ns, other.since_ns, max),
            until_ns=_chosen(self.until_ns, other.until_ns, min),
            updated_until_ns=_chosen(self.updated_until_ns, other.updated_until_ns, min),
        )

    def either(self, other: Bounds) -> Bounds:
        """Return what lies within one of the two, or between them."""
        return Bounds(
            session_ids=_widest(self.session_ids, other.session_ids, frozenset[str].union),
            id_prefix=_widest(self.id_prefix, other.id_prefix, _common),
            since_ns=_widest(self.since_ns, other.since_ns, min),
            until_ns=_widest(self.until_ns, other.until_ns, max),
            updated_until_ns=_widest(self.updated_until_ns, other.updated_until_ns, max),
        )

    def described(self) -> dict[str, Any]:
        """Return what it bounds, as data."""
        said = msgspec.structs.asdict(self)
        said["session_ids"] = None if self.session_ids is None else sorted(self.session_ids)
        return {name: value for name, value in said.items() if value is not None}


EVERYTHING: Final = Bounds()


def scans(plan: Tree, above: str = "") -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the table of each scan in a plan, with the filters at it and right above it, as SQL."""
    extra = cast("Tree", plan.get("extra_info") or EMPTY)
    if str(plan.get("name", "")).strip().endswith("ARROW_SCAN"):
        table = next((_table(column) for column in _texts(extra.get("Projections")) if _table(column)), None)
        if table is not None:
            yield table, [*_texts(extra.get("Filters")), *_texts(above)]
        else:  # nothing is known of it: whichever it is, it is not bounded
            yield from ((name, ()) for name in TABLES)
    filters = str(extra.get("Expression", "")) if str(plan.get("name", "")).strip() == "FILTER" else ""
    for child in plan.get("children") or ():
        yield from scans(child, filters)


def bounds_by_table(plans: Sequence[Tree], parse: Callable[[str], Tree | None]) -> dict[str, Bounds]:
    """Return for each table that a plan scans what all scans of it can need together.

    Args:
        plans: of `EXPLAIN (FORMAT json)`, the columns of a scan named `table.column`.
        parse: returns a condition as `json_serialize_sql` has it, or None.
    """
    found: dict[str, Bounds] = {}
    for plan in plans:
        for name, filters in scans(plan):
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
        case "COMPARISON", str(kind) if kind in _MIRRORED:
            if _column(tree["left"], table) is not None:
                return _compared(kind, tree["left"], tree["right"], table)
            return _compared(_MIRRORED[kind], tree["right"], tree["left"], table)
        case "BETWEEN", _:
            lower = _compared("COMPARE_GREATERTHANOREQUALTO", tree["input"], tree["lower"], table)
            return lower.both(_compared("COMPARE_LESSTHANOREQUALTO", tree["input"], tree["upper"], table))
        case "OPERATOR", "COMPARE_IN":
            column, *values = tree["children"]
            return reduce(Bounds.either, (_compared("COMPARE_EQUAL", column, value, table) for value in values))
        case "FUNCTION", _ if tree.get("function_name") in _PREFIX and len(tree["arguments"]) == 2:
            column, value = (_unnamed(argument) for argument in tree["arguments"])
            text = _constant(value)
            if _column(column, table) == "session_id" and isinstance(text, str):
                return Bounds(id_prefix=text)
            return EVERYTHING
        case _:
            return EVERYTHING


def _compared(kind: str, column: Tree, value: Tree, table: Table) -> Bounds:
    name, constant = _column(column, table), _constant(value)
    if name == "session_id":
        equal = kind == "COMPARE_EQUAL" and isinstance(constant, str)
        return Bounds(session_ids=frozenset((cast("str", constant),))) if equal else EVERYTHING
    if name not in table.times or constant is None:
        return EVERYTHING
    at = _time(name, constant, table)
    if at is None:
        return EVERYTHING
    return Bounds(
        since_ns=at if kind in _SINCE else None,
        until_ns=at if kind in _UNTIL and name not in table.reckoned else None,
        updated_until_ns=at if kind in _UNTIL and name in table.updated else None,
    )


def _time(name: str, constant: str | int, table: Table) -> int | None:
    kind = next(column.kind for column in table.columns if column.name == name)
    if kind != TIME:
        return constant if isinstance(constant, int) else None
    try:
        return parse_timestamp(constant) if isinstance(constant, str) else None
    except CodecError:  # infinity, or a year of five digits
        return None


def _column(tree: Tree, table: Table) -> str | None:
    """Return the column that a tree names, without its table."""
    if tree.get("class") != "COLUMN_REF":
        return None
    name, _, column = ".".join(tree["column_names"]).partition(".")
    return column if name == table.name else None


def _constant(tree: Tree) -> str | int | None:
    """Return the text or whole number that a tree is, through a cast of a text to a time."""
    if tree.get("class") == "CAST" and tree.get("type_expr", {}).get("type_name") == TIME:
        tree = tree["child"]
    literal = tree.get("literal") if tree.get("class") == "CONSTANT" else None
    match literal:
        case {"kind": "STRING", "text": str(text)}:
            return text
        case {"kind": "INTEGER", "text": str(digits)}:
            return int(digits)
        case _:
            return None


def _unnamed(argument: Tree) -> Tree:
    return argument.get("expression", argument)


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
