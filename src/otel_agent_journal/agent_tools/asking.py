"""SQL of a model's, within bounds: its sessions, its rows, its time, its memory.

It runs in a process of its own, `agent-journal query`, which locks DuckDB down, bounds its memory from outside, and can
be ended whatever it is at. That costs half a second, and the agent nothing where the SQL goes wrong.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection
from contextlib import suppress
from itertools import islice
from pathlib import Path
from threading import Timer
from typing import IO, Any, Final, cast

from otel_agent_journal.agent_tools.access import Rows
from otel_agent_journal.codec import encode_value
from otel_agent_journal.errors import QueryError, QueryFailed
from otel_agent_journal.store.protocol import JournalStore

TIMEOUT_S: Final = 20.0
STARTS_IN_S: Final = 40.0  # beside that: Python, DuckDB and Arrow on a machine that is busy
MEMORY: Final = "256MB"
MAX_SQL: Final = 20_000  # characters
_PROGRAM: Final = "import sys; from otel_agent_journal.cli import main; sys.exit(main())"
_MAX_MESSAGE: Final = 1_000


def ask_apart(store: str, spool: str, sql: str, sessions: Collection[str], *, rows: int, size: int) -> Rows:
    """Return the first rows of a SELECT over these sessions, asked in a process of its own.

    Args:
        store: its URL.
        spool: the folder of its spool.
        sql: the SELECT.
        sessions: the only ones that it sees.
        rows: how many at most.
        size: of how many bytes of JSON at most.

    Raises:
        QueryError: the process says why.
    """
    _bounded(sql)
    command = [sys.executable, "-c", _PROGRAM, "query", "-f", "-", "-o", "jsonl", "--memory", MEMORY]
    command += ["--timeout", f"{TIMEOUT_S:g}", *(f"--session={one}" for one in sessions)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(store, spool),
        start_new_session=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        over = Timer(TIMEOUT_S + STARTS_IN_S, child.kill)
        over.daemon = True
        over.start()
        try:
            with suppress(BrokenPipeError):
                child.stdin.write(sql.encode("utf-8", "replace"))
            with suppress(BrokenPipeError):
                child.stdin.close()
            found = _read(child.stdout, rows, size)
            if found is not None and found.more:
                return found
            complaint = child.stderr.read(16 * _MAX_MESSAGE).decode("utf-8", "replace").strip()
            code = child.wait()
        finally:
            over.cancel()
            child.kill()
    if code or found is None:
        raise QueryFailed(_said(complaint) or f"the query was ended after {TIMEOUT_S:g} s", limit="timeout")
    return found


def ask_here(store: JournalStore, sql: str, sessions: Collection[str], *, rows: int, size: int) -> Rows:
    """Return the first rows of a SELECT over these sessions, asked in this process: what is in its memory alone.

    Raises:
        QueryError: the SQL is none, would do more than read, or took more than it may.
    """
    from otel_agent_journal.query import query

    _bounded(sql)
    with query(store, sql, sessions=sessions, memory_bytes=256 * 1024**2, timeout_s=TIMEOUT_S) as result:
        columns, found = result.columns, Rows([], more=False)
        for row in islice(result, rows + 1):
            one = dict(zip(columns, row, strict=True))
            size -= len(encode_value(one))
            if len(found.rows) == rows or (size < 0 and found.rows):
                return found._replace(more=True)
            found.rows.append(one)
        return found


def _bounded(sql: str) -> None:
    if len(sql) > MAX_SQL:
        raise QueryError(f"the SQL has {len(sql):,} characters, and up to {MAX_SQL:,} are taken")


def _read(lines: IO[bytes], rows: int, size: int) -> Rows | None:
    """Return the rows of a process's output, None where it is cut off within one."""
    found: list[dict[str, Any]] = []
    while True:
        line = lines.readline(size + 1)
        if not line:
            return Rows(found, more=False)
        size -= len(line)
        if len(found) == rows or size < 0:
            if not found:
                raise QueryFailed("the first row is larger than an answer may be; select fewer columns", limit="size")
            return Rows(found, more=True)
        if not line.endswith(b"\n"):
            return None
        found.append(cast("dict[str, Any]", json.loads(line)))


def _environment(store: str, spool: str) -> dict[str, str]:
    """Return this process's environment, but what makes a Python journal itself."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AGENT_JOURNAL_", "OTEL_"))}
    ours = Path(__file__).parents[1] / "autoload"
    path = [one for one in kept.pop("PYTHONPATH", "").split(os.pathsep) if one and Path(one) != ours]
    if path:
        kept["PYTHONPATH"] = os.pathsep.join(path)
    return kept | {"AGENT_JOURNAL_STORE": store, "AGENT_JOURNAL_SPOOL": spool}


def _said(complaint: str) -> str:
    line = complaint.splitlines()[-1] if complaint else ""
    return line.removeprefix("error: ")[:_MAX_MESSAGE]
