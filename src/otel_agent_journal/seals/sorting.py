"""Entries put into order in bounded memory: too many go to a file in sorted runs, and are merged from there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from heapq import merge
from itertools import chain
from operator import le
from typing import BinaryIO, Final

from otel_agent_journal.seals.entries import Entry, chunk_of, chunks, entries_in

RUN: Final = 65_536  # entries that are sorted in memory: some 20 MB


def in_order(entries: Iterable[Entry], run: int = RUN) -> Iterator[Entry]:
    """Yield entries by their positions; of several at one position one."""
    with ExitStack() as files:
        runs: list[Iterator[Entry]] = []
        some: list[Entry] = []
        ends: list[Entry] = []  # the first and the last of each run
        for entry in entries:
            some.append(entry)
            if len(some) == run:
                some.sort()
                ends += some[0], some[-1]
                runs.append(_from_file(_filed(files, some)))
                some = []
        some.sort()
        ends += some[:1]
        runs.append(iter(some))
        last: Entry | None = None
        # What came in order is in order: to merge runs that do not overlap takes longer than to sort them.
        for entry in chain.from_iterable(runs) if all(map(le, ends, ends[1:])) else merge(*runs):
            if last is None or entry.event_id != last.event_id or entry.timestamp_ns != last.timestamp_ns:
                last = entry
                yield entry


def _filed(files: ExitStack, some: list[Entry]) -> BinaryIO:
    file = files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - it is read as long as all of them
    for part in chunks(some):
        chunk = chunk_of(part)
        file.write(len(chunk).to_bytes(4, "big") + chunk)
    file.seek(0)
    return file


def _from_file(file: BinaryIO) -> Iterator[Entry]:
    while size := file.read(4):
        yield from entries_in(file.read(int.from_bytes(size, "big")))
