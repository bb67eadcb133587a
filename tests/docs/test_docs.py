"""The documentation names everything that can be used, its links lead somewhere, and what it says of events is true."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import otel_agent_journal
from otel_agent_journal import errors, event
from otel_agent_journal.cli.app import COMMANDS
from otel_agent_journal.cli.diagnosis import OWN_VARIABLES
from otel_agent_journal.config import VARIABLES
from otel_agent_journal.projections import head
from otel_agent_journal.store import protocol
from tests.docs.pages import PAGES, ROOT, anchors, everything_said, links, name, prose, said

SAID = everything_said()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DOCS = ROOT / "docs"


def is_said(word: str, text: str = SAID) -> bool:
    """Tell whether a word stands somewhere as code, and not only within a longer one."""
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) is not None


def event_types() -> list[str]:
    """Return every event type that the package names."""
    sets = (event.START_TYPES, event.END_TYPES, event.IN_STEP_TYPES, event.CONTEXT_TYPES)
    alone = (value for key, value in vars(event).items() if isinstance(value, str) and key == value)
    return sorted({*alone, *(kind for kinds in sets for kind in kinds)})


def public_errors() -> list[type[Exception]]:
    """Return the package's errors."""
    found = vars(errors).values()
    return [value for value in found if isinstance(value, type) and issubclass(value, errors.JournalError)]


def entry_points() -> list[tuple[str, str]]:
    """Return group and name of every entry point."""
    groups: dict[str, dict[str, str]] = {"console_scripts": PROJECT["scripts"], **PROJECT["entry-points"]}
    return [(group, entry) for group, entries in groups.items() for entry in entries]


def table_rows(page: str, first: str) -> list[list[str]]:
    """Return the cells of a page's table rows whose first cell matches."""
    rows = [line.strip("|").split("|") for line in (DOCS / page).read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows if re.fullmatch(first, row[0].strip())]


# --- everything is named ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_named(command: str) -> None:
    """Each command of the command line is in the docs, as one types it."""
    assert is_said(f"agent-journal {command}")


@pytest.mark.parametrize("variable", sorted({*VARIABLES, *OWN_VARIABLES}))
def test_every_variable_has_its_row(variable: str) -> None:
    """Each variable has a row in configuration.md that says more than its name."""
    rows = table_rows("configuration.md", f"`{variable}`")
    assert rows, variable
    assert all(len(row[-1]) > 15 for row in rows)


def test_no_variable_is_documented_that_is_not_there() -> None:
    """A variable of ours that the docs name is read somewhere."""
    named = {word.rstrip("_") for word in re.findall(r"AGENT_JOURNAL_[A-Z_]+", SAID)}
    assert named <= {*VARIABLES, *OWN_VARIABLES, "AGENT_JOURNAL_COMPLETE"}


@pytest.mark.parametrize("variable", sorted(VARIABLES))
def test_defaults_are_those_of_the_code(variable: str) -> None:
    """The default that a variable's row names is the one that its description in the code names."""
    said_default = re.search(r"default:? `?([^`;:,]+)`?|`(\w+)` \(default\)", VARIABLES[variable])
    (row,) = table_rows("configuration.md", f"`{variable}`")
    if said_default is not None and not (said_default[1] or "").startswith("beside"):
        default = (said_default[1] or said_default[2]).strip()
        assert default in " ".join(row), (default, row)


@pytest.mark.parametrize("event_type", event_types())
def test_every_event_type_has_its_row(event_type: str) -> None:
    """Each event type has a row in vocabulary.md."""
    rows = [row for row in table_rows("vocabulary.md", "`.*") if is_said(event_type, row[0])]
    assert len(rows) == 1, event_type
    assert len(rows[0][1]) > 10


@pytest.mark.parametrize("word", [*head.STATUSES, *head.REASONS])
def test_every_status_and_reason_has_its_row(word: str) -> None:
    """Each status and each reason has a row in vocabulary.md."""
    assert table_rows("vocabulary.md", f"`{word}`")


@pytest.mark.parametrize("outcome", event.OUTCOMES)
def test_every_outcome_is_explained(outcome: str) -> None:
    """Each outcome is in the row of the word, and in what ends a LangGraph step."""
    ((_, meaning),) = table_rows("vocabulary.md", "outcome")
    assert f"`{outcome}`" in meaning
    assert any(f"`{outcome}`" in row[1] for row in table_rows("langgraph.md", ".*") if len(row) == 2)


@pytest.mark.parametrize(("group", "entry"), entry_points())
def test_every_entry_point_has_its_row(group: str, entry: str) -> None:
    """Each entry point is in the table of its group in architecture.md."""
    rows = [row for row in table_rows("architecture.md", f"`{re.escape(group)}`") if is_said(entry, row[1])]
    assert len(rows) == 1


