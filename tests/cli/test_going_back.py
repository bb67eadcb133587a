"""`context`, `copy`, `overwrite` and `resume`: going back to a point of a session, as one does it on a terminal."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from otel_agent_journal import ContextService, fork, resume, rewind
from otel_agent_journal.bootstrap.going_back import SessionRuns
from otel_agent_journal.errors import ConfigError, SessionNotFound, StoreError, StoreUnreachable
from otel_agent_journal.reading.points import NoSuchPoint
from otel_agent_journal.spool.home import DRAIN_LOCK
from otel_agent_journal.spool.locks import FileLock
from otel_agent_journal.testing.builders import JournalBuilder
from tests.cli.command_line import PROGRAM, cli, program, rows, terminal
from tests.cli.conftest import URL, Seeded
from tests.spool.spooling import die, new_writer, started

AGENT = str(Path(__file__).parent / "paying_agent.py")


def run(*args: str, code: int = 0, **env: str) -> str:
    """Run a command with the paying agent behind it; return what was said on stderr."""
    done = subprocess.run(
        [*PROGRAM, *args],
        capture_output=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        env={**os.environ, **env},
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def journal_of_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of a session that has paid a bill, its steps numbered 1 to 5."""
    folder = tmp_path_factory.mktemp("paid")
    done = subprocess.run([*PROGRAM, "run", "--", sys.executable, AGENT, "bill"], cwd=folder, timeout=60, check=False)
    assert done.returncode == 0
    return folder / ".agent-journal"


@pytest.fixture
def paid(home: Path, journal_of_one: Path) -> str:
    """That session, in a journal of the test's own."""
    shutil.copytree(journal_of_one, home / ".agent-journal")
    return "bill"


def contents(*args: str) -> list[Any]:
    """Return who said what in the only context of a session."""
    (found,) = rows(cli("context", *args))
    return [message["content"] or message["tool_calls"][0]["id"] for message in found["messages"]]


def test_context_now_and_at_each_step(paid: str) -> None:
    """Messages and state as they were before a step; a step before which nothing new came snaps to the one before."""
    assert contents(paid) == ["pay 5", "pay-5", "paid 5", "done"]
    assert contents(f"{paid}@2") == ["pay 5"]
    assert contents(f"{paid}@3") == ["pay 5", "pay-5"]
    assert contents(f"{paid}@5") == ["pay 5", "pay-5", "paid 5"]
    (found,) = rows(cli("context", f"{paid}@5"))
    assert (found["session_id"], found["instance_id"], found["agent"], found["state"]) == (
        paid,
        paid,
        "payer",
        {"paid": "5"},
    )
    snapped = program("context", f"{paid}@4")
    assert "no context is known just before step 4: step 3, 1 step earlier, it is" in snapped.stderr
    assert contents(paid, "--point", "0") == ["pay 5"]
    assert contents(paid, "--point", f"{paid}:0") == ["pay 5"]
    text = terminal("context", f"{paid}@5").text
    for part in ("agent payer before step 5", "→ pay(n=5)", "paid 5", "paid: 5"):
        assert part in text


def test_a_point_by_any_name_of_its_step(paid: str) -> None:
    """A number, a name, the second of a kind, behind a slash or an @: in every command that takes a point."""
    for name in ("@5", "/5", "@scripted.2", "@model.2", "/MODEL.2"):
        assert contents(f"{paid}{name}") == ["pay 5", "pay-5", "paid 5"]
    assert rows(cli("copy", f"{paid}@look", "--as", "by name"))[0]["number"] == 3
    assert fork(paid, at="look", new="in python") == "in python"
    assert contents("in python") == contents("by name")
    assert rows(cli("diff", f"{paid}@look", f"{paid}/3"))[0]["same"]
    assert rewind(paid, at="model.2").number == 5


def test_steps_are_numbered_as_points_are(paid: str) -> None:
    """`show` prints the number before each step; in data it is `number`."""
    assert [row["number"] for row in rows(cli("show", paid))] == [1, 2, 3, 4, 5]
    assert "3 ├─ ✓ tool look" in terminal("show", paid).text


