"""What a client is told, in terms of neither gRPC nor HTTP, and what each of the two makes of it.

The specification divides failures into those after which a client sends again and those after which it drops the
data; a mistake here loses data of clients that do as they are told. So whatever is our own fault asks for another try.
"""

from __future__ import annotations

from enum import Enum

import msgspec


class Verdict(Enum):
    """What became of a request: OTLP's gRPC status, and the HTTP status that stands for the same."""

    OK = ("OK", 200)
    MALFORMED = ("INVALID_ARGUMENT", 400)
    UNAUTHENTICATED = ("UNAUTHENTICATED", 401)
    TOO_LARGE = ("RESOURCE_EXHAUSTED", 413)
    UNSUPPORTED = ("UNIMPLEMENTED", 415)
    BUSY = ("UNAVAILABLE", 503)

    @property
    def grpc(self) -> str:
        """The name of the gRPC status code."""
        return self.value[0]

    @property
    def http(self) -> int:
        """The HTTP status."""
        return self.value[1]


class Answer(msgspec.Struct, frozen=True):
    """An answer. `retry_after_s` is set for BUSY alone; `rejected` spans of a request that is OK were not kept."""

    verdict: Verdict
    message: str = ""
    rejected: int = 0
    retry_after_s: float = 0.0


OK = Answer(Verdict.OK)


def busy(message: str, retry_after_s: float = 1.0) -> Answer:
    """Return the answer that asks a client to send the same again."""
    return Answer(Verdict.BUSY, message, retry_after_s=retry_after_s)