@pytest.mark.parametrize("error", public_errors(), ids=lambda error: error.__name__)
def test_every_error_has_its_row(error: type[errors.JournalError]) -> None:
    """Each error class has a row in errors.md with its base, its exit code and its fields as they are."""
    (row,) = table_rows("errors.md", f"`{error.__name__}`")
    assert row[1] == f"`{error.__mro__[1].__name__}`"
    assert row[2] == str(error.exit_code)
    fields = re.findall(r"self\.(\w+) = ", importlib.import_module("inspect").getsource(error))
    for field in fields:
        assert f"`{field}`" in row[3], field


def test_exit_codes_have_one_table() -> None:
    """cli.md has each code once, and errors.md leads there."""
    assert [row[0] for row in table_rows("cli.md", r"\d+")] == ["0", "1", "2", "3", "4", "5", "130", "141"]
    assert "cli.md#exit-codes" in links((DOCS / "errors.md").read_text())


@pytest.mark.parametrize("public", otel_agent_journal.__all__)
def test_every_public_name_has_its_row(public: str) -> None:
    """Each public name of the package is in the table of public names in architecture.md."""
    table = (DOCS / "architecture.md").read_text().split("## Public names")[1].split("\n## ")[0]
    assert is_said(public, said(table))


def test_every_extra_is_named() -> None:
    """Each extra but that of developers is where configuration.md lists them."""
    text = said((DOCS / "configuration.md").read_text().split("The extras of the package")[1])
    for extra in PROJECT["optional-dependencies"].keys() - {"dev"}:
        assert is_said(extra, text), extra


@pytest.mark.parametrize("field", event.JournalEvent.__struct_fields__)
def test_every_field_of_an_event_has_its_row(field: str) -> None:
    """Each field of an event has a row in events.md."""
    assert [row for row in table_rows("events.md", "`.*") if is_said(field, row[0])]


@pytest.mark.parametrize("port", [protocol.JournalStore, protocol.BlobStore, protocol.StoreAdmin, protocol.Compacts])
def test_every_method_of_the_port_is_named(port: Any) -> None:
    """adding-a-backend.md lists exactly the methods of each protocol."""
    ((_, methods, _),) = table_rows("adding-a-backend.md", f"`{port.__name__}`")
    assert set(re.findall(r"`(\w+)`", methods)) == {key for key in vars(port) if not key.startswith("_")}


def test_every_benchmark_is_named() -> None:
    """Each benchmark has its row in their README, and each that is named is there."""
    files = {file.name for file in (ROOT / "tests" / "benchmarks").glob("bench_*.py")}
    assert set(re.findall(r"`(bench_\w+\.py)`", (ROOT / "tests" / "benchmarks" / "README.md").read_text())) == files


def test_every_record_is_in_the_index() -> None:
    """The index of decision records has a row for each, under its own title."""
    index = (DOCS / "adr" / "README.md").read_text()
    for record in sorted((DOCS / "adr").glob("[0-9]*.md")):
        title = record.read_text().splitlines()[0].lstrip("# ").partition(" ")[2]
        assert f"| [{record.name[:4]}]({record.name}) | {title} |" in index


def test_no_two_records_have_one_number() -> None:
    """A record is known by its number, and code that names one names one that is there."""
    numbers = [record.name[:4] for record in (DOCS / "adr").glob("[0-9]*.md")]
    assert len(numbers) == len(set(numbers))
    sources = (file.read_text() for folder in ("src", "tests") for file in (ROOT / folder).rglob("*.py"))
    assert {number for text in sources for number in re.findall(r"docs/adr/(\d{4})", text)} <= set(numbers)