def test_copy_is_a_fork(paid: str) -> None:
    """It begins where it was forked, says what tools did after that point, and the session stays as it was."""
    done = program("copy", f"{paid}@3")
    assert json.loads(done.stdout) == {"session_id": "bill~1", "forked_from": paid, "number": 3, "asked": 3}
    assert 'bill@4 pay({"n":"5"}) undeclared' in done.stderr
    assert "look" not in done.stderr  # it only reads
    assert "agent-journal resume --once 'bill~1' -- CMD" in done.stderr
    assert contents("bill~1") == ["pay 5", "pay-5"]
    assert contents(paid) == ["pay 5", "pay-5", "paid 5", "done"]
    assert rows(cli("copy", paid, "--as", "whole"))[0]["session_id"] == "whole"
    assert contents("whole") == contents(paid)
    assert rows(cli("copy", paid))[0]["session_id"] == "bill~2"
    assert rows(cli("copy", paid, "--to-point", "0", "--as", "asked"))[0]["number"] is None
    assert contents("asked") == ["pay 5"]
    assert rows(cli("status", "whole"))[0]["forked_from"] == paid
    assert rows(cli("status", paid))[0]["forks"] == ["asked", "bill~1", "bill~2", "whole"]
    assert "fork of bill" in terminal("ls").text
    assert "fork of bill, whose steps come before these" in terminal("show", "whole").text
    assert "forks asked, bill~1, bill~2, whole" in terminal("show", paid).text
    assert "nothing wrong" in terminal("verify").text


def test_copy_with_another_state(paid: str) -> None:
    """What the file names is in place of what was there; the rest stays."""
    Path("state.json").write_text('{"paid": 7, "by": "card"}')
    made = rows(cli("copy", paid, "--set-state", "state.json"))[0]["session_id"]
    assert rows(cli("context", made))[0]["state"] == {"paid": 7, "by": "card"}
    assert rows(cli("context", paid))[0]["state"] == {"paid": "5"}
    for text, complaint in (("[1]", "a JSON object of values by name is expected"), ("{", "not JSON")):
        Path("state.json").write_text(text)
        refused = program("copy", paid, "--set-state", "state.json")
        assert (refused.returncode, complaint in refused.stderr) == (2, True)


def test_overwrite_rewinds(paid: str) -> None:
    """It asks where it can, else wants --yes; what came after is still there to be shown and forked."""
    refused = program("overwrite", f"{paid}@2")
    assert refused.returncode == 2
    assert "go on before step 2; what came after counts no more" in refused.stderr
    assert 'bill@4  pay({"n":"5"})  undeclared' in refused.stderr
    assert contents(paid) == ["pay 5", "pay-5", "paid 5", "done"]
    (done,) = rows(cli("overwrite", f"{paid}@2", "--yes"))
    assert done == {"session_id": paid, "number": 2, "asked": 2}
    assert contents(paid) == ["pay 5"]
    assert contents(f"{paid}@5") == ["pay 5", "pay-5", "paid 5"]
    (made,) = rows(cli("copy", f"{paid}@5"))
    assert contents(made["session_id"]) == ["pay 5", "pay-5", "paid 5"]
    assert cli("overwrite", paid, "--from-point", "1", "--yes").exit_code == 0
    assert contents(paid) == ["pay 5", "pay-5"]
    assert [row["event_type"] for row in rows(cli("show", paid, "--events"))][-1] == "SESSION_REWOUND"


def test_resume_goes_on_in_the_session(paid: str) -> None:
    """The program is journaled there; of a fork it is the fork that it goes on with, by the ids that it always had."""
    said = run("resume", paid, "--", sys.executable, AGENT, paid, "6")
    assert f"session {paid}  COMPLETED  10 steps" in said
    assert contents(paid)[-4:] == ["pay 6", "pay-6", "paid 6", "done"]
    cli("copy", f"{paid}@3", "--as", "again")
    refused = run("resume", "again", "--", sys.executable, AGENT, paid, code=2)
    assert 'bill@4  pay({"n":"5"})  undeclared' in refused
    assert "--once serves what was returned" in refused
    assert "session again  COMPLETED  5 steps" in run(
        "resume", "again", "--yes", "--", sys.executable, AGENT, paid, "7"
    )
    assert contents("again")[-3:] == ["pay-7", "paid 7", "done"]
    assert contents("again")[2] == "The tool was interrupted: there is no result."
    assert len(contents(paid)) == 8
    run("resume", "again", "--", sys.executable, AGENT, paid, "8")  # it was gone on from: nothing is asked again


