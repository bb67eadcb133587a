"""Which process wrote a folder, so that one which lost its lock is not taken for dead, nor another for it.

A process id says little: it is given out again, and means another process in another container or after a boot.
"""

from __future__ import annotations

import functools
import os
import socket
from pathlib import Path


def process_of(pid: int) -> str:
    """Return what tells a running program from every other: boot, namespace, id, start, and where its stack begins.

    The last changes when the process runs another program (`exec`). Empty where that cannot be told or it has ended.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].decode().split()
        state, started, stack = fields[0], fields[19], fields[25]  # proc(5): fields 3, 22 and 28
    except (OSError, IndexError):
        return ""
    return "" if state in "ZX" else f"{_boot(os.getpid())}:{pid}:{started}:{stack}"


def still_runs(process: str, pid: int, host: str) -> bool | None:
    """Tell whether the program runs that said this of itself; None where it cannot be told from here."""
    if host != socket.gethostname():
        return None
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None if process and not _is_near(process) else False
    except OSError:
        pass
    running = process_of(pid)
    if not process or not running or not _is_near(process):
        return None
    if running.endswith(":0"):  # a stranger's process: where its stack begins is not for us to know
        return process.startswith(running[:-1])
    return process == running


def _is_near(process: str) -> bool:
    """Tell whether it ran since this machine's boot and in our namespace: of others an id says nothing here."""
    boot = _boot(os.getpid())
    return bool(boot) and process.startswith(f"{boot}:")


@functools.lru_cache(maxsize=1)
def _boot(_pid: int) -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""
