"""The port to every place that the journal's events are sent on to: `Sink`.

A sink makes one attempt a call and says of each record whether it was taken. Order, retries, sizes and cursors are not
its concern. It passes `otel_agent_journal.testing.SinkContract`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one request of a sink may hold. Bytes of a record are those of its data and of its key.

    `aggregate`: a record may hold several events of one session, a line each.
    """

    records: int
    record_bytes: int
    request_bytes: int
    aggregate: bool = False


class Record(msgspec.Struct, frozen=True):
    """Events of one session as they are sent: a canonical line of JSON each, each ended by a line feed.

    `key` is the session's id, shortened to what every service takes as a key: records of one key have an order.
    """

    key: str
    data: bytes
    events: int

    @property
    def size_bytes(self) -> int:
        """What it counts against a limit."""
        return len(self.data) + len(self.key.encode())


class Sink(Protocol):
    """Takes records. Used by one thread at a time; opening one connects to nothing."""

    @property
    def url(self) -> str:
        """Its URL, as it may be printed."""
        ...

    @property
    def limits(self) -> Limits:
        """What one request may hold. May ask the service, once; what that does not say is assumed, on the safe side.

        Raises:
            SinkUnreachable: it cannot be asked now.
        """
        ...

    def send(self, records: Sequence[Record]) -> Sequence[str | None]:
        """Send records, in one attempt, within `limits`; a key comes once at most.

        Returns:
            For each record, in order: None where it was taken, durably; else why not, in words.

        Raises:
            SinkUnreachable: nothing is known to be taken; the same call may succeed later.
            SinkRefused: the request as it is will never be taken: one of its records is not as the service wants it.
        """
        ...

    def close(self) -> None:
        """Release connections. May be called twice."""
        ...


@runtime_checkable
class Permits(Protocol):
    """A sink on AWS: what a role needs to send to it."""

    def iam_policy(self, note: Callable[[str], object] | None = None) -> dict[str, Any]:
        """Return the least that is needed, as an AWS policy document.

        `note` is told what the service did not say; without it no service is asked.
        """
        ...


class OpenSink(Protocol):
    """What an entry point of the group `otel_agent_journal.sinks` names: opens a sink by its URL."""

    def __call__(self, url: str) -> Sink:
        """Return it. Raises ConfigError where the URL is malformed, or has an option that there is not."""
        ...
