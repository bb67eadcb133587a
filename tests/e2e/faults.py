"""Ways to break a store or a spool from outside, and to mend it again."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_agent_journal.store.registry import open_store
from tests.processes import started

_LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


def new_journal(file: Path) -> None:
    """Make an empty journal."""
    store = open_store(f"sqlite:///{file}")
    list(store.sessions())
    store.close()


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Another process is in a transaction on this journal all the time."""
    new_journal(file)
    with started(
        [sys.executable, "-c", _LOCKER, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as locker:
        assert locker.stdout is not None
        assert locker.stdout.readline() == "locked\n"
        yield


@contextlib.contextmanager
def small_disk(folder: Path, size: str = "4m") -> Iterator[None]:
    """A file system of its own, so small that it can be filled."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting is not permitted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    """The disk of this folder is full to the last byte."""
    filler = folder / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            for size in (65536, 4096, 1):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass
        yield
    finally:
        filler.unlink()


@contextlib.contextmanager
def forbidden(folder: Path) -> Iterator[None]:
    """Nothing may be made, changed or deleted in this folder. To root everything is permitted but this."""
    if os.geteuid() != 0:
        folder.chmod(0o555)
        try:
            yield
        finally:
            folder.chmod(0o755)
        return
    if shutil.which("chattr") is None or subprocess.run(["chattr", "+i", folder], check=False).returncode != 0:
        pytest.skip("as root, a folder can be forbidden by chattr alone, which this file system does not know")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", folder], check=True)


@contextlib.contextmanager
def damaged(file: Path) -> Iterator[None]:
    """What should be the journal is noise."""
    file.write_bytes(os.urandom(32_768))
    try:
        yield
    finally:
        file.unlink()
