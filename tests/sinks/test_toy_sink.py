"""The toy sink of docs/adding-a-sink.md: a distribution of its own, installed, under the contract of every sink."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_agent_journal.codec import decode_line, encode_line
from otel_agent_journal.errors import ConfigError, MissingExtra
from otel_agent_journal.sinks.places import Places
from otel_agent_journal.sinks.port import Sink
from otel_agent_journal.sinks.registry import known_schemes, open_sink
from otel_agent_journal.store.registry import open_store
from otel_agent_journal.testing.builders import events
from otel_agent_journal.testing.sink_contract import SinkContract
from tests.cli.command_line import pipes, program
from tests.contract.test_toy_backend import install

TOY = Path(__file__).parent / "toy_sink"


@pytest.fixture(scope="module", autouse=True)
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The toy installed, for this module's tests and the processes that they start."""
    folder = tmp_path_factory.mktemp("site")
    install(TOY, folder)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("lines_in_a_folder", None)


class TestToySink(SinkContract):
    @pytest.fixture
    def sink(self, tmp_path: Path) -> Iterator[Sink]:
        self.folder = tmp_path
        sink = open_sink(f"folder:///{tmp_path}")
        yield sink
        sink.close()

    def received(self, sink: Sink) -> list[bytes]:
        return [line for file in sorted(self.folder.iterdir()) for line in file.read_bytes().splitlines()]


def test_it_is_found_by_its_entry_point() -> None:
    """Its scheme is known once it is installed."""
    assert "folder" in known_schemes()


def test_what_is_no_sink_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """No URL, an unknown scheme, a wrong beginning; and no secret of any is told."""
    for wrong in ("folder", "nothing://x", "folder:///x?from=yesterday", "folder:///", "user:hunter2@x"):
        with pytest.raises(ConfigError) as told:
            open_sink(wrong)
        assert "hunter2" not in str(told.value)
    monkeypatch.setattr("otel_agent_journal.sinks.registry.entry_points", lambda **_: ())
    with pytest.raises(MissingExtra, match="pip install"):
        open_sink("kinesis://stream")


def test_the_drain_sends_what_the_store_has(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its URL and nothing else; a second drain sends what is new alone, and a sink that is away is exit code 4."""
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    sent, url = tmp_path / "sent", f"sqlite:///{tmp_path}/journal.db"
    sent.mkdir()
    store = open_store(url)
    store.append(events(30))
    drain = ("drain", "--store", url, "--sinks")
    (line,) = pipes((*drain, f"folder:///{sent}")).splitlines()
    assert json.loads(line)["sinks"][0]["sent"] == 30
    assert [decode_line(line) for line in (sent / "s1.jsonl").read_bytes().splitlines()] == events(30)
    store.append(events(35))
    pipes((*drain, f"folder:///{sent}"))
    assert (sent / "s1.jsonl").read_bytes().splitlines() == [encode_line(event) for event in events(35)]
    assert program(*drain, f"folder:///{sent}/away").returncode == 4
    found = {place.url: place for place in Places(store).all()}
    assert found[f"folder:///{sent}"].sent == 35
    assert "no such folder" in (found[f"folder:///{sent}/away"].error or "")
    store.close()


def test_a_sink_may_begin_now(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With from=now what the store had before is not sent."""
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    sent, url = tmp_path / "sent", f"sqlite:///{tmp_path}/journal.db"
    sent.mkdir()
    store = open_store(url)
    store.append(events(3))
    drain = ("drain", "--store", url, "--sinks", f"folder:///{sent}?from=now")
    pipes(drain)
    store.append(events(5))
    pipes(drain)
    assert (sent / "s1.jsonl").read_bytes().splitlines() == [encode_line(event) for event in events(2, first=3)]
    store.close()
