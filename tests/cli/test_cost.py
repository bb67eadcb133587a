"""Cost in every command that tells it, `stats`, and that both say what SQL says of the same events."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from otel_agent_journal.cli.money import dollars
from otel_agent_journal.event import ErrorInfo, Usage
from otel_agent_journal.testing.builders import JournalBuilder
from otel_agent_journal.testing.clocks import EPOCH_2026_NS, SteppingClock
from tests.cli.command_line import cli, program, rows, terminal
from tests.cli.conftest import Seeded

PRICES = """
[[price]]
model = "small"
input = 10
output = 20

[[price]]
model = "large"
from = 2026-01-02
input = 100
output = 200
"""
CALL = Usage(input_tokens=1000, output_tokens=500)
SMALL = 0.02  # 1,000 of 10 and 500 of 20 dollars a million
LARGE = 0.2
DAY_NS = 86_400 * 10**9


def asked(model: str, **more: Any) -> dict[str, Any]:
    return {"attributes": {"gen_ai.provider.name": "here", "gen_ai.request.model": model, **more}}


def a_session(number: int, *models: str, user: str | None = None) -> JournalBuilder:
    """A session on day `number` of 2026: an agent that calls some models, and a tool that fails once."""
    clock = SteppingClock(EPOCH_2026_NS + number * DAY_NS)
    built = JournalBuilder(f"s{number}", clock=clock)
    root = built.start("AGENT", "chief" if number % 2 else "helper", details={"user": user} if user else {})
    for model in models:
        call = built.start("MODEL", model, parent=root, details=asked(model))
        built.end(call, usage=CALL, details={"output": "yes"})
    failed = built.start("TOOL", "search", parent=root)
    built.end(failed, "error", error=ErrorInfo(type="TimeoutError", message="no"))
    again = built.start("TOOL", "search", parent=root, step_id=failed.step_id, attempt=2)
    built.end(again)
    built.end(root)
    return built


@pytest.fixture
def priced(journal: Seeded, home: Path, monkeypatch: pytest.MonkeyPatch) -> Seeded:
    """Four sessions, one of a model that has no price, and a file of prices beside the journal."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    Path(".agent-journal/prices.toml").write_text(PRICES)
    journal.keep(a_session(0, "small", "small", user="anna"))
    journal.keep(a_session(1, "large", user="ben"))
    journal.keep(a_session(2, "small", "unheard-of"))
    journal.keep(a_session(3))
    return journal


def test_a_table_made_by_hand(priced: Seeded) -> None:
    """Each session's cost: two small calls, a large one, a small one and one of nobody's price, none."""
    found = {row["session_id"]: (row["cost_usd"], row["unpriced_calls"]) for row in rows(cli("ls", "-o", "jsonl"))}
    assert found == {"s0": (2 * SMALL, 0), "s1": (LARGE, 0), "s2": (SMALL, 1), "s3": (None, 0)}
    table = {line.split()[0]: line for line in cli("ls", "-o", "table").stdout.splitlines()}
    assert "$0.040" in table["s0"]
    assert "$0.200" in table["s1"]
    assert "≥ $0.020" in table["s2"]
    assert "$" not in table["s3"]


def test_prices_are_of_the_day_of_the_call(priced: Seeded) -> None:
    """A price that began later is not a call's: then nobody knows it, unless the list does."""
    priced.keep(a_session(-5, "large"))
    row = next(row for row in rows(cli("ls")) if row["session_id"] == "s-5")
    assert (row["cost_usd"], row["unpriced_calls"]) == (None, 1)
    assert "  —  " in next(line for line in cli("ls", "-o", "table").stdout.splitlines() if line.startswith("s-5"))


def test_min_cost(priced: Seeded) -> None:
    """Sessions that are known to have cost so much, and so many of them."""
    assert [row["session_id"] for row in rows(cli("ls", "--min-cost", "0.03"))] == ["s1", "s0"]
    assert [row["session_id"] for row in rows(cli("ls", "--min-cost", "0.01", "-n", "2"))] == ["s2", "s1"]
    assert cli("ls", "--min-cost", "-1").exit_code == 2


