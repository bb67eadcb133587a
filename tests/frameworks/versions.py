"""Environments with the oldest and the newest releases of what is instrumented, each made once, in the servers' cache.

The oldest are those that the extras of `pyproject.toml` name as their bounds, the newest whatever pip finds.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
OLDEST, NEWEST = "oldest", "newest"
_CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otel-agent-journal" / "versions"
_EXTRAS: Final = ("langgraph", "strands", "otlp", "instrument")
_OURS: Final = re.compile(r"(langgraph|langchain-core|strands-agents|opentelemetry-[a-z-]+)>=([0-9.b]+)")
_TOOLS: Final = (
    "hypothesis",
    "langgraph-checkpoint-conformance",
    "psutil",
    "pytest",
    "pytest-asyncio",
    "pytest-timeout",
    "pytest-xdist",
    "syrupy",
)


def required(which: str) -> list[str]:
    """Return what an environment has, as pip takes it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(one for extra in _EXTRAS for one in project["optional-dependencies"][extra])]
    if which == OLDEST:
        wanted = [_OURS.sub(r"\1==\2", one) for one in wanted]
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    return [*wanted, "langchain", *(f"{tool}=={pins[tool]}" for tool in _TOOLS)]


def environment(which: str) -> Path:
    """Return the Python of an environment, which is made where it is not there yet: that takes minutes.

    The newest is made anew where constraints.txt, which names the newest that all tests ran with, has changed.
    """
    wanted = required(which)
    said = "\n".join((str(ROOT), sys.version, *wanted, (ROOT / "constraints.txt").read_text()))
    folder = _CACHE / f"{which}-{hashlib.sha256(said.encode()).hexdigest()[:12]}"
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            install = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*install, *wanted], check=True)
            subprocess.run([*install, "--no-deps", "--editable", ROOT], check=True)
            (folder / "made").touch()
    return folder / "bin" / "python"
