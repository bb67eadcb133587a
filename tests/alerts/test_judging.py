"""What each kind of rule finds, and what it reads of the store for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from otel_agent_journal.alerts.judging import Judge
from otel_agent_journal.alerts.state import Found
from otel_agent_journal.alerts.unjudged import Unjudged
from otel_agent_journal.event import JournalEvent, Usage
from otel_agent_journal.reading.own_prices import read_own
from otel_agent_journal.reading.prices import PriceList, Prices
from otel_agent_journal.store.memory import MemoryStore
from tests.alerts.conftest import S, Watched

HOUR = 3600
DAY = 24 * HOUR


class CountingStore(MemoryStore):
    """A store in memory that counts the events and heads that are read of it."""

    def __init__(self) -> None:
        super().__init__("memory:")
        self.events = 0
        self.read_of: list[str] = []

    def read(self, session_id: str, after: tuple[int, str] | None = None) -> Iterator[JournalEvent]:
        self.read_of.append(session_id)
        for event in super().read(session_id, after):
            self.events += 1
            yield event


def found(watched: Watched, text: str, judge: Judge | None = None) -> list[Found]:
    """Return what the one rule of a text finds now."""
    if "sql" in text and "timeout" not in text:
        text += '\ntimeout = "60s"'  # of a machine that is busy
    (rule,) = watched.rules(f'[[alert]]\nname = "r"\n{text}\n').rules
    return (judge or Judge(watched.journal)).found(rule, watched.clock())


def running(watched: Watched, session_id: str, ago_s: float, *, ends: str | None = None) -> None:
    """Keep a session that began so long ago."""
    builder = watched.builder(session_id, ago_s)
    root = builder.start("AGENT", "helper")
    if ends:
        builder.end(root, ends)
    watched.keep(builder)


def tool(watched: Watched, session_id: str, times: int, *, ago_s: float = 60, took_ms: int = 1, **said: Any) -> None:
    """Keep a session that calls one tool so often."""
    builder = watched.builder(session_id, ago_s, step_ms=took_ms)
    root = builder.start("AGENT", "helper")
    for _ in range(times):
        step = builder.start("TOOL", "search", parent=root, details=said)
        builder.end(step, "error" if said.get("fails") else "ok")
    builder.end(root)
    watched.keep(builder)


# --- stuck --------------------------------------------------------------------------------------------------------


def test_stuck(watched: Watched) -> None:
    """A session is stuck that is under way and of whose processes nobody was heard for so long."""
    running(watched, "fresh", 60)
    running(watched, "silent", 300)
    running(watched, "done", 300, ends="ok")
    running(watched, "asks", 300, ends="interrupted")
    (one,) = found(watched, 'kind = "stuck"\nafter = "2m"')
    assert one.labels == {"session_id": "silent", "agent": "helper"}
    assert one.values == {"how": "silent", "silent_s": 300}
    assert one.summary == "helper: session silent runs, and was last heard of 5 m ago"
    assert found(watched, 'kind = "stuck"\nafter = "10m"') == []
    assert found(watched, 'kind = "stuck"\nagent = "other"') == []


def test_stuck_has_those_that_were_swept(watched: Watched) -> None:
    """A session that was marked lost or killed lately is stuck too: that it was swept has helped nobody."""
    for session_id, reason in (("k", "killed"), ("l", "lost"), ("c", "cancelled")):
        builder = watched.builder(session_id, 600)
        builder.start("AGENT", "helper")
        builder.record("SESSION_INTERRUPTED", details={"writer": builder.writer, "reason": reason})
        watched.keep(builder)
    assert sorted((one.labels["session_id"], one.values["how"]) for one in found(watched, 'kind = "stuck"')) == [
        ("k", "killed"),
        ("l", "lost"),
    ]
    assert found(watched, 'kind = "stuck"\nwithin = "5m"') == []


# --- loop ---------------------------------------------------------------------------------------------------------


def test_loop(watched: Watched) -> None:
    """A loop is one tool with the same arguments, so often, in one session; which arguments is told by a digest."""
    tool(watched, "loops", 5, input={"query": "secret"})
    tool(watched, "not", 4, input={"query": "secret"})
    (one,) = found(watched, 'kind = "loop"')
    assert (one.labels["session_id"], one.labels["tool"], one.values) == ("loops", "search", {"times": 5})
    assert "secret" not in str(one)
    assert len(found(watched, 'kind = "loop"\ntimes = 4')) == 2
    assert found(watched, 'kind = "loop"\nwithin = "30s"') == []


def test_an_attempt_again_is_no_loop(watched: Watched) -> None:
    """A tool that is tried again is called once."""
    builder = watched.builder("s1")
    root = builder.start("AGENT", "helper")
    step = builder.start("TOOL", "search", parent=root, details={"input": 1})
    for attempt in range(2, 9):
        builder.end(step, "error")
        step = builder.start("TOOL", "search", parent=root, step_id=step.step_id, attempt=attempt, details={"input": 1})
    watched.keep(builder)
    assert found(watched, 'kind = "loop"') == []


def test_a_loop_needs_arguments(watched: Watched) -> None:
    """Where no call tells its arguments a loop cannot be told, and that is said."""
    tool(watched, "s1", 9)
    with pytest.raises(Unjudged, match="content is off"):
        found(watched, 'kind = "loop"')


# --- groups of calls ----------------------------------------------------------------------------------------------


def test_error_rate(watched: Watched) -> None:
    """More than so many percent of a tool's calls have failed within a time, of so many calls at least."""
    tool(watched, "bad", 3, fails=True)
    tool(watched, "good", 7)
    (one,) = found(watched, 'kind = "error_rate"\nover = 29')
    assert (one.labels, one.values) == ({"tool": "search"}, {"percent": 30.0, "calls": 10, "failures": 3})
    assert one.summary == "tool search: 3 of 10 calls failed within 1 h (30 %, over 29 %)"
    assert found(watched, 'kind = "error_rate"\nover = 30') == []
    assert found(watched, 'kind = "error_rate"\nat_least = 11') == []
    assert found(watched, 'kind = "error_rate"\nwithin = "30s"\nat_least = 1') == []


