"""What is raised in a program that is replayed: that it went another way, and what the recording says was raised."""

from __future__ import annotations

import builtins
import re
import sys
from typing import Any, Final

from otel_agent_journal.errors import JournalError
from otel_agent_journal.event import ErrorInfo

_BY_AWS: Final = re.compile(r"An error occurred \((?P<code>[^)]*)\).*? when calling the (?P<operation>\w+) operation")


class Diverged(JournalError):
    """A program that is replayed asks for what the recording does not have. Nothing is called in its place."""

    exit_code = 5

    def __init__(self, verdict: str, what: str, why: str) -> None:
        super().__init__(f"replay: {what}: {why}")
        self.verdict = verdict


class Answered(JournalError):
    """A tool is called that the recording does not have; its caller is answered that it failed."""


class ReplayEnded(JournalError):
    """A replay has come to the step at which it is to end."""


class ReplayedError(Exception):
    """An error that was recorded, of a class that is not imported here."""

    def __init__(self, type_name: str, message: str) -> None:
        super().__init__(f"{type_name}: {message}")
        self.type = type_name


def recorded_error(error: ErrorInfo | None) -> Exception:
    """Return the exception that a recorded failure is: of its class where that is imported.

    It has the message that it had. What else an exception of that class holds is not in the journal, but for the code
    that AWS gave.
    """
    if error is None:
        return ReplayedError("Error", "a failure of which the journal says nothing")
    kind = _class_of(error.type)
    if kind is None:
        return ReplayedError(error.type, error.message)
    for make in (lambda: kind(error.message), lambda: _bare(kind, error)):
        try:
            made = make()
        except Exception:  # noqa: BLE001, S112 - it wants other arguments
            continue
        if error.message in str(made):
            return made
    return ReplayedError(error.type, error.message)


def _bare(kind: type[Exception], error: ErrorInfo) -> Exception:
    """Return an exception whose class was not asked: with its message, and the answer of AWS where it is of that."""
    made = kind.__new__(kind)
    Exception.__init__(made, error.message)
    if error.code is not None:
        told = _BY_AWS.match(error.message)
        said: Any = made
        said.response = {"Error": {"Code": error.code, "Message": error.message}, "ResponseMetadata": {}}
        said.operation_name = told["operation"] if told else "Unknown"
    return made


def _class_of(name: str) -> type[Exception] | None:
    module, _, rest = name.rpartition(".")
    if not module:
        found: Any = getattr(builtins, name, None)
    else:
        while module and module not in sys.modules:
            module, _, part = module.rpartition(".")
            rest = f"{part}.{rest}"
        found = sys.modules.get(module)
        for part in rest.split("."):
            found = getattr(found, part, None)
    return found if isinstance(found, type) and issubclass(found, Exception) else None
