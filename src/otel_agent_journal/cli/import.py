"""`agent-journal import`: JSON lines of a journal, from a file or a pipe, into the store."""  # noqa: N999 - the word that people type

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast

import click

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.contract import note
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.cli.operating import opened
from otel_agent_journal.cli.progress import progress

_FAILED: Final = 1
_GZIP: Final = b"\x1f\x8b"
_MAX_SAID: Final = 20  # bad lines that are named


@click.command("import", short_help="Take in JSON lines that were written out of a journal.")
@click.argument("file", metavar="FILE|-", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@common_options
@pass_invocation
def command(invocation: Invocation, file: str) -> int:
    """Take in JSON lines that were written out of a journal.

    Lines of `export --jsonl`, `show --events -o jsonl` and `tail -o jsonl`, also compressed by gzip; - is stdin. What
    the store has already stays as it is, so that a file may be taken in twice. A bad line is named, and costs that
    line alone; exits with 1 then.
    """
    from otel_agent_journal.reading.written_out import Import

    output = invocation.output()
    store = opened(invocation, None, create=True)
    said = 0

    def told(number: int, why: str) -> None:
        nonlocal said
        said += 1
        if said <= _MAX_SAID:
            bar.clear()
            note(f"line {number} was not taken: {why}")

    size = None if file == "-" else Path(file).stat().st_size
    with _opened(file) as (lines, place), progress(size, f"importing {readable.one_line(file, 40)}") as bar:
        taking = Import(store, insist=lambda call: call(), told=told)
        for _ in taking.take(lines):
            bar.to(place())
    taken = taking.taken
    if said > _MAX_SAID:
        note(f"and {said - _MAX_SAID} more")
    if output.for_people:
        found = ", ".join(
            readable.plural(number, noun)
            for number, noun in ((taken.events, "event"), (taken.blobs, "blob"), (len(taken.sessions), "session"))
        )
        bad = f"; {readable.plural(taken.bad, 'line')} not taken" if taken.bad else ""
        output.text(f"{found} taken in{bad}")
    else:
        output.record(
            {
                "store": store.url,
                "lines": taken.lines,
                "events": taken.events,
                "blobs": taken.blobs,
                "sessions": len(taken.sessions),
                "bad_lines": taken.bad,
            }
        )
    return _FAILED if taken.bad else 0


@contextmanager
def _opened(file: str) -> Generator[tuple[BinaryIO, Callable[[], int]]]:
    """Give the lines of a file, and how far in it they are read."""
    if file == "-":
        yield sys.stdin.buffer, lambda: 0
        return
    with Path(file).open("rb") as raw:
        is_packed = raw.read(2) == _GZIP
        raw.seek(0)
        yield (cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if is_packed else raw), raw.tell
