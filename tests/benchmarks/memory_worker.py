"""The measured process of `bench_memory.py`: runs the graph of 20 nodes and prints its memory every so many steps.

Takes its setup from the environment: as the child of `agent-journal run` it does nothing, else it configures itself.
A line of JSON each time: steps so far, and in bytes its own and, under `run`, its parent's resident memory.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
from pathlib import Path

import setups
import workloads

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(pid: int) -> int:
    """Return the resident set of a process, what it maps from files included."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=("none", "run", "configure"))
    parser.add_argument("sessions", choices=("one", "many"))
    parser.add_argument("steps", type=int)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    finish = setups.set_up(arguments.mode)
    invoke = workloads.graph()
    every = max(21, arguments.steps // 100)
    steps = printed = number = 0
    while steps < arguments.steps:
        invoke(0 if arguments.sessions == "one" else number)
        number += 1
        steps += workloads.NODES + 1
        if steps - printed >= every:
            printed = steps
            drain = resident_bytes(os.getppid()) if arguments.mode == "run" else None
            print(json.dumps({"steps": steps, "agent": resident_bytes(os.getpid()), "drain": drain}), flush=True)
    finish()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
