"""Calls to one table: bodies of our own.

The JSON of requests and answers is made and read here, by msgspec: botocore walks every attribute of every item by its
shape, which is most of the CPU of a batch (`tests/benchmarks/bench_dynamodb_cpu.py`). Both happens in events that
botocore has for it; where a client speaks another protocol than JSON, it is left to botocore.

Knows nothing of events. Thread-safe; a child process has clients of its own.
"""

from __future__ import annotations

import re
import time
from base64 import b64decode
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec

from otel_agent_journal_aws import Service
from otel_agent_journal_dynamodb.place import Place

FRESH_S: Final = 30.0  # after an answer in which its time is good enough for a reader

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


class Connection(Service[Place]):
    """DynamoDB, and beside it the `bucket` service of large values. `call` names an operation as the API does."""

    def __init__(self, place: Place) -> None:
        super().__init__(place, "dynamodb", place.endpoint_url)
        self.bucket = Service(place, "s3", place.s3_endpoint_url)
        self._date = ""  # of the last answer
        self._date_at = 0.0, 0.0  # the same in seconds, and when by the monotonic clock it was first seen
        self._answered_at = 0.0  # by our own clock
        self._own_json = False

    def call(self, operation: str, body: dict[str, Any]) -> Answer:
        """Return the answer to a call; what may pass is repeated a few times.

        Raises:
            Refusal: DynamoDB understood and said no: a condition, a missing table, a missing permission.
            StoreUnreachable: it cannot be reached.
        """
        return self.ask(operation, lambda client: self.called(client, operation, body))

    def called(self, client: Any, operation: str, body: dict[str, Any]) -> Answer:
        """Return the answer to one call of a client."""
        method = getattr(client, _snake(operation))
        given = {_BODY: _encode(body), **_ROUTING.get(operation, {})} if self._own_json else body
        try:
            answer = method(**given)
        except Exception as error:
            self._hear(getattr(error, "response", None) or {})  # None of a botocore error without an answer
            raise
        self._hear(answer)
        return _decode(answer[_BODY]) if self._own_json else answer

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

    def _hear(self, answer: Mapping[str, Any]) -> None:
        """Take the time from an answer; one that has none is of nobody who keeps a clock."""
        date = str(answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", ""))
        if not date:
            return
        self._answered_at = time.time()
        if date != self._date:
            self._date_at = parsedate_to_datetime(date).timestamp(), time.monotonic()
            self._date = date

    def close(self) -> None:
        """Close the connections; every later call is refused."""
        super().close()
        self.bucket.close()

    def made(self, **options: Any) -> Any:
        """Return a new client, with JSON of our own where it speaks JSON."""
        client = super().made(parameter_validation=False, **options)
        if client.meta.service_model.resolved_protocol == "json":
            client.meta.events.register_first("provide-client-params.dynamodb.*", _take_body)
            client.meta.events.register_last("before-call.dynamodb.*", _put_body)
            client.meta.events.register_last("before-parse.dynamodb.*", _keep_answer)
            self._own_json = True
        return client


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
