"""An agent that does nothing but append, in several threads, and says in shared memory how far it is.

    python spool_agent.py SPOOL WRITER COUNTS THREADS PAUSE_S

Each thread writes, after each append that returned, how many have, into its eight bytes of the file COUNTS.
"""

from __future__ import annotations

import mmap
import signal
import struct
import sys
import threading
import time
from pathlib import Path

from otel_agent_journal.mapping.facts import SessionNoted, StepStarted, encode_fact
from otel_agent_journal.spool.writer import SpoolWriter

BASE_NS = 1_760_000_000_000_000_000


LIMIT_S = 600  # should nobody kill it


def main(spool: str, writer_id: str, counts: str, threads: str, pause_s: str) -> None:
    signal.alarm(LIMIT_S)
    writer = SpoolWriter(Path(spool), writer=writer_id, segment_bytes=128 * 1024)
    with Path(counts).open("r+b") as file:
        shared = mmap.mmap(file.fileno(), 0)

    pause = float(pause_s)

    def work(thread: int) -> None:
        session = f"s{thread}"
        start = StepStarted(session, "AGENT", "agent", f"root{thread}", None, 1, BASE_NS, None, None)
        assert writer.append(encode_fact(start))
        number = 0
        while True:
            event_id = f"{thread:08x}{number:024x}"
            details = {"n": number, "text": "x" * (number * 37 % 900)}
            fact = SessionNoted(session, event_id, "NOTED", "INFO", BASE_NS + 1 + number, details=details)
            assert writer.append(encode_fact(fact)), writer.last_refusal
            number += 1
            struct.pack_into("<q", shared, thread * 8, number)
            if pause > 0:
                time.sleep(pause)

    for thread in range(1, int(threads)):
        threading.Thread(target=work, args=(thread,), daemon=True).start()
    work(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
