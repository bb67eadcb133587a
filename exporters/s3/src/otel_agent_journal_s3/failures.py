"""What botocore raises, as this package's errors, each with what to do next; and which of it is tried again.

All but a refused value is `StoreUnreachable`: a bucket, a right, a credential or room that is missing now may be there
later, and the journal waits for it in the spool.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ReadTimeoutError,
    TokenRetrievalError,
)
from botocore.parsers import ResponseParserError

from otel_agent_journal.errors import ConfigError, JournalError, StoreError, StoreUnreachable

MISSING: Final = frozenset(("404", "NoSuchKey", "NotFound"))
EMPTY: Final = frozenset(("416", "InvalidRange"))  # no part of an object can be had
LOST: Final = frozenset(("412", "PreconditionFailed"))
# Answers to a request that was right: the same one may succeed in a moment.
PASSING: Final = frozenset(
    (
        "409", "500", "502", "503", "504", "ConditionalRequestConflict", "InternalError", "OperationAborted",
        "RequestTimeout", "RequestTimeoutException", "ServiceUnavailable", "SlowDown", "Throttling",
        "ThrottlingException", "TooManyRequests", "429", "XMinioServerNotInitialized", "SlowDownRead", "SlowDownWrite",
        "BadDigest", "IncompleteBody",
    )
)  # fmt: skip
_REGION: Final = frozenset(
    ("301", "307", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect")
)
_CREDENTIALS: Final = frozenset(
    ("ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch",
     "TokenRefreshRequired", "InvalidClientTokenId", "RequestExpired", "401", "Unauthorized")
)  # fmt: skip
_REFUSED: Final = frozenset(("403", "AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden"))
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
# An answer that is none of S3: no XML where there has to be some, or without what every answer of S3 has.
FOREIGN: Final = (ResponseParserError, KeyError)


def code_of(error: ClientError) -> str:
    """Return the service's code of an error."""
    return str(_part(error, "Error").get("Code", ""))


def of_credentials(error: Exception) -> bool:
    """Tell whether credentials were missing or refused: those found next may be others."""
    if isinstance(error, ClientError):
        return code_of(error) in _CREDENTIALS
    return isinstance(
        error, (CredentialRetrievalError, NoCredentialsError, PartialCredentialsError, TokenRetrievalError)
    )


def passes(error: Exception) -> bool:
    """Tell whether the same request is worth another try in a moment."""
    if isinstance(error, ClientError):
        status = _status_of(error)
        return code_of(error) in PASSING or (status >= 500 and status != 501)  # 501: not implemented, nor will it be
    return not isinstance(error, (NoCredentialsError, ParamValidationError, PartialCredentialsError))


def translated(error: Exception, what: str, url: str) -> JournalError:
    """Return the error of this package that says what was attempted, why it failed and what to do next."""
    at = f"store {url}: {what}"
    if isinstance(error, ClientError):
        return _refusal(error, at, url)
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return StoreUnreachable(
            f"{at}: there are no AWS credentials; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or"
            " run where a role gives them"
        )
    if isinstance(error, (EndpointConnectionError, ConnectTimeoutError)):
        return StoreUnreachable(
            f"{at}: nothing answers there ({error}); check region and endpoint_url of the URL, and the network"
        )
    if isinstance(error, ReadTimeoutError):
        return StoreUnreachable(f"{at}: no answer in time; it may have been done all the same, and is tried again")
    if isinstance(error, BotoCoreError) and type(error).__name__ in ("NoRegionError", "InvalidRegionError"):
        return ConfigError(f"{at}: {error}; name the bucket's region in the URL: ?region=eu-central-1")
    if isinstance(error, ParamValidationError):
        return ConfigError(f"{at}: {error}; the form of a URL is s3://BUCKET/PREFIX?region=eu-central-1")
    if isinstance(error, FOREIGN):
        return StoreUnreachable(
            f"{at}: what answers there is no S3 ({type(error).__name__}: {str(error)[:200]}); check endpoint_url of the"
            " URL, and what is between: a proxy, or a network that wants a login"
        )
    return StoreUnreachable(f"{at}: {type(error).__name__}: {error}")


def _refusal(error: ClientError, at: str, url: str) -> StoreError:
    code = code_of(error)
    message = str(_part(error, "Error").get("Message", "")).strip()
    said = f"{code}: {message}" if message else code
    if code == "NoSuchBucket":
        return StoreUnreachable(f"{at}: the bucket is not there; make it: agent-journal store init {url}")
    if code in _REGION:
        headers = _part(error, "ResponseMetadata").get("HTTPHeaders", {})
        region = headers.get("x-amz-bucket-region") or _part(error, "Error").get("Region")
        where = f"the bucket is in {region}: put ?region={region} into the URL" if region else "set ?region= in the URL"
        return StoreUnreachable(f"{at}: wrong region ({said}); {where}")
    if code in _CREDENTIALS:
        return StoreUnreachable(
            f"{at}: the credentials are expired or wrong ({said}); renew them: aws sts get-caller-identity"
        )
    if code == "RequestTimeTooSkewed":
        return StoreUnreachable(f"{at}: this machine's clock is more than 15 minutes off ({said}); set it")
    if code in _REFUSED:
        return StoreUnreachable(
            f"{at}: not permitted ({said}); the rights needed: agent-journal store iam-policy {url} --role writer"
        )
    if passes(error):
        return StoreUnreachable(f"{at}: {said}; it did not pass in the time given and is tried again later")
    if code in _OF_THE_VALUE or _status_of(error) in _TOO_LARGE:
        return StoreError(f"{at}: refused: {said}")
    return StoreUnreachable(
        f"{at}: refused: {said}; have the bucket, its keys and quotas looked at, it is tried again later"
    )


def _status_of(error: ClientError) -> int:
    return int(_part(error, "ResponseMetadata").get("HTTPStatusCode", 0))


def _part(error: ClientError, name: str) -> Mapping[str, Any]:
    return cast("dict[str, Any]", error.response).get(name, {})
