"""A process that drains a spool into an SQLite store until it is killed: python spool_drainer.py SPOOL STORE."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from otel_agent_journal.delivery.drain import Drain
from otel_agent_journal.store.registry import open_store

if __name__ == "__main__":
    drain = Drain(Path(sys.argv[1]), open_store(sys.argv[2], create=True))
    drain.start()
    time.sleep(60)
