"""`show`: the waterfall, one step in full, the conversation, and how a session or a step is named."""

from __future__ import annotations

import json
import re
from itertools import cycle

import pytest

from otel_agent_journal.reading.step_rows import ROW_KEYS
from otel_agent_journal.testing.builders import JournalBuilder
from tests.cli.command_line import cli, rows, terminal
from tests.cli.conftest import Seeded


def with_tools(journal: Seeded) -> None:
    """Keep a session `tools`: a model asks for two tools, one is not there, is given both results, and asks again."""
    builder = JournalBuilder("tools")
    root = builder.start("AGENT", "helper")
    model = builder.start("NODE", "model", parent=root)
    asked = {"messages": [{"role": "user", "content": "what is new?", "digest": "m1"}]}
    call = builder.start("MODEL", "scripted", parent=model, details=asked)
    builder.end(call, details={"output": {"role": "assistant", "content": "let me look", "digest": "m2"}})
    builder.end(model, details={"output": {"messages": [{"$message": "m2"}]}})
    result = {"role": "tool", "content": "three pages", "tool_call_id": "c1", "digest": "tool:c1"}
    missing = {"role": "tool", "content": "nope is not a tool", "tool_call_id": "c2", "status": "error"}
    tools = builder.start("NODE", "tools", parent=root)
    builder.end(builder.start("TOOL", "search", parent=tools), details={"output": {"update": {"messages": [result]}}})
    builder.end(tools, details={"output": {"messages": [{"$message": "tool:c1"}, missing]}})
    given = {"messages": [{"$message": "m2"}, result, missing, {**result, "content": "cut"}]}
    again = builder.start("MODEL", "scripted", parent=root, details=given)
    builder.end(again, details={"output": {"role": "assistant", "content": "much", "digest": "m3"}})
    builder.end(builder.start("TOOL", "search", parent=root), details={"output": result})
    builder.end(root, details={"output": {"messages": [{"$messages": 4}, {"$message": "text:abc"}]}})
    journal.keep(builder)


def test_the_tree_is_a_waterfall(journal: Seeded) -> None:
    """Each step stands below its parent with outcome, attempts, duration, tokens, and what went wrong."""
    journal.completed()
    lines = terminal("show", "done", columns=130).text.splitlines()
    assert lines[0].startswith("researcher  COMPLETED  4 steps  1 error  1.2k tokens  10 ms")
    assert lines[1].startswith("session done  started 2026-01-01 00:00:00")
    assert [line.split("│━")[0].split("│ ")[0].split()[:4] for line in lines[2:3]] == [
        ["1", "✓", "agent", "researcher"]
    ]
    assert lines[3].startswith("2 ├─ ✓ node plan")
    assert lines[4].startswith("3 │  └─ ✓ model scripted")
    assert lines[5].startswith("4 └─ ✓ tool search ×2")
    assert "1.2k" in lines[4]
    assert lines[5].endswith("attempt 1 failed: TimeoutError: no answer after 3 s")
    assert "━" in lines[4]


def test_running_steps_are_flagged_with_when_they_were_last_seen(journal: Seeded) -> None:
    """A step that runs says so; one whose process went silent is interrupted, with its last sign of life."""
    journal.running()
    text = terminal("show", "live").text
    assert "PROCESSING" in text
    assert "▶ tool fetch" in text
    assert "running, last seen" in text
    journal.running("silent", ago_s=3600, writer="d" * 32)
    text = terminal("show", "silent").text
    assert "INTERRUPTED (lost)" in text
    assert "‼ tool fetch" in text
    assert "interrupted: lost, last seen" in text