def test_show_and_status_tell_it(priced: Seeded) -> None:
    """The session's head line has the sum, each call's row its own, the outermost agent's row all of it."""
    text = terminal("show", "s2").text
    assert "≥ $0.020" in text.splitlines()[0]
    by_name = {row["name"]: row for row in rows(cli("show", "s2", "--tree", "-o", "jsonl"))}
    assert by_name["small"]["cost_usd"] == SMALL
    assert (by_name["unheard-of"]["cost_usd"], by_name["unheard-of"]["unpriced_calls"]) == (None, 1)
    assert (by_name["helper"]["cost_usd"], by_name["helper"]["unpriced_calls"]) == (None, 0)
    assert "—" in next(line for line in text.splitlines() if "unheard-of" in line)
    step = json.loads(cli("show", "s2/small", "-o", "json").stdout)
    assert (step["cost_usd"], step["attempts"][0]["cost_usd"]) == (SMALL, SMALL)
    assert "$0.020" in cli("show", "s2/small", "-o", "table").stdout
    assert json.loads(cli("status", "s2", "-o", "json").stdout)["cost_usd"] == SMALL
    assert "≥ $0.020" in cli("status", "s2", "-o", "table").stdout


def test_a_file_that_is_wrong_is_said(priced: Seeded) -> None:
    """A malformed file is an error of the settings, in every command that prices."""
    Path(".agent-journal/prices.toml").write_text("[[price]]\nmodel = 1\n")
    for line in (("ls",), ("show", "s0"), ("stats",), ("profile", "s0")):
        result = cli(*line)
        assert result.exit_code == 2
        assert "prices.toml: price 1" in result.stderr


def test_a_file_of_the_environment(priced: Seeded, monkeypatch: pytest.MonkeyPatch) -> None:
    """AGENT_JOURNAL_PRICES is read in place of the one beside the journal."""
    Path("mine.toml").write_text('[[price]]\nmodel = "small"\ncall = 7\n')
    monkeypatch.setenv("AGENT_JOURNAL_PRICES", "mine.toml")
    row = next(row for row in rows(cli("ls")) if row["session_id"] == "s2")
    assert (row["cost_usd"], row["unpriced_calls"]) == (None, 2)  # its tokens have no price there
    monkeypatch.setenv("AGENT_JOURNAL_PRICES", "gone.toml")
    assert cli("ls").exit_code == 2


