"""What /metrics says, in the text format of Prometheus. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_SAID: Final[Mapping[str, tuple[str, str]]] = {
    "requests": ("counter", "Export requests."),
    "received": ("counter", "Spans of requests that were answered with OK."),
    "accepted": ("counter", "Spans that are in the spool, on the disk."),
    "rejected": ("counter", "Spans that can never be kept, as their client was told."),
    "malformed": ("counter", "Requests that could not be read."),
    "too_large": ("counter", "Requests over the limit."),
    "busy": ("counter", "Requests whose client was asked to send them again."),
    "bytes": ("counter", "Bytes of requests that were answered with OK, decompressed."),
    "in_flight_bytes": ("gauge", "Bytes of requests that are not yet answered."),
}


def exposition(totals: Mapping[str, int]) -> str:
    """Return counters as Prometheus reads them."""
    lines: list[str] = []
    for name, (kind, said) in _SAID.items():
        full = f"agent_journal_receiver_{name}" + ("_total" if kind == "counter" else "")
        lines += [f"# HELP {full} {said}", f"# TYPE {full} {kind}", f"{full} {totals[name]}"]
    return "\n".join(lines) + "\n"
