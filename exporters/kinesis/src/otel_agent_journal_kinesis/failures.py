"""What a stream refuses, as errors that say what to do next. Pure.

All but a record that is not as the service wants it is `SinkUnreachable`: a stream, a right or a key that is missing
now may be there later, and the journal keeps the events.
"""

from __future__ import annotations

from typing import Final

from otel_agent_journal.errors import JournalError, SinkError, SinkRefused, SinkUnreachable
from otel_agent_journal_aws import Refusal, failures
from otel_agent_journal_kinesis.place import Place

MISSING: Final = "ResourceNotFoundException"
_OF_THE_RECORD: Final = frozenset(
    ("413", "InvalidArgumentException", "RequestEntityTooLargeException", "SerializationException",
     "ValidationException")
)  # fmt: skip
_TOO_LARGE: Final = 413


def error_of(refusal: Refusal, place: Place, service: str) -> SinkError:
    """Return the error for an answer that is no success."""
    at = f"sink {place.url}: {refusal.what}"
    if refusal.code == MISSING:
        return SinkUnreachable(f"{at}: the stream is not there ({refusal.said}); make it, or correct name and region")
    if refusal.code in failures.DENIED:
        return SinkUnreachable(
            f"{at}: not permitted ({refusal.said}); the policy that is needed: agent-journal sinks iam-policy"
            f" {place.url}"
        )
    if refusal.code in _OF_THE_RECORD or refusal.status == _TOO_LARGE:
        return SinkRefused(place.url, refusal.said)
    common = failures.error_of(refusal, place.url)
    if common is not None:
        return of_sink(common, place)
    return SinkUnreachable(
        f"{at}: refused: {refusal.said}; have the stream, its key and quotas looked at, it is tried again later"
    )


def of_sink(error: JournalError, place: Place) -> SinkUnreachable:
    """Return what kept a request from being answered as an error of this sink."""
    return SinkUnreachable(f"sink {place.url}: {str(error).removeprefix(f'store {place.url}: ')}")