def test_resume_after_a_crash_says_what_was_under_way(home: Path) -> None:
    """A tool that ran as the process died may have done its work."""
    run("run", "--", sys.executable, AGENT, "crash", "5", "die", code=137)
    refused = run("resume", "crash", "--", sys.executable, AGENT, "crash", code=2)
    assert "pay" in refused
    assert "was running when the process ended: it may have happened" in refused
    run("resume", "crash", "--yes", "--", sys.executable, AGENT, "crash")
    run("resume", "crash", "--", sys.executable, AGENT, "crash")  # a later run has ended: nothing is asked again
    assert contents("crash")[2] == "The tool was interrupted: there is no result."


@pytest.mark.parametrize(
    ("args", "code", "complaint"),
    [
        (("context",), 2, "the newest is bill"),
        (("copy",), 2, "the newest is bill"),
        (("overwrite",), 2, "the newest is bill"),
        (("resume",), 2, "the newest is bill"),
        (("copy", "bill@99"), 3, "session bill has steps 1 to 5, not 99; agent-journal show bill numbers them"),
        (("copy", "bill@0"), 3, "has steps 1 to 5, not 0"),
        (("copy", "bill@1"), 3, "before step 1 of session bill no agent had a context yet"),
        (("copy", "none@1"), 3, "no session matches 'none'"),
        (("copy", "bill", "--as", "bill"), 1, "session bill is there already; name another with --as"),
        (("copy", "bill@2", "--to-point", "1"), 2, "--to-point goes in place of @2"),
        (("copy", "bill", "--to-point", "x"), 2, "the number of an event is expected"),
        (("copy", "bill", "--to-point", "99"), 3, "the context has events up to 5, not 99"),
        (("copy", "bill", "--to-point", "who:1"), 3, "session bill has no agent instance who"),
        (("overwrite", "bill", "--yes"), 2, "which point? bill@STEP"),
        (("resume", "bill"), 2, "agent-journal resume bill -- python my_agent.py"),
        (
            ("resume", "bill@3", "--", "true"),
            2,
            "to go on from step 3, fork it, or rewind it: agent-journal copy bill@3",
        ),
        (("copy", "bill@tool"), 3, "2 steps of session bill match 'tool': 3 tool look"),
        (("copy", "bill@nobody"), 3, "session bill has no step 'nobody'; it has 1 to 5: payer, scripted, look, pay"),
    ],
)
def test_what_cannot_be_done_says_why(paid: str, args: tuple[str, ...], code: int, complaint: str) -> None:
    """And what would."""
    found = program(*args)
    assert found.returncode == code, found.stderr
    assert complaint in found.stderr


def test_sessions_without_a_context(journal: Seeded) -> None:
    """There is nothing to go back to, and what keeps one is named; a program may begin anew, if that is agreed."""
    journal.completed()
    for args in ("copy done@1", "context done", "overwrite done@1 --yes"):
        found = program(*args.split())
        assert (found.returncode, "JournalSaver()" in found.stderr) == (3, True)
    found = program("resume", "done", "--", "true")
    assert found.returncode == 2
    assert "the program begins anew" in found.stderr
    assert "done@4  search" in found.stderr
    assert program("resume", "done", "--yes", "--", "true").returncode == 0


def test_a_session_that_runs_is_left_alone(journal: Seeded) -> None:
    """Neither rewound nor resumed: it is said where it runs. A fork of it may be made."""
    start_ns = time.time_ns()
    builder = JournalBuilder("live", clock=iter(range(start_ns, start_ns + 1000)).__next__)
    builder.start("AGENT", "helper", details={"process": {"host": "box", "pid": 77}})
    journal.keep(builder)
    context = ContextService(URL, "live", session_id="live")
    context.append_message("user", "hello")
    for args in ("overwrite live@1 --yes", "resume live -- true"):
        found = program(*args.split())
        assert found.returncode == 1
        assert "session live is running in process 77 on box; wait until it has ended, or stop it" in found.stderr
    with pytest.raises(SessionRuns):
        rewind("live", 1)
    with pytest.raises(SessionRuns), resume("live"):
        pass
    assert fork("live", new="beside") == "beside"


