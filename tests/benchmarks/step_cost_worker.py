"""The measured process: sets one mode up, runs one workload, prints its process CPU time as a line of JSON.

Started by `bench_step_cost.py` in the environment of the mode, as the child of `agent-journal run` where that is the
set-up. Process CPU time counts all threads, so a batch processor's export and an in-process drain are paid for.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import statistics
import time

import setups
import workloads


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=setups.MODES)
    parser.add_argument("workload", choices=tuple(workloads.WORKLOADS))
    parser.add_argument("--scale", type=float, default=1.0)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)  # OpenInference logs 210,000 warnings at 100 loops, which would be measured too
    workload = workloads.WORKLOADS[arguments.workload]
    invocations = max(4, round(workload["invocations"] * arguments.scale))
    finish = setups.set_up(arguments.mode)
    invoke = workload["make"]()
    for number in range(workload["warmup"]):
        invoke(-1 - number)
    before = finish()
    gc.collect()
    start_ns = time.process_time_ns()
    marks = [invoke(number) for number in range(invocations)]
    after = finish()
    spent_ns = time.process_time_ns() - start_ns
    measured = {
        "invocations": invocations,
        "warmup": workload["warmup"],
        "steps": workload["steps"],
        "cpu_us_per_invocation": spent_ns / 1000 / invocations,
        "spans_per_invocation": (after - before) / invocations,
    }
    if arguments.workload == "agent100":
        measured["early_us_per_loop"] = _per_loop_us(marks, 0, 10)
        measured["late_us_per_loop"] = _per_loop_us(marks, 89, 99)
    print("\n" + json.dumps(measured))
    return 0


def _per_loop_us(marks: list[list[int]], first: int, last: int) -> float:
    """CPU time of a loop, model call to model call: the median over invocations, so that one collection is no trend."""
    return statistics.median((m[last] - m[first]) / 1000 / (last - first) for m in marks)


if __name__ == "__main__":
    raise SystemExit(main())
