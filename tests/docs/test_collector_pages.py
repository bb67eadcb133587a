"""The pages on the Collector: every configuration has its row, every test that is said to show something is there."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import ROOT
from tests.real.servers import CONFIGS

LOSSES = (ROOT / "docs" / "collector-data-loss.md").read_text()
TESTS = "\n".join(file.read_text() for file in (ROOT / "tests" / "real").glob("test_collector*.py"))


@pytest.mark.parametrize("config", sorted(file.name for file in CONFIGS.glob("*.yaml")))
def test_every_configuration_has_its_row(config: str) -> None:
    """Each file of the folder is in the table of its README, with all that it asks its environment for."""
    readme = (CONFIGS / "README.md").read_text()
    (row,) = [line for line in readme.splitlines() if line.startswith(f"| [{config}]({config}) |")]
    asked = set(re.findall(r"\$\{env:(\w+)", (CONFIGS / config).read_text()))
    everywhere = set(re.findall(r"`(\w+)`", readme.split("are the same everywhere:")[1].split("A second")[0]))
    optional = {"JOURNAL_CERT", "JOURNAL_KEY", "JOURNAL_CA"}
    assert asked - everywhere - optional <= set(re.findall(r"`(\w+)`", row))


def test_what_is_said_to_be_shown_is_shown() -> None:
    """Each test that the page names is one, and each test of losses is named."""
    named = set(re.findall(r"`(test_\w+)`", LOSSES))
    assert named <= set(re.findall(r"def (test_\w+)\(", TESTS))
    losses = (ROOT / "tests" / "real" / "test_collector_losses.py").read_text()
    assert set(re.findall(r"def (test_\w+)\(", losses)) <= named


@pytest.mark.parametrize("config", sorted(file.name for file in CONFIGS.glob("*.yaml")))
def test_nothing_is_left_at_a_default_that_loses(config: str) -> None:
    """Each exporter of each configuration tries for ever, from a queue on the disk, in batches under 4 MiB."""
    text = re.sub(r"#.*", "", (CONFIGS / config).read_text())
    exporters = len(re.findall(r"^  (?:otlp_grpc|load_balancing)/\w+:$", text, re.MULTILINE))
    if config in ("builder.yaml", "with-tls-and-token.yaml"):
        return
    queues = text.count("sending_queue:") - text.count("sending_queue: {enabled: false}")
    assert queues == text.count("storage: file_storage/queue") + text.count("sending_queue: *queue") == exporters
    assert text.count("max_elapsed_time: 0s") + text.count("retry_on_failure: *retry") == exporters
    assert text.count("timeout: 15s") == exporters
    for shipped in ("block_on_overflow: true", "max_size: 3500000", "sizer: bytes", "fsync: true"):
        assert shipped in text
    assert "max_recv_msg_size_mib: 64" in text
    assert not re.search(r"^  batch\b|\[batch|, batch", text, re.MULTILINE), "it would acknowledge what is in memory"
