"""`agent-journal export --parquet`: the journal to a lake of Parquet files, then what has changed (extra `query`)."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import click

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.contract import CliError
from otel_agent_journal.cli.invocation import Invocation
from otel_agent_journal.cli.progress import progress

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.lake.place import Place

KEYS: Final = ("lake", "sessions", "events", "rows", "files", "size_bytes")
_FAILED: Final = 1
_ALLOCATIONS: Final = 200_000  # more than were freed again, between two looks


def export(
    invocation: Invocation,
    output: Output,
    url: str,
    since_ns: int | None,
    until_ns: int | None,
    tables: str | None,
) -> None:
    """Bring a lake up to date, and say what was written."""
    place = place_of(url)
    from otel_agent_journal.lake.exporting import Export

    names = _tables(tables)
    journal = invocation.journal()
    with alone(invocation, place), seldom_collected(), progress(0, f"writing {place.url}") as bar:
        said = Export(
            journal.store,
            place,
            tables=names,
            now_ns=journal.clock(),
            waiting_writers=journal.waiting(),
            price=journal.price,
            progress=bar.to,
        ).run(since_ns, until_ns)
    if not output.for_people:
        output.record(dict(zip(KEYS, (place.url, *said), strict=True)))
    elif said.sessions:
        output.text(
            f"{readable.plural(said.sessions, 'session')}, {readable.plural(said.events, 'event')} written to"
            f" {place.url}: {readable.plural(said.files, 'file')}, {_size(said.size_bytes)}"
        )
    else:
        output.text(f"nothing to do: {place.url} has all of the journal that was asked for")


def compact_day(invocation: Invocation, output: Output, url: str, day: str) -> None:
    """Make one part of those of a day, and say what that was."""
    place = place_of(url)
    from otel_agent_journal.lake.compacting import compact
    from otel_agent_journal.lake.manifest import open_lake
    from otel_agent_journal.lake.schema import day_number, day_text

    try:
        named = day_text(day_number(day))
    except ValueError as error:
        raise click.UsageError(f"'{day}' is no day; give one as 2026-11-30, in UTC") from error
    with alone(invocation, place), progress(0, f"compacting {named}") as bar:
        done = compact(open_lake(place), named, bar.to)
    if not output.for_people:
        files, left, size_bytes = (0, 0, 0) if done is None else done[2:]
        output.record({"lake": place.url, "day": named, "files_before": files, "files": left, "size_bytes": size_bytes})
    elif done is None:
        output.text(f"nothing to do: {place.url} has no two parts of {named}")
    else:
        output.text(
            f"{readable.plural(done.sessions, 'session')} of {named}: {done.files_before} files became {done.files},"
            f" {_size(done.size_bytes)}"
        )


def place_of(url: str) -> Place:
    """Return the place of a lake.

    Raises:
        MissingExtra: pyarrow is not installed.
        ConfigError: the URL is malformed.
    """
    from otel_agent_journal.query.sql import require_packages

    require_packages("what a lake is read and written with (pyarrow)", "pyarrow")
    from otel_agent_journal.lake.place import open_place

    return open_place(url)


@contextmanager
def alone(invocation: Invocation, place: Place) -> Generator[None]:
    """Let no second process of this user write a lake meanwhile."""
    from otel_agent_journal.places import make_folder
    from otel_agent_journal.spool.locks import FileLock

    folder = invocation.settings().home / "lakes"
    make_folder(folder)
    lock = FileLock.take(folder / blake2b(place.url.encode(), digest_size=12).hexdigest())
    if lock is None:
        raise CliError(f"{place.url} is being written by another process; let it end", _FAILED)
    try:
        yield
    finally:
        lock.close()


@contextmanager
def seldom_collected() -> Generator[None]:
    """Have Python look for cycles seldom: each row is objects that live a moment, and none of them is in a cycle."""
    before = gc.get_threshold()
    gc.set_threshold(_ALLOCATIONS, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _tables(text: str | None) -> tuple[str, ...]:
    from otel_agent_journal.lake.schema import TABLES

    names = tuple(one.strip() for one in (text or "").split(",") if one.strip())
    for name in names:
        if name not in TABLES:
            raise click.UsageError(f"'{name}' is no table of a lake; there are {', '.join(TABLES)}")
    if text is not None and not names:
        raise click.UsageError(f"--tables names none; there are {', '.join(TABLES)}")
    return names


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1024**2:,.1f} MB" if size_bytes >= 100_000 else f"{size_bytes:,} bytes"
