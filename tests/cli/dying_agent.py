"""A process that records two steps and is then killed, or ends in order, or waits: run by tests of the spool.

python dying_agent.py SPOOL SESSION WRITER killed|closed|alive [SECONDS AGO]
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from otel_agent_journal.event import derived_id
from otel_agent_journal.mapping.facts import StepEnded, StepStarted, encode_fact
from otel_agent_journal.spool.writer import SpoolWriter


def main(spool: str, session: str, writer: str, end: str, ago_s: str = "1") -> None:
    """Record, and go the way that `end` says."""
    start_ns = time.time_ns() - int(float(ago_s) * 1e9)
    log = SpoolWriter(Path(spool), writer=writer)
    root, tool = derived_id(f"{session}:root"), derived_id(f"{session}:tool")
    log.append(encode_fact(StepStarted(session, "AGENT", "researcher", root, None, 1, start_ns, None, None)))
    log.append(encode_fact(StepStarted(session, "TOOL", "search", tool, root, 1, start_ns + 1000, None, None)))
    if end == "closed":
        for kind, name, step, parent, at in (
            ("TOOL", "search", tool, root, 1000),
            ("AGENT", "researcher", root, None, 0),
        ):
            ended = StepEnded(session, kind, name, step, parent, 1, start_ns + at, None, None, start_ns + 10**6, "ok")
            log.append(encode_fact(ended))
        log.close()
        return
    print("recorded", flush=True)
    if end == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
