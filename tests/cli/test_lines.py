"""The line that people see of an event."""

from __future__ import annotations

import io
from typing import Any

import pytest

from otel_agent_journal.cli.lines import EventLines
from otel_agent_journal.cli.output import Output
from otel_agent_journal.event import CHECKPOINT_SAVED, CHECKPOINT_WRITES
from otel_agent_journal.testing.builders import an_event

BODY = {
    "writes": [
        [0, "pages", [-1, 0]],
        [1, "branch:to:write", [-1, 1]],
        [2, "report", 0],
        [3, "__interrupt__", 0],
        "odd",
    ],
    "values": [["msgpack", "Aw=="]],
}


@pytest.mark.parametrize(
    ("type_", "details", "said"),
    [
        (
            CHECKPOINT_SAVED,
            {"ns": "", "checkpoint": "1f1e", "step": -1, "body": {"values": [["msgpack", "gaV0"]]}},
            "step -1",
        ),
        (CHECKPOINT_SAVED, {"ns": "child:7c2f", "step": 2}, "step 2 of child:7c2f"),
        (CHECKPOINT_WRITES, {"ns": "", "task": "9faca", "path": "search", "body": BODY}, "pages, report"),
        (CHECKPOINT_WRITES, {"ns": "", "body": "of another version"}, ""),
    ],
)
def test_a_checkpoint_is_said_in_a_word(type_: str, details: dict[str, Any], said: str) -> None:
    """Of a checkpoint its step, of writes the channels that the graph's author knows; never its body."""
    written = io.BytesIO()
    EventLines(Output("table", written), sessions=False).show(an_event(type=type_, details=details))
    assert written.getvalue().decode().strip().partition(type_)[2].strip() == said