def test_doctor_says_what_prices_there_are(priced: Seeded, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file and how many prices are in it, the list and its version; a malformed file is red."""

    def check() -> dict[str, Any]:
        return next(row for row in rows(cli("doctor", "-o", "jsonl")) if row["check"] == "prices")

    assert "prices.toml (2 prices)" in check()["detail"]
    Path(".agent-journal/prices.toml").write_text("price = 1")
    assert check()["state"] == "red"
    Path(".agent-journal/prices.toml").unlink()
    monkeypatch.setattr("otel_agent_journal.reading.prices.PACKAGE", "no_such_package")
    assert (check()["state"], check()["advice"]) == ("absent", "pip install 'otel-agent-journal[cost]'")


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "$0"),
        ("0.00001", "<$0.0001"),
        ("0.0042", "$0.0042"),
        ("0.1234", "$0.123"),
        ("3.4", "$3.40"),
        ("1204.5", "$1,204"),
    ],
)
def test_dollars_for_people(amount: str, shown: str) -> None:
    """The figures that matter, and never 0 of what is not nothing."""
    assert dollars(Decimal(amount)) == shown


# --- stats --------------------------------------------------------------------------------------------------------


def stats(*args: str) -> dict[str | None, dict[str, Any]]:
    result = cli("stats", *args, "-o", "jsonl")
    assert result.exit_code == 0, result.stderr
    return {row["name"]: row for row in rows(result)}


def test_stats_by_each(priced: Seeded) -> None:
    """Calls, failures, cost by agent, tool, model, user and day, by hand."""
    by_agent = stats()
    assert list(by_agent) == ["chief", "helper"]
    assert (by_agent["chief"]["calls"], by_agent["chief"]["cost_usd"]) == (2, LARGE)
    assert by_agent["helper"]["unpriced_calls"] == 1
    (tool,) = stats("--by", "tool").values()
    assert (tool["name"], tool["calls"], tool["failures"]) == ("search", 8, 4)
    assert tool["causes"] == [{"cause": "TimeoutError", "count": 4}]
    by_model = stats("--by", "model")
    assert {name: (row["calls"], row["cost_usd"]) for name, row in by_model.items()} == {
        "small": (3, 3 * SMALL),
        "large": (1, LARGE),
        "unheard-of": (1, None),
    }
    assert {name: row["cost_usd"] for name, row in stats("--by", "user").items()} == {
        "anna": 2 * SMALL,
        "ben": LARGE,
        None: SMALL,
    }
    assert list(stats("--by", "day")) == ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"]


def test_stats_of_some(priced: Seeded) -> None:
    """Only sessions of an agent, of a user, with a tag, and only calls of a time."""
    assert list(stats("--agent", "chief")) == ["chief"]
    assert stats("--user", "anna", "--by", "model")["small"]["calls"] == 2
    assert stats("--tag", "user=ben", "--by", "tool")["search"]["calls"] == 2
    assert list(stats("--by", "day", "--since", "2026-01-02", "--until", "2026-01-03")) == ["2026-01-02", "2026-01-03"]
    assert stats("--since", "2027-01-01") == {}
    assert "nothing was called" in cli("stats", "--since", "2027-01-01", "-o", "table").stdout


def test_stats_for_people(priced: Seeded) -> None:
    """A table with what made calls fail, a sum that says what it lacks, and what would tell it."""
    seen = terminal("stats", "--by", "tool", columns=100)
    assert "4 (50 %)" in seen.text
    assert "4× TimeoutError" in seen.text
    text = terminal("stats", "--by", "model").text
    assert "≥ $0.260 in all" in text
    assert "1 of 5 calls unpriced" in text


def test_work_that_takes_long_says_how_far_it_is(priced: Seeded, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the second second on a line on a terminal's stderr counts sessions; it is gone in the end."""
    from otel_agent_journal.cli import progress

    drawn: list[str] = []
    monkeypatch.setattr(progress, "_to_stderr", drawn.append)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress.fleeting("sessions read") as moved:
        moved()
    assert drawn == []
    monkeypatch.setattr(progress, "_QUIET_S", 0.0)
    with progress.fleeting("sessions read") as moved:
        moved()
    assert drawn == ["\r\x1b[Ksessions read  1", "\r\x1b[K"]


def test_statistics_are_what_sql_says(priced: Seeded) -> None:
    """Calls, failures, quantiles, tokens and cost by model, and by tool, equal SQL over the same events."""
    pytest.importorskip("duckdb")
    for by in ("model", "tool"):
        tokens = "sum(input_tokens), sum(output_tokens), sum(cost_usd), sum(unpriced_calls)" if by == "model" else "0"
        sql = f"""
            SELECT name, count(*), count(*) FILTER (status = 'error'), quantile_disc(duration_ms, 0.5),
              quantile_disc(duration_ms, 0.95), {tokens} FROM {by}s GROUP BY name"""
        result = cli("query", sql, "-o", "json")
        assert result.exit_code == 0, result.stderr
        for row in json.loads(result.stdout):
            name, *expected = row.values()
            found = stats("--by", by)[name]
            keys = ["calls", "failures", "p50_ms", "p95_ms"]
            keys += ["input_tokens", "output_tokens", "cost_usd", "unpriced_calls"] if by == "model" else []
            assert [found[key] for key in keys] == pytest.approx(expected[: len(keys)])


def test_costs_are_what_sql_says(priced: Seeded) -> None:
    """A session's cost is its own in SQL, and the sum of its steps', and so is `ls`'s."""
    pytest.importorskip("duckdb")
    listed = {row["session_id"]: (row["cost_usd"], row["unpriced_calls"]) for row in rows(cli("ls"))}
    for sql in (
        "SELECT session_id, cost_usd, unpriced_calls FROM sessions",
        "SELECT session_id, sum(cost_usd), sum(unpriced_calls) FROM steps GROUP BY session_id",
    ):
        found = {next(iter(row.values())): tuple(row.values())[1:] for row in rows(cli("query", sql))}
        assert found.keys() == listed.keys()
        for session_id, (usd, unpriced) in listed.items():
            assert found[session_id][0] == (None if usd is None else pytest.approx(usd))
            assert found[session_id][1] == unpriced
    free = rows(cli("query", "SELECT count(*) AS n FROM models WHERE cost_usd IS NULL AND unpriced_calls = 1"))
    assert free == [{"n": 1}]


# --- profile ------------------------------------------------------------------------------------------------------


def test_profile_of_a_session(priced: Seeded) -> None:
    """A document of times that add up, by path, with cost."""
    told = json.loads(cli("profile", "s2", "-o", "json").stdout)
    assert told["session_id"] == "s2"
    assert sum(told["work_ms"].values()) + told["waits_ms"]["retry"] == pytest.approx(told["total_ms"])
    assert sum(path["self_ms"] for path in told["paths"]) == pytest.approx(sum(told["work_ms"].values()))
    by_name = {path["name"]: path for path in told["paths"]}
    assert by_name["small"]["path"] == ["agent helper", "model small"]
    assert by_name["small"]["cost_usd"] == SMALL
    assert by_name["search"]["calls"] == 2
    text = terminal("profile", "s2", columns=80).text
    assert "waiting before retries" in text
    assert "critical path" in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_profile_of_an_agent(priced: Seeded) -> None:
    """All its sessions together, or the latest of them; none of an agent that nobody knows."""
    assert json.loads(cli("profile", "--agent", "helper", "-o", "json").stdout)["sessions"] == 2
    assert json.loads(cli("profile", "--agent", "helper", "-n", "1", "-o", "json").stdout)["sessions"] == 1
    assert json.loads(cli("profile", "--agent", "nobody", "-o", "json").stdout)["paths"] == []
    assert "nobody" in cli("profile", "--agent", "nobody", "-o", "table").stdout
    assert cli("profile", "s1", "--agent", "helper").exit_code == 2
    assert "needs a session" in cli("profile").stderr


def test_trace_files(priced: Seeded) -> None:
    """Files for both viewers, of one session or of an agent's; on stdout where that is asked for."""
    from tests.projections.test_trace_files import check_chrome, check_speedscope

    result = cli("profile", "s1", "--speedscope", "s.json", "--chrome", "c.json")
    assert result.exit_code == 0
    assert "speedscope.app" in result.stderr
    check_speedscope(json.loads(Path("s.json").read_text()))
    check_chrome(json.loads(Path("c.json").read_text()))
    both = json.loads(cli("profile", "--agent", "helper", "--chrome", "-").stdout)
    check_chrome(both)
    assert {event["pid"] for event in both["traceEvents"]} == {1, 2}


def test_a_profile_of_many_paths(journal: Seeded) -> None:
    """A table shows those that took most, with those above them, and says how many are left."""
    built = JournalBuilder("wide")
    root = built.start("AGENT", "a")
    for number in range(60):
        node = built.start("NODE", f"n{number}", parent=root)
        built.end(built.start("TOOL", "t", parent=node))
        built.end(node)
    built.end(root)
    journal.keep(built)
    text = cli("profile", "wide", "-o", "table").stdout
    assert "paths more took less" in text
    assert text.count("tool t") <= 48
    assert len(json.loads(cli("profile", "wide", "-o", "json").stdout)["paths"]) == 121


# --- spans of others ----------------------------------------------------------------------------------------------


def test_spans_of_others_cost_too(priced: Seeded) -> None:
    """Received spans are priced as our own; of a call told twice one counts, and what they say that they cost."""
    from otel_agent_journal.mapping.facts import events_of
    from otel_agent_journal.mapping.received import ReceivedSpans
    from otel_agent_journal.mapping.span_record import SpanRecord

    def span(number: int, parent: int | None, **attributes: Any) -> SpanRecord:
        return SpanRecord(
            trace_id="a" * 32,
            span_id=f"{number:016x}",
            parent_span_id=None if parent is None else f"{parent:016x}",
            name=f"span {number}",
            start_ns=EPOCH_2026_NS + number,
            end_ns=EPOCH_2026_NS + 100 - number,
            attributes=attributes,
        )

    used = {"gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 500}
    chat = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "small", **used}
    said = {"openinference.span.kind": "LLM", "llm.model_name": "unheard-of", "llm.cost.total": 0.5}
    spans = [
        span(1, None, **{"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "theirs", **used}),
        span(2, 1, **chat),
        span(3, 2, **chat),
        span(4, 1, **said),
    ]
    # As exporters send them: what ended first comes first, each in a request of its own.
    received = ReceivedSpans(introduces=False)
    facts = [fact for one in reversed(spans) for fact in received.facts_of([one], EPOCH_2026_NS)]
    priced.store.append([event for fact in facts for event in events_of(fact, "w")])
    priced.write_head("a" * 32)
    row = next(row for row in rows(cli("ls")) if row["session_id"] == "a" * 32)
    assert (row["cost_usd"], row["unpriced_calls"]) == (0.5 + SMALL, 0)
    assert row["input_tokens"] == 1000
    by_number = [one["cost_usd"] for one in rows(cli("show", "a" * 32))]
    assert sorted(by_number, key=str) == [0.02, 0.5, None, None]


# --- an agent's process -------------------------------------------------------------------------------------------

AGENT = """
import sys
import otel_agent_journal as journal
journal.configure(instrument=False)
with journal.session("priced", agent="a"), journal.step("model", "gpt-4o") as call:
    usage = {"prompt_tokens": 1000, "completion_tokens": 10, "cost": 0.25}
    call.complete("yes", usage=usage, attributes={"gen_ai.provider.name": "openai"})
journal.flush()
journal.shutdown()
assert "genai_prices" not in sys.modules, "prices are the readers' own business"
assert "tomllib" not in sys.modules
"""


def test_an_agent_knows_no_prices(home: Path) -> None:
    """Nothing of prices is imported where an agent runs; what a gateway said that a call cost is in the journal."""
    subprocess.run([sys.executable, "-c", AGENT], check=True, timeout=60)
    (row,) = rows(program("ls"))
    assert (row["session_id"], row["cost_usd"], row["unpriced_calls"]) == ("priced", 0.25, 0)
    assert datetime.fromisoformat(row["started_at"][:19]).replace(tzinfo=UTC)
