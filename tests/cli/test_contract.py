"""The contracts that scripts rely on: `ls -o jsonl`, `show --events -o jsonl`, and `show --prompt -o json`."""

from __future__ import annotations

import json
import subprocess

from otel_agent_journal.codec import decode_line, encode_line, format_timestamp
from otel_agent_journal.reading import session_records
from tests.cli.command_line import PROGRAM, cli, program, rows
from tests.cli.conftest import Seeded

KEYS = [
    "session_id",
    "status",
    "agent",
    "steps",
    "errors",
    "input_tokens",
    "output_tokens",
    "started_at",
    "updated_at",
    "duration_ms",
    "cost_usd",
    "unpriced_calls",
]


def test_ls_has_exactly_the_twelve_keys_in_order(journal: Seeded) -> None:
    """Every line of `ls -o jsonl` has the twelve keys of the contract, and no other."""
    journal.completed()
    journal.running()
    result = program("ls", "-o", "jsonl")
    assert result.returncode == 0
    assert [list(row) for row in rows(result)] == [KEYS, KEYS]
    assert list(session_records.KEYS) == KEYS


def test_ls_values_of_a_session_that_ended(journal: Seeded) -> None:
    """`steps` counts distinct steps, `errors` attempts that failed; times have nine digits; durations are whole ms."""
    events = journal.completed().events
    (row,) = rows(cli("ls", "-o", "jsonl"))
    assert row == {
        "session_id": "done",
        "status": "COMPLETED",
        "agent": "researcher",
        "steps": 4,
        "errors": 1,
        "input_tokens": 1020,
        "output_tokens": 200,
        "started_at": format_timestamp(events[0].timestamp_ns),
        "updated_at": format_timestamp(events[-1].timestamp_ns),
        "duration_ms": (events[-1].timestamp_ns - events[0].timestamp_ns) // 1_000_000,
        "cost_usd": None,
        "unpriced_calls": 1,
    }


def test_ls_says_null_where_it_does_not_know(journal: Seeded) -> None:
    """A running session has no duration yet, and one without an agent no agent."""
    from otel_agent_journal.testing.builders import JournalBuilder

    journal.running()
    bare = JournalBuilder("bare")
    bare.record("SESSION_INITIATED")
    journal.keep(bare)
    by_id = {row["session_id"]: row for row in rows(cli("ls"))}
    assert by_id["live"]["duration_ms"] is None
    assert by_id["bare"]["agent"] is None
    assert by_id["bare"]["status"] == "PENDING"
    assert by_id["bare"]["duration_ms"] is None


def test_ls_has_every_status_in_upper_case(journal: Seeded) -> None:
    """Statuses are those of the design, INTERRUPTED judged by the reader where a process went silent."""
    journal.completed()
    journal.failed()
    journal.running()
    journal.running("silent", ago_s=3600, writer="d" * 32)
    found = {row["session_id"]: row["status"] for row in rows(cli("ls"))}
    assert found == {"done": "COMPLETED", "broken": "ERROR", "live": "PROCESSING", "silent": "INTERRUPTED"}


def test_ls_without_a_format_is_json_lines_in_a_pipe(journal: Seeded) -> None:
    """`agent-journal ls | jq` works with no flags."""
    journal.completed()
    assert program("ls").stdout == program("ls", "-o", "jsonl").stdout


def test_show_events_is_the_encoding_of_each_event(journal: Seeded) -> None:
    """Each line is `codec.encode_line` of an event, byte by byte, in the order of the session."""
    journal.completed()
    journal.running()
    shown = subprocess.run([*PROGRAM, "show", "done", "--events", "-o", "jsonl"], capture_output=True, check=True)
    assert shown.stdout.splitlines() == [encode_line(event) for event in journal.store.read("done")]


def test_show_events_reads_back_as_the_same_events(journal: Seeded) -> None:
    """What `show --events` prints is decoded to the very events that were written."""
    journal.completed()
    lines = program("show", "done", "--events", "-o", "jsonl").stdout.splitlines()
    assert [decode_line(line) for line in lines] == list(journal.store.read("done"))


def test_show_events_starts_with_the_keys_of_the_design(journal: Seeded) -> None:
    """`timestamp, session_id, event_type, tool_name, level, details` come first; step events name step and attempt."""
    journal.completed()
    lines = [json.loads(line) for line in cli("show", "done", "--events").stdout.splitlines()]
    tool = next(line for line in lines if line["event_type"] == "TOOL_START" and line["attempt"] == 1)
    assert list(tool)[:6] == ["timestamp", "session_id", "event_type", "tool_name", "level", "details"]
    assert tool["tool_name"] == tool["name"] == "search"
    assert all({"step_id", "attempt", "name"} <= line.keys() for line in lines)
    assert [line["event_type"] for line in lines if "parent_step_id" not in line] == ["AGENT_START", "AGENT_END"]


def test_content_of_any_kind_comes_through_whole(journal: Seeded) -> None:
    """Escape sequences, separators and other scripts in the data are data: they come out of a pipe as they went in."""
    from otel_agent_journal.testing.builders import JournalBuilder

    odd = "\x1b[31m \u2028 \x9b 漢字 \x7f"
    builder = JournalBuilder("odd")
    builder.record("NOTE", details={"text": odd})
    journal.keep(builder)
    (line,) = program("show", "odd", "--events").stdout.split("\n")[:-1]
    assert json.loads(line)["details"]["text"] == odd


def test_show_prompt_is_a_request_whole(journal: Seeded) -> None:
    """`--prompt -o json` has the keys of the contract, roles of four, and says whether all of it is there."""
    from otel_agent_journal.testing.builders import JournalBuilder

    builder = JournalBuilder("asked")
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "Rome"}'}}
    given = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "How is Rome?"}, {"type": "image_url"}], "name": "ann"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "warm", "tool_call_id": "c1"},
    ]
    model = builder.start(
        "MODEL", "m", details={"input": given, "tools": [{"type": "function", "function": {"name": "look"}}]}
    )
    builder.end(model, details={"output": {"role": "assistant", "content": "Warm."}})
    journal.keep(builder)
    told = json.loads(cli("show", f"asked/{model.step_id}", "--prompt", "-o", "json").stdout)
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": given[1]["content"], "name": "ann"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", "name": "look", "arguments": {"at": "Rome"}}]},
        {"role": "tool", "content": "warm", "tool_call_id": "c1"},
    ]
    assert told == {
        "session_id": "asked",
        "step_id": model.step_id,
        "model": "m",
        "messages": messages,
        "tools": [{"name": "look", "description": None, "parameters": None}],
        "params": {},
        "complete": True,
    }
    assert json.loads(cli("show", f"asked/{model.step_id}", "-o", "json").stdout)["prompt"] == told
    said = rows(cli("show", f"asked/{model.step_id}", "--messages", "-o", "jsonl"))
    assert [row["content"] for row in said] == [*(one["content"] for one in messages), "Warm."]
    assert "Warm." not in cli("show", "asked/m", "--prompt", "-o", "table").stdout


def test_show_prompt_of_what_is_no_model_call(journal: Seeded) -> None:
    """`--prompt` of a session, or of another step than a model call, is a mistake and says so."""
    journal.completed()
    assert cli("show", "done", "--prompt").exit_code == 2
    assert "tool" in cli("show", "done/search", "--prompt").stderr
