"""What a bucket refuses, as errors that say what to do next. Pure.

All but a refused value is `StoreUnreachable`: a bucket, a right, a credential or room that is missing now may be there
later, and the journal waits for it in the spool.
"""

from __future__ import annotations

from typing import Final

from otel_agent_journal.errors import StoreError, StoreUnreachable
from otel_agent_journal.pasting import pasted
from otel_agent_journal_aws import Refusal, failures

MISSING: Final = frozenset(("404", "NoSuchKey", "NotFound"))
EMPTY: Final = frozenset(("416", "InvalidRange"))  # no part of an object can be had
FORBIDDEN: Final = frozenset(("403", "AccessDenied"))
LOST: Final = frozenset(("412", "PreconditionFailed"))
# It is the name or the bytes of this one object that are refused, and they will be. Whatever else a server says is said
# of the bucket, the account or the server, and what was to be written waits.
_OF_THE_VALUE: Final = frozenset(
    (
        "413", "414", "EntityTooLarge", "InvalidArgument", "KeyTooLong", "KeyTooLongError",
        "MaxMessageLengthExceeded", "MetadataTooLarge", "RequestHeaderSectionTooLarge", "XMinioInvalidObjectName",
        "XMinioInvalidResourceName", "XMinioObjectExistsAsDirectory", "XMinioParentIsObject",
    )
)  # fmt: skip
_TOO_LARGE: Final = (413, 414)


def error_of(refusal: Refusal, url: str) -> StoreError:
    """Return the error for an answer that is no success."""
    at = f"store {url}: {refusal.what}"
    if refusal.code == "NoSuchBucket":
        return StoreUnreachable(f"{at}: the bucket is not there; make it: agent-journal store init {pasted(url)}")
    common = failures.error_of(refusal, url)
    if common is not None:
        return common
    if refusal.code in _OF_THE_VALUE or refusal.status in _TOO_LARGE:
        return StoreError(f"{at}: refused: {refusal.said}")
    return StoreUnreachable(
        f"{at}: refused: {refusal.said}; have the bucket, its keys and quotas looked at, it is tried again later"
    )
