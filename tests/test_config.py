"""Settings: read from the environment, checked, and told what is wrong."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from otel_agent_journal.config import Settings, settings_from_env, spool_of
from otel_agent_journal.errors import ConfigError


def test_nothing_set_gives_the_defaults() -> None:
    """Without variables, or with empty ones, the defaults hold, in the working directory as it is now."""
    home = Path.cwd() / ".agent-journal"
    assert (
        settings_from_env({})
        == settings_from_env({"AGENT_JOURNAL_STORE": " ", "AGENT_JOURNAL_CONTENT": ""})
        == Settings(store=f"sqlite:///{home}/journal.db", home=home, spool=home / "spool")
    )


def test_the_journal_of_the_project_is_everybodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a subfolder that has none, store and spool are those of the project; what is named is named from here."""
    monkeypatch.setenv("HOME", str(tmp_path))
    home = tmp_path / "project, 100%" / ".agent-journal"
    (home.parent / "src").mkdir(parents=True)
    home.mkdir()
    monkeypatch.chdir(home.parent / "src")
    found = settings_from_env({})
    assert (found.home, found.spool) == (home, home / "spool")
    assert found.store == f"sqlite:///{quote(str(home))}/journal.db"
    assert spool_of("s3://bucket/j", {}).parent == home
    assert settings_from_env({"AGENT_JOURNAL_STORE": "sqlite:///x.db"}).spool == home.parent / "src" / "x.db.spool"


def test_a_working_directory_that_was_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There a relative path is refused with a word, and an absolute one is taken."""
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    with pytest.raises(ConfigError, match="was removed"):
        settings_from_env({})
    assert settings_from_env({"AGENT_JOURNAL_STORE": "sqlite:////x/journal.db"}).spool == Path("/x/spool")


def test_everything_set() -> None:
    """Each variable sets its setting."""
    found = settings_from_env(
        {
            "AGENT_JOURNAL_STORE": "sqlite:////x/y.db",
            "AGENT_JOURNAL_SPOOL": "/var/spool/x",
            "AGENT_JOURNAL_SPOOL_CAP": "64",
            "AGENT_JOURNAL_SESSION": "s1",
            "AGENT_JOURNAL_OTLP": "http://localhost:4318",
            "AGENT_JOURNAL_CONTENT": "Metadata",
            "AGENT_JOURNAL_FIELD_LIMIT": "1024",
            "AGENT_JOURNAL_REDACTOR": "mine:redact",
            "AGENT_JOURNAL_SPANS": "all",
            "AGENT_JOURNAL_STAGES": '{"search": 30, "book": 62.5}',
            "AGENT_JOURNAL_FSYNC": "always",
            "AGENT_JOURNAL_DURABILITY": "store",
            "AGENT_JOURNAL_STORE_TIMEOUT": "0.5",
            "AGENT_JOURNAL_FLUSH_TIMEOUT": "1.5",
            "AGENT_JOURNAL_DRAIN": "parent",
            "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "span_and_event",
        }
    )
    assert found == Settings(
        store="sqlite:////x/y.db",
        store_given=True,
        home=Path.cwd() / ".agent-journal",
        spool=Path("/var/spool/x"),
        spool_cap_bytes=64 * 1024 * 1024,
        session="s1",
        otlp="http://localhost:4318",
        content=False,
        field_limit_bytes=1024,
        redactor="mine:redact",
        all_spans=True,
        stages={"search": 30, "book": 62.5},
        fsync=True,
        store_durable=True,
        store_timeout_s=0.5,
        flush_timeout_s=1.5,
        drained_by_parent=True,
        span_content=True,
    )


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("AGENT_JOURNAL_STORE", "journal.db", "sqlite:///journal.db"),
        ("AGENT_JOURNAL_CONTENT", "some", "it is one of: full, metadata"),
        ("AGENT_JOURNAL_SPANS", "some", "it is one of: genai, all"),
        ("AGENT_JOURNAL_STAGES", "search=30", "JSON of names to percent"),
        ("AGENT_JOURNAL_STAGES", '["search"]', "JSON of names to percent"),
        ("AGENT_JOURNAL_STAGES", '{"search": "some"}', "JSON of names to percent"),
        ("AGENT_JOURNAL_STAGES", '{"search": 101}', "JSON of names to percent"),
        ("AGENT_JOURNAL_FSYNC", "yes", "it is one of: never, always"),
        ("AGENT_JOURNAL_DURABILITY", "disk", "it is one of: spool, store"),
        ("AGENT_JOURNAL_SPOOL_CAP", "1", "a whole number of at least 16"),
        ("AGENT_JOURNAL_FIELD_LIMIT", "1k", "a whole number of at least 256"),
        ("AGENT_JOURNAL_STORE_TIMEOUT", "soon", "seconds over 0"),
        ("AGENT_JOURNAL_STORE_TIMEOUT", "0", "seconds over 0"),
        ("AGENT_JOURNAL_FLUSH_TIMEOUT", "-1", "seconds over 0"),
        ("AGENT_JOURNAL_REDACTOR", "mine", "module:function"),
    ],
)
def test_malformed_variables_are_told(variable: str, value: str, said: str) -> None:
    """A malformed variable is named with its value and what is expected."""
    with pytest.raises(ConfigError) as caught:
        settings_from_env({variable: value})
    message = str(caught.value)
    assert variable in message
    assert value in message
    assert said in message


def test_standard_otlp_variables() -> None:
    """The OTLP variables of OpenTelemetry name the endpoint, unless they switch the export off."""
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:4318"}
    assert settings_from_env(endpoint).otlp == "http://a:4318"
    assert (
        settings_from_env(endpoint | {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://b/v1/traces"}).otlp
        == "http://b/v1/traces"
    )
    assert settings_from_env(endpoint | {"AGENT_JOURNAL_OTLP": "http://c"}).otlp == "http://c"
    assert settings_from_env(endpoint | {"OTEL_TRACES_EXPORTER": "console"}).otlp is None
    assert settings_from_env(endpoint | {"OTEL_SDK_DISABLED": "true"}).otlp is None


def test_no_two_stores_share_a_spool() -> None:
    """The spool lies beside the journal, and each store has its own."""
    stores = [
        "sqlite:///.agent-journal/journal.db",
        "sqlite:///other/journal.db",
        "sqlite:///other/second.db",
        "sqlite:////abs/journal.db",
        "dynamodb://one",
        "dynamodb://two",
    ]
    spools = [spool_of(store) for store in stores]
    assert len(set(spools)) == len(stores)
    assert spools[0] == Path(".agent-journal/spool")
    assert spools[1] == Path("other/spool")
    assert spools[3] == Path("/abs/spool")
