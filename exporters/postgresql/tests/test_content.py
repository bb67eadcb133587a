"""Nothing that an agent says is lost to what PostgreSQL cannot hold; and people find it with SQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from exporters.postgresql.tests.others import outside
from otel_agent_journal.codec import intact, sealed
from otel_agent_journal.errors import EventTooLarge, NewerSchema
from otel_agent_journal.event import SCHEMA_VERSION, ErrorInfo, Usage
from otel_agent_journal.store.protocol import SessionFilter
from otel_agent_journal.testing.builders import a_head, an_event, context_events, events
from otel_agent_journal.testing.clocks import EPOCH_2026_NS
from otel_agent_journal.testing.contract_setup import everything, in_order
from otel_agent_journal_postgresql import PostgreSQLStore
from otel_agent_journal_postgresql import store as store_module
from otel_agent_journal_postgresql.rows import batch_of, key_of

pytestmark = pytest.mark.real

LONG = "😀" * 2_048  # eight kilobytes: three times what an index takes
STRANGE_IDS = (
    "nul\0nul",
    "nul\u2400nul",
    "~",
    "~tilde",
    LONG,
    LONG + "x",
    "é" * 256,
    "é" * 257,
    "",
    "\x01",
    "x" * 2_048,
)


def test_nul_everywhere(store: PostgreSQLStore) -> None:
    """Text with NUL, which PostgreSQL's text refuses, is read back as it was, in any field."""
    event = sealed(
        an_event(
            session_id="s\0",
            event_id="e\0",
            type="NOTE\0",
            level="\0",
            name="\0name",
            writer="w\0",
            step_id="\0\0",
            parent_step_id="p\0",
            trace_id="t\0",
            span_id="s\0",
            outcome="o\0",
            error=ErrorInfo(type="E\0", message="m\0\\u0000", code="c\0"),
            details={"key\0": ["\0", "\\u0000", "\\\0"]},
        )
    )
    plain = an_event(1, session_id="s\0", details={"text": "\\u0000 is no NUL"})
    store.append([event, plain])
    assert sorted(store.read("s\0"), key=lambda one: one.timestamp_ns) == [event, plain]
    assert all(map(intact, everything(store)[0]))
    assert list(store.read("s", (event.timestamp_ns, ""))) == []
    after = list(store.read("s\0", (event.timestamp_ns, event.event_id)))
    assert after == [plain]


@pytest.mark.parametrize("session_id", STRANGE_IDS, ids=range(len(STRANGE_IDS)))
def test_strange_ids(store: PostgreSQLStore, session_id: str) -> None:
    """A session's id of any length and form names its events, context, head and blobs, and those alone."""
    for other in STRANGE_IDS:
        store.append(events(1, session_id=other))
    store.append_context("i1", 0, context_events(2, session_id=session_id))
    store.put_blob(session_id, "d", b"1")
    written = store.write_head(a_head(session_id, agent="a\0b"))
    assert [one.session_id for one in store.read(session_id)] == [session_id] * 3
    assert {one.session_id for one in store.follow(None, session_id=session_id).events} == {session_id}
    assert {one.session_id for one in everything(store)[0]} == set(STRANGE_IDS)
    assert store.head(session_id) == written
    assert list(store.sessions(SessionFilter(agent="a\0b", statuses=("PROCESSING",), limit=1))) == [written]
    assert list(store.sessions(SessionFilter(agent="a\u2400b"))) == []
    assert store.get_blob(session_id, "d") == b"1"
    assert [store.get_blob(other, "d") for other in STRANGE_IDS if other != session_id] == [None] * (
        len(STRANGE_IDS) - 1
    )
    assert written is not None
    assert store.write_head(msgspec.structs.replace(written, events=7)) is not None


def test_listing_by_prefix(store: PostgreSQLStore) -> None:
    """Long and strange ids are listed by their true beginnings, within a limit, none by those of their hashes."""
    for number, session_id in enumerate(STRANGE_IDS):
        store.write_head(a_head(session_id, updated_ns=number))
    for prefix in ("nul", "nul\0", "😀", "~", "é", LONG, "x" * 1_000, "\x01"):
        expected = [one for one in reversed(STRANGE_IDS) if one.startswith(prefix)]
        assert [head.session_id for head in store.sessions(SessionFilter(id_prefix=prefix))] == expected
        assert [head.session_id for head in store.sessions(SessionFilter(id_prefix=prefix, limit=1))] == expected[:1]


def test_keys() -> None:
    """An id stands in keys as it is where it can, and else as a hash that no other id has."""
    assert [key_of(one) for one in ("s1", "a/b c", "é" * 256)] == ["s1", "a/b c", "é" * 256]
    keys = [key_of(one) for one in STRANGE_IDS]
    assert len(set(keys)) == len(STRANGE_IDS)
    assert all(len(key.encode()) <= 512 and "\0" not in key for key in keys)
    assert key_of("\ud800") == "\\ud800"


