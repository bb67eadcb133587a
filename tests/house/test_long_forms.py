"""What has a long form says so: `make soak` runs marked tests and those that search at random, and nothing else."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VARIABLE = "AGENT_JOURNAL_" + "SOAK"
MARKS = {"long_form", "soak", "given"}  # what hypothesis searches has a long form without being marked
MODULES = [
    path
    for folder in (ROOT / "tests", *ROOT.glob("exporters/*/tests"))
    for path in sorted(folder.rglob("test_*.py"))
    if VARIABLE in path.read_text()
]


def words(node: ast.AST) -> set[str]:
    """Return the names, attributes and texts in a piece of source."""
    found: set[str] = set()
    for part in ast.walk(node):
        match part:
            case ast.Name(id=word) | ast.Attribute(attr=word) | ast.Constant(value=str(word)):
                found.add(word)
            case _:
                pass
    return found


def names_of(statement: ast.stmt) -> set[str]:
    """Return what a statement of a module defines."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Assign(targets=targets):
            return {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}
        case ast.AnnAssign(target=ast.Name(id=name)):
            return {name}
        case _:
            return set()


def is_marked(statement: ast.stmt) -> bool:
    """Tell whether a decorator of it, or of what is in it, is such a mark."""
    return any(
        MARKS & words(decorator)
        for part in ast.walk(statement)
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for decorator in part.decorator_list
    )


def unmarked(source: str) -> list[str]:
    """Return the tests of a module that depend on the variable, however far away it is read, and do not say so."""
    module = ast.parse(source).body
    if any("pytestmark" in names_of(statement) and MARKS & words(statement) for statement in module):
        return []
    reached, before = {VARIABLE}, set[str]()
    while reached != before:
        before = set(reached)
        reached |= {name for statement in module if reached & words(statement) for name in names_of(statement)}
    tests = (statement for statement in module if any(map(is_test, names_of(statement))))
    return [name for test in tests if not is_marked(test) for name in names_of(test) & reached]


def is_test(name: str) -> bool:
    """Tell whether pytest collects what has this name."""
    return name.startswith(("test_", "Test"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_has_a_long_form_is_marked(path: Path) -> None:
    """A test that reads the variable carries `long_form` or `soak`: without it the long form never runs."""
    assert unmarked(path.read_text()) == []


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["N = 9 if environ.get('V') else 1", "def test_a(): range(N)", "def test_b(): pass"], ["test_a"]),
        (["N = environ.get('V')", "def many(): return N", "def test_a(): many()"], ["test_a"]),
        (["N = environ.get('V')", "@mark.timeout(N)", "class TestA:", "  def test_a(self): pass"], ["TestA"]),
        (["N = environ.get('V')", "@mark.soak", "def test_a(): return N"], []),
        (["pytestmark = mark.long_form", "N = environ.get('V')", "def test_a(): return N"], []),
    ],
)
def test_a_mark_that_is_missing_is_found(lines: Iterable[str], found: list[str]) -> None:
    """Directly, over a constant, a helper, a decorator; a mark of the test or of its module will do."""
    assert unmarked("\n".join(lines).replace("'V'", repr(VARIABLE))) == found
