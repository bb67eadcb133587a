"""What /metrics says, in the text format of Prometheus. Pure.

Every span and log record is in one place: received + recovered = stored + duplicate + rejected + left_out +
set_aside + pending. `pending` follows from the others; that it comes down to nothing, and the spool with it, is
what an operator looks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_SAID: Final[Mapping[str, tuple[str, str]]] = {
    "requests": ("counter", "Export requests."),
    "received": ("counter", "Spans and log records of requests that were good, and are on the disk."),
    "recovered": ("counter", "Spans and log records that were in the spool when collect was started."),
    "stored": ("counter", "Spans and log records that are in the store."),
    "duplicate": ("counter", "Spans and log records that had been stored before, sent or delivered once more."),
    "rejected": ("counter", "Spans and log records that can never be kept, as their client was told."),
    "left_out": ("counter", "Spans and log records that are no agent's."),
    "set_aside": ("counter", "Spans and log records that the store refuses, or that cannot be read: set aside."),
    "pending": ("gauge", "Spans and log records that are on the disk and not yet in the store."),
    "spool_bytes": ("gauge", "Bytes of the spool that are not yet delivered."),
    "malformed": ("counter", "Requests that could not be read."),
    "too_large": ("counter", "Requests over the limit."),
    "unauthenticated": ("counter", "Requests without a token that is known."),
    "busy": ("counter", "Requests whose client was asked to send them again."),
    "bytes": ("counter", "Bytes of those requests, as they were sent."),
    "in_flight_bytes": ("gauge", "Bytes of requests that are not yet answered."),
}
_SETTLED: Final = ("stored", "duplicate", "rejected", "left_out", "set_aside")


def exposition(totals: Mapping[str, int]) -> str:
    """Return counters as Prometheus reads them."""
    settled = sum(totals[name] for name in _SETTLED)
    values = {**totals, "pending": max(0, totals["received"] + totals["recovered"] - settled)}
    lines: list[str] = []
    for name, (kind, said) in _SAID.items():
        full = f"agent_journal_receiver_{name}" + ("_total" if kind == "counter" else "")
        lines += [f"# HELP {full} {said}", f"# TYPE {full} {kind}", f"{full} {values[name]}"]
    return "\n".join(lines) + "\n"
