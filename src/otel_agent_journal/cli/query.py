"""`agent-journal query`: SQL over the journal, read-only, on DuckDB (the extra `query`)."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, cast

import click

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.contract import CTRL_C
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.cli.progress import to_terminal
from otel_agent_journal.reading import moments

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.query.engine import Query
    from otel_agent_journal.query.reading import TableRead

IN_A_TABLE: Final = 1_000  # rows; a table is laid out whole, data formats stream
EXPLAINED: Final = ("table", "scans", "sessions", "events", "bounds")
_NAMED: Final = {"session_ids": "session_id", "statuses": "status", "agents": "agent"}  # as columns
_UNITS: Final = {"": 1024**2, "k": 1024, "m": 1024**2, "g": 1024**3}
# What the process may take beside DuckDB's own limit: Python, a batch of events, the result's rows on their way out.
_HEADROOM_BYTES: Final = 512 * 1024**2
_QUIET_S: Final = 1.0  # a read that is done by then shows no progress
_REDRAW_S: Final = 0.2


def _bytes(_ctx: click.Context, _parameter: click.Parameter, value: str) -> int:
    """Return a size in bytes, given in MiB or with its unit."""
    match = re.fullmatch(r"(\d+)\s*([kmg]?)(?:i?b)?", value.strip().lower())
    size = int(match[1]) * _UNITS[match[2]] if match else 0
    if size < 16 * 1024**2:
        raise click.BadParameter(f"'{value}' is no size of 16 MB at least; give one as 512MB or 2GB")
    return size


def _seconds(_ctx: click.Context, _parameter: click.Parameter, value: str) -> float:
    span_ns = moments.span_of(value)
    if span_ns is not None:
        return span_ns / readable.NS_PER_S
    if not re.fullmatch(r"\d+(\.\d+)?", value) or not 0 < float(value) <= 86_400 * 7:
        raise click.BadParameter(f"'{value}' is no time; give seconds, or as 90s or 5m")
    return float(value)


@click.command("query", short_help="Ask the journal in SQL: sessions, steps, events, tools, models.")
@click.argument("sql", required=False)
@click.option("-f", "--file", "file", metavar="FILE", help="Read the SQL from a file; - is stdin.")
@click.option("--session", "sessions", multiple=True, metavar="ID", help="Only this session; may be given again.")
@click.option("--from", "lake", metavar="LAKE", help="Ask a lake, not the store: a folder, or s3://...")
@click.option("--explain", is_flag=True, help="Show the plan, and what was read of the store, not the rows.")
@click.option("--memory", "memory_bytes", callback=_bytes, default="512MB", metavar="SIZE", help="Default 512MB.")
@click.option("--timeout", "timeout_s", callback=_seconds, default="60", metavar="SECONDS", help="Default 60.")
@common_options
@pass_invocation
def command(
    invocation: Invocation,
    sql: str | None,
    file: str | None,
    sessions: tuple[str, ...],
    lake: str | None,
    explain: bool,
    memory_bytes: int,
    timeout_s: float,
) -> None:
    """Ask the journal in SQL: sessions, steps, events, tools, models.

    One SELECT of DuckDB's SQL, over any store, or with --from over a lake that `export --parquet` wrote. It reads, and
    reaches nothing but the journal: no file, no network.

    \b
      agent-journal query 'SELECT name, count(*) FROM tools GROUP BY name'
    """  # noqa: D301 - click wants the character itself, which keeps the command on a line of its own
    limits = _Limits(memory_bytes, timeout_s)
    with _ended_by_ctrl_c():
        output, text = invocation.output(), _sql(sql, file)
        open_query = _of_lake(lake, text, sessions) if lake else _of_store(invocation, text, sessions)
        _ask(output, open_query, limits, explain)


class _Limits(NamedTuple):
    memory_bytes: int
    timeout_s: float


def _of_store(invocation: Invocation, sql: str, sessions: Sequence[str]) -> Callable[..., Query]:
    from otel_agent_journal.query import query

    journal = invocation.journal()
    ids = [journal.session(one).session_id for one in sessions] if sessions else None
    return partial(
        query,
        journal.store,
        sql,
        sessions=ids,
        now_ns=journal.clock(),
        waiting_writers=journal.waiting(),
        price=journal.price,
    )


def _of_lake(lake: str, sql: str, sessions: Sequence[str]) -> Callable[..., Query]:
    from otel_agent_journal.cli.export_parquet import place_of
    from otel_agent_journal.query.sql import require_packages

    require_packages("what `query` runs on (DuckDB and pyarrow)", "duckdb", "pyarrow")
    place = place_of(lake)
    from otel_agent_journal.lake.source import query_lake

    return partial(query_lake, place, sql, sessions=sessions or None)


def _ask(output: Output, open_query: Callable[..., Query], limits: _Limits, explain: bool) -> None:
    with (
        _progress() as moved,
        _bounded(limits.memory_bytes),
        open_query(
            memory_bytes=limits.memory_bytes,
            timeout_s=limits.timeout_s,
            progress=moved,
            stuck=lambda: _give_up(limits.timeout_s),
        ) as result,
    ):
        if explain:
            _explain(output, result)
        elif output.for_people:
            _table(output, result, moved)
        else:
            output.records(_records(result, moved), result.columns)


def _sql(sql: str | None, file: str | None) -> str:
    if (sql is None) == (file is None):
        raise click.UsageError("give the SQL, or -f FILE with it in; one of the two")
    if sql is not None:
        return sql
    assert file is not None
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{file} is not UTF-8 text") from error


# --- rows ---------------------------------------------------------------------------------------------------------


def _records(result: Query, moved: Progress) -> Iterator[dict[str, Any]]:
    columns = result.columns
    for row in result:
        moved.clear()
        yield dict(zip(columns, row, strict=True))


def _table(output: Output, result: Query, moved: Progress) -> None:
    from otel_agent_journal.cli.table import Cell, Column

    rows = list(islice(result, IN_A_TABLE + 1))
    moved.clear()
    if not rows:
        output.text("no rows")
        return
    numbers = [all(_is_number(row[at]) for row in rows) for at in range(len(result.columns))]
    columns = [
        Column(name, right=right, least=12, optional=at)  # the first of them always stands
        for at, (name, right) in enumerate(zip(result.columns, numbers, strict=True))
    ]
    output.table(columns, ([Cell(_shown(value)) for value in row] for row in rows[:IN_A_TABLE]))
    if len(rows) > IN_A_TABLE:
        output.text(output.paint(f"the first {IN_A_TABLE:,} rows; -o jsonl or csv gives all", "dim"))


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _shown(value: Any) -> str:
    from otel_agent_journal.codec import encode_value

    match value:
        case None:
            return "-"
        case str():
            return value
        case float():
            return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.1f}"
        case int() if not isinstance(value, bool):
            return str(value)
        case _:
            return encode_value(value).decode("utf-8")


# --- --explain ----------------------------------------------------------------------------------------------------


def _explain(output: Output, result: Query) -> None:
    """Run the query for what it reads, its rows aside."""
    rows = sum(batch.num_rows for batch in result.batches())
    if not output.for_people:
        read = [_read(one) for one in result.read]
        output.record({"plan": result.plan, "rows": rows, "read": read})
        return
    for line in result.plan.splitlines():
        output.text(line)
    output.text()
    for one in result.read:
        output.text(_sentence(one))
    output.text(f"{readable.plural(rows, 'row')} of result")


def _read(one: TableRead) -> dict[str, Any]:
    names, values = EXPLAINED, (one.table, one.scans, one.sessions, one.events, one.pushed())
    said: dict[str, Any] = dict(zip(names, values, strict=True))
    return said if one.of_files is None else {**said, "files": one.files, "rows": one.rows}


def _sentence(one: TableRead) -> str:
    from otel_agent_journal.codec import format_timestamp

    pushed: list[str] = []
    for name, value in one.pushed().items():
        if isinstance(value, list):
            pushed.append(f"{_NAMED[name]} {', '.join(cast('list[str]', value)) or 'none'}")
        else:
            pushed.append(f"{name.removesuffix('_ns')} {format_timestamp(value) if name.endswith('_ns') else value}")
    if one.of_files is not None:
        amount = f"{readable.plural(one.files, 'file')} of {one.of_files}, {readable.plural(one.rows, 'row')}"
        return f"read for {one.table}: {amount}; pushed down: {'; '.join(pushed) or 'nothing'}"
    amount = f"{readable.plural(one.sessions, 'session')}, {readable.plural(one.events, 'event')}"
    return f"read for {one.table}: {amount}; pushed down: {'; '.join(pushed) or 'nothing'}"


# --- limits of the process ----------------------------------------------------------------------------------------


@contextmanager
def _bounded(memory_bytes: int) -> Generator[None]:
    """Bound this process too: what one SQL function makes at once, DuckDB does not count."""
    try:
        import resource

        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5]) * os.sysconf("SC_PAGE_SIZE")
    except (ImportError, OSError, ValueError, IndexError):  # no Linux: DuckDB's own limit is what there is
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = used + memory_bytes + _HEADROOM_BYTES
    bounds = [limit for limit in (soft, hard, wanted) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(bounds), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


@contextmanager
def _ended_by_ctrl_c() -> Generator[None]:
    """End the process where Ctrl-C finds it: it only reads.

    A KeyboardInterrupt would have to pass through DuckDB and pyarrow, which turn it into errors of their own, lose it
    in a callback, or print what they still hold as the interpreter ends.
    """

    def ended(_signal: int, _frame: object) -> NoReturn:
        if sys.stderr.isatty():
            os.write(2, b"\n")
        os._exit(CTRL_C)

    of_python = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not of_python or threading.current_thread() is not threading.main_thread():
        yield  # whoever called us, or who told the process to ignore it, has their own way
        return
    signal.signal(signal.SIGINT, ended)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _give_up(timeout_s: float) -> None:
    """End the process: its time is over, and the one function that it is in takes no notice."""
    message = f"error: the query did not end within {timeout_s:g} s, nor when it was interrupted; the process was ended"
    os.write(2, message.encode() + b"\n")
    os._exit(1)


# --- progress -----------------------------------------------------------------------------------------------------


class Progress:
    """How much was read, on one line of a terminal's stderr, gone again before anything else is printed."""

    def __init__(self, write: Callable[[str], object] | None) -> None:
        self._write = write
        self._next_s = time.monotonic() + _QUIET_S
        self._drawn = False

    def __call__(self, sessions: int, events: int) -> None:
        now_s = time.monotonic()
        if self._write is not None and now_s >= self._next_s:
            self._write(f"\r\x1b[Kreading: {readable.plural(sessions, 'session')}, {readable.plural(events, 'event')}")
            self._next_s, self._drawn = now_s + _REDRAW_S, True

    def clear(self) -> None:
        """Take the line away."""
        if self._drawn and self._write is not None:
            self._write("\r\x1b[K")
            self._drawn = False


@contextmanager
def _progress() -> Generator[Progress]:
    progress = Progress(to_terminal())
    try:
        yield progress
    finally:
        progress.clear()
