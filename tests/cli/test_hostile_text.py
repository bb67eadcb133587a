"""Every command, in every format, of a journal in which whoever wrote it has put control sequences into every field."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from otel_agent_journal.cli.app import COMMANDS
from otel_agent_journal.cli.contract import FORMATS
from otel_agent_journal.cli.store import COMMANDS as STORE_COMMANDS
from otel_agent_journal.codec import encode_line, sealed
from otel_agent_journal.event import ErrorInfo, JournalEvent, Usage
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.spool.set_aside import SetAside
from otel_agent_journal.testing.builders import JournalBuilder, an_event, context_events
from tests.cli.command_line import cli, program, terminals
from tests.cli.conftest import Seeded

EVIL: Final = "\x1b]0;owned\x07\x9b7;35m\x1b[7;35m\x7f\r\x85\u202egpj.exe\u2028\u2066"
CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u206f]")
# What is our own on a terminal: styles, the line of progress taken away, the terminal's ends of lines.
OURS: Final = re.compile(r"\x1b\[(?!7;35m)[\d;]*m|\r\x1b\[K|\r\n")
SESSION: Final = f"s{EVIL}"
STEP: Final = f"z{EVIL}"
AGENT: Final = """
import sys, otel_agent_journal as journal
with journal.session(sys.argv[1]), journal.step("TOOL", sys.argv[1]):
    pass
