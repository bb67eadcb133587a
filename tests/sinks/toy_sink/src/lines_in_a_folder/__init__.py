"""A sink that appends to a file for each session: `folder:///PATH`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from otel_agent_journal.errors import ConfigError, SinkUnreachable
from otel_agent_journal.masking import masked
from otel_agent_journal.sinks.port import Limits, Record
from otel_agent_journal.store.keys import key_of

LIMITS = Limits(records=100, record_bytes=64 * 1024, request_bytes=1024 * 1024, aggregate=True)


class FolderSink:
    """Files in a folder, which has to be there."""

    limits = LIMITS

    def __init__(self, url: str, folder: Path) -> None:
        self.url = masked(url)
        self._folder = folder

    def send(self, records: Sequence[Record]) -> list[str | None]:
        """Append each record to its session's file."""
        if not self._folder.is_dir():
            raise SinkUnreachable(f"sink {self.url}: there is no such folder; make it")
        return [self._append(record) for record in records]

    def _append(self, record: Record) -> str | None:
        try:
            with (self._folder / f"{key_of(record.key)[:200]}.jsonl").open("ab") as file:
                file.write(record.data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            return str(error)
        return None

    def close(self) -> None:
        """Nothing is open between calls."""


def open_sink(url: str) -> FolderSink:
    """Return the sink of a URL. Raises ConfigError."""
    scheme, _, path = url.partition(":///")
    if scheme.lower() != "folder" or not path or "?" in path:
        raise ConfigError(f"sink {masked(url)} names no folder; the form is folder:///PATH")
    return FolderSink(url, Path(f"/{path.lstrip('/')}"))
