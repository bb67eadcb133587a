"""The routes about many sessions: filters of the list, the dashboard, comparisons."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from otel_agent_journal.event import SESSION_FORKED, ErrorInfo, JournalEvent, Usage
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.testing.builders import JournalBuilder
from otel_agent_journal.testing.clocks import EPOCH_2026_NS, SteppingClock
from tests.server.served import Served, keep, served

HOUR_NS = 3_600 * 10**9


def a_session(number: int, **more: Any) -> list[JournalEvent]:
    """Return session `number`, which began so many hours after the epoch."""
    clock = SteppingClock(EPOCH_2026_NS + number * HOUR_NS)
    journal = JournalBuilder(f"s{number}", writer=f"w{number}", clock=clock)
    root = journal.start("AGENT", "researcher", details={"tags": ["vip"], "input": "?"})
    model = journal.start("MODEL", "claude", parent=root)
    cost = {"attributes": {"gen_ai.usage.cost": number / 10}}
    journal.end(model, usage=Usage(input_tokens=10, output_tokens=2), details={"output": f"answer {number}", **cost})
    tool = journal.start("TOOL", more.get("tool", "search"), parent=root, details={"input": {"topic": f"t{number}"}})
    if "fails" in more:
        journal.end(tool, "error", error=ErrorInfo(type=more["fails"], message="no"))
        journal.end(root, "error", details={"passed_through": True})
    elif not more.get("lost"):
        journal.end(tool, details={"output": "x" * more.get("long", 1)})
        journal.end(root, details={"output": f"done {number}"})
    return journal.events


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    store = MemoryStore()
    keep(store, a_session(0))
    keep(store, a_session(1, fails="KeyError"))
    keep(store, a_session(2, tool="fetch", long=100_000))
    keep(store, a_session(3, lost=True))
    fork = JournalBuilder("fork", clock=SteppingClock(EPOCH_2026_NS + 4 * HOUR_NS))
    fork.record(SESSION_FORKED, details={"base": "s2", "fork": "fork", "step": 3, "at_ns": EPOCH_2026_NS + 2 * HOUR_NS})
    root = fork.start("AGENT", "researcher", details={"input": "?"})
    fork.end(fork.start("TOOL", "fetch", parent=root, details={"input": {"topic": "other"}}), details={"output": "y"})
    fork.end(root)
    keep(store, fork.events)
    with served(store) as one:
        yield one


def listed(server: Served, **params: Any) -> list[str]:
    return sorted(one["session_id"] for one in server.json("/api/sessions", **params)["sessions"])


def test_a_list_is_of_what_a_number_counts(server: Served) -> None:
    """Statuses and reasons, a least cost, what had begun by a time, a cause and a tool each leave what they name."""
    assert listed(server) == ["fork", "s0", "s1", "s2", "s3"]
    assert listed(server, status="lost") == ["s3"]
    assert listed(server, status=["lost", "ERROR"]) == ["s1", "s3"]
    assert listed(server, min_cost="0.2") == ["s2", "s3"]
    assert listed(server, begun="2026-01-01T01:30:00Z") == ["s0", "s1"]
    assert listed(server, cause="KeyError") == ["s1"]
    assert listed(server, cause="lost") == ["s3"]
    assert listed(server, tool="fetch") == ["fork", "s2"]
    assert listed(server, tool="fetch", min_cost="0.1") == ["s2"]


def test_a_list_says_the_last_words(server: Served) -> None:
    """Of a session that has ended the list says what it gave, of one that failed with what."""
    last = {one["session_id"]: one["last"] for one in server.json("/api/sessions")["sessions"]}
    assert last["s0"] == "done 0"
    assert last["s1"] == "ValueError: made by a test"


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/api/sessions?status=odd", "status is 'odd'"),
        ("/api/sessions?min_cost=much", "min_cost is 'much'"),
        ("/api/sessions?min_cost=nan", "a number of dollars is expected"),
        ("/api/dashboard?since=soon", "'soon' is no time"),
        ("/api/dashboard?rows=0", "rows is '0'"),
        ("/api/timeline?until=soon", "'soon' is no time"),
        ("/api/compare?a=s1", "two sessions are compared"),
    ],
)
def test_what_is_malformed_is_named(server: Served, path: str, told: str) -> None:
    """A parameter that cannot be read is refused with what it is and what is expected."""
    answer = server.client.get(path)
    assert answer.status_code == 400, answer.text
    assert told in answer.json()["detail"]


def test_panels_follow_what_arrives(server: Served) -> None:
    """The dashboard has every panel, each with SQL, for every filter of the list."""
    found = server.json("/api/dashboard", since="all", tag="vip")
    assert found["totals"]["sessions"] == 4
    assert found["window"] == "all"
    panels = [found[name] for name in ("totals", "states", "agents", "users", "tags", "causes", "tools", "lanes")]
    assert all("SELECT" in panel["sql"] for panel in panels)
    timeline = server.json("/api/timeline", since="all", type="TOOL_ERROR")
    assert [one["text"] for one in timeline["events"]] == ["KeyError: no"]


def test_two_sessions_stand_on_one_column(server: Served) -> None:
    """A comparison has each step once, says where both first differ, and what a pair differs in, long texts cut."""
    found = server.json("/api/compare", a="s0", b="s2")
    first = found["pairs"][found["first"]]
    assert (first["state"], first["differs"]) == ("changed", ["output"])
    alone = {one["state"]: (one["a"] or one["b"])["name"] for one in found["pairs"] if one["state"].startswith("only")}
    assert alone == {"only_a": "search", "only_b": "fetch"}
    steps = {"a_step": first["a"]["step_id"], "b_step": first["b"]["step_id"]}
    told = server.json("/api/compare/step", a="s0", b="s2", **steps)
    assert told["fields"] == [{"name": "output", "at": "", "a": "answer 0", "b": "answer 2"}]
    assert server.client.get("/api/compare/step", params={"a": "s0", "b": "s2", "a_step": "?"}).status_code == 404
    assert server.client.get("/api/compare", params={"a": "s0", "b": "nowhere"}).status_code == 404


def test_a_fork_stands_behind_its_base(server: Served) -> None:
    """Whichever is named first, a fork is the second side, and what both share is counted and left out."""
    for a, b in (("s2", "fork"), ("fork", "s2")):
        found = server.json("/api/compare", a=a, b=b)
        assert (found["a"]["session_id"], found["b"]["session_id"]) == ("s2", "fork")
        assert found["shared"] == 2
        changed = [one for one in found["pairs"] if one["state"] == "changed" and not one["within"]]
        assert [one["a"]["name"] for one in changed] == ["fetch"]
    step = changed[0]
    ids = {"a_step": step["a"]["step_id"], "b_step": step["b"]["step_id"]}
    fields = server.json("/api/compare/step", a="s2", b="fork", **ids)["fields"]
    assert max(len(str(one["a"])) for one in fields) < 5_000