def test_the_tree_as_data_is_a_row_a_step(journal: Seeded) -> None:
    """Rows come parents first, with depth, attempts and times; every row has the same keys."""
    journal.completed()
    found = rows(cli("show", "done"))
    assert all(list(row) == list(ROW_KEYS) for row in found)
    assert [(row["depth"], row["kind"], row["name"], row["attempts"], row["errors"]) for row in found] == [
        (0, "AGENT", "researcher", 1, 0),
        (1, "NODE", "plan", 1, 0),
        (2, "MODEL", "scripted", 1, 0),
        (1, "TOOL", "search", 2, 1),
    ]
    assert found[2]["input_tokens"] == 1020
    assert found[0]["last_seen_at"] is None
    journal.running()
    assert [(row["status"], row["ended_at"], row["last_seen_at"] is None) for row in rows(cli("show", "live"))] == [
        ("running", None, False),
        ("running", None, False),
    ]


def test_errors_alone(journal: Seeded) -> None:
    """--errors leaves failed steps, in the tree below their parents, and events of level ERROR."""
    journal.completed()
    assert [row["name"] for row in rows(cli("show", "done", "--errors"))] == ["search"]
    text = terminal("show", "done", "--errors", columns=130).text
    tree, cause = text.split("\n\n", 1)
    assert [line.split()[:2] for line in tree.splitlines()[2:]] == [["1", "✓"], ["4", "└─"]]
    assert cause.splitlines()[0].startswith("✗ 4 tool search ×2  attempt 1  00:00:00.")
    assert cause.splitlines()[1:] == ["  TimeoutError: no answer after 3 s"]
    events = rows(cli("show", "done", "--events", "--errors"))
    assert [event["event_type"] for event in events] == ["TOOL_ERROR"]
    assert cli("show", "done", "--messages", "--errors").exit_code == 2
    journal.running()
    assert "no step failed" in terminal("show", "live", "--errors").text


def test_a_step_that_failed_deep_below_keeps_all_above_it(journal: Seeded) -> None:
    """--errors shows the way from the root to what failed, and none of the rest."""
    builder = JournalBuilder("deep")
    root = builder.start("AGENT", "root")
    builder.end(builder.start("NODE", "good", parent=root))
    middle = builder.start("NODE", "middle", parent=root)
    builder.end(builder.start("TOOL", "fine", parent=middle))
    builder.end(builder.start("TOOL", "bad", parent=middle), "error")
    builder.end(builder.start("TOOL", "fine too", parent=middle))
    builder.end(middle)
    builder.end(builder.start("NODE", "after", parent=root))
    builder.end(root)
    journal.keep(builder)
    lines = terminal("show", "deep", "--errors", columns=150).text.split("\n\n")[0].splitlines()[2:]
    names = [
        name for line in lines for name in ("root", "good", "middle", "fine", "bad", "after") if f" {name} " in line
    ]
    assert names == ["root", "middle", "bad"]
    assert [line[2 : line.index(mark)] for line, mark in zip(lines, "✓✓✗", strict=True)] == ["", "└─ ", "   └─ "]


def test_branches_join_each_step_to_its_parent(journal: Seeded) -> None:
    """Lines run past a step's children to its next sibling, and nowhere else."""
    builder = JournalBuilder("branches")
    root = builder.start("AGENT", "r")
    first = builder.start("NODE", "a", parent=root)
    inner = builder.start("NODE", "b", parent=first)
    builder.end(builder.start("TOOL", "c", parent=inner))
    builder.end(inner)
    builder.end(builder.start("TOOL", "d", parent=first))
    builder.end(first)
    builder.end(builder.start("NODE", "e", parent=root))
    builder.end(root)
    journal.keep(builder)
    lines = terminal("show", "branches").text.splitlines()[2:]
    assert [line[2 : line.index("✓")] for line in lines] == ["", "├─ ", "│  ├─ ", "│  │  └─ ", "│  └─ ", "└─ "]


