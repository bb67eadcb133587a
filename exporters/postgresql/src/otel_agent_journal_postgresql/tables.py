r"""The tables as SQLAlchemy knows them, which is as the migrations leave them; a test holds the two together.

Columns are named for people who query them. Text sorts by its bytes (collation C), as the port's order does. Details
are `json` and not `jsonb`: the text stays as it was written, where `jsonb` would turn 1e300 into an integer, drop the
sign of -0.0 and refuse \u0000.

`events.transaction` and `events.arrival` are the catch-up cursor of all (docs/adr/0015), `events.number` is that of one
session (docs/adr/0026). `arrivals` has the number of each session's last event, and of the last that its head knows;
`incarnation` tells a session from one of the same id that was deleted. `exact` holds the whole event, or
head, as JSON where a column cannot: text with NUL, which PostgreSQL refuses, and ids too long for an index.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.types import UserDefinedType

from otel_agent_journal.projections.head import SessionHead

TABLES_VERSION: Final = 7  # of the latest migration
VERSION_TABLE: Final = "agent_journal_version"
MAX_KEY_BYTES: Final = 512  # of an id in a key; three of them fit into an index's row of 2,704 bytes


class Xid8(UserDefinedType[str]):
    """PostgreSQL's transaction id that never wraps."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return the type's name."""
        return "xid8"


class JsonText(UserDefinedType[str]):
    """PostgreSQL's json, whose text is ours to write and, cast to text, to read."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return the type's name."""
        return "json"


metadata: Final = MetaData()


def _key(name: str, **options: Any) -> Column[str]:
    return Column(name, Text(collation="C"), **options)


def _moment(name: str, nanoseconds: str) -> Column[Any]:
    """Return a time for people, made by the server of the nanoseconds beside it."""
    seconds = f"to_timestamp({nanoseconds}::double precision / 1000000000::double precision)"
    return Column(name, DateTime(timezone=True), Computed(seconds, persisted=True))


events: Final = Table(
    "events",
    metadata,
    _key("session_id", primary_key=True),
    Column("timestamp_ns", BigInteger, primary_key=True, autoincrement=False),
    _key("event_id", primary_key=True),
    Column("type", Text, nullable=False),
    Column("level", Text, nullable=False),
    Column("name", Text),
    Column("writer", Text),
    _key("instance_id"),
    Column("sequence_number", BigInteger),
    Column("step_id", Text),
    Column("parent_step_id", Text),
    Column("attempt", BigInteger),
    Column("trace_id", Text),
    Column("span_id", Text),
    Column("outcome", Text),
    Column("duration_ns", BigInteger),
    Column("error_type", Text),
    Column("error_message", Text),
    Column("error_code", Text),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("cache_read_tokens", BigInteger),
    Column("cache_write_tokens", BigInteger),
    Column("reasoning_tokens", BigInteger),
    Column("details", JsonText),
    Column("digest", Text),
    Column("schema_version", Integer, nullable=False),
    Column("exact", JsonText),
    Column("transaction", Xid8, nullable=False, server_default=func.pg_current_xact_id()),
    Column("arrival", BigInteger, Identity(always=True), nullable=False),
    _moment("happened_at", "timestamp_ns"),
    Column("number", BigInteger, nullable=False),
    CheckConstraint(
        "sequence_number IS NULL OR sequence_number >= 0 AND instance_id IS NOT NULL",
        name="events_sequence_of_an_instance",
    ),
    CheckConstraint(
        f"octet_length(session_id) <= {MAX_KEY_BYTES} AND octet_length(event_id) <= {MAX_KEY_BYTES}"
        f" AND octet_length(instance_id) <= {MAX_KEY_BYTES}",
        name="events_keys_fit",
    ),
)
Index("events_by_arrival", events.c.transaction, events.c.arrival)
Index("events_of_session_by_number", events.c.session_id, events.c.number)
Index(
    "events_sequence",
    events.c.instance_id,
    events.c.sequence_number,
    unique=True,
    postgresql_where=text("sequence_number IS NOT NULL"),
)
Index(
    "events_in_instance",
    events.c.instance_id,
    events.c.event_id,
    unique=True,
    postgresql_where=text("sequence_number IS NOT NULL"),
)

arrivals: Final = Table(
    "arrivals",
    metadata,
    _key("session_id", primary_key=True),
    Column("incarnation", BigInteger, Identity(always=True), nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("in_head", BigInteger, nullable=False),
    # A column, so that no index has `last`: each append would write to it.
    Column("unsettled", Boolean, Computed("last > in_head", persisted=True)),
    CheckConstraint(f"octet_length(session_id) <= {MAX_KEY_BYTES}", name="arrivals_key_fits"),
    postgresql_with={"fillfactor": 70},
)
Index("arrivals_unsettled", arrivals.c.session_id, postgresql_where=text("unsettled"))

agent_instances: Final = Table(
    "agent_instances",
    metadata,
    _key("id", primary_key=True),
    _key("session_id", nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("name", Text),
    _key("parent_id"),
    CheckConstraint("last_seq >= 0", name="agent_instances_last_seq"),
)
Index("agent_instances_of_session", agent_instances.c.session_id)

_COUNTS: Final = (
    "events",
    "steps",
    "errors",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "started_ns",
    "updated_ns",
)
sessions: Final = Table(
    "sessions",
    metadata,
    _key("session_id", primary_key=True),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    _key("agent"),
    Column("stage", Text),
    Column("progress", Double),
    *(Column(name, BigInteger, nullable=False) for name in _COUNTS),
    Column("ended_ns", BigInteger),
    Column("writers", JsonText, nullable=False),
    Column("open_writers", JsonText, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("exact", JsonText),
    _moment("started_at", "started_ns"),
    _moment("updated_at", "updated_ns"),
    _moment("ended_at", "ended_ns"),
    Column("part_of", Text),
    Column("parts", JsonText, nullable=False, server_default=text("'[]'::json")),
    Column("cursor", Text),
    Column("forked_from", Text),
    Column("forks", JsonText, nullable=False, server_default=text("'[]'::json")),
    Column("about", JsonText, nullable=False, server_default=text("'{}'::json")),
    Column("snapshot", LargeBinary, nullable=False, server_default=text("''::bytea")),
    CheckConstraint("version > 0", name="sessions_version"),
    CheckConstraint(f"octet_length(session_id) <= {MAX_KEY_BYTES}", name="sessions_key_fits"),
)
Index("sessions_by_time", sessions.c.updated_ns.desc(), sessions.c.session_id)
Index("sessions_by_status", sessions.c.status, sessions.c.updated_ns.desc(), sessions.c.session_id)
Index("sessions_by_agent", sessions.c.agent, sessions.c.updated_ns.desc(), sessions.c.session_id)

blobs: Final = Table(
    "blobs",
    metadata,
    _key("session_id", primary_key=True),
    _key("digest", primary_key=True),
    Column("data", LargeBinary, nullable=False),
    Column("media_type", Text, nullable=False, server_default=text("'application/json'")),
)

documents: Final = Table(
    "documents",
    metadata,
    _key("scope", primary_key=True),
    _key("name", primary_key=True),
    Column("data", LargeBinary, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("exact", JsonText),
)

HEAD_FIELDS: Final = SessionHead.__struct_fields__
