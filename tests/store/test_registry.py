"""Stores by URL: what is known, what could be installed, what is a mistake."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from otel_agent_journal.errors import ConfigError, MissingExtra, UnknownScheme
from otel_agent_journal.store import registry
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.store.registry import known_schemes, open_store
from otel_agent_journal.store.sqlite import SqliteStore


def test_built_in_backends(tmp_path: Path) -> None:
    """The backends of the core answer to their schemes, whatever the case."""
    assert isinstance(open_store(f"sqlite:///{tmp_path}/j.db"), SqliteStore)
    assert isinstance(open_store("memory://"), MemoryStore)
    assert isinstance(open_store("MEMORY://"), MemoryStore)
    assert {"memory", "sqlite"} <= set(known_schemes())


def test_create_is_passed_on(tmp_path: Path) -> None:
    """A reader's `create=False` reaches the backend."""
    with pytest.raises(Exception, match="there is no journal"):
        open_store(f"sqlite:///{tmp_path}/j.db", create=False).tip()


def test_unknown_scheme() -> None:
    """An unknown scheme names those that are known; a password is not repeated."""
    with pytest.raises(UnknownScheme, match=r"known here: .*memory.*sqlite") as refused:
        open_store("mongodb://ann:secret@host/db")
    assert refused.value.scheme == "mongodb"
    assert "secret" not in str(refused.value)
    assert "secret" not in refused.value.url


@pytest.mark.parametrize(
    ("url", "requirement"),
    [
        ("dynamodb://journal?region=eu-west-1", "otel-agent-journal-dynamodb"),
        ("postgresql://host/db", "otel-agent-journal-postgresql"),
        ("postgresql+psycopg://host/db", "otel-agent-journal-postgresql"),
        ("s3://bucket/prefix", "otel-agent-journal-s3"),
    ],
)
def test_missing_exporter(url: str, requirement: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that exists and is not installed is named with the line that installs it."""
    monkeypatch.setattr("otel_agent_journal.store.registry.entry_points", lambda **_: ())
    with pytest.raises(MissingExtra) as refused:
        open_store(url)
    assert f"pip install '{requirement}'" in str(refused.value)


@pytest.mark.parametrize("url", ["journal.db", "/var/lib/journal.db", "sqlite", "", "1://x", "://x"])
def test_not_a_url(url: str) -> None:
    """A path where a URL is wanted is answered with the form of one."""
    with pytest.raises(ConfigError, match="sqlite:///"):
        open_store(url)


@pytest.mark.parametrize("url", ["ann:s3cret@host/db", "postgresql:/ann:s3cret@host/db"])
def test_no_error_repeats_a_password(url: str) -> None:
    """Nor does what says that it is no URL at all."""
    with pytest.raises(ConfigError, match=r"sqlite:///journal\.db") as refused:
        open_store(url)
    assert "s3cret" not in str(refused.value)


def install(folder: Path, scheme: str, target: str) -> None:
    """Make a distribution with one entry point, as pip would leave it."""
    info = folder / "other_store-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-store\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{scheme} = {target}\n")


def test_a_backend_of_another_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution adds a backend by an entry point of the group."""
    install(tmp_path, "elsewhere", "otel_agent_journal.store.memory:open_store")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "elsewhere" in known_schemes()
    assert open_store("elsewhere://x").url == "elsewhere://x"


def test_a_backend_whose_driver_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that is installed without what it stands on names what to install."""
    install(tmp_path, "broken", "no_such_driver.store:open_store")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(MissingExtra, match=r"'no_such_driver'.*pip install 'other-store'"):
        open_store("broken://x")


def test_lazy() -> None:
    """The registry imports no backend before it is asked for."""
    script = (
        "import sys; import otel_agent_journal.store.registry;"
        "assert 'sqlite3' not in sys.modules and 'otel_agent_journal.store.memory' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env={"PYTHONPATH": ":".join(sys.path)})
