"""Empty environments with nothing but wheels of ours and what these declare, made without a network.

What the wheels depend on is linked, file by file, out of the environment that runs the tests: just the packages that
the declared requirements lead to. pip then installs our wheels, and resolves their extras against these packages.
"""

from __future__ import annotations

import re
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterable, Iterator
from email import message_from_bytes
from email.message import Message
from importlib.metadata import distribution
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def metadata(wheel: Path) -> Message:
    """Return a wheel's METADATA."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_bytes(archive.read(name))


def needed(asked: Iterable[str], wheels: Iterable[Path]) -> set[str]:
    """Return the names of all packages that requirements lead to, but for those whose wheels are given."""
    ours = {
        canonicalize_name(str(found["Name"])): found.get_all("Requires-Dist", []) for found in map(metadata, wheels)
    }
    seen: set[tuple[str, str]] = set()
    todo = [Requirement(one) for one in asked]
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            declared = ours[name] if name in ours else distribution(name).requires or []
            further = map(Requirement, declared)
            todo += [one for one in further if one.marker is None or one.marker.evaluate({"extra": extra})]
    return {name for name, _ in seen} - ours.keys()


def files_of(name: str) -> Iterator[tuple[PurePosixPath, Path]]:
    """Yield what a package has installed into its site-packages: where it is below that, and the file."""
    for file in distribution(name).files or []:
        if ".." not in file.parts:
            yield PurePosixPath(file), Path(str(file.locate()))


def make(folder: Path, wheels: Path, *asked: str) -> Path:
    """Make an environment in which requirements are installed from a folder of wheels; return its `bin`."""
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in needed(asked, wheels.glob("*.whl")):
        for inside, file in files_of(name):
            target = site / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(file)
    pip(folder / "bin", "install", "--quiet", "--no-compile", "--no-index", "--find-links", str(wheels), *asked)
    return folder / "bin"


def pip(bin_folder: Path, *args: str) -> str:
    """Run the pip of the tests' environment upon another one; return what it printed."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(bin_folder / "python"),
        "--disable-pip-version-check",
        *args,
    ]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def installed(bin_folder: Path) -> set[str]:
    """Return the names of ours that are installed there."""
    return set(re.findall(r"^(otel-agent-journal\S*)==", pip(bin_folder, "list", "--format", "freeze"), re.MULTILINE))
