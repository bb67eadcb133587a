"""Runs scenarios of a framework in a process of its own, plain or journaled, and prints what the program could notice.

    python -m tests.frameworks.unnoticed.observing FRAMEWORK plain|journaled FOLDER

What is ours, and may be there in a journaled run alone, is named here: `OURS_OPEN`, `OURS_THREADS`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import inspect
import io
import json
import logging
import os
import re
import signal
import sys
import threading
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

OURS_THREADS: Final = ("agent-journal",)
OURS_OPEN: Final = ("/unnoticed0/journal", "/agent-journal")  # store, spool, their folder
_ANEW: Final = re.compile(
    r"0x[0-9a-f]+|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b|\b[0-9a-f]{32}\b"
    r"|\d\d\d\d-\d\d-\d\dT[0-9:.+]+"
)
_TESTS: Final = str(Path(__file__).resolve().parents[2])


class Watched:
    """An object of the program's own that notes whatever anybody asks of it, in order."""

    asked: Final[list[str]] = []

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "name", name)

    def __getattribute__(self, name: str) -> Any:
        Watched.asked.append(name)
        return object.__getattribute__(self, name)


def _noting(name: str) -> Any:
    inherited = getattr(object, name, None)

    def method(self: Any, *args: Any) -> Any:
        Watched.asked.append(name)
        match name:
            case "__iter__":
                return iter(("a", "b"))
            case "__len__":
                return 2
            case "__bool__":
                return True
            case "__deepcopy__" | "__copy__":
                return self
            case _:
                return inherited(self, *args) if inherited is not None else None

    return method


for _name in (
    "__iter__",
    "__len__",
    "__bool__",
    "__eq__",
    "__repr__",
    "__str__",
    "__deepcopy__",
    "__copy__",
    "__reduce_ex__",
):
    setattr(Watched, _name, _noting(_name))
Watched.__hash__ = object.__hash__  # type: ignore[method-assign]


class Seen:
    """What a scenario notes of itself while it runs: how many threads and tasks there are, what it was called with."""

    def __init__(self) -> None:
        self.notes: list[Any] = []

    def note(self, *what: Any) -> None:
        """Note something, and what runs beside it."""
        tasks: Any = None
        with contextlib.suppress(RuntimeError):
            tasks = len(asyncio.all_tasks())
        self.notes.append((masked(what), tasks))


def masked(value: Any) -> str:
    """Return a value as a text that is the same in each run."""
    return _ANEW.sub("<anew>", repr(value))


def _threads() -> list[str]:
    names = (thread.name for thread in threading.enumerate())
    return sorted(re.sub(r"\d+", "<n>", name) for name in names if not name.startswith(OURS_THREADS))


def _open_files() -> list[str]:
    found: list[str] = []
    for number in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            target = str(number.readlink())
            if not any(ours in target for ours in OURS_OPEN):
                found.append(re.sub(r"\[\d+\]", "[<n>]", target))
    return sorted(one for one in found if not one.startswith("/proc/"))


def _logging() -> Any:
    loggers = {"": logging.root, **logging.Logger.manager.loggerDict}
    return sorted(
        (name, [type(handler).__name__ for handler in one.handlers], one.level, one.propagate)
        for name, one in loggers.items()
        if isinstance(one, logging.Logger) and (one.handlers or one.level) and not name.startswith("otel_agent_journal")
    )


def _process() -> dict[str, Any]:
    return {
        "threads": _threads(),
        "open files": _open_files(),
        "sys.path": list(sys.path),
        "environment": sorted(os.environ.items()),
        "logging": _logging(),
        "signals": [repr(signal.getsignal(one)) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)],
        "hooks": [repr(hook).split(" at ")[0] for hook in (sys.excepthook, threading.excepthook, sys.unraisablehook)],
        "collecting": (gc.isenabled(), gc.get_threshold()),
        "directory": str(Path.cwd()),
        "warnings": len(warnings.filters),
    }


def _failure(error: BaseException) -> Any:
    frames = [f"{Path(one.filename).name}:{one.name}" for one in traceback.extract_tb(error.__traceback__)]
    mine = [
        f"{Path(one.filename).name}:{one.lineno} {one.name}"
        for one in traceback.extract_tb(error.__traceback__)
        if one.filename.startswith(_TESTS)
    ]
    cause = error.__cause__ or error.__context__
    return {
        "type": type(error).__qualname__,
        "message": masked(str(error)),
        "args": masked(error.args),
        "notes": [masked(note) for note in getattr(error, "__notes__", ())],
        "frames": mine,
        "ends in": frames[-1] if frames else "",
        "cause": None if cause is None else f"{type(cause).__qualname__}: {masked(str(cause))}",
    }


def observe(scenario: Callable[[Seen], Any]) -> dict[str, Any]:
    """Run a scenario, and return all that its program could have noticed."""
    seen, out, err = Seen(), io.StringIO(), io.StringIO()
    Watched.asked.clear()
    found: dict[str, Any] = {}
    with (
        warnings.catch_warnings(record=True) as warned,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        warnings.simplefilter("always")
        try:
            given = scenario(seen)
            if inspect.iscoroutine(given):
                given = asyncio.run(given)
            found["output"] = masked(given)
        except BaseException as error:
            found["failure"] = _failure(error)
    gc.collect()
    found |= {"asked": Counter(Watched.asked), "notes": seen.notes, "stdout": masked(out.getvalue())}
    found["stderr"] = masked(err.getvalue())
    found["warned"] = sorted(f"{one.category.__name__}: {masked(str(one.message))}" for one in warned)
    return {**found, "process": _process()}


def main(framework: str, how: str, folder: str) -> None:
    """Run every scenario of a framework, and print what was observed as JSON."""
    if how == "journaled":
        import otel_agent_journal

        otel_agent_journal.configure()
    scenarios = importlib.import_module(f"tests.frameworks.unnoticed.of_{framework}").SCENARIOS
    observed = {name: observe(scenario) for name, scenario in scenarios.items()}
    if how == "journaled":
        assert otel_agent_journal.flush(60)
        store = otel_agent_journal.open_store(os.environ["AGENT_JOURNAL_STORE"])
        assert list(store.sessions()), "nothing was journaled"
    print(json.dumps(observed, default=repr))


if __name__ == "__main__":
    main(*sys.argv[1:])