def test_a_step_in_full(journal: Seeded) -> None:
    """SESSION/STEP gives every attempt with input, output, error and events, by name or by the beginning of an id."""
    builder = journal.completed()
    step_id = next(event.step_id for event in builder.events if event.type == "TOOL_START") or ""
    (by_name,), (by_id,) = rows(cli("show", "done/search")), rows(cli("show", f"done/{step_id[:10]}"))
    assert by_name == by_id
    assert by_name["output"] == ["a page"]
    first, second = by_name["attempts"]
    assert first["error"] == {"type": "TimeoutError", "message": "no answer after 3 s"}
    assert first["details"]["input"] == {"query": "news"}
    assert second["outcome"] == "ok"
    assert [event["event_type"] for event in second["events"]] == ["PROGRESS"]
    text = terminal("show", "done/search").text
    for part in (
        "tool search ×2",
        "attempt 1  error",
        "no answer after 3 s",
        "attempt 2  ok",
        "3 of 10 pages",
        "a page",
    ):
        assert part in text


def test_a_step_in_full_has_the_messages_that_it_refers_to(journal: Seeded) -> None:
    """A reference becomes the message as it was then; earlier messages become their count; what nobody knows stays."""
    with_tools(journal)
    output = rows(cli("show", "tools/tools"))[0]["output"]
    assert output["messages"][0] == {"role": "tool", "content": "three pages", "tool_call_id": "c1"}
    assert rows(cli("show", "tools/model"))[0]["output"]["messages"][0]["content"] == "let me look"
    text = terminal("show", "tools/tools").text
    assert '"content": "three pages"' in text
    assert "$message" not in text
    (found,) = rows(cli("show", "tools/helper"))
    assert found["output"]["messages"] == [{"$messages": 4}, {"$message": "text:abc"}]
    assert '"4 earlier messages"' in terminal("show", "tools/helper").text


def test_a_message_that_is_a_blob_is_found_by_its_reference(journal: Seeded) -> None:
    """What is too large for its event is referred to all the same."""
    from otel_agent_journal.store.protocol import BlobStore

    builder = JournalBuilder("large")
    root = builder.start("NODE", "tools")
    tool = builder.start("TOOL", "search", parent=root)
    builder.end(tool, details={"output": {"$blob": "d" * 32, "bytes": 7, "preview": "{"}})
    builder.end(root, details={"output": [{"update": {"messages": [{"$message": "tool:c1"}]}}]})
    journal.keep(builder)
    assert isinstance(journal.store, BlobStore)
    journal.store.put_blob(
        "large", "d" * 32, b'{"role": "tool", "content": "all of it", "tool_call_id": "c1", "digest": "tool:c1"}'
    )
    assert rows(cli("show", "large/tools"))[0]["output"][0]["update"]["messages"][0]["content"] == "all of it"
    assert [row["content"] for row in rows(cli("show", "large", "--messages"))] == ["all of it"]


def test_a_short_step_has_its_duration(journal: Seeded) -> None:
    """An attempt of less than a millisecond is shown in microseconds, not as none."""
    builder = JournalBuilder("short", clock=iter(range(10**18, 10**18 + 10**9, 250_000)).__next__)
    builder.end(builder.start("TOOL", "search"))
    journal.keep(builder)
    assert "attempt 1  ok  250 µs" in terminal("show", "short/search").text


def test_a_step_with_a_view_is_that_part_of_the_session(journal: Seeded) -> None:
    """SESSION/STEP --events gives the step's events, --tree what ran beneath it."""
    journal.completed()
    assert len(rows(cli("show", "done/search", "--events"))) == 5
    assert [row["name"] for row in rows(cli("show", "done/plan", "--tree"))] == ["plan", "scripted"]


def test_blobs_are_fetched(journal: Seeded) -> None:
    """A value that was too large for its event is shown whole, and by its preview where it is gone."""
    from otel_agent_journal.store.protocol import BlobStore

    builder = JournalBuilder("big")
    reference = {"$blob": "d" * 32, "bytes": 7, "preview": "the pre"}
    root = builder.start("AGENT", "a", details={"input": reference})
    builder.end(root, details={"output": {"$blob": "e" * 32, "bytes": 9, "preview": "gone"}})
    journal.keep(builder)
    assert isinstance(journal.store, BlobStore)
    journal.store.put_blob("big", "d" * 32, b'{"whole": true}')
    (found,) = rows(cli("show", "big/a"))
    assert found["input"] == {"whole": True}
    assert found["output"]["preview"] == "gone"


