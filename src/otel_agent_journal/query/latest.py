"""How many of the latest sessions a query needs: `ORDER BY updated_at DESC LIMIT n`, the order of listings. Pure.

The plan says what stands between the limit and the scan, but not reliably what it is ordered by: names there may be a
user's own, and where NULL comes is not said. The SQL, parsed, says that. Only where both are plain is anything
concluded; otherwise every session is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.query.bounds import Scan, scans
from otel_agent_journal.query.conditions import Test, Tree, constant_of, test_of
from otel_agent_journal.query.tables import SESSIONS, TABLES

_PLAIN_TABLE: Final = frozenset(
    ("type", "alias", "query_location", "query_location_length", "table_name", "qualified_name")
)
_PLAIN_STAR: Final = frozenset(
    ("class", "type", "query_location", "query_location_length", "columns", "relation_name", "exclude_list")
)
_DESCENDING: Final = frozenset(("DESCENDING", "ORDER_DESCENDING"))
_NULLS_LAST: Final = frozenset(("ORDER_DEFAULT", "NULLS LAST"))


class Latest(msgspec.Struct, frozen=True):
    """So many of the latest sessions are needed that fulfil all conditions, and those updated at the same moment."""

    count: int
    conditions: tuple[Test, ...] = ()

    def has(self, head: SessionHead) -> bool:
        """Tell whether a session is surely one of the rows that are ordered."""
        return bool(head.updated_ns) and all(test(head) for test in self.conditions)


def latest_of(plans: Sequence[Tree], statement: Tree | None, parse: Callable[[str], Tree | None]) -> Latest | None:
    """Return how many of the latest sessions a query needs; None: it may need any.

    Args:
        plans: of `EXPLAIN (FORMAT json)`.
        statement: the query, as `json_serialize_sql` has it, or None where it has not.
        parse: returns a condition in the same form, or None.
    """
    found = [scan for plan in plans for scan in scans(plan) if scan.table == SESSIONS.name]
    if len(found) != 1 or statement is None:
        return None
    (scan,), limit = found, _limit(statement)
    if limit is None or limit != scan.first:
        return None
    conditions = _conditions(scan, parse)
    return None if conditions is None else Latest(sum(limit), conditions)


def _conditions(scan: Scan, parse: Callable[[str], Tree | None]) -> tuple[Test, ...] | None:
    trees = [parse(text) for text in scan.filters]
    tests = [None if tree is None else test_of(tree, TABLES[scan.table]) for tree in trees]
    known = tuple(test for test in tests if test is not None)
    return known if len(known) == len(tests) else None


def _limit(statement: Tree) -> tuple[int, int] | None:
    """Return limit and offset of the one SELECT of sessions in a statement, if it is ordered as listings are."""
    nodes = list(_nodes(statement))
    named = [node for node in nodes if node.get("type") == "BASE_TABLE" and _is(node["table_name"], SESSIONS.name)]
    selects = [node for node in nodes if node.get("type") == "SELECT_NODE" and node.get("from_table") in named]
    if len(named) != 1 or len(selects) != 1 or any(_is(node.get("key"), SESSIONS.name) for node in nodes):
        return None
    (table,), (select,) = named, selects
    modifiers = {one["type"]: one for one in select.get("modifiers") or ()}
    if set(modifiers) != {"ORDER_MODIFIER", "LIMIT_MODIFIER"} or _said(table) - _PLAIN_TABLE:
        return None
    order, limit = modifiers["ORDER_MODIFIER"]["orders"][0], modifiers["LIMIT_MODIFIER"]
    if order["type"] not in _DESCENDING or order["null_order"] not in _NULLS_LAST:
        return None
    if not _is_update(order["expression"], select.get("select_list") or (), table):
        return None
    count, offset = (constant_of(limit.get(name) or {}) for name in ("limit", "offset"))
    if not isinstance(count, int) or (limit.get("offset") and not isinstance(offset, int)):
        return None
    return count, cast("int", offset or 0)


def _is_update(expression: Tree, columns: Sequence[Tree], table: Tree) -> bool:
    """Tell whether an expression of ORDER BY is when a session was last updated; names of the result come first."""
    number = constant_of(expression)
    if any(one.get("class") == "STAR" and (_said(one) - _PLAIN_STAR) for one in columns):
        return False  # it may rename or replace
    if isinstance(number, int):
        plain = not any(one.get("class") == "STAR" for one in columns) and 0 < number <= len(columns)
        return plain and _is_column(columns[number - 1], table)
    if expression.get("class") == "COLUMN_REF" and len(expression["column_names"]) == 1:
        (name,) = expression["column_names"]
        same = [one for one in columns if _is(one.get("alias"), name)]
        return all(_is_column(one, table) for one in (*same, *(() if same else (expression,))))
    return _is_column(expression, table)


def _is_column(expression: Tree, table: Tree) -> bool:
    if expression.get("class") != "COLUMN_REF":
        return False
    *owner, name = expression["column_names"]
    return name.lower() in SESSIONS.updated and (
        not owner or (len(owner) == 1 and _is(owner[0], table.get("alias") or table["table_name"]))
    )


def _nodes(value: Any) -> Iterator[Tree]:
    """Yield every object in a tree."""
    if isinstance(value, Mapping):
        yield cast("Tree", value)
        value = list(cast("Tree", value).values())
    if isinstance(value, list):
        for one in cast("list[Any]", value):
            yield from _nodes(one)


def _said(tree: Tree) -> set[str]:
    """Return the names of what a tree says at all: what is empty is not said."""
    return {name for name, value in tree.items() if value not in (None, False, "", [], {})}


def _is(name: Any, other: str) -> bool:
    return isinstance(name, str) and name.lower() == other.lower()
