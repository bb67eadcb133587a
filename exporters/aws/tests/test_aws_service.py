"""A service of AWS: what is tried again, what is said of what is not, and what is imported for it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    ProfileNotFound,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError

from otel_agent_journal.errors import ConfigError, StoreUnreachable, StoreUnusable
from otel_agent_journal_aws import Place, Refusal, Service, failures
from otel_agent_journal_aws.service import ATTEMPTS, PATIENCE

PLACE = Place(url="dynamodb://t", region="us-east-1", endpoint_url="http://127.0.0.1:9", timeout_s=1000.0)


def refused(code: str, status: int = 400) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetItem")


class Scripted:
    """A request that fails as often as it is told to, and counts."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.clients: list[Any] = []

    def __call__(self, client: Any) -> str:
        self.clients.append(client)
        if self.errors:
            raise self.errors.pop(0)
        return "done"


@pytest.fixture
def service(aws: None) -> Service[Place]:
    return Service(PLACE, "dynamodb", PLACE.endpoint_url, sleep=lambda _: None)


@pytest.mark.parametrize(
    "error",
    [
        refused("ThrottlingException"),
        refused("SlowDown", 503),
        refused("CodeOfNextYear", 500),
        refused("409"),
        ReadTimeoutError(endpoint_url="u"),
        EndpointConnectionError(endpoint_url="u"),
        ConnectionResetError(),
        ResponseParserError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_may_pass_is_tried_again(service: Service[Place], error: Exception) -> None:
    """The same request again, up to a bound; then it is for the drain."""
    assert service.ask("GetItem", Scripted(*[error] * (ATTEMPTS - 1))) == "done"
    work = Scripted(*[error] * ATTEMPTS)
    with pytest.raises((Refusal, StoreUnreachable)):
        service.ask("GetItem", work)
    assert len(work.clients) == ATTEMPTS


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (refused("ValidationException"), Refusal),
        (refused("NotImplemented", 501), Refusal),
        (refused("AccessDenied", 403), Refusal),
        (NoCredentialsError(), StoreUnreachable),
        (NoRegionError(), ConfigError),
        (ProfileNotFound(profile="p"), ConfigError),
        (ParamValidationError(report="r"), ConfigError),
        (ValueError("Invalid endpoint: x"), ConfigError),
        (StoreUnusable("closed"), StoreUnusable),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_will_not_pass_is_tried_once(service: Service[Place], error: Exception, expected: type[Exception]) -> None:
    """What no repetition mends is said at once."""
    work = Scripted(error)
    with pytest.raises(expected):
        service.ask("GetItem", work)
    assert len(work.clients) == 1


def test_patience(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """No attempt is begun once the time for it is over, however few there were."""
    now = [0.0]
    monkeypatch.setattr("otel_agent_journal_aws.service.time.monotonic", lambda: now[0])
    service = Service(PLACE, "dynamodb", PLACE.endpoint_url, sleep=lambda _: None)
    tries: list[float] = []

    def slow(client: Any) -> None:
        tries.append(now[0])
        now[0] += PLACE.timeout_s
        raise ReadTimeoutError(endpoint_url="u")

    with pytest.raises(StoreUnreachable, match="no answer in time"):
        service.ask("GetItem", slow)
    assert tries == [0.0, PLACE.timeout_s]
    assert now[0] >= PATIENCE * PLACE.timeout_s


@pytest.mark.parametrize("code", sorted(failures.CREDENTIALS))
def test_refused_credentials_make_a_new_client(service: Service[Place], code: str) -> None:
    """Whatever service says that credentials are no good, the next request is made with those that are there then."""
    work = Scripted(refused(code))
    with pytest.raises(Refusal):
        service.ask("GetItem", work)
    service.ask("GetItem", work)
    service.ask("GetItem", work)
    first, second, third = work.clients
    assert first is not second
    assert second is third


@pytest.mark.parametrize("code", sorted(failures.DENIED | failures.CREDENTIALS | failures.THROTTLED))
def test_what_an_operator_can_mend(code: str) -> None:
    """A right, a credential, a limit: unreachable for now, with what to do next, the same words for every service."""
    error = failures.error_of(Refusal("GetItem", code, "", 400, {}), PLACE.url)
    assert isinstance(error, StoreUnreachable)
    assert str(error).startswith("store dynamodb://t: GetItem: ")
    assert any(advice in str(error) for advice in ("iam-policy", "renew them", "a little later"))


def test_what_is_of_one_service_alone() -> None:
    """What a code says of a table or an object is not told by what all services have in common."""
    assert failures.error_of(Refusal("GetItem", "ValidationException", "", 400, {}), PLACE.url) is None


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (NoCredentialsError(), "AWS_PROFILE"),
        (ConnectTimeoutError(endpoint_url="u"), "check region and endpoint"),
        (ReadTimeoutError(endpoint_url="u"), "no answer in time"),
        (KeyError("ETag"), "is not AWS"),
        (OSError("gone"), "OSError: gone"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_no_answer(error: Exception, says: str) -> None:
    """Without an answer it says why there is none, and where to look."""
    told = failures.error_without_answer(error, "GET x", PLACE)
    assert isinstance(told, StoreUnreachable)
    assert says in str(told)


def test_region_of_the_environment(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a region in the URL it is AWS_REGION's, as other SDKs have it, then boto3's own."""
    service = Service(Place(url="dynamodb://t"), "dynamodb")
    assert service.client.meta.region_name == "us-east-1"
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    assert service.made().meta.region_name == "eu-west-3"


def test_closed(service: Service[Place]) -> None:
    """A closed one refuses every request."""
    service.close()
    with pytest.raises(StoreUnusable, match="closed"):
        service.ask("GetItem", Scripted())


def test_after_a_fork(service: Service[Place]) -> None:
    """A child has a client of its own, though the lock was held as it was forked."""
    first = service.client
    with service._lock:
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.write(write, b"1" if service.client is not first else b"0")
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 1) == b"1"
    os.close(read)
    os.close(write)
    assert service.client is first


OPENED = """
import sys
from otel_agent_journal.store.registry import open_store
open_store(sys.argv[1])
print(*[name for name in sys.argv[2:] if name in sys.modules])
"""


@pytest.mark.parametrize(
    ("url", "other"), [("dynamodb://journal", "otel_agent_journal_s3"), ("s3://journal", "otel_agent_journal_dynamodb")]
)
def test_nothing_is_imported_in_vain(url: str, other: str, aws: None) -> None:
    """Opening a store imports neither the other one on AWS nor boto3, which comes with the first request."""
    asked = [sys.executable, "-c", OPENED, url, other, "boto3", "botocore"]
    assert subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip() == ""


def test_our_requests_are_not_instrumented(service: Service[Place]) -> None:
    """Whoever instruments botocore sees none of them."""
    from opentelemetry import context

    assert service.ask("GetItem", lambda _: context.get_value("suppress_instrumentation")) is True
    assert context.get_value("suppress_instrumentation") is None