"""

PETER: Final = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"  # a public key of Go's examples
VIEWS: Final = (
    ("ls",),
    ("ls", "--agent", EVIL),
    ("ls", "-n", EVIL),
    ("ls", "--grep", "owned"),
    ("ls", "--meta", EVIL),
    ("ls", "--since", EVIL),
    ("ls", f"--{EVIL}"),
    ("show", SESSION),
    ("show", SESSION, "--events"),
    ("show", SESSION, "--messages"),
    ("show", SESSION, "--errors"),
    ("show", SESSION, "--slowest", "3"),
    ("show", SESSION, "--kind", "tool"),
    ("show", SESSION, "--kind", EVIL),
    ("show", SESSION, "--messages", "--full"),
    ("show", f"{SESSION}/{STEP}", "--messages"),
    ("show", f"{SESSION}/{STEP}", "--prompt"),
    ("show", f"{SESSION}/{STEP}", "--as", "openai"),
    ("show", f"{SESSION}/{STEP}", "--as", "anthropic"),
    ("show", f"{SESSION}/{STEP}", "--full"),
    ("show", f"{SESSION}/{STEP}"),
    ("show", f"{SESSION}/{EVIL}"),
    ("show", f"{SESSION}@2"),
    ("show", f"{SESSION}/tool.{EVIL}"),
    ("show", f"nobody{EVIL}"),
    ("show", "cut"),
    ("status", SESSION),
    ("status", "cut"),
    ("status",),
    ("tail",),
    ("tail", SESSION),
    ("drain",),
    ("drain", "--set-aside"),
    ("sinks", "status"),
    ("sweep",),
    ("verify",),
    ("seal", "keygen", "seal.key", "--name", "ops"),
    ("seal", "keygen", f"no/{EVIL}"),
    ("seal", "keygen", "other.key", "--name", EVIL),
    ("seal", SESSION, "--key", "seal.key"),
    ("seal", f"nobody{EVIL}", "--key", "seal.key"),
    ("seal", "--ended", "--key", EVIL),
    ("seal", "anchor", "--to", f"x{EVIL}"),
    ("seal", "anchor", "--to", f"ftp://{EVIL}"),
    ("seal", "log"),
    ("verify", "--sealed", "--key", PETER),
    ("verify", "--sealed", "--key", EVIL),
    ("verify", "--proof", EVIL, "--key", PETER),
    ("export", SESSION, "--proof", f"e{EVIL}"),
    ("erase", f"nobody{EVIL}", "--yes"),
    ("erase", SESSION, "--event", EVIL, "--yes"),
    ("doctor",),
    ("alerts", "list"),
    ("query", "SELECT * FROM steps"),
    ("query", "SELECT * FROM events"),
    ("query", f'SELECT name AS "{EVIL}" FROM steps'),
    ("query", f"SELECT count(*) FROM events WHERE session_id = '{EVIL}'", "--explain"),
    ("query", f'SELECT "{EVIL}" FROM steps'),
    ("collect", "--grpc", EVIL),
    ("export", SESSION, "--otlp", f"http://127.0.0.1:1/{EVIL}"),
    ("export", SESSION, "--otlp", f"smoke://{EVIL}"),
    ("context", SESSION),
    ("context", f"{SESSION}@2"),
    ("context", SESSION, "--point", EVIL),
    ("copy", f"{SESSION}@2", "--as", f"new{EVIL}"),
    ("copy", SESSION, "--to-point", "0"),
    ("copy", SESSION, "--set-state", EVIL),
    ("overwrite", f"{SESSION}@2", "--yes"),
    ("overwrite", f"{SESSION}@99"),
    ("resume", SESSION),
    ("resume", SESSION, "--", EVIL),
    *(("stats", "--by", by) for by in ("agent", "tool", "model", "user", "day")),
    ("stats", "--agent", EVIL),
    ("stats", "--since", EVIL),
    ("profile", SESSION),
    ("profile", "--agent", f"a{EVIL}"),
    ("profile", SESSION, "--chrome", "-"),
    ("profile", SESSION, "--speedscope", "-"),
    ("profile", SESSION, "--chrome", f"no/{EVIL}"),
    ("diff", SESSION, "cut"),
    ("replay", SESSION, "--dry-run"),
    ("diff", SESSION, f"{SESSION}@2", "--all"),
    ("mcp", "--allow", EVIL, EVIL),
    ("serve", "--host", EVIL),
    ("serve", "--root-path", EVIL),
    ("serve", "--token-file", EVIL),
    ("compact", SESSION),
    ("store", "info"),
    ("store", "info", f"sqlite:///{EVIL}.db"),
    ("store", "info", f"{EVIL}://x"),
    ("store", "init", "--yes"),
    ("store", "repair"),
    ("store", "prune", "--older-than", "1s", "--dry-run"),
    ("store", "prune", "--older-than", EVIL),
    ("store", "delete", SESSION, "--dry-run"),
    ("store", "delete", f"nobody{EVIL}", "--yes"),
    ("export", SESSION, "--jsonl"),
    ("export", "--parquet", "lake"),
    ("export", "--parquet", f"s3://{EVIL}"),
    ("export", "--parquet", "lake", "--tables", EVIL),
    ("export", "--parquet", "lake", "--compact", EVIL),
    ("query", "SELECT * FROM steps", "--from", EVIL),
    ("store", "prune", "--archived", EVIL),
    ("import", "hostile.jsonl", "--store", "sqlite:///imported.db"),
    ("import", EVIL),
    ("store", "copy", "sqlite:///.agent-journal/journal.db", "memory://"),
    ("store", "iam-policy", "--role", "writer"),
    ("run", "--", EVIL),
    (EVIL,),
    ("store", EVIL),
)
SLOW: Final = (("demo", "--session", EVIL), ("run", "--session", EVIL, "--", sys.executable, "-c", AGENT, EVIL))


def hostile(event: JournalEvent, **changes: Any) -> JournalEvent:
    """Return an event with every text of its own that is not its place in the journal made hostile."""
    names = {"trace_id": f"t{EVIL}", "span_id": f"p{EVIL}", "writer": f"w{EVIL}", "level": f"L{EVIL}"}
    return sealed(msgspec.structs.replace(event, **(names | changes)))


@pytest.fixture
def seeded(journal: Seeded, monkeypatch: pytest.MonkeyPatch) -> Seeded:
    """A journal, a spool and an environment of which nobody vouches for anything."""
    built = JournalBuilder(SESSION)
    said = {"messages": [{"role": EVIL, "content": EVIL, "tool_calls": [{"id": EVIL, "name": EVIL, "args": EVIL}]}]}
    root = built.start("AGENT", f"a{EVIL}", details={"input": EVIL, EVIL: {EVIL: [EVIL]}})
    model = built.start("MODEL", EVIL, parent=root, step_id=STEP, details=said)
    for kind in ("PROGRESS", "CHUNK", "WARNING", "REASONING"):
        built.note(model, kind, level=EVIL, details={"message": EVIL, "text": EVIL})
    built.record(f"ODD{EVIL}", details={EVIL: EVIL})
    built.record("STAGE_CHANGED", details={"stage": EVIL, "progress": 5})
    built.record("AGENT_INVOCATION_FAILED", details={EVIL: EVIL})
    built.end(model, "error", error=ErrorInfo(type=EVIL, message=EVIL, code=EVIL), usage=Usage(input_tokens=1))
    built.end(built.start("TOOL", EVIL, parent=root), details={"output": {"role": "tool", "content": EVIL}})
    built.end(root, "error", error=ErrorInfo(type=EVIL, message=EVIL, code=EVIL))
    journal.store.append([hostile(event) for event in built.events])
    cut = JournalBuilder("cut")
    cut.start("AGENT", EVIL)
    cut.start("TOOL", EVIL, parent=cut.start("NODE", EVIL))
    blob = an_event(9, session_id="cut", details={EVIL: {"$blob": EVIL, "bytes": 1, "preview": EVIL}})
    journal.store.append([hostile(event) for event in (*cut.events, blob)])
    journal.store.append([hostile(an_event(7, session_id="cut", parent_step_id=EVIL, step_id=EVIL), event_id=EVIL)])
    for name in (SESSION, "cut"):
        journal.write_head(name)
    lying = SessionHead(session_id="lies", agent=EVIL, status="PROCESSING", stage=EVIL, started_ns=1, updated_ns=2)
    assert journal.store.write_head(lying) is not None
    said_by = [hostile(event, instance_id=f"i{EVIL}") for event in context_events(2)]
    journal.store.append_context(f"i{EVIL}", 0, said_by)
    SetAside(Path(".agent-journal/spool")).add_record(b"\x01", f"w{EVIL}", f"why{EVIL}", 0)
    lines = [*map(encode_line, journal.store.read(SESSION)), f'{{"session_id": "{EVIL}"'.encode()]
    Path("hostile.jsonl").write_bytes(b"\n".join(lines))
    monkeypatch.setenv(f"AGENT_JOURNAL_{EVIL}", EVIL)
    return journal


def test_every_command_is_walked() -> None:
    """Of a command that comes, somebody has to say how it is tried here."""
    called = {view[0] for view in (*VIEWS, *SLOW)}
    assert called >= COMMANDS.keys()
    assert {view[1] for view in VIEWS if view[0] == "store"} >= STORE_COMMANDS.keys()


@pytest.mark.parametrize("form", FORMATS)
def test_no_control_character_comes_through(seeded: Seeded, form: str) -> None:
    """Neither on stdout nor on stderr, in no format, whether stdout is a terminal or not."""
    wrong: list[str] = []
    for view in VIEWS:
        own = view.index("--") if "--" in view else len(view)
        done = cli(*view[:own], "-o", form, *view[own:])
        if CONTROL.search(done.stdout + done.stderr):
            wrong.append(f"{view!a}: {done.output!a}")
    assert wrong == []


@pytest.mark.parametrize("form", FORMATS)
def test_on_a_terminal_the_styles_are_ours_alone(seeded: Seeded, form: str) -> None:
    """Colours and progress are drawn by us; what looks like them in a field is not taken for ours."""
    views = [view for view in VIEWS if "--" not in view and view[:2] != ("store", "copy")]
    raw = terminals(*((*view, "-o", form) for view in views), COLUMNS="100").raw
    found = CONTROL.search(OURS.sub("", raw))
    assert found is None, raw[max(0, found.start() - 80) :][:200]
    assert len(raw) > 5_000
    assert form != "table" or "\x1b[" in raw


@pytest.mark.parametrize("view", SLOW)
def test_what_runs_a_program_says_no_control_character(seeded: Seeded, view: tuple[str, ...]) -> None:
    """`run` names the sessions of the program, `demo` shows them."""
    done = program(*view, FORCE_COLOR="0")
    assert done.returncode == 0
    assert CONTROL.search(done.stdout + done.stderr) is None
    assert "owned" in done.stdout + done.stderr
