"""A condition of SQL as DuckDB has parsed it: columns, constants, and whether a row's source fulfils it. Pure.

What is not understood is said by None, and left to DuckDB.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import eq, ge, gt, le, lt, ne
from typing import Any, Final

from otel_agent_journal.codec import parse_timestamp
from otel_agent_journal.errors import CodecError
from otel_agent_journal.query.tables import INT, TEXT, TIME, Column, Table

Tree = Mapping[str, Any]
Test = Callable[[Any], bool | None]  # of a row's source; None is SQL's NULL

MIRRORED: Final = {
    "COMPARE_EQUAL": "COMPARE_EQUAL",
    "COMPARE_NOTEQUAL": "COMPARE_NOTEQUAL",
    "COMPARE_GREATERTHAN": "COMPARE_LESSTHAN",
    "COMPARE_GREATERTHANOREQUALTO": "COMPARE_LESSTHANOREQUALTO",
    "COMPARE_LESSTHAN": "COMPARE_GREATERTHAN",
    "COMPARE_LESSTHANOREQUALTO": "COMPARE_GREATERTHANOREQUALTO",
}
_COMPARED: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "COMPARE_EQUAL": eq,
    "COMPARE_NOTEQUAL": ne,
    "COMPARE_GREATERTHAN": gt,
    "COMPARE_GREATERTHANOREQUALTO": ge,
    "COMPARE_LESSTHAN": lt,
    "COMPARE_LESSTHANOREQUALTO": le,
}
_OF_TEXT: Final = frozenset(("COMPARE_EQUAL", "COMPARE_NOTEQUAL"))  # the order of texts is a collation's
_INT64: Final = range(-(2**63), 2**63)
PREFIX: Final = frozenset(("prefix", "starts_with", "^@"))


def column_of(tree: Tree, table: Table) -> str | None:
    """Return the column that a tree names, without its table."""
    if tree.get("class") != "COLUMN_REF":
        return None
    name, _, column = ".".join(tree["column_names"]).partition(".")
    return column if name == table.name else None


def constant_of(tree: Tree) -> str | int | None:
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


def time_of(constant: str | int, kind: str) -> int | None:
    """Return the nanoseconds that a constant is beside a column of times, or of numbers; None where it is none."""
    if kind != TIME:
        return constant if isinstance(constant, int) else None
    try:
        return parse_timestamp(constant) if isinstance(constant, str) else None
    except CodecError:  # infinity, or a year of five digits
        return None


def prefix_of(tree: Tree, table: Table) -> tuple[str, str] | None:
    """Return column and beginning of a condition that a column begins so."""
    if tree.get("function_name") not in PREFIX or len(tree["arguments"]) != 2:
        return None
    column, value = (argument.get("expression", argument) for argument in tree["arguments"])
    name, text = column_of(column, table), constant_of(value)
    return (name, text) if name is not None and isinstance(text, str) else None


def test_of(tree: Tree, table: Table) -> Test | None:
    """Return what tells of a row's source whether it fulfils a condition, exactly as SQL has it."""
    match tree.get("class"), tree.get("type"):
        case "CONJUNCTION", "CONJUNCTION_AND" | "CONJUNCTION_OR":
            every = tree["type"] == "CONJUNCTION_AND"
            return _joined([test_of(child, table) for child in tree["children"]], every=every)
        case "COMPARISON", str(kind) if kind in MIRRORED:
            if column_of(tree["left"], table) is not None:
                return _comparison(kind, tree["left"], tree["right"], table)
            return _comparison(MIRRORED[kind], tree["right"], tree["left"], table)
        case "BETWEEN", "COMPARE_BETWEEN":
            lower = _comparison("COMPARE_GREATERTHANOREQUALTO", tree["input"], tree["lower"], table)
            upper = _comparison("COMPARE_LESSTHANOREQUALTO", tree["input"], tree["upper"], table)
            return _joined([lower, upper], every=True)
        case "OPERATOR", "COMPARE_IN":
            column, *values = tree["children"]
            return _joined([_comparison("COMPARE_EQUAL", column, value, table) for value in values], every=False)
        case "OPERATOR", "OPERATOR_NOT":
            return _negated(test_of(tree["children"][0], table))
        case "OPERATOR", "OPERATOR_IS_NULL":
            return _is_null(tree["children"][0], table)
        case "OPERATOR", "OPERATOR_IS_NOT_NULL":
            return _negated(_is_null(tree["children"][0], table))
        case "FUNCTION", _:
            return _begins(prefix_of(tree, table), table)
        case _:
            return None


def _joined(tests: Sequence[Test | None], *, every: bool) -> Test | None:
    known = [test for test in tests if test is not None]
    if len(known) < len(tests):
        return None
    decides = not every

    def test(source: Any) -> bool | None:
        said = [one(source) for one in known]
        return decides if decides in said else None if None in said else every

    return test


def _negated(test: Test | None) -> Test | None:
    if test is None:
        return None

    def negated(source: Any) -> bool | None:
        said = test(source)
        return None if said is None else not said

    return negated


def _comparison(kind: str, tree: Tree, value: Tree, table: Table) -> Test | None:
    column, constant = _known_column(tree, table), constant_of(value)
    if column is None or constant is None:
        return None
    if column.kind != TEXT:
        constant = time_of(constant, column.kind)
    elif kind not in _OF_TEXT or not isinstance(constant, str):
        return None
    if constant is None:
        return None
    take, compare = column.value, _COMPARED[kind]

    def test(source: Any) -> bool | None:
        found = take(source)
        return None if _is_absent(found) else compare(found, constant)

    return test


def _is_null(tree: Tree, table: Table) -> Test | None:
    column = _known_column(tree, table)
    if column is None:
        return None
    take = column.value
    return lambda source: _is_absent(take(source))


def _begins(prefix: tuple[str, str] | None, table: Table) -> Test | None:
    if prefix is None:
        return None
    (take,) = (column.value for column in table.columns if column.name == prefix[0])

    def test(source: Any) -> bool | None:
        found = take(source)
        return None if found is None else found.startswith(prefix[1])

    return test


def _known_column(tree: Tree, table: Table) -> Column | None:
    name = column_of(tree, table)
    return next((one for one in table.columns if one.name == name and one.kind in (TEXT, INT, TIME)), None)


def _is_absent(value: Any) -> bool:
    return value is None or (isinstance(value, int) and value not in _INT64)  # SQL has no room for it
