"""The toy backend of docs/adding-a-backend.md: a distribution of its own, installed, under the contract of every store.

Installing is what pip does with it, by hand, for want of a network: the package into a folder on the path, and beside
it the metadata that its pyproject.toml comes to.
"""

from __future__ import annotations

import json
import shutil
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution, entry_points
from pathlib import Path

import pytest

from otel_agent_journal.errors import ConfigError, NewerSchema, StoreUnreachable, StoreUnusable
from otel_agent_journal.projections.status import fold
from otel_agent_journal.projections.verdict import head_of
from otel_agent_journal.store.protocol import JournalStore, StoreAdmin
from otel_agent_journal.store.registry import known_schemes, open_store
from otel_agent_journal.testing.builders import JournalBuilder, events
from otel_agent_journal.testing.store_contract import StoreContract
from tests.cli.command_line import pipes

TOY = Path(__file__).parent / "toy_backend"


def install(project: Path, site: Path) -> None:
    """Put a pure project where Python finds it, with its metadata."""
    settings = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    name, version = settings["name"].replace("-", "_"), settings["version"]
    shutil.copytree(project / "src" / name, site / name, ignore=shutil.ignore_patterns("__pycache__"))
    metadata = site / f"{name}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {settings['name']}\nVersion: {version}\n")
    groups = settings["entry-points"].items()
    lines = [f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in names.items()) for group, names in groups]
    (metadata / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture(scope="module", autouse=True)
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The toy installed, for this module's tests and the processes that they start."""
    folder = tmp_path_factory.mktemp("site")
    install(TOY, folder)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    for module in [module for module in sys.modules if module.partition(".")[0] == "journal_in_lines"]:
        del sys.modules[module]


class TestToyBackend(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[JournalStore]:
        store = open_store(f"lines:///{tmp_path}/journal.jsonl")
        yield store
        store.close()


def test_it_is_found_by_its_entry_points() -> None:
    """Its scheme is known, and OpenTelemetry finds an exporter of its name."""
    assert "lines" in known_schemes()
    assert distribution("journal-in-lines").version == "0.1.0"
    (exporter,) = entry_points(group="opentelemetry_traces_exporter", name="agent_journal_lines")
    assert exporter.value == "otel_agent_journal.bootstrap:SpanExporterFromEnv"


def test_the_command_line_opens_it_by_url(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prepared, listed, verified, and copied from and to, by its URL and nothing else."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(site))
    url, copy, again = "lines:///journal.jsonl", "sqlite:///copy.db", "lines:///again.jsonl"
    (prepared,) = pipes(("store", "init", url, "--yes")).splitlines()
    assert json.loads(prepared)["done"] == ["create the file journal.jsonl"]
    store = open_store(url)
    journal = JournalBuilder("s1")
    root = journal.start("AGENT", "helper")
    journal.end(journal.start("TOOL", "search", parent=root))
    journal.end(root)
    store.append(journal.events)
    store.write_head(head_of(fold(journal.events), "s1"))
    show = ("show", "s1", "--events", "--store")
    commands = (
        ("ls",),
        ("verify",),
        ("store", "info"),
        ("store", "copy", url, copy),
        ("store", "copy", copy, again),
        (*show, url),
        (*show, again),
    )
    said = [json.loads(line) for line in pipes(*commands, AGENT_JOURNAL_STORE=url).splitlines()]
    assert (said[0]["session_id"], said[0]["status"]) == ("s1", "COMPLETED")
    assert (said[1]["backend"], said[1]["events"], said[1]["sessions"]) == ("lines", 4, 1)
    assert [(row["events"], row["differences"]) for row in said[2:4]] == [(4, [])] * 2
    assert len(said[4:]) == 8
    assert said[4:8] == said[8:]


def test_what_a_dying_writer_left_unfinished_is_no_line(tmp_path: Path) -> None:
    """A torn last line is not read, and gone with the next write."""
    url = f"lines:///{tmp_path}/journal.jsonl"
    first = open_store(url)
    first.append(events(3))
    with (tmp_path / "journal.jsonl").open("ab") as file:
        file.write(b'{"append":["{')
    second = open_store(url)
    assert list(second.read("s1")) == events(3)
    second.append(events(5))
    assert list(first.read("s1")) == list(open_store(url).read("s1")) == events(5)


def test_files_that_are_not_its_own_are_left_untouched(tmp_path: Path) -> None:
    """No journal, a newer one, none at all, and no file in the URL: a typed error each."""
    file = tmp_path / "journal.jsonl"
    url = f"lines:///{file}"
    with pytest.raises(StoreUnreachable):
        open_store(url, create=False).tip()
    for content, error in ((b"notes\n", StoreUnusable), (b'{"journal_in_lines":9}\n', NewerSchema)):
        file.write_bytes(content)
        with pytest.raises(error):
            open_store(url).append(events(1))
        assert file.read_bytes() == content
    for malformed in ("lines://host/x", "lines:///", f"{url}?a=b"):
        with pytest.raises(ConfigError):
            open_store(malformed)


def test_init_plan_needs_no_file(tmp_path: Path) -> None:
    """What is missing is said without making it."""
    store = open_store(f"lines:///{tmp_path}/journal.jsonl")
    assert isinstance(store, StoreAdmin)
    assert store.init_plan() == [f"create the file {tmp_path}/journal.jsonl"]
    assert list(tmp_path.iterdir()) == []