def test_the_conversation(journal: Seeded) -> None:
    """--messages gives each message once, in order, with its role, content and tool calls."""
    journal.completed()
    found = rows(cli("show", "done", "--messages"))
    assert [(row["role"], row["content"]) for row in found] == [("user", "what is new?"), ("assistant", "let me look")]
    assert found[1]["tool_calls"][0]["name"] == "search"
    text = terminal("show", "done", "--messages").text
    assert "── turn 1  2026-01-01 00:00:00  researcher ✓ ──\n" in text
    assert "user  scripted  step 3  00:00:00\n  what is new?\n" in text
    assert "→ search(" in text


def test_the_conversation_has_the_results_of_tools(journal: Seeded) -> None:
    """A tool's result is said once, where the tool ended, or where a node said it of a tool that never ran."""
    with_tools(journal)
    found = rows(cli("show", "tools", "--messages"))
    assert [(row["role"], row["name"], row["content"], row.get("tool_call_id")) for row in found] == [
        ("user", "scripted", "what is new?", None),
        ("assistant", "scripted", "let me look", None),
        ("tool", "search", "three pages", "c1"),
        ("tool", "tools", "nope is not a tool", "c2"),
        ("tool", "scripted", "cut", "c1"),
        ("assistant", "scripted", "much", None),
        ("tool", "search", "three pages", "c1"),
    ]
    assert "tool  search  step 5  00:00:00\n  three pages" in terminal("show", "tools", "--messages").text


def test_two_conversations_that_others_traced(journal: Seeded) -> None:
    """Agents that take turns are told apart, and one that is told something else from the middle on is heard."""
    builder = JournalBuilder("theirs")

    def call(*said: str) -> None:
        *given, answer = (
            {"role": role, "content": text} for role, text in zip(cycle(("user", "assistant")), said, strict=False)
        )
        builder.end(builder.start("MODEL", "m"), details={"messages": given, "output": answer})

    call("a", "b")
    call("x", "y")
    call("a", "b", "c", "d")
    call("x", "y", "z", "w")
    call("a", "b", "other", "e")
    call("a", "again")
    call("a", "again")
    journal.keep(builder)
    found = rows(cli("show", "theirs", "--messages"))
    assert [row["content"] for row in found] == [*"abxycdzw", "other", "e", *("a", "again") * 2]


def test_messages_of_any_shape_are_read(journal: Seeded) -> None:
    """Roles and parts of the conventions, types and contents of frameworks, bare texts, tool results."""
    builder = JournalBuilder("shapes")
    given = [
        {"role": "system", "parts": [{"type": "text", "content": "be brief"}]},
        {"type": "human", "content": [{"type": "text", "text": "part one, "}, {"type": "text", "text": "part two"}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "42"}]},
        {"type": "tool", "content": "43", "tool_call_id": "c2"},
        "a bare text",
        7,
    ]
    answer = {"role": "assistant", "parts": [{"type": "tool_call", "id": "c3", "name": "add", "arguments": {"a": 1}}]}
    root = builder.start("MODEL", "m", details={"messages": given})
    builder.end(root, details={"output": {"messages": [answer]}})
    journal.keep(builder)
    found = rows(cli("show", "shapes", "--messages"))
    assert [(row["role"], row["content"]) for row in found][:6] == [
        ("system", "be brief"),
        ("user", "part one, part two"),
        ("tool", "42"),
        ("tool", "43"),
        ("user", "a bare text"),
        ("user", 7),
    ]
    assert found[3]["tool_call_id"] == "c2"
    assert found[6]["tool_calls"] == [{"id": "c3", "name": "add", "arguments": {"a": 1}}]
    assert "→ add(" in terminal("show", "shapes", "--messages").text


