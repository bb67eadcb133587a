"""One virtual environment for each instrumentation that is measured, built once and kept in the user's cache.

The peers register under one instrumentor name and ask for different versions, so they cannot share an environment.
All are built on `pins.txt`, that of Strands on `pins_strands.txt`; a change to it, to the interpreter or to what ours
depends on builds a new one.
Run it to build or check them all: `python tests/benchmarks/peers.py`. Does not know how anything is measured.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]
PINS: Final = HERE / "pins.txt"
EXPORTERS: Final = tuple(ROOT / "exporters" / name for name in ("aws", "dynamodb", "postgresql"))
AGENT: Final = ("langgraph", "langchain", "opentelemetry-sdk", "opentelemetry-instrumentation")
PACKAGES: Final[dict[str, tuple[str, ...]]] = {
    "ours": (*AGENT, "-e", str(ROOT)),
    "openinference": (*AGENT, "openinference-instrumentation-langchain"),
    "traceloop": (*AGENT, "opentelemetry-instrumentation-langchain"),
    "official": (*AGENT, "opentelemetry-instrumentation-genai-langchain"),
    "savers": (
        "langgraph",
        "langgraph-checkpoint-sqlite",
        "langgraph-checkpoint-postgres",
        "langgraph-checkpoint-aws",
        "psycopg[binary]",
        *(part for folder in EXPORTERS for part in ("-e", str(folder))),
        "-e",
        str(ROOT),
    ),
    "strands": ("strands-agents", "openinference-instrumentation-strands-agents", "-e", str(ROOT)),
}
STAMP: Final = "complete"  # written last: a folder without it is a build that broke off


def cache() -> Path:
    """Return the folder of the environments, `$XDG_CACHE_HOME/otel-agent-journal/peers`; it need not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otel-agent-journal" / "peers"


def python_of(name: str) -> Path:
    """Return the interpreter of an environment, built first where it is missing. Safe in parallel processes.

    Raises:
        subprocess.CalledProcessError: pip failed; what it said is on stderr.
    """
    folder = cache() / f"{name}-{_fingerprint(name)}"
    python = folder / "bin" / "python"
    with _locked(folder):
        if not (folder / STAMP).exists():
            _build(name, folder)
    return python


def _fingerprint(name: str) -> str:
    parts = [sys.version, *PACKAGES[name], _pins(name).read_text(encoding="utf-8")]
    if str(ROOT) in PACKAGES[name]:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        parts += [repr(project.get(key)) for key in ("dependencies", "scripts", "entry-points")]
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=6).hexdigest()


def _pins(name: str) -> Path:
    return HERE / "pins_strands.txt" if name == "strands" else PINS


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(name: str, folder: Path) -> None:
    print(f"building the environment of {name} (once) ...", file=sys.stderr, flush=True)
    venv.create(folder, clear=True, with_pip=True, symlinks=True)
    command = [folder / "bin" / "python", "-m", "pip", "install", "-q", "-c", _pins(name), *PACKAGES[name]]
    subprocess.run(command, check=True, stdout=sys.stderr)
    (folder / STAMP).touch()


def main() -> int:
    """Build what is missing and print where each environment is."""
    for name in PACKAGES:
        print(f"{name:14s} {python_of(name)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
