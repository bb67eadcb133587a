"""Every error that the package raises, as one tree.

    JournalError
    ├── ConfigError            a setting is malformed, or an optional package is missing
    │   ├── UnknownScheme      no installed store answers to this URL's scheme
    │   └── MissingExtra       the store or feature exists, its package is not installed
    ├── CodecError             bytes or a mapping that is not an event
    │   └── NewerSchema        written by a newer version of this package
    ├── WaitTimeout            what was waited for did not come in time; a TimeoutError too
    ├── LakeError              a lake of Parquet files could not be read, written or trusted
    ├── QueryError             SQL that is malformed, names what is not there, or would do more than read
    │   └── QueryFailed        a query that ran into a limit, or a value that it cannot take
    ├── SinkError              a stream did not take the events that it was sent
    │   ├── SinkUnreachable    not there, throttled or not permitted; worth a retry
    │   └── SinkRefused        a record is not as the service wants it
    └── StoreError             a store could not do what was asked
        ├── StoreUnreachable   not there, locked, full or refused; worth a retry
        ├── StoreUnusable      damaged, of another program or closed; nothing can be written until somebody acts
        ├── UnsupportedByStore the backend declares that it cannot do this
        ├── SessionNotFound    no session has this id
        ├── EventTooLarge      one event is over the backend's limit
        ├── ConflictError      the same id was written before with other content
        └── WrongExpectedSequence  another writer was first

Messages say what was attempted, the value, the limit and what to do next; fields carry the same for machines. No secret
of a URL is in any message. Nothing here is ever raised into an instrumented agent.
"""

from __future__ import annotations

from otel_agent_journal.masking import masked_within
from otel_agent_journal.pasting import pasted


class JournalError(Exception):
    """Base of every error of this package. URLs in its message are masked."""

    exit_code: int = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(masked_within(message))


class ConfigError(JournalError):
    """A setting is malformed."""

    exit_code = 2


class UnknownScheme(ConfigError):
    """No installed store answers to this URL scheme."""

    def __init__(self, url: str, known: tuple[str, ...]) -> None:
        scheme = url.partition(":")[0]
        super().__init__(f"store {url}: no store is known by the scheme '{scheme}'; known here: {', '.join(known)}")
        self.url = url
        self.scheme = scheme
        self.known = known


class MissingExtra(ConfigError):
    """A feature exists, its optional package is not installed."""

    def __init__(self, what: str, requirement: str) -> None:
        super().__init__(f"{what} is not installed: pip install '{requirement}'")
        self.what = what
        self.requirement = requirement


class CodecError(JournalError):
    """Bytes or a mapping that is not a journal event."""


class NewerSchema(CodecError):
    """Something was written by a newer version of this package."""

    def __init__(self, what: str, found: int, known: int) -> None:
        super().__init__(
            f"{what} has schema version {found}, this package reads up to {known}; it was left untouched:"
            " pip install --upgrade otel-agent-journal"
        )
        self.found = found
        self.known = known


class WaitTimeout(JournalError, TimeoutError):
    """What was waited for did not come in time."""

    def __init__(
        self,
        session_id: str,
        timeout_s: float,
        until: tuple[str, ...],
        *,
        status: str | None = None,
        last_type: str | None = None,
        why: str = "",
    ) -> None:
        seen = "nothing was heard of it" if last_type is None else f"last seen: {last_type}, status {status}"
        why = f"; {why}" if why else ""
        super().__init__(
            f"session {session_id}: none of {', '.join(until)} in {timeout_s:g} s; {seen}{why};"
            f" wait longer, or look: agent-journal show {pasted(session_id)} --events"
        )
        self.session_id = session_id
        self.timeout_s = timeout_s
        self.until = until
        self.status = status
        self.last_type = last_type


class LakeError(JournalError):
    """A lake of Parquet files could not be read, written or trusted; the same command may be repeated."""


class QueryError(JournalError):
    """SQL that is malformed, names what is not there, or would do more than read.

    `line` and `column` count from 1 and are None where DuckDB names no place.
    """

    exit_code = 2

    def __init__(self, message: str, *, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


class QueryFailed(QueryError):
    """A query ended early: `limit` says which it ran into, timeout or memory; None for a value it cannot take."""

    exit_code = 1

    def __init__(self, message: str, *, limit: str | None = None) -> None:
        super().__init__(message)
        self.limit = limit


class SinkError(JournalError):
    """A sink did not take the events that it was sent; the store has them."""


class SinkUnreachable(SinkError):
    """The sink is not there, throttled or refuses us; the same call may succeed later.

    `retry_after_s`: when the service said to come again; 0 where it did not say.
    """

    exit_code = 4

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SinkRefused(SinkError):
    """A request will never be taken as it is: one of its records is not as the service wants it. `reason`: in words."""

    def __init__(self, sink: str, reason: str) -> None:
        super().__init__(f"sink {sink}: refused: {reason}")
        self.reason = reason


class StoreError(JournalError):
    """A store could not do what was asked."""


class StoreUnreachable(StoreError):
    """The store is not there, locked, full or refuses us; the same call may succeed later.

    `retry_after_s`: when the store said to come again; 0 where it did not say.
    """

    exit_code = 4

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StoreUnusable(StoreError):
    """The store as a whole is damaged, another program's, or closed: it is no fault of what was to be written."""


class UnsupportedByStore(StoreError):
    """The backend declares that it cannot do this."""

    def __init__(self, store: str, capability: str, advice: str = "") -> None:
        super().__init__(
            f"store {store} cannot do this: it declares no capability '{capability}'"
            + (f"; {advice}" if advice else "")
        )
        self.store = store
        self.capability = capability


class SessionNotFound(StoreError):
    """No session has this id."""

    exit_code = 3

    def __init__(self, session_id: str, hint: str = "") -> None:
        super().__init__(f"no session matches '{session_id}'" + (f"; {hint}" if hint else ""))
        self.session_id = session_id


class EventTooLarge(StoreError):
    """One event is over the backend's limit."""

    def __init__(self, event_id: str, size_bytes: int, limit_bytes: int, advice: str = "") -> None:
        super().__init__(
            f"event {event_id} is {size_bytes:,} bytes, limit {limit_bytes:,}" + (f"; {advice}" if advice else "")
        )
        self.event_id = event_id
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class ConflictError(StoreError):
    """The same id was written before with other content."""

    def __init__(self, event_id: str) -> None:
        super().__init__(f"event {event_id} is in the store with another digest; nothing was written")
        self.event_id = event_id


class WrongExpectedSequence(StoreError):
    """Another writer appended to this agent instance first."""

    def __init__(self, instance_id: str, expected: int, actual: int) -> None:
        super().__init__(
            f"instance {instance_id}: expected the next sequence to be {expected}, it is {actual};"
            " nothing was written: read the instance again and retry"
        )
        self.instance_id = instance_id
        self.expected = expected
        self.actual = actual