def test_a_session_without_messages_says_so(journal: Seeded) -> None:
    """An empty conversation is a sentence."""
    journal.failed()
    assert "no messages were journaled" in terminal("show", "broken", "--messages").text


@pytest.mark.parametrize("command", ["show", "status", "export --otlp http://localhost:1"])
def test_without_a_session_the_newest_is_named(journal: Seeded, command: str) -> None:
    """A command that needs a session names the newest and the line to type."""
    journal.completed()
    journal.running()
    result = cli(*command.split())
    name = command.split(maxsplit=1)[0]
    assert result.exit_code == 2
    assert result.stderr == f"error: '{name}' needs a session; the newest is live: agent-journal {name} live\n"


def test_a_session_is_named_by_the_beginning_of_its_id(journal: Seeded) -> None:
    """A unique prefix is enough; one that several have names them; an exact id wins over longer ones."""
    journal.completed("abc-1")
    journal.failed("abc-22")
    journal.running("abc-222", writer="e" * 32)
    assert rows(cli("status", "abc-1"))[0]["session_id"] == "abc-1"
    assert rows(cli("status", "abc-22"))[0]["session_id"] == "abc-22"
    result = cli("show", "abc")
    assert result.exit_code == 3
    assert re.sub(r", \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "", result.stderr) == (
        "error: no session matches 'abc'; 3 candidates: abc-222 (PROCESSING), abc-1 (COMPLETED), abc-22 (ERROR);"
        " give more of the id\n"
    )
    result = cli("show", "zzz")
    assert result.exit_code == 3
    assert result.stderr == (
        "error: no session matches 'zzz'; the newest is abc-222; agent-journal ls lists them all\n"
    )


def test_a_prefix_is_literal(journal: Seeded) -> None:
    """Wildcards of SQL in an id are letters like others."""
    journal.completed("a%b_c")
    journal.failed("axbxc")
    assert cli("show", "a_b").exit_code == 3
    assert rows(cli("status", "a%"))[0]["session_id"] == "a%b_c"


def test_session_ids_may_hold_slashes(journal: Seeded) -> None:
    """`user/42` is a session where there is one; `user/42/search` is a step of it."""
    journal.completed("user/42")
    assert len(rows(cli("show", "user/42"))) == 4
    assert rows(cli("show", "user/42/search"))[0]["name"] == "search"
    assert rows(cli("show", "user/4/search"))[0]["name"] == "search"
    assert cli("show", "nobody/42").exit_code == 3


def test_a_step_that_is_not_there_or_not_the_only_one(journal: Seeded) -> None:
    """The error names the steps there are, or those that match."""
    journal.completed()
    result = cli("show", "done/nope")
    assert result.exit_code == 3
    assert "session done has no step 'nope'; it has 1 to 4: researcher, plan, scripted, search" in result.stderr
    builder = JournalBuilder("twice")
    root = builder.start("AGENT", "a")
    builder.end(builder.start("TOOL", "t", parent=root))
    builder.end(builder.start("TOOL", "t", parent=root))
    journal.keep(builder)
    result = cli("show", "twice/t")
    assert result.exit_code == 3
    assert re.search(r"2 steps of session twice match 't': 2 tool t \d\d:\d\d:\d\d ok; 3 tool t ", result.stderr)
    assert cli("show", "twice@t.2").stdout == cli("show", "twice/3").stdout


def test_a_session_whose_head_is_not_written_yet_is_shown(journal: Seeded) -> None:
    """Events that are in the store are enough."""
    builder = JournalBuilder("fresh")
    builder.end(builder.start("AGENT", "a"))
    journal.keep(builder, head=False)
    assert len(rows(cli("show", "fresh"))) == 1
    assert json.loads(cli("status", "fresh").stdout)["status"] == "COMPLETED"
