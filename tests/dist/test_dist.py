"""What `make dist` builds: whole, clean, reproducible, and enough by itself for the README's first five minutes."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.dist.environments import installed, make, metadata, pip
from tests.docs.pages import ROOT, blocks
from tests.docs.test_blocks import not_printed, run, scripts

PROJECTS = (ROOT, *sorted(file.parent for file in ROOT.glob("exporters/*/pyproject.toml")))
NAMES = {tomllib.loads((project / "pyproject.toml").read_text())["project"]["name"]: project for project in PROJECTS}


def build(folder: Path, umask: int = 0o022) -> Path:
    """Build everything into a folder."""
    command = [sys.executable, str(ROOT / "scripts" / "dist.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", umask=umask, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of it, built once, whichever worker asks first."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "dist"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            build(folder.with_suffix(".new")).rename(folder)
    return folder


@pytest.fixture(autouse=True)
def from_the_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the checkout is imported."""
    monkeypatch.delenv("PYTHONPATH", raising=False)


def contents(file: Path) -> set[str]:
    """Return the files in a wheel or in a source distribution."""
    if file.suffix == ".whl":
        return set(zipfile.ZipFile(file).namelist())
    with tarfile.open(file) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def test_each_distribution_is_a_wheel_and_its_source(dist: Path) -> None:
    """Every pyproject.toml of the repository is built, as both, and nothing else is there."""
    stems = {name.replace("-", "_") for name in NAMES}
    assert {file.name for file in dist.iterdir()} == {
        f"{stem}-0.1.0{end}" for stem in stems for end in (".tar.gz", "-py3-none-any.whl")
    }


@pytest.mark.parametrize("name", NAMES)
def test_what_is_in_it(dist: Path, name: str) -> None:
    """Source, licence, py.typed: all files of the package, no tests, no caches."""
    package = name.replace("-", "_")
    source = {
        str(file.relative_to(NAMES[name] / "src"))
        for file in (NAMES[name] / "src").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert f"{package}/py.typed" in source
    wheel = contents(dist / f"{package}-0.1.0-py3-none-any.whl")
    information = {file for file in wheel if file.startswith(f"{package}-0.1.0.dist-info/")}
    assert wheel - information == source
    assert f"{package}-0.1.0.dist-info/licenses/LICENSE" in information

    archive = contents(dist / f"{package}-0.1.0.tar.gz")
    assert {f"src/{file}" for file in source} | {"LICENSE", "README.md", "pyproject.toml"} <= archive
    assert not [file for file in archive if re.search(r"(^|/)(tests|__pycache__)/|\.pyc$", file)]


def test_the_built_viewer_is_in_it(dist: Path) -> None:
    """Wheel and source distribution carry the viewer as it was built, and no map of its source, nor npm's packages."""
    static = "otel_agent_journal/server/static/"
    built = {f"{static}{name}" for name in ("index.html", "app.js", "shared.js", "lists.js", "app.css", "file.js")}
    assert built == {file for file in contents(dist / "otel_agent_journal-0.1.0-py3-none-any.whl") if static in file}
    archive = contents(dist / "otel_agent_journal-0.1.0.tar.gz")
    assert {f"src/{file}" for file in built} | {"ui/src/main.tsx", "ui/package.json", "ui/hatch_build.py"} <= archive
    assert not [file for file in archive if "node_modules" in file or file.endswith(".map")]


def test_without_the_viewer_nothing_is_built(dist: Path, tmp_path: Path) -> None:
    """Where the built viewer is missing no wheel is built, and the message says what to run; who edits hears it."""
    with tarfile.open(dist / "otel_agent_journal-0.1.0.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    source = tmp_path / "otel_agent_journal-0.1.0"
    (source / "src" / "otel_agent_journal" / "server" / "static" / "app.js").unlink()
    for function, refused in (("build_wheel", True), ("build_sdist", True), ("build_editable", False)):
        code = f"from hatchling.build import {function}; {function}({str(tmp_path)!r})"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=source, capture_output=True, encoding="utf-8", check=False
        )
        assert ("RuntimeError: the viewer is not built: app.js missing" in done.stderr) is refused, done.stderr
        assert "the viewer is not built: app.js missing" in done.stderr
        assert "make ui" in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_it_is_described(dist: Path, name: str) -> None:
    """Its page on an index is its README, of which no link leads to a file that is not there."""
    described = metadata(dist / f"{name.replace('-', '_')}-0.1.0-py3-none-any.whl")
    text = str(described.get_payload())
    assert text.startswith(f"# {name}\n")
    assert described["Description-Content-Type"] == "text/markdown"
    assert described["License-Expression"] == "Apache-2.0"
    assert [link for link in re.findall(r"\]\(([^)]*)\)", text) if not re.match(r"https?:|#", link)] == []
    licence = (NAMES[name] / "LICENSE").read_text()
    assert licence == (ROOT / "LICENSE").read_text()


def test_the_same_twice(dist: Path, tmp_path: Path) -> None:
    """What is built again, by a user with other habits, is the same byte by byte."""
    again = build(tmp_path / "again", umask=0o077)
    digests = [
        {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
        for folder in (dist, again)
    ]
    assert digests[0] == digests[1]


@pytest.mark.timeout(240)
def test_installed_together(dist: Path, tmp_path: Path) -> None:
    """With all extras and every store they go into one environment; each entry point of theirs can be loaded."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys() - {"dev"}
    there = make(tmp_path / "env", dist, f"otel-agent-journal[{','.join(sorted(extras))}]")
    assert installed(there) == set(NAMES)
    pip(there, "check")
    loads = """
from importlib.metadata import distributions
for found in distributions():
    if found.name.startswith("otel-agent-journal"):
        for point in found.entry_points:
            if point.group != "pytest11":  # which pytest alone loads, and it is not here
                point.load()
            print(point.group, point.name)
"""
    done = subprocess.run([there / "python", "-c", loads], capture_output=True, encoding="utf-8", check=True)
    loaded = done.stdout.splitlines()
    for store in ("sqlite", "dynamodb", "postgresql", "s3", "otlp"):
        assert f"otel_agent_journal.stores {store}" in loaded
    assert done.stderr == ""


@pytest.mark.timeout(240)
def test_first_five_minutes(dist: Path, tmp_path: Path) -> None:
    """With the extras that the README names, and no more, its first five minutes are as it says, and so is the demo."""
    readme = (ROOT / "README.md").read_text()
    extras = re.search(r"otel-agent-journal(\[[\w,]+\])", readme)
    assert extras is not None
    there = make(tmp_path / "env", dist, f"otel-agent-journal{extras[1]}")
    assert installed(there) == {"otel-agent-journal"}
    folder = tmp_path / "here"
    folder.mkdir()
    journal = there / "agent-journal"
    environment = {**os.environ, "AGENT_JOURNAL_DEMO_PACE": "0.005"}
    for command in (["--version"], ["demo"]):
        done = subprocess.run(
            [journal, *command], cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False
        )
        assert done.returncode == 0, done.stderr
        assert "0.1.0" in done.stdout or "what to try next" in done.stdout
    listed = subprocess.run([journal, "ls"], cwd=folder, capture_output=True, encoding="utf-8", check=True).stdout
    assert [json.loads(line)["status"] for line in listed.splitlines()] == ["COMPLETED"]

    first_five = readme.partition("## The first five minutes")[2].partition("\n## ")[0]
    for script in scripts(blocks(first_five)):
        printed = run(script, folder, there)
        for shown in script.shown:
            assert not_printed(shown, printed) == [], printed
