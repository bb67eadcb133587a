"""What botocore reports, as errors of the journal that say what to do next; and which of it may pass.

Here is what all services have in common. What a code says of a table, an item or an object is its store's to explain.
"""

from __future__ import annotations

from typing import Any, Final, cast

from otel_agent_journal.errors import ConfigError, JournalError, StoreUnreachable
from otel_agent_journal_aws.place import Place

CREDENTIALS: Final = frozenset(
    (
        "401", "ExpiredToken", "ExpiredTokenException", "IncompleteSignature", "IncompleteSignatureException",
        "InvalidAccessKeyId", "InvalidClientTokenId", "InvalidSignatureException", "InvalidToken",
        "MissingAuthenticationToken", "MissingAuthenticationTokenException", "NotAuthorized", "OptInRequired",
        "RequestExpired", "SignatureDoesNotMatch", "TokenRefreshRequired", "Unauthorized",
        "UnrecognizedClientException",
    )
)  # fmt: skip
DENIED: Final = frozenset(
    ("403", "AccessDenied", "AccessDeniedException", "AccountProblem", "AllAccessDisabled", "Forbidden",
     "UnauthorizedOperation")
)  # fmt: skip
THROTTLED: Final = frozenset(
    (
        "429", "LimitExceededException", "ProvisionedThroughputExceededException", "RequestLimitExceeded", "SlowDown",
        "SlowDownRead", "SlowDownWrite", "ThrottledException", "Throttling", "ThrottlingException", "TooManyRequests",
        "TooManyRequestsException",
    )
)  # fmt: skip
# Answers to a request that was right: the same one may succeed in a moment. So may those of `FIRST_SERVER_ERROR` on.
_BUSY: Final = frozenset(
    (
        "409", "500", "502", "503", "504", "BadDigest", "ConditionalRequestConflict", "IncompleteBody", "InternalError",
        "InternalServerError", "OperationAborted", "RequestTimeout", "RequestTimeoutException", "ServiceUnavailable",
        "TransactionConflictException", "TransactionInProgressException", "XMinioServerNotInitialized",
    )
)  # fmt: skip
_FIRST_SERVER_ERROR: Final = 500
_NOT_IMPLEMENTED: Final = 501  # nor will it be
_REGION: Final = frozenset(
    ("301", "307", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect")
)


class Refusal(Exception):
    """An answer that is no success: what was asked, its code, message and HTTP status, and the whole of its body."""

    def __init__(self, what: str, code: str, message: str, status: int, answer: dict[str, Any]) -> None:
        super().__init__(f"{what}: {code}: {message}")
        self.what = what
        self.code = code
        self.message = message
        self.status = status
        self.answer = answer

    @property
    def may_pass(self) -> bool:
        """Tell whether the same request may succeed a moment later."""
        if self.code in THROTTLED or self.code in _BUSY:
            return True
        return self.status >= _FIRST_SERVER_ERROR and self.status != _NOT_IMPLEMENTED

    @property
    def said(self) -> str:
        """Code and message."""
        return f"{self.code}: {self.message}" if self.message else self.code


def refusal_of(what: str, error: Exception) -> Refusal | None:
    """Return what a `ClientError` says, or None where the error is another: there was no answer."""
    if isinstance(error, Refusal):
        return error
    answer = getattr(error, "response", None)
    if not isinstance(answer, dict):
        return None
    parsed = cast("dict[str, Any]", answer)
    said = parsed.get("Error", {})
    status = parsed.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return Refusal(what, str(said.get("Code", "")), str(said.get("Message", "")).strip(), int(status), parsed)


def is_of_credentials(error: Exception) -> bool:
    """Tell whether what botocore raised is about its credentials: there are none, or they are not accepted."""
    refusal = refusal_of("", error)
    if refusal is not None:
        return refusal.code in CREDENTIALS
    name = type(error).__name__
    return "Credential" in name or "Token" in name or "SSO" in name


def passes_unanswered(error: Exception) -> bool:
    """Tell whether a request without an answer may have one a moment later: not where botocore could not even ask."""
    from botocore.exceptions import NoCredentialsError, PartialCredentialsError

    return not isinstance(error, (NoCredentialsError, PartialCredentialsError)) and not _is_of_settings(error)


def error_of(refusal: Refusal, url: str) -> StoreUnreachable | None:
    """Return the error for what any service may refuse; None for what its store has to explain."""
    at, said, code = f"store {url}: {refusal.what}", refusal.said, refusal.code
    if code in DENIED:
        return StoreUnreachable(
            f"{at}: not permitted ({said}); the policy that is needed: agent-journal store iam-policy {url}"
            " --role writer"
        )
    if code in CREDENTIALS:
        return StoreUnreachable(
            f"{at}: the credentials were refused, expired or wrong ({said}); renew them, as with 'aws sso login', or"
            " correct AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, and check the clock"
        )
    if code == "RequestTimeTooSkewed":
        return StoreUnreachable(f"{at}: this machine's clock is more than 15 minutes off ({said}); set it")
    if code in _REGION:
        headers = refusal.answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        region = headers.get("x-amz-bucket-region") or refusal.answer.get("Error", {}).get("Region")
        where = f"the bucket is in {region}: put region={region} into the URL" if region else "set region= in the URL"
        return StoreUnreachable(f"{at}: wrong region ({said}); {where}")
    if code in THROTTLED:
        return StoreUnreachable(f"{at}: AWS throttles ({said}); it will take the rest a little later")
    if refusal.may_pass:
        return StoreUnreachable(f"{at}: AWS is busy or in trouble ({said}); retry")
    return None


def error_without_answer(error: Exception, what: str, place: Place) -> JournalError:
    """Return the error for what botocore raised where there was no answer: no network, no credentials, no region."""
    from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError
    from botocore.parsers import ResponseParserError
    from msgspec import DecodeError

    at, name = f"store {place.url}: {what}", type(error).__name__
    if name == "NoRegionError":
        return ConfigError(f"{at}: no region is known; add region=NAME to the URL, or set AWS_REGION")
    if name == "ProfileNotFound":
        return ConfigError(f"{at}: {error}; correct 'profile' in the URL, or AWS_PROFILE")
    if _is_of_settings(error):
        return ConfigError(f"{at}: {error}; correct the URL, whose options are {', '.join(place.options)}")
    if is_of_credentials(error):
        return StoreUnreachable(
            f"{at}: there are no AWS credentials ({error}); set AWS_PROFILE, or AWS_ACCESS_KEY_ID and"
            " AWS_SECRET_ACCESS_KEY, or run where a role gives them"
        )
    if isinstance(error, (EndpointConnectionError, ConnectTimeoutError)):
        return StoreUnreachable(
            f"{at}: nothing answers there ({error}); check region and endpoint of the URL, and the network"
        )
    if isinstance(error, ReadTimeoutError):
        return StoreUnreachable(f"{at}: no answer in time; it may have been done all the same, and is tried again")
    if isinstance(error, (DecodeError, KeyError, ResponseParserError)):
        return StoreUnreachable(
            f"{at}: what answers there is not AWS ({name}: {str(error)[:200]}); check the endpoint of the URL, and what"
            " is between: a proxy, or a network that wants a login"
        )
    return StoreUnreachable(f"{at}: no answer ({name}: {error}); is there a network?")


def _is_of_settings(error: Exception) -> bool:
    """Tell whether it is the URL, or a profile, with which botocore cannot ask."""
    from botocore.exceptions import (
        InvalidEndpointConfigurationError,
        InvalidRegionError,
        NoRegionError,
        ParamValidationError,
        ProfileNotFound,
    )

    settings = (InvalidEndpointConfigurationError, InvalidRegionError, NoRegionError, ParamValidationError)
    return isinstance(error, (*settings, ProfileNotFound, ValueError))
