"""The dialects of other instrumentations, each translated into GenAI terms. Pure.

`in_genai_terms` is the one seam: what it returns is read by `to_events.py` as any span of the conventions, and nothing
behind it knows of a dialect. Content comes out under the names that `content.py` knows, decoded, so that none of it is
left among the attributes. A span that speaks no dialect is returned as it came.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from otel_agent_journal.mapping.dialects import events, openinference, traceloop
from otel_agent_journal.mapping.span_record import SpanRecord

_MARKS: Final = openinference.MARKS | traceloop.MARKS | events.MARKS
_SPOKEN: Final = ("gen_ai.", "agent_journal.")

LATE_SCOPES: Final = ("openinference.", "opentelemetry.instrumentation.langchain", "strands.", "traceloop.")
"""Scopes, by how their names begin, whose spans say what they are only after they were created."""

SAID_AT_THE_END: Final = ("openinference.",)
"""Those of them whose spans say so only as they end. Every one of them is a step."""


def in_genai_terms(record: SpanRecord) -> SpanRecord:
    """Return a span with the attributes that the GenAI conventions would have it say, and no content in its events.

    Total: whatever is malformed is left out or kept as it is. Linear in the number of attributes.
    """
    attributes = record.attributes
    if not record.events and _MARKS.isdisjoint(attributes):
        return record
    if not openinference.MARKS.isdisjoint(attributes):
        return openinference.translated(events.translated(record))
    if not traceloop.MARKS.isdisjoint(attributes):
        return traceloop.translated(events.translated(record))
    return events.translated(record)


def is_silent(names: Collection[str]) -> bool:
    """Tell whether attributes or events of these names say nothing of an agent, in any dialect."""
    return not any(name in _MARKS or name.startswith(_SPOKEN) for name in names)


def speaks_late(scope_name: str) -> bool:
    """Tell whether spans of a scope say what they are only after their creation."""
    return scope_name.startswith(LATE_SCOPES)


def speaks_at_the_end(scope_name: str) -> bool:
    """Tell whether spans of a scope say what they are only as they end."""
    return scope_name.startswith(SAID_AT_THE_END)