def test_in_python(paid: str) -> None:
    """`fork`, `rewind` and `resume` do as the commands do."""
    assert fork(paid, at=3, state={"by": "card"}) == "bill~1"
    assert ContextService(URL, "bill~1").get_state() == {"by": "card"}
    point = rewind(paid, at=4)
    assert (point.asked, point.number) == (4, 3)
    assert contents(paid) == ["pay 5", "pay-5"]
    with resume("bill~1") as one:
        assert one.session_id == "bill~1"
        assert ContextService(URL).instance_id == "bill~1"
        assert ContextService(URL, paid).instance_id == "bill~1"
        assert ContextService(URL, "another").instance_id == "another"
    assert ContextService(URL, paid).instance_id == paid
    with pytest.raises(NoSuchPoint):
        fork(paid, at=1)
    with pytest.raises(SessionNotFound):
        rewind("none", 1)
    with pytest.raises(StoreError, match="is there already"):
        fork(paid, new=paid)
    with pytest.raises(ValueError, match="session id is ''"), resume(""):
        pass


def test_what_was_recorded_just_now_is_gone_back_to(home: Path) -> None:
    """In one process: a step is known to `rewind`, and an end to `fork`, as soon as it has been recorded."""
    script = """
import otel_agent_journal as journal
journal.configure()
for name in "abc":
    context = journal.ContextService(instance_id=name)
    with journal.session(name) as session:
        for turn in range(3):
            context.append_message("user", str(turn))
            with session.step("tool", "look") as step:
                step.complete(turn)
    point = journal.rewind(name, 3)
    forked = journal.ContextService(instance_id=journal.fork(name))
    print(point.asked, [one["content"] for one in forked.get_messages()])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, encoding="utf-8", timeout=60, check=False
    )
    assert (done.stdout, done.returncode) == ("3 ['0', '1']\n" * 3, 0), done.stderr


@pytest.mark.parametrize("command", ["copy cut@1", "overwrite cut@1", "resume cut -- true"])
def test_what_another_is_still_taking_in_is_not_guessed_at(
    home: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Where a dead process's session stands is not known before all of it is there: nothing is done, and it is said."""
    monkeypatch.setattr("otel_agent_journal.bootstrap.going_back._TAKEN_IN_S", 0.2)
    spool = home / ".agent-journal" / "spool"
    writer = new_writer(spool)
    writer.append(started(1, "cut"))
    die(writer)
    held = FileLock.take(writer.folder / DRAIN_LOCK)
    assert held is not None
    try:
        found = cli(*command.split())
        assert found.exit_code == 4
        assert "is just being delivered by another" in found.stderr
        with pytest.raises(StoreUnreachable, match="is just being delivered by another"):
            fork("cut")
    finally:
        held.close()


def test_once(paid: str) -> None:
    """What was returned after the point is served to calls with the same arguments, once; others are refused."""
    made = fork(paid, at=3)
    with resume(made, once=True) as one:
        served = one.receipt(tool="pay", call_id="another", arguments={"n": "5"})
        assert served is not None
        assert served.output == "paid 5"
        assert one.receipt(tool="pay", call_id="another", arguments={"n": "5"}) is None
        assert one.receipt(tool="look", call_id=None, arguments={"n": "9"}) is None  # it only reads
        assert one.receipt(tool="new", call_id=None, arguments={}) is None
    with resume(made, once=True) as one, pytest.raises(Exception, match=r'pay is about to be called with \{"n":"9"\}'):
        one.receipt(tool="pay", call_id=None, arguments={"n": "9"})
    with resume(made) as one:
        assert one.receipt(tool="pay", call_id="another", arguments={"n": "5"}) is None
    for _ in range(2):  # each recorded call stands for one, however often the session turned back to before it
        rewind(paid, at=3)
    with resume(paid, once=True) as one:
        assert one.receipt(tool="pay", call_id=None, arguments={"n": "5"}) is not None
        assert one.receipt(tool="pay", call_id=None, arguments={"n": "5"}) is None


def test_a_redactor_may_have_changed_what_was_returned(paid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So nothing of it is served, and --once cannot hold what it says."""
    made = fork(paid, at=3)
    monkeypatch.setenv("AGENT_JOURNAL_REDACTOR", "builtins:max")
    with resume(paid) as one:
        assert one.receipt(tool="pay", call_id="pay-5", arguments={"n": "5"}) is None
    with resume(made, once=True) as one, pytest.raises(ConfigError, match="a redactor may have changed"):
        one.receipt(tool="pay", call_id=None, arguments={"n": "5"})
