"""Runs every benchmark in turn: prints its tables, keeps its figures as JSON in `results/`, and ends with the verdicts.

    python tests/benchmarks/run_all.py [--quick] [NAME ...]     NAME as in bench_NAME.py; default: all

A benchmark is a file `bench_*.py` beside this one that ends with 0 where its bounds held. `--json` and `--quick` are
handed to those that know them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
RESULTS: Final = HERE / "results"


def command_of(file: Path, *, quick: bool) -> list[str]:
    """Return the command that runs a benchmark, with the options that it knows."""
    source = file.read_text(encoding="utf-8")
    command = [sys.executable, str(file)]
    if '"--json", type=Path' in source:
        command += ["--json", str(RESULTS / f"{file.stem.removeprefix('bench_')}.json")]
    if quick and '"--quick"' in source:
        command.append("--quick")
    return command


def main() -> int:
    """Run them; return 1 if any broke a bound or failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="short runs: to see that they work, not to judge")
    arguments = parser.parse_args()
    files = [HERE / f"bench_{name}.py" for name in arguments.names] or sorted(HERE.glob("bench_*.py"))
    missing = [file.stem.removeprefix("bench_") for file in files if not file.exists()]
    if missing:
        known = ", ".join(sorted(file.stem.removeprefix("bench_") for file in HERE.glob("bench_*.py")))
        parser.error(f"there is no benchmark {', '.join(missing)}; there are: {known}")
    RESULTS.mkdir(exist_ok=True)
    verdicts: list[tuple[str, bool, float]] = []
    for file in files:
        name = file.stem.removeprefix("bench_")
        print(f"\n== {name}", flush=True)
        start = time.monotonic()
        code = subprocess.run(command_of(file, quick=arguments.quick), check=False).returncode
        verdicts.append((name, code == 0, time.monotonic() - start))
    print()
    for name, held, seconds in verdicts:
        print(f"{'held  ' if held else 'BROKEN'}  {name:16s} {seconds:6.0f} s")
    return 0 if all(held for _, held, _ in verdicts) else 1


if __name__ == "__main__":
    raise SystemExit(main())
