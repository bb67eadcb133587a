"""Whose resource forwarded spans have: the program's provider's, set before us or after the first step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from otel_agent_journal.bootstrap.agent import AgentProcess
from otel_agent_journal.config import Settings
from otel_agent_journal.spool.folder import SpoolFolder


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AgentProcess]:
    """A process that journals, drained by another."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "by environment")
    made = AgentProcess(Settings(store=f"sqlite:///{tmp_path}/j.db", spool=tmp_path / "spool", drained_by_parent=True))
    yield made
    made.stop()


def provider(name: str) -> TracerProvider:
    """Return a provider with a resource of its own."""
    return TracerProvider(resource=Resource({"service.name": name, "replica": 3}))


def test_provider_before_the_first_step(process: AgentProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first record of the spool is of the provider's resource already."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider("in code"))
    process.recorder.start_step("AGENT", "a").end()
    assert SpoolFolder(process.writer.folder).info.resource == {"service.name": "in code", "replica": 3}


def test_provider_after_the_first_step(process: AgentProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is set late counts from then on, for whoever reads the spool already; without one the environment's."""
    process.recorder.start_step("AGENT", "a").end()
    folder = SpoolFolder(process.writer.folder)
    assert folder.info.resource["service.name"] == "by environment"
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider("late"))
    process.recorder.start_step("AGENT", "a").end()
    assert folder.info.resource["service.name"] == "late"
    assert folder.info.pid


def test_a_provider_of_another_kind(process: AgentProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider that has no resource costs nothing."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", trace.NoOpTracerProvider())
    process.recorder.start_step("AGENT", "a").end()
    assert SpoolFolder(process.writer.folder).info.resource["service.name"] == "by environment"
