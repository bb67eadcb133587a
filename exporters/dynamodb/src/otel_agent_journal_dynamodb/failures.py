"""What DynamoDB refuses, as errors that say what to do about it. Pure."""

from __future__ import annotations

from typing import Final

from otel_agent_journal.errors import StoreError, StoreUnreachable, StoreUnusable
from otel_agent_journal.pasting import pasted
from otel_agent_journal_aws import Refusal, failures
from otel_agent_journal_dynamodb.place import Place

# Of a call, and of an action in a transaction.
COLLECTION_FULL: Final = frozenset(("ItemCollectionSizeLimitExceeded", "ItemCollectionSizeLimitExceededException"))
# What DynamoDB says of a request that is right for our table and not for this one.
_OTHER_KEYS: Final = (
    "does not match the schema",
    "Missing the key",
    "key element",
    "Type mismatch for key",
    "key schema element",
)
_OTHER_INDEX: Final = "does not have the specified index"


def error_of(place: Place, refusal: Refusal) -> StoreError:
    """Return the error for an answer that is no success."""
    store, code = place.url, refusal.code
    if code == "ResourceNotFoundException":
        return StoreUnreachable(
            f"store {store}: there is no table '{place.table}' in region {place.region or 'of the environment'}"
            f" of this account; is the region right? To create the table: agent-journal store init {pasted(store)}"
        )
    if code in COLLECTION_FULL:
        return StoreError(
            f"store {store}: a session has reached 10 GB, the limit of a table with local indexes; begin another"
            " session, or keep large values in S3: add &bucket=NAME to the URL"
        )
    return failures.error_of(refusal, store) or _of_request(place, refusal)


def error_of_bucket(place: Place, bucket: str, refusal: Refusal) -> StoreUnreachable:
    """Return the error for what the bucket of oversize values refused."""
    at = f"store {place.url}: {refusal.what}: {refusal.said}"
    if refusal.code in ("NoSuchBucket", "404"):
        return StoreUnreachable(f"{at}; create the bucket, or correct 'bucket' in the URL: aws s3 mb s3://{bucket}")
    return failures.error_of(refusal, place.url) or StoreUnreachable(f"{at}; have the bucket looked at, and retry")


def _of_request(place: Place, refusal: Refusal) -> StoreError:
    if refusal.code == "ValidationException":
        if _OTHER_INDEX in refusal.message:
            return StoreUnusable(
                f"store {place.url}: table '{place.table}' lacks an index of this journal ({refusal.message});"
                f" agent-journal store init {pasted(place.url)} adds by_updated;"
                " by_seq, which context needs, can only be made"
                " with a new table"
            )
        if any(sign in refusal.message for sign in _OTHER_KEYS):
            return StoreUnusable(
                f"store {place.url}: table '{place.table}' is of another program ({refusal.message}); a journal has"
                " the keys PK and SK, both texts: name another table"
            )
    return StoreError(f"store {place.url}: DynamoDB refused this ({refusal})")
