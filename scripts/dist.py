"""Build every distribution of the repository into dist/, as `make dist` does: a source distribution and a wheel each.

Each wheel is built from its source distribution, as pip would build it, so neither can have what the other lacks. What
is built twice is the same, byte by byte. Nothing is fetched: hatchling and twine are those of `make venv`. The viewer
is built first, where it is not; for that npm's packages are fetched once.

    python scripts/dist.py [FOLDER]    default: dist/, which is emptied first
"""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECTS = (ROOT, *sorted(file.parent for file in ROOT.glob("exporters/*/pyproject.toml")))


def build(project: Path, folder: Path, work: Path) -> tuple[Path, Path]:
    """Build a project's source distribution, and of that its wheel, into a folder; return both files."""
    from hatchling.build import build_sdist, build_wheel

    os.chdir(project)  # a build backend works in the project's folder
    source = folder / build_sdist(str(folder))
    with tarfile.open(source) as archive:
        archive.extractall(work, filter="data")
    os.chdir(work / source.name.removesuffix(".tar.gz"))
    return source, folder / build_wheel(str(folder))


def build_all(folder: Path) -> list[Path]:
    """Build everything into a folder, and return the files; a folder that was there is emptied."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    before = Path.cwd()
    try:
        with tempfile.TemporaryDirectory() as work:
            return [file for project in PROJECTS for file in build(project, folder, Path(work))]
    finally:
        os.chdir(before)


def main() -> int:
    """Build, check what an index would check, and say what there is."""
    import build_ui
    from twine.commands.check import check

    if build_ui.main() != 0:
        return 1
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "dist").resolve()
    files = build_all(folder)
    failed = check([str(file) for file in files], strict=True)
    for file in files:
        print(f"{file.stat().st_size / 1024:6.0f} KB  {file.name}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
