"""Errors: one tree, told in words and in fields."""

from __future__ import annotations

import inspect

import pytest

from otel_agent_journal import errors
from otel_agent_journal.errors import (
    ConflictError,
    EventTooLarge,
    JournalError,
    MissingExtra,
    NewerSchema,
    QueryError,
    QueryFailed,
    SessionNotFound,
    SinkRefused,
    SinkUnreachable,
    StoreUnreachable,
    UnknownScheme,
    UnsupportedByStore,
    WaitTimeout,
    WrongExpectedSequence,
)

TREE = [error for _, error in inspect.getmembers(errors, inspect.isclass) if issubclass(error, Exception)]


@pytest.mark.parametrize("error", TREE)
def test_tree(error: type[Exception]) -> None:
    """Every error is a JournalError, and is drawn in the tree at the top of the module, below its parent."""
    assert issubclass(error, JournalError)
    lines = (errors.__doc__ or "").splitlines()
    (line,) = [number for number, text in enumerate(lines) if error.__name__ in text.split()]
    if error is JournalError:
        return
    parents = [text.replace("│", " ").replace("├──", "   ").replace("└──", "   ") for text in lines[:line]]
    depth = lines[line].index(error.__name__)
    above = [text.split()[0] for text in parents if text.strip() and len(text) - len(text.lstrip()) == depth - 4]
    assert above[-1] == error.__mro__[1].__name__


@pytest.mark.parametrize(
    ("error", "says", "fields", "exit_code"),
    [
        (UnknownScheme("foo://x", ("memory", "sqlite")), "known here: memory, sqlite", {"scheme": "foo"}, 2),
        (MissingExtra("the backend", "x[y]"), "pip install 'x[y]'", {"requirement": "x[y]"}, 2),
        (
            NewerSchema("journal j.db", 3, 1),
            "schema version 3, this package reads up to 1",
            {"found": 3, "known": 1},
            1,
        ),
        (QueryError("SQL line 1: no table", line=1, column=15), "no table", {"line": 1, "column": 15}, 2),
        (QueryFailed("too long", limit="timeout"), "too long", {"limit": "timeout", "line": None}, 1),
        (StoreUnreachable("locked"), "locked", {}, 4),
        (SinkUnreachable("throttled", retry_after_s=2.0), "throttled", {"retry_after_s": 2.0}, 4),
        (SinkRefused("kinesis://s", "too large"), "sink kinesis://s: refused: too large", {"reason": "too large"}, 1),
        (UnsupportedByStore("s3://b", "prune"), "no capability 'prune'", {"capability": "prune"}, 1),
        (SessionNotFound("s9"), "no session matches 's9'", {"session_id": "s9"}, 3),
        (SessionNotFound("s9", "did you mean s8?"), "'s9'; did you mean s8?", {}, 3),
        (EventTooLarge("e", 412_345, 409_600), "412,345 bytes, limit 409,600", {"limit_bytes": 409_600}, 1),
        (EventTooLarge("e", 2, 1, "set a bucket"), "limit 1; set a bucket", {"size_bytes": 2}, 1),
        (WaitTimeout("s9", 2.5, ("A", "B")), "none of A, B in 2.5 s; nothing was heard of it", {"status": None}, 1),
        (
            WaitTimeout("s9", 60, ("A",), status="PENDING", last_type="B", why="locked"),
            "last seen: B, status PENDING; locked; wait longer",
            {"last_type": "B", "until": ("A",), "timeout_s": 60},
            1,
        ),
        (ConflictError("e"), "nothing was written", {"event_id": "e"}, 1),
        (WrongExpectedSequence("i", 3, 5), "to be 3, it is 5", {"expected": 3, "actual": 5, "instance_id": "i"}, 1),
    ],
)
def test_messages(error: JournalError, says: str, fields: dict[str, object], exit_code: int) -> None:
    """A message says what was the matter, its fields the same for machines, its exit code for shells."""
    assert says in str(error)
    assert {name: getattr(error, name) for name in fields} == fields
    assert error.exit_code == exit_code
