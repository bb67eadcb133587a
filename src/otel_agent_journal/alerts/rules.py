"""What `alerts.toml` says, checked: rules, and where alerts are sent. Pure data; `file.py` makes it.

A rule finds rows; a row is an alert, its labels tell it from others of the same rule. Where a rule comes from SQL its
text columns are the labels, else the labels of its kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

from otel_agent_journal.alerts.fields import Table

NS_PER_S: Final = 1_000_000_000
SQL: Final = "sql"
STUCK: Final = "stuck"
LOOP: Final = "loop"
SPEND: Final = "spend"
ERROR_RATE: Final = "error_rate"
SLOW: Final = "slow"
BROKEN: Final = "rule_broken"  # the name of the alert that a rule cannot be judged
SEVERITIES: Final = ("info", "warning", "critical")

# What each kind finds: labels, then values; a summary may name both.
LABELS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        STUCK: ("session_id", "agent"),
        LOOP: ("session_id", "agent", "tool", "arguments"),
        SPEND: ("{by}",),
        ERROR_RATE: ("{by}",),
        SLOW: ("{by}",),
    }
)
VALUES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        STUCK: ("how", "silent_s"),
        LOOP: ("times",),
        SPEND: ("usd", "calls", "unpriced_calls"),
        ERROR_RATE: ("percent", "calls", "failures"),
        SLOW: ("p95_ms", "usual_p95_ms", "factor", "calls"),
    }
)


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the file. What a kind does not ask for has its default, and is not looked at.

    `every_ns`: how often it is judged; `for_ns`: how long it must hold before it fires. `within_ns`: how far back it
    looks. `by`: what it groups by. `over`: dollars, or percent. `at_least`: calls without which nothing is judged.
    """

    name: str
    kind: str
    every_ns: int = 60 * NS_PER_S
    for_ns: int = 0
    severity: str = "warning"
    summary: str | None = None
    send: tuple[str, ...] = ()
    sql: str = ""
    timeout_ns: int = 10 * NS_PER_S
    agent: str | None = None
    by: str = "agent"
    within_ns: int = 3600 * NS_PER_S
    after_ns: int = 120 * NS_PER_S
    over: float = 0.0
    factor: float = 2.0
    times: int = 5
    at_least: int = 1


class ReceiverEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A receiver as the file has it; what its kind asks for is in `table` still.

    `resolved`: whether it is told that an alert is over, too.
    """

    name: str
    kind: str
    resolved: bool
    table: Table


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """All that a file says."""

    file: Path
    rules: tuple[Rule, ...]
    receivers: Mapping[str, ReceiverEntry]
