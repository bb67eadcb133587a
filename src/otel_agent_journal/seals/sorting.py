"""Entries put into order in bounded memory: too many go to a file in sorted runs, and are merged from there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from heapq import merge
from typing import BinaryIO, Final

from otel_agent_journal.seals.entries import Entry, chunks, entries_in

RUN: Final = 65_536  # entries that are sorted in memory: some 20 MB


def in_order(entries: Iterable[Entry], run: int = RUN) -> Iterator[Entry]:
    """Yield entries by their positions; of several at one position one."""
    with ExitStack() as files:
        runs: list[Iterator[Entry]] = []
        some: list[Entry] = []
        for entry in entries:
            some.append(entry)
            if len(some) == run:
                runs.append(_from_file(_filed(files, some)))
                some = []
        some.sort()  # as tuples, which begin with the position: a key for each would take longer than the rest
        last = None
        for entry in merge(*runs, some) if runs else some:
            position = entry[:2]
            if position != last:
                last = position
                yield entry


def _filed(files: ExitStack, some: list[Entry]) -> BinaryIO:
    some.sort()
    file = files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - it is read as long as all of them
    for chunk in chunks(some):
        file.write(len(chunk).to_bytes(4, "big") + chunk)
    file.seek(0)
    return file


def _from_file(file: BinaryIO) -> Iterator[Entry]:
    while size := file.read(4):
        yield from entries_in(file.read(int.from_bytes(size, "big")))
