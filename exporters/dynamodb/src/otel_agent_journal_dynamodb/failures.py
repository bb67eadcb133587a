"""What boto3 reports, as the errors of this package: which of them may pass, and what to do about each. Pure."""

from __future__ import annotations

from typing import Any, Final, cast

from otel_agent_journal.errors import ConfigError, StoreError, StoreUnreachable, StoreUnusable
from otel_agent_journal_dynamodb.place import Place

CREDENTIALS: Final = frozenset(
    (
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidToken",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NotAuthorized",
        "OptInRequired",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
    )
)
THROTTLED: Final = frozenset(
    (
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    )
)
DENIED: Final = frozenset(("AccessDenied", "AccessDeniedException", "UnauthorizedOperation"))
BUSY: Final = frozenset(
    (
        "InternalServerError",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "TransactionConflictException",
        "TransactionInProgressException",
    )
)
# Of a call, and of an action in a transaction.
COLLECTION_FULL: Final = frozenset(("ItemCollectionSizeLimitExceeded", "ItemCollectionSizeLimitExceededException"))
FIRST_SERVER_ERROR: Final = 500
# What DynamoDB says of a request that is right for our table and not for this one.
_OTHER_KEYS: Final = (
    "does not match the schema",
    "Missing the key",
    "key element",
    "Type mismatch for key",
    "key schema element",
)
_OTHER_INDEX: Final = "does not have the specified index"
# What boto3 raises for a bucket that cannot be asked as the URL has it.
_SETTINGS: Final = frozenset(
    (
        "InvalidEndpointConfigurationError",
        "InvalidRegionError",
        "NoRegionError",
        "ParamValidationError",
        "ProfileNotFound",
    )
)


class Refusal(Exception):
    """An answer of DynamoDB that is no success: its code, message, and the whole of its body."""

    def __init__(self, operation: str, code: str, message: str, status: int, answer: dict[str, Any]) -> None:
        super().__init__(f"{operation}: {code}: {message}")
        self.operation = operation
        self.code = code
        self.message = message
        self.status = status
        self.answer = answer

    @property
    def may_pass(self) -> bool:
        """Tell whether the same call may succeed a moment later."""
        return self.status >= FIRST_SERVER_ERROR or self.code in THROTTLED or self.code in BUSY


def refusal_of(operation: str, error: Exception) -> Refusal | None:
    """Return what a `ClientError` says, or None where the error is another."""
    answer = getattr(error, "response", None)
    if not isinstance(answer, dict):
        return None
    parsed = cast("dict[str, Any]", answer)
    said = parsed.get("Error", {})
    status = parsed.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return Refusal(operation, str(said.get("Code", "")), str(said.get("Message", "")), int(status), parsed)


def is_of_credentials(error: Exception) -> bool:
    """Tell whether what boto3 raised is about its credentials: there are none, or they are not accepted."""
    refusal = refusal_of("", error)
    if refusal is not None:
        return refusal.code in CREDENTIALS
    name = type(error).__name__
    return "Credential" in name or "Token" in name or "SSO" in name


def error_of(place: Place, refusal: Refusal) -> StoreError:
    """Return the error for an answer that is no success."""
    store, code = place.url, refusal.code
    said = f"{refusal.operation}: {code}" + (f", {refusal.message}" if refusal.message else "")
    if code == "ResourceNotFoundException":
        return StoreUnreachable(
            f"store {store}: there is no table '{place.table}' in region {place.region or 'of the environment'}"
            f" of this account; is the region right? To create the table: agent-journal store init {store}"
        )
    if code in DENIED:
        return StoreUnreachable(
            f"store {store}: no permission for dynamodb:{refusal.operation} ({refusal.message}); the policy that is"
            f" needed: agent-journal store iam-policy {store} --role writer"
        )
    if code in CREDENTIALS:
        return StoreUnreachable(
            f"store {store}: the credentials were refused ({said}); renew them, as with 'aws sso login', or correct"
            " AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, and check the clock"
        )
    if code in THROTTLED:
        return StoreUnreachable(f"store {store}: DynamoDB throttles ({said}); it will take the rest a little later")
    if refusal.may_pass:
        return StoreUnreachable(f"store {store}: DynamoDB is busy or in trouble ({said}); retry")
    if code in COLLECTION_FULL:
        return StoreError(
            f"store {store}: a session has reached 10 GB, the limit of a table with local indexes; begin another"
            " session, or keep large values in S3: add &bucket=NAME to the URL"
        )
    return _of_request(place, refusal, said)


def _of_request(place: Place, refusal: Refusal, said: str) -> StoreError:
    if refusal.code == "ValidationException":
        if _OTHER_INDEX in refusal.message:
            return StoreUnusable(
                f"store {place.url}: table '{place.table}' lacks an index of this journal ({refusal.message});"
                f" agent-journal store init {place.url} adds by_updated; by_seq, which context needs, can only be made"
                " with a new table"
            )
        if any(sign in refusal.message for sign in _OTHER_KEYS):
            return StoreUnusable(
                f"store {place.url}: table '{place.table}' is of another program ({refusal.message}); a journal has"
                " the keys PK and SK, both texts: name another table"
            )
    return StoreError(f"store {place.url}: DynamoDB refused this ({said})")


def error_of_transport(place: Place, operation: str, error: Exception) -> StoreError | ConfigError:
    """Return the error for what boto3 raised before there was an answer: no network, no credentials, no region."""
    name = type(error).__name__
    if name == "NoRegionError":
        return ConfigError(f"store {place.url}: no region is known; add ?region=NAME to the URL, or set AWS_REGION")
    if name == "ProfileNotFound":
        return ConfigError(f"store {place.url}: {error}; correct 'profile' in the URL, or AWS_PROFILE")
    if name in ("InvalidRegionError", "InvalidEndpointConfigurationError") or isinstance(error, ValueError):
        return ConfigError(f"store {place.url}: {error}; correct 'region' and 'endpoint_url' in the URL")
    if is_of_credentials(error):
        return StoreUnreachable(
            f"store {place.url}: there are no credentials ({error}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,"
            " name a profile by AWS_PROFILE, or give the machine a role"
        )
    return StoreUnreachable(
        f"store {place.url}: no answer to {operation} ({error}); are region and endpoint right, and is there a network?"
    )


def error_of_bucket(place: Place, bucket: str, method: str, error: Exception) -> StoreError | ConfigError:
    """Return the error for what the bucket of oversize values answered."""
    refusal = refusal_of(method, error)
    code = refusal.code if refusal else type(error).__name__
    if isinstance(error, ValueError) or code in _SETTINGS:
        return ConfigError(
            f"bucket {bucket} of store {place.url}: {error}; correct 'bucket', 'region', 'profile' and"
            " 's3_endpoint_url' in the URL"
        )
    advice = "retry"
    if code in ("NoSuchBucket", "404"):
        advice = f"create the bucket, or correct 'bucket' in the URL: aws s3 mb s3://{bucket}"
    elif code in DENIED or code == "403":
        advice = "grant s3:PutObject, s3:GetObject and s3:ListBucket: agent-journal store iam-policy prints the policy"
    elif is_of_credentials(error):
        advice = "renew the credentials, as with 'aws sso login', or give the machine a role"
    return StoreUnreachable(f"bucket {bucket} of store {place.url}: {method} failed ({code}: {error}); {advice}")
