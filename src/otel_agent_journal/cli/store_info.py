"""`agent-journal store info`: what a store is, what it holds, and what it can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.cli.operating import administered, opened

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output


@click.command("info", short_help="Say what a store is, what it holds, and what it can do.")
@click.argument("url", required=False)
@common_options
@pass_invocation
def command(invocation: Invocation, url: str | None) -> None:
    """Say what a store is, what it holds, and what it can do.

    Counts are exact; where a store could only guess, it says nothing.
    """
    import msgspec

    output = invocation.output()
    store = opened(invocation, url)
    told: dict[str, Any] = msgspec.to_builtins(administered(store).info())
    record = {"store": told.pop("url"), **told}
    record["capabilities"] = msgspec.to_builtins(store.capabilities)
    if output.for_people:
        _print(output, record)
    else:
        output.record(record)


_LIMITS: Final = {
    "max_event_bytes": "largest event",
    "max_document_bytes": "largest document",
    "max_context_events": "context at once",
}


def _print(output: Output, record: dict[str, Any]) -> None:
    can = record.pop("capabilities")
    limits = {name: can.pop(name) for name in list(can) if name.startswith("max_")}
    can = {name: able for name, able in can.items() if isinstance(able, bool)}
    rows = {
        "store": record["store"],
        "backend": f"{record['backend']}, schema version {record['schema_version']}",
        "sessions": _count(record["sessions"]),
        "events": _count(record["events"]),
        "size": "-" if record["size_bytes"] is None else readable.size(record["size_bytes"]),
        "can": ", ".join(name for name, able in can.items() if able),
        "cannot": ", ".join(name for name, able in can.items() if not able) or "-",
        **{what: _limit(limits[name], name) for name, what in _LIMITS.items()},
    }
    width = max(map(len, rows))
    for name, value in rows.items():
        output.text(f"{output.paint(f'{name:<{width}}', 'dim')}  {value}")


def _limit(number: int | None, name: str) -> str:
    return "-" if number is None else readable.size(number) if name.endswith("_bytes") else f"{number:,} events"


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"
