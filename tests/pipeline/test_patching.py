"""`Instrumentor`: a library is patched once it is imported, once, and is what it was when that is over."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import pytest

from otel_agent_journal.pipeline.patching import Instrumentor, Patch

SOURCE = """
class Agent:
    def run(self):
        return ["agent"]

def run():
    return ["function"]
"""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Return what imports a library that is there for this test alone; its modules are `patched_one` and `_two`."""
    for name in ("patched_one", "patched_two"):
        (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield import_module
    for name in ("patched_one", "patched_two"):
        sys.modules.pop(name, None)


@pytest.fixture
def instrumentor() -> Iterator[Instrumentor]:
    """An instrumentor of the library, which says `journaled` before what the library says."""

    class LibraryInstrumentor(Instrumentor):
        """Journals the library."""

        minimum: ClassVar = {"wrapt": (1, 0)}

        def set_up(self) -> None:
            """Count."""
            self.begun = 0
            self.broken = False
            self.needed = False

        def patches(self) -> Mapping[str, Patch]:
            """Both modules."""
            return {"patched_one": self.patch, "patched_two": self.patch}

        def patch(self, module: Any) -> None:
            """Wrap a method and, where it does not break before, a function."""
            self.wrap(module.Agent)
            if self.broken:
                raise AttributeError("run")
            self.wrap(module)

        def wrap(self, owner: Any) -> None:
            """Wrap what runs."""
            original = owner.run

            @functools.wraps(original)
            def journaled(*args: Any) -> list[str]:
                return ["journaled", *original(*args)] if self.enabled else original(*args)

            self.replace(owner, "run", original, journaled, needed=lambda: self.needed)

    made = LibraryInstrumentor()
    yield made
    made.uninstrument()


def said(module: Any) -> list[list[str]]:
    """Return what a module's method and function say."""
    return [module.Agent().run(), module.run()]


PLAIN = [["agent"], ["function"]]
JOURNALED = [["journaled", "agent"], ["journaled", "function"]]


def test_one_a_process(instrumentor: Any) -> None:
    """Every instance of a class is the same one, set up once; another class has its own."""
    instrumentor.begun = 7
    assert type(instrumentor)() is instrumentor
    assert instrumentor.begun == 7

    class Derived(type(instrumentor)):  # type: ignore[misc]
        """Another instrumentor."""

    assert Derived() is Derived()
    assert Derived() is not instrumentor


def test_before_and_after_the_import(library: Any, instrumentor: Any) -> None:
    """What is imported is patched at once, the rest when it is; however often it is asked for, once."""
    one = library("patched_one")
    assert not instrumentor.is_instrumented_by_opentelemetry
    instrumentor.instrument()
    assert instrumentor.is_instrumented_by_opentelemetry
    two = library("patched_two")
    instrumentor.instrument()
    assert said(one) == said(two) == JOURNALED


def test_put_back(library: Any, instrumentor: Any) -> None:
    """`uninstrument()` leaves the library as it was, and `instrument()` patches it again."""
    one = library("patched_one")
    before = (one.Agent.run, one.run)
    for _ in range(2):
        instrumentor.instrument()
        assert said(one) == JOURNALED
        instrumentor.uninstrument()
        assert (one.Agent.run, one.run) == before


def test_imported_meanwhile(library: Any, instrumentor: Any) -> None:
    """A module that is imported while nothing is instrumented is left alone, and patched with the others later."""
    one = library("patched_one")
    instrumentor.instrument()
    instrumentor.uninstrument()
    two = library("patched_two")
    assert said(one) == said(two) == PLAIN
    assert "__wrapped__" not in vars(two.run)
    instrumentor.instrument()
    assert said(one) == said(two) == JOURNALED


def test_wrapped_by_another(library: Any, instrumentor: Any) -> None:
    """What another has wrapped since stays as it is, silent while disabled, and is not wrapped a second time."""
    one = library("patched_one")
    instrumentor.instrument()
    ours = one.run

    @functools.wraps(ours)
    def theirs() -> list[str]:
        return ["theirs", *ours()]

    one.run = theirs
    instrumentor.uninstrument()
    assert one.run is theirs
    assert said(one) == [["agent"], ["theirs", "function"]]
    instrumentor.instrument()
    assert said(one) == [["journaled", "agent"], ["theirs", "journaled", "function"]]


def test_needed(library: Any, instrumentor: Any) -> None:
    """A replacement that is still needed stays, works once when all is instrumented again, and is put back then."""
    one = library("patched_one")
    instrumentor.instrument()
    ours = one.run
    instrumentor.needed = True
    instrumentor.uninstrument()
    assert one.run is ours
    instrumentor.instrument()
    assert said(one) == JOURNALED
    instrumentor.needed = False
    instrumentor.uninstrument()
    assert "__wrapped__" not in vars(one.run)


def test_a_patch_that_fails(library: Any, instrumentor: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A library of another shape is imported all the same; it is said, and tried again without patching twice."""
    instrumentor.broken = True
    instrumentor.instrument()
    one = library("patched_one")
    assert said(one) == [["journaled", "agent"], ["function"]]
    assert [record.getMessage() for record in caplog.records] == ["module=<patched_one> | could not be instrumented"]
    instrumentor.broken = False
    instrumentor.instrument()
    assert said(one) == JOURNALED
    instrumentor.uninstrument()
    assert said(one) == PLAIN


def test_what_is_missing(instrumentor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what must be installed, and why there is nothing to instrument: absent, or too old."""
    assert instrumentor.missing() is None
    assert instrumentor.instrumentation_dependencies() == ("wrapt >= 1.0",)
    monkeypatch.setattr(type(instrumentor), "minimum", {"wrapt": (99, 1)})
    assert "is older than 99.1" in (instrumentor.missing() or "")
    monkeypatch.setattr(type(instrumentor), "minimum", {"wrapt": (1, 0), "no-such-package": (1, 0)})
    assert instrumentor.missing() == "no-such-package is not installed"