def test_long_ids_of_events_and_instances(store: PostgreSQLStore) -> None:
    """Ids of events and instances that no index takes are kept too."""
    event = an_event(event_id="e" * 5_000)
    context = context_events(3, instance_id=LONG)
    store.append([event, event])
    store.append_context(LONG, 0, context)
    store.append_context(LONG, 0, context)
    assert sorted(store.read("s1"), key=lambda one: one.event_id) == sorted(
        [event, *context], key=lambda one: one.event_id
    )
    assert list(store.read_context(LONG, 1)) == context[1:]


def test_surrogates_in_ids(store: PostgreSQLStore) -> None:
    """A lone surrogate in an id is kept as its escape, and the id as it was given finds it."""
    store.append([an_event(session_id="s\ud800")])
    assert [one.session_id for one in store.read("s\ud800")] == ["s\\ud800"]
    store.write_head(a_head("s\ud800"))
    assert store.head("s\ud800") is not None


def test_one_strange_event_among_many(store: PostgreSQLStore) -> None:
    """A batch with one strange event is written whole, in its order."""
    made = events(50)
    made[25] = msgspec.structs.replace(made[25], name="\0", usage=Usage(input_tokens=3), error=ErrorInfo(type="E"))
    made[26] = msgspec.structs.replace(made[26], name="\udc80", usage=Usage(), error=ErrorInfo(type="E", message="\0"))
    store.append(made)
    made[26] = msgspec.structs.replace(made[26], name="\\udc80")
    assert everything(store)[0] == made


def test_deep_and_large_details(store: PostgreSQLStore) -> None:
    """Details of five megabytes, or of five hundred levels, are kept."""
    nested: list[Any] = []
    for _ in range(500):
        nested = [nested]
    made = [an_event(0, details={"output": "é" * 2_500_000}), an_event(1, details={"nested": nested})]
    store.append(made)
    assert list(store.read("s1")) == made


def test_too_much_for_a_statement(store: PostgreSQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch over the limit is written in parts, and an event over it is named."""
    monkeypatch.setattr(store_module, "MAX_EVENT_BYTES", 2_000)
    made = [an_event(number, details={"output": "x" * 1_000}) for number in range(9)]
    store.append(made)
    assert list(store.read("s1")) == made
    with pytest.raises(EventTooLarge, match="limit 2,000; lower the field limit"):
        store.append([an_event(20), an_event(21, details={"output": "x" * 2_000})])


def test_sql(store: PostgreSQLStore, url: str) -> None:
    """The tables are plain SQL to others: readable times, numbers to sum, details to look into."""
    store.append(
        [
            an_event(
                1,
                type="MODEL_ERROR",
                timestamp_ns=EPOCH_2026_NS + 1_500_000_000,
                error=ErrorInfo(type="ClientError", code="ThrottlingException"),
                usage=Usage(input_tokens=7),
                details={"input": {"topic": "sea level", "large": 1e300, "zero": -0.0}},
            )
        ]
    )
    store.write_head(a_head(updated_ns=EPOCH_2026_NS, agent="researcher"))
    with outside(url) as people:
        row = people.execute(
            "SELECT happened_at, error_code, error_message, input_tokens, output_tokens,"
            " details -> 'input' ->> 'topic', details::text, exact FROM events"
        ).fetchone()
        (updated_at,) = people.execute("SELECT updated_at FROM sessions WHERE agent = 'researcher'").fetchone()
    assert row is not None
    assert row[0] == datetime(2026, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)
    assert row[1:6] == ("ThrottlingException", "", 7, 0, "sea level")
    assert row[6] == '{"input":{"topic":"sea level","large":1e300,"zero":-0.0}}'
    assert row[7] is None
    assert updated_at == datetime(2026, 1, 1, tzinfo=UTC)


def test_event_of_a_newer_version(store: PostgreSQLStore) -> None:
    """An event that a newer version wrote is said to be one."""
    store.append([an_event(schema_version=SCHEMA_VERSION + 1)])
    with pytest.raises(NewerSchema):
        list(store.read("s1"))


def test_ten_thousand_events(store: PostgreSQLStore) -> None:
    """A session of ten thousand events is restored whole and in order, and so is an instance's context."""
    made = events(10_000)
    for start in range(0, 10_000, 1_000):
        store.append(made[start : start + 1_000])
    assert list(store.read("s1")) == made
    assert everything(store, session_id="s1")[0] == made
    context = context_events(2_500, session_id="s2")
    store.append_context("i1", 0, context)
    assert list(store.read_context("i1")) == context
    assert in_order(list(store.read("s2"))) == in_order(context)


def test_fast_path() -> None:
    """Common events go as they are; only strange ones are looked at field by field."""
    assert '"exact"' not in batch_of(events(3))
    assert '"exact"' not in batch_of([an_event(details={"text": "\0"})])
    assert '"exact"' in batch_of([an_event(name="\0")])