def spends(watched: Watched, session_id: str, tokens: int, model: str = "known", ago_s: float = 60) -> None:
    """Keep a session that calls a model."""
    builder = watched.builder(session_id, ago_s)
    root = builder.start("AGENT", "helper")
    call = builder.start("MODEL", model, parent=root, details={"attributes": {"gen_ai.request.model": model}})
    builder.end(call, usage=Usage(input_tokens=tokens))
    builder.end(root)
    watched.keep(builder)


def priced(watched: Watched) -> None:
    """Have a price of one model."""
    file = watched.folder / "prices.toml"
    file.write_text('[[price]]\nmodel = "known"\ninput = 1\n')
    watched.journal.__dict__["prices"] = Prices(read_own(file), PriceList(None))


def test_spend(watched: Watched) -> None:
    """A group has spent more than so many dollars within a time; what has no price is said."""
    priced(watched)
    spends(watched, "s1", 3_000_000)
    spends(watched, "s2", 2_000_000)
    spends(watched, "s3", 9_000_000, ago_s=2 * HOUR)
    (one,) = found(watched, 'kind = "spend"\nover = 4.99')
    assert (one.labels, one.values["usd"], one.values["calls"]) == ({"agent": "helper"}, 5.0, 2)
    assert one.summary == "agent helper spent $5.00 within 1 h, over $4.99"
    assert found(watched, 'kind = "spend"\nover = 5') == []
    (session,) = found(watched, 'kind = "spend"\nover = 2.5\nby = "session"')
    assert session.labels == {"session": "s1"}
    assert found(watched, 'kind = "spend"\nover = 13\nwithin = "3h"')[0].values["usd"] == 14.0
    spends(watched, "s4", 1, model="unheard-of")
    (one,) = found(watched, 'kind = "spend"\nover = 4.99')
    assert "at least $5.00" in one.summary
    assert one.values["unpriced_calls"] == 1


def test_spend_without_a_price_cannot_be_judged(watched: Watched) -> None:
    """Where no price is known of any call the rule says so, and is not silently satisfied."""
    assert found(watched, 'kind = "spend"\nover = 1') == []
    spends(watched, "s1", 1)
    with pytest.raises(Unjudged, match=r"no price is known of any of 1 calls; .*prices\.toml"):
        found(watched, 'kind = "spend"\nover = 1')


def test_slow(watched: Watched) -> None:
    """A group takes so much longer than in the week before; one with too few calls, now or then, is not judged."""
    tool(watched, "week", 20, ago_s=2 * DAY, took_ms=100)
    tool(watched, "now", 20, ago_s=600, took_ms=350)
    (one,) = found(watched, 'kind = "slow"\nby = "tool"\nfactor = 3')
    assert (one.labels, one.values["p95_ms"], one.values["usual_p95_ms"]) == ({"tool": "search"}, 350.0, 100.0)
    assert one.summary == "tool search: p95 350 ms within 1 h, 3.5 times the 100 ms of the week before"
    assert found(watched, 'kind = "slow"\nby = "tool"\nfactor = 4') == []
    assert found(watched, 'kind = "slow"\nby = "tool"\nat_least = 21') == []


