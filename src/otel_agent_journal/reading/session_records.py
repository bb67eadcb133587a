"""Sessions as data: a line of `ls`, and where one stands as `status` says. The keys are a contract (docs/json.md)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from otel_agent_journal.codec import format_timestamp
from otel_agent_journal.projections.cost import Cost
from otel_agent_journal.projections.head import COMPLETED, ERROR, SessionHead
from otel_agent_journal.reading import amounts
from otel_agent_journal.reading.journal import Journal

KEYS: Final = (
    "session_id",
    "status",
    "agent",
    "steps",
    "errors",
    "input_tokens",
    "output_tokens",
    "started_at",
    "updated_at",
    "duration_ms",
    "cost_usd",
    "unpriced_calls",
)
_NS_PER_MS: Final = 1_000_000


def record(head: SessionHead, cost: Cost) -> dict[str, Any]:
    """Return a session as data: the twelve keys of the contract, null where not known."""
    return {
        "session_id": head.session_id,
        "status": head.status,
        "agent": head.agent,
        "steps": head.steps,
        "errors": head.errors,
        "input_tokens": head.input_tokens,
        "output_tokens": head.output_tokens,
        "started_at": format_timestamp(head.started_ns) if head.started_ns else None,
        "updated_at": format_timestamp(head.updated_ns) if head.updated_ns else None,
        "duration_ms": duration_ms(head),
        **amounts.keys_of(cost),
    }


def duration_ms(head: SessionHead) -> int | None:
    """Return how long a session took, null while it runs."""
    if not head.started_ns or head.ended_ns is None:
        return None
    return max(0, head.ended_ns - head.started_ns) // _NS_PER_MS


def stood(journal: Journal, stored: SessionHead) -> dict[str, Any]:
    """Return where a session stands, as data; `open_steps` are those that run, or ran when their process died."""
    head = journal.judged(stored)
    last_ns = last_seen_ns(stored)
    row, error = record(head, journal.cost(head)), journal.error_of(head)
    return {
        "session_id": row.pop("session_id"),
        "status": row.pop("status"),
        "reason": head.reason,
        "error": None if error is None else msgspec.to_builtins(error),
        "agent": row.pop("agent"),
        "stage": head.stage,
        "progress": head.progress,
        "last_seen_at": format_timestamp(last_ns) if last_ns else None,
        "open_steps": open_steps(journal, stored),
        **row,
        "cache_read_tokens": head.cache_read_tokens,
        "cache_write_tokens": head.cache_write_tokens,
        "reasoning_tokens": head.reasoning_tokens,
        "events": head.events,
        "forked_from": head.forked_from,
        "forks": list(head.forks),
        "tags": list(head.about.tags),
        "labels": dict(head.about.labels),
        "processes": msgspec.to_builtins(head.about.processes),
        "writers": {writer: format_timestamp(seen) for writer, seen in head.writers.items()},
    }


def open_steps(journal: Journal, stored: SessionHead) -> list[dict[str, Any]]:
    """Return the steps without an ending, outermost first: running, or left behind by a process that died."""
    if stored.status in (COMPLETED, ERROR) and len(stored.writers) == 1 and not stored.open_writers:
        return []  # one process ended all that it began: the steps need not be read
    return [
        {
            "number": step.number,
            "step_id": step.step_id,
            "kind": step.kind,
            "name": step.name,
            "status": step.status,
            "reason": step.last.reason,
            "started_at": format_timestamp(step.last.start_ns),
            "ordinal": step.last.ordinal,
            "writer": step.last.writer,
        }
        for step in journal.tree(stored).walk()
        if step.status == "running" or step.last.reason is not None
    ]


def last_seen_ns(head: SessionHead) -> int:
    """Return when anything was last heard of a session: an event or a heartbeat."""
    return max([head.updated_ns, *head.writers.values()])
