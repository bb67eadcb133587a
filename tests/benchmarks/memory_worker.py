"""The measured process of `bench_memory.py`: runs the graph of 20 nodes and prints its memory every so many steps.

Takes its setup from the environment: as the child of `agent-journal run` it does nothing, else it configures itself.
A line of JSON each time: steps so far, its own memory and, under `run`, its parent's.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
from pathlib import Path

import setups
import workloads

_FIELDS = {"VmRSS": "resident", "RssAnon": "own"}


def memory_of(pid: int) -> dict[str, int]:
    """Return the resident memory of a process in bytes: all of it, and what is its own and not a mapped file's."""
    found: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name in _FIELDS:
            found[_FIELDS[name]] = int(value.split()[0]) * 1024
    return found


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
            drain = memory_of(os.getppid()) if arguments.mode == "run" else None
            print(json.dumps({"steps": steps, "agent": memory_of(os.getpid()), "drain": drain}), flush=True)
    finish()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