# --- links --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link names a file that is there, and each anchor a heading of it."""
    for link in links(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


def test_every_page_is_reached() -> None:
    """From the README one comes to every page by links."""
    reached, todo = set[Path](), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in reached:
            continue
        reached.add(page)
        relative = [link.partition("#")[0] for link in links(prose(page)) if not re.match(r"[a-z]+:|#", link)]
        todo += [target for link in relative if (target := (page.parent / link).resolve()).suffix == ".md"]
    assert set(PAGES) <= reached


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_that_are_named_are_there(page: Path) -> None:
    """A path of ours in backquotes is that of a file or folder."""
    folders = "src|tests|docs|examples|scripts|frameworks|spool|pipeline|mapping|bootstrap"
    for path in re.findall(rf"`((?:{folders})/[\w/.]+)`", prose(page)):
        places = (ROOT / path, ROOT / "src" / "otel_agent_journal" / path, ROOT / "tests" / "benchmarks" / path)
        assert any(place.exists() for place in places), path


# --- claims -------------------------------------------------------------------------------------------------------


def constant(where: str) -> Any:
    """Return a constant of the package, by module and name."""
    module, _, attribute = where.rpartition(".")
    return getattr(importlib.import_module(f"otel_agent_journal.{module}"), attribute)


@pytest.mark.parametrize(
    ("page", "text", "where", "value"),
    [
        ("docs/durability.md", "Every 15 s", "pipeline.heartbeat.HEARTBEAT_S", 15),
        ("docs/durability.md", "gone for 5 s drains itself", "pipeline.heartbeat.ORPHANED_S", 5),
        ("docs/durability.md", "silent for 60 s", "projections.verdict.SILENCE_NS", 60 * 10**9),
        ("docs/durability.md", "1 MiB for the first of a process", "spool.segments.FIRST_SEGMENT_BYTES", 2**20),
        ("docs/durability.md", "8 MiB after", "spool.writer.DEFAULT_SEGMENT_BYTES", 8 * 2**20),
        ("docs/durability.md", "1 GiB", "config.DEFAULT_SPOOL_CAP_BYTES", 2**30),
        ("docs/durability.md", "up to 1,000 events", "delivery.batches.BATCH_EVENTS", 1000),
        ("docs/durability.md", "4,000 of what was received", "delivery.batches.RECEIVED_BATCH_EVENTS", 4000),
        ("docs/durability.md", "at most once a second a session", "delivery.rounds.HEADS_EVERY_S", 1),
        ("docs/durability.md", "from 0.1 s up to 10 s", "delivery.patience.LAST_CEILING_S", 10),
        ("docs/durability.md", "from 0.1 s up to 10 s", "delivery.patience.FIRST_CEILING_S", 0.1),
        ("docs/durability.md", "it delivers for up to 30 s", "bootstrap.run._DELIVER_S", 30),
        ("docs/durability.md", "known to fail is given 1 s more", "delivery.drain.FAILING_S", 1),
        ("docs/durability.md", "one that hangs 5 s", "delivery.drain.HUNG_S", 5),
        ("docs/durability.md", "gives the backend 10 s", "bootstrap.run._FORWARD_S", 10),
        ("docs/durability.md", "it delivers for up to 5 s", "bootstrap.process.FLUSH_S", 5),
        ("docs/durability.md", "looked for again every second", "spool.writer.RETRY_EVERY_S", 1),
        ("docs/durability.md", "10,000 spans wait", "forwarding.forwarder.QUEUE_CAPACITY", 10_000),
        ("README.md", "10,000 spans wait", "forwarding.forwarder.QUEUE_CAPACITY", 10_000),
        ("README.md", "waits 10 s for them", "bootstrap.run._FORWARD_S", 10),
        ("README.md", "its cap, 1 GiB", "config.DEFAULT_SPOOL_CAP_BYTES", 2**30),
        ("README.md", "a value over 64 KiB", "config.DEFAULT_FIELD_LIMIT_BYTES", 64 * 1024),
        ("README.md", "a value over 64 MiB", "pipeline.content.MAX_BLOB_BYTES", 64 * 2**20),
        ("docs/configuration.md", "A value over 64 MiB", "pipeline.content.MAX_BLOB_BYTES", 64 * 2**20),
        ("docs/configuration.md", "kept whole up to 1 MiB", "plain.WHOLE", 2**20),
        ("docs/events.md", "its first 256 characters", "pipeline.content.PREVIEW_CHARACTERS", 256),
        ("docs/events.md", "`schema_version` | int | 1.", "event.SCHEMA_VERSION", 1),
        ("docs/vocabulary.md", "at most four events a second", "pipeline.step.CHUNK_INTERVAL_S", 0.25),
        ("docs/langgraph.md", "After 20,000 messages", "pipeline.history._MAX_HELD", 20_000),
        ("docs/langgraph.md", "1,000 sessions", "pipeline.history._MAX_SESSIONS", 1_000),
        ("docs/agentcore.md", "first million characters", "frameworks.agentcore.requests.STREAM_CHARACTERS", 1_000_000),
        ("docs/agentcore.md", "After 10,000 tasks", "frameworks.agentcore.tasks.MAX_OPEN", 10_000),
        ("docs/agentcore.md", "`AGENT_JOURNAL_FLUSH_TIMEOUT` (2 s)", "config.DEFAULT_FLUSH_TIMEOUT_S", 2),
    ],
)
def test_figures_are_those_of_the_code(page: str, text: str, where: str, value: float) -> None:
    """A limit or interval that a page names is the one that the code has."""
    assert text in " ".join((ROOT / page).read_text().split())
    assert constant(where) == value


def test_versions_are_those_of_the_project() -> None:
    """What the README says it needs is what the project asks for."""
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert f"Python {PROJECT['requires-python'].removeprefix('>=')} or newer" in readme
    langgraph = next(one for one in PROJECT["optional-dependencies"]["langgraph"] if one.startswith("langgraph>="))
    assert f"LangGraph {langgraph.partition('>=')[2]} or newer" in readme


def test_the_changelog_has_this_version() -> None:
    """The version that is built has its chapter, which comes first."""
    chapters = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert chapters[0] == PROJECT["version"] == otel_agent_journal.__version__
