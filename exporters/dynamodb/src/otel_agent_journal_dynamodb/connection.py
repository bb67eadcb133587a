"""One boto3 client and how it is called: bodies of our own, few retries, errors of ours.

boto3 resolves credentials, endpoint and connections, signs and sends. The JSON of requests and answers is made and
read here, by msgspec: botocore walks every attribute of every item by its shape, which is most of the CPU of a
batch (`tests/benchmarks/bench_dynamodb_cpu.py`). Both happens in events that botocore has for it;
where a client speaks another protocol than JSON, it is left to botocore.

Knows nothing of events. Thread-safe; a child process has a client of its own.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - boto3 needs it, and once a program is leaving it cannot be imported
import random
import re
import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from threading import RLock
from typing import Any, Final

import msgspec

from otel_agent_journal import forks
from otel_agent_journal.errors import StoreError, StoreUnusable
from otel_agent_journal.uninstrumented import uninstrumented
from otel_agent_journal_dynamodb.failures import Refusal, error_of, error_of_transport, is_of_credentials, refusal_of
from otel_agent_journal_dynamodb.place import Place

ATTEMPTS: Final = 5  # of one call; what still fails then is StoreUnreachable, and the drain's to repeat
PATIENCE_S: Final = 15.0  # after which no attempt is begun
FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 1.0
CONNECT_S: Final = 3.0
FRESH_S: Final = 30.0  # after an answer in which its time is good enough for a reader
POOL: Final = 16  # connections kept open, for threads that share a store

Item = dict[str, dict[str, Any]]
Answer = dict[str, Any]

_BODY: Final = "agent_journal_body"
# What botocore looks at to find the endpoint, and wants to be there.
_ROUTING: Final[dict[str, dict[str, Any]]] = {
    "BatchGetItem": {"RequestItems": {}},
    "BatchWriteItem": {"RequestItems": {}},
    "TransactWriteItems": {"TransactItems": []},
}
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode


class Connection:
    """Calls to one table. `call` names an operation of DynamoDB as its API does."""

    def __init__(self, place: Place, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.place = place
        self.sleep = sleep
        self._date = ""  # of the last answer
        self._date_at = 0.0, 0.0  # the same in seconds, and when by the monotonic clock it was first seen
        self._answered_at = 0.0  # by our own clock
        self._lock = RLock()
        self._closed = False
        self._clients: dict[str, Any] = {}
        self._own_json = False
        forks.join(self, forks.Place.STORES)

    def call(self, operation: str, body: dict[str, Any]) -> Answer:
        """Return the answer to a call; what may pass is repeated a few times.

        Raises:
            Refusal: DynamoDB understood and said no: a condition, a missing table, a missing permission.
            StoreUnreachable: it cannot be reached, or is in trouble for longer.
        """
        until = time.monotonic() + PATIENCE_S
        for attempt in range(1, ATTEMPTS + 1):
            over = attempt == ATTEMPTS or time.monotonic() > until
            try:
                return self._once(operation, body)
            except Refusal as refusal:
                if not refusal.may_pass:
                    raise
                if over:
                    raise error_of(self.place, refusal) from refusal
            except _Transport as failed:
                if over or not failed.may_pass:
                    raise failed.error from failed.__cause__
            self.pause(attempt)
        raise AssertionError  # the last attempt returns or raises

    def now_ns(self) -> int:
        """Return the time by the server's clock, as its last answer gave it: never ahead of it, a second behind.

        More behind where this process was suspended since that answer, until there is another.
        """
        date_s, at_s = self._date_at
        return int((date_s + time.monotonic() - at_s) * 1e9) if self._date else time.time_ns()

    def answered_ns(self) -> int:
        """Return when the last answer was made, by the server's clock, however long it was on its way."""
        return int(self._date_at[0] * 1e9) if self._date else time.time_ns()

    def is_clock_fresh(self) -> bool:
        """Tell whether there was an answer in the last seconds, so that `now_ns` can be relied on."""
        return abs(time.time() - self._answered_at) < FRESH_S

    def pause(self, attempt: int) -> None:
        """Wait before attempt `attempt + 1`: full jitter below a bound that doubles."""
        self.sleep(random.uniform(0, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**attempt)))  # noqa: S311 - no secret

    def client(self, service: str = "dynamodb") -> Any:
        """Return this process's boto3 client, made when it is first needed."""
        if self._closed:
            raise StoreUnusable(f"store {self.place.url} is closed")
        with self._lock:
            client = self._clients.get(service)
            if client is None:
                client = self._clients[service] = self._made(service)
            return client

    def drop(self, client: Any) -> None:
        """Make the next call by a new client, with the credentials that there are then: one keeps what it began with.

        It is not closed, other threads may be using it.
        """
        with self._lock:
            self._clients = {service: one for service, one in self._clients.items() if one is not client}

    def close(self) -> None:
        """Close the connections; every later call is refused."""
        self._closed = True
        forks.leave(self)
        for client in self._clients.values():
            client.close()
        self._clients = {}

    def after_fork(self) -> None:
        """Begin again in a child process: connections must not cross a fork, and nobody there lets go of the lock."""
        self._lock, self._clients = RLock(), {}

    @uninstrumented()
    def _once(self, operation: str, body: dict[str, Any]) -> Answer:
        client: Any = None
        try:
            client = self.client()
            method = getattr(client, _snake(operation))
            if self._own_json:
                rest = _ROUTING.get(operation, {})
                answer = method(**{_BODY: _encode(body), **rest})
                self._hear(answer)
                return _decode(answer[_BODY])
            answer = method(**body)
            self._hear(answer)
            return answer
        except (StoreError, UnicodeEncodeError, Refusal):
            raise
        except Exception as error:
            if is_of_credentials(error):
                self.drop(client)
            refusal = refusal_of(operation, error)
            if refusal is not None:
                self._hear(refusal.answer)
                raise refusal from error
            raise _Transport(self.place, operation, error) from error

    def _hear(self, answer: Mapping[str, Any]) -> None:
        """Take the time from an answer; one that has none is of nobody who keeps a clock."""
        date = str(answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", ""))
        if not date:
            return
        self._answered_at = time.time()
        if date != self._date:
            self._date_at = parsedate_to_datetime(date).timestamp(), time.monotonic()
            self._date = date

    def _made(self, service: str) -> Any:
        import boto3
        from botocore.config import Config

        place = self.place
        config = Config(
            connect_timeout=min(CONNECT_S, place.timeout_s),
            read_timeout=place.timeout_s,
            retries={"total_max_attempts": 1} if service == "dynamodb" else None,  # of a bucket nobody else repeats
            max_pool_connections=POOL,
            parameter_validation=service != "dynamodb",
        )
        session: Any = boto3.Session(region_name=place.region, profile_name=place.profile)
        endpoint = place.endpoint_url if service == "dynamodb" else place.s3_endpoint_url
        client: Any = session.client(service, endpoint_url=endpoint, config=config)
        if service == "dynamodb" and client.meta.service_model.resolved_protocol == "json":
            client.meta.events.register_first("provide-client-params.dynamodb.*", _take_body)
            client.meta.events.register_last("before-call.dynamodb.*", _put_body)
            client.meta.events.register_last("before-parse.dynamodb.*", _keep_answer)
            self._own_json = True
        return client


class _Transport(Exception):
    """There was no answer: the network, or what boto3 lacks to ask at all, which no repetition mends."""

    def __init__(self, place: Place, operation: str, error: Exception) -> None:
        from botocore.exceptions import ConnectionError as NoConnection
        from botocore.exceptions import HTTPClientError

        super().__init__(str(error))
        self.error = error_of_transport(place, operation, error)
        self.may_pass = isinstance(error, HTTPClientError | NoConnection)


def binary(value: bytes | str) -> bytes:
    """Return the bytes of a `B` attribute, which our JSON has as base64 and botocore as bytes."""
    return b64decode(value) if isinstance(value, str) else value


def _snake(operation: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", operation.replace("ToLive", "Tolive")).lower().replace("tolive", "to_live")


def _take_body(params: dict[str, Any], context: dict[str, Any], **_: Any) -> dict[str, Any] | None:
    body = params.pop(_BODY, None)
    if body is None:
        return None
    context[_BODY] = body
    return params


def _put_body(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    body = context.get(_BODY)
    if body is not None:
        params["body"] = body


def _keep_answer(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    if response_dict["status_code"] < 300:  # errors are botocore's to read
        customized_response_dict[_BODY] = response_dict["body"]
        response_dict["body"] = b"{}"