def test_what_is_usual_is_counted_once_a_day(watched: Watched) -> None:
    """The week before is read once a day, whoever asks; in between the present alone is."""
    store = CountingStore()
    counted = Watched(store, watched.folder)
    tool(counted, "week", 20, ago_s=2 * DAY, took_ms=100)
    tool(counted, "now", 20, ago_s=600, took_ms=350)
    rule = 'kind = "slow"\nby = "tool"'
    assert len(found(counted, rule)) == 1
    store.read_of.clear()
    assert len(found(counted, rule)) == 1  # another process: it finds what the first has counted
    assert store.read_of == ["now"]
    counted.clock.advance(25 * HOUR * S)
    store.read_of.clear()
    found(counted, rule)
    assert set(store.read_of) == {"week", "now"}


# --- SQL ----------------------------------------------------------------------------------------------------------


def test_sql(watched: Watched) -> None:
    """Each row is an alert: text columns are its labels, the rest its values, all of them for its summary."""
    pytest.importorskip("duckdb")
    tool(watched, "s1", 3)
    text = 'sql = "SELECT name, count(*) AS calls, NULL AS gone FROM tools GROUP BY name"\n'
    (one,) = found(watched, text + 'summary = "{name}: {calls:03d} calls {{of}} {gone}"')
    assert (one.labels, one.values, one.summary) == (
        {"name": "search"},
        {"calls": 3, "gone": None},
        "search: 003 calls {of} -",
    )
    (one,) = found(watched, text)
    assert one.summary == "name search, calls 3"


def test_rows_with_the_same_labels_are_one(watched: Watched) -> None:
    """Of rows whose text columns are equal the first is the alert."""
    pytest.importorskip("duckdb")
    tool(watched, "s1", 3)
    (one,) = found(watched, 'sql = "SELECT name, attempt FROM tools"')
    assert one.labels == {"name": "search"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('sql = "SELECT nme FROM tools"', "SQL line 1, column 8"),
        ('sql = "DELETE FROM tools"', "DELETE is refused"),
        ('sql = "SELECT name FROM tools"\nsummary = "{nme}"', "summary names {nme}; there are name"),
        ('sql = "SELECT name FROM tools"\nsummary = "{name:.2f}"', "which its value does not take"),
        ('sql = "SELECT range::VARCHAR AS n FROM range(300)"', "it finds 300 at once, more than 200"),
        ('sql = "SELECT 1 FROM range(3000)"', "more than 1,000 rows"),
        (
            'timeout = "0.1s"\nsql = "SELECT count(*) FROM range(100000) a, range(100000) b WHERE a.range > b.range"',
            "did not end within 0.1 s",
        ),
    ],
)
def test_sql_that_cannot_be_judged(watched: Watched, text: str, why: str) -> None:
    """SQL that is refused, takes too long or returns too much, and a summary that does not fit, are said as such."""
    pytest.importorskip("duckdb")
    tool(watched, "s1", 1)
    with pytest.raises(Unjudged) as failed:
        found(watched, text)
    assert why in str(failed.value)


def test_values_in_an_error_do_not_leave(watched: Watched) -> None:
    """What DuckDB says of a value repeats it: that stays in the journal, and is not told to receivers."""
    pytest.importorskip("duckdb")
    tool(watched, "s1", 1, input="hunter2")
    with pytest.raises(Unjudged) as failed:
        found(watched, "sql = \"SELECT (input->>'$')::INTEGER AS n FROM tools\"")
    assert "hunter2" in str(failed.value)
    assert "hunter2" not in failed.value.told


# --- cost ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        'kind = "loop"',
        'kind = "error_rate"\nat_least = 1',
        'kind = "spend"\nover = 1',
        "sql = \"SELECT name FROM events WHERE timestamp >= TIMESTAMP_NS '{since}' AND event_type = 'TOOL_START'\"",
    ],
)
def test_a_rules_time_bounds_what_is_read(watched: Watched, text: str) -> None:
    """Of a journal of 300 sessions a rule with a time reads those of that time, however many there are before."""
    if "sql" in text:
        pytest.importorskip("duckdb")
    store = CountingStore()
    counted = Watched(store, watched.folder)
    for number in range(300):
        tool(counted, f"old-{number}", 1, ago_s=2 * DAY, input=number)
    tool(counted, "new", 4, ago_s=60, input=0)
    store.events, store.read_of = 0, []
    since = "2026-01-10 23:00:00"  # an hour before the clock of the test
    found(counted, text.replace("{since}", since))
    assert set(store.read_of) == {"new"}
    assert store.events <= 2 * 10


def test_what_does_not_change_is_read_once(watched: Watched) -> None:
    """A watcher reads a session again only where something has arrived in it."""
    store = CountingStore()
    counted = Watched(store, watched.folder)
    for number in range(20):
        tool(counted, f"s{number}", 2)
    judge = Judge(counted.journal)
    rule = 'kind = "error_rate"\nat_least = 1'
    found(counted, rule, judge)
    store.read_of.clear()
    found(counted, rule, judge)
    assert store.read_of == []
    tool(counted, "s3", 3, ago_s=30)
    found(counted, rule, judge)
    assert set(store.read_of) == {"s3"}
