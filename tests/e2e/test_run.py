"""`agent-journal run`: a program's agents are journaled, and the program does not notice."""

from __future__ import annotations

import re
import signal
import sys
import time

import psutil
import pytest

from tests.e2e.conftest import BIN, GRAPH, WALKER, Workdir

TWO_STEPS = """
agent = build(("a", lambda s: {"notes": ["a"]}), ("b", lambda s: {"notes": ["b"]}))
print(agent.invoke({"notes": []}, {"configurable": {"thread_id": "s1"}})["notes"])
"""
AGENT = GRAPH + TWO_STEPS
BY_HAND = WALKER + TWO_STEPS


def test_untouched_program_is_journaled(workdir: Workdir) -> None:
    """A program that knows nothing of us is journaled step by step, its stdout and exit code its own."""
    workdir.write("agent.py", AGENT + "sys.exit(7)\n")
    done = workdir.run("agent.py")
    assert (done.returncode, done.stdout) == (7, "['a', 'b']\n")
    assert [(event["event_type"], event["name"]) for event in workdir.events("s1")] == [
        ("AGENT_START", "walker"),
        ("NODE_START", "a"),
        ("NODE_END", "a"),
        ("NODE_START", "b"),
        ("NODE_END", "b"),
        ("AGENT_END", "walker"),
    ]
    (session,) = workdir.sessions()
    said = [session[key] for key in ("session_id", "status", "agent", "steps")]
    assert said == ["s1", "COMPLETED", "walker", 3]


def test_says_what_was_instrumented(workdir: Workdir) -> None:
    """stderr tells where it is journaled, what was instrumented, and how the session went."""
    workdir.write("agent.py", AGENT)
    said = workdir.run("agent.py").stderr
    assert "agent-journal: store sqlite:///.agent-journal/journal.db" in said
    assert re.search(r"agent-journal: instrumented .*\blanggraph 1\.", said)
    assert "session s1  COMPLETED  3 steps" in said


def test_says_what_was_not_instrumented_and_why(workdir: Workdir) -> None:
    """A framework that is switched off is named with the reason."""
    workdir.write("agent.py", AGENT)
    done = workdir.run("agent.py", env={"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "agent_journal_langgraph"})
    assert "not langgraph (disabled by OTEL_PYTHON_DISABLED_INSTRUMENTATIONS)" in done.stderr
    assert done.stdout == "['a', 'b']\n"
    assert "nothing was journaled" in done.stderr


def test_session_option_names_the_session(workdir: Workdir) -> None:
    """With --session the framework's own thread is kept as a detail."""
    workdir.write("agent.py", AGENT)
    workdir.run("agent.py", options=("--session", "mine"))
    events = workdir.events("mine")
    assert len(events) == 6
    assert events[0]["details"]["framework_session_id"] == "s1"


def test_store_option_places_journal_and_spool(workdir: Workdir) -> None:
    """With --store the journal and its spool are there, and nowhere else."""
    workdir.write("agent.py", BY_HAND)
    workdir.run("agent.py", options=("--store", "sqlite:///elsewhere/other.db"))
    assert not (workdir.path / ".agent-journal").exists()
    assert (workdir.path / "elsewhere" / "other.db").exists()
    done = workdir.journal("--store", "sqlite:///elsewhere/other.db", "ls")
    assert '"session_id":"s1"' in done.stdout


def test_no_thread_means_trace_id(workdir: Workdir) -> None:
    """Without any session id the trace id is the session."""
    workdir.write("agent.py", GRAPH + 'build(("a", lambda s: {"notes": ["a"]})).invoke({"notes": []})\n')
    workdir.run("agent.py")
    (session,) = workdir.sessions()
    events = workdir.events(session["session_id"])
    assert {event["trace_id"] for event in events} == {session["session_id"]}


def test_killed_program_is_noted_at_once(workdir: Workdir) -> None:
    """A program that is killed leaves its session interrupted and names the step that ran, as run returns."""
    kill = "lambda s: os.kill(os.getpid(), 9)"
    workdir.write(
        "agent.py",
        WALKER
        + f'build(("a", lambda s: {{"notes": ["a"]}}), ("b", {kill})).invoke('
        + '{"notes": []}, {"configurable": {"thread_id": "s1"}})\n',
    )
    done = workdir.run("agent.py")
    assert done.returncode == 128 + signal.SIGKILL
    assert "was killed by SIGKILL" in done.stderr
    types = [(event["event_type"], event.get("name")) for event in workdir.events("s1")]
    assert types[-2:] == [("NODE_START", "b"), ("SESSION_INTERRUPTED", None)]
    assert workdir.sessions()[0]["status"] == "INTERRUPTED"


def test_missing_program_and_not_executable(workdir: Workdir) -> None:
    """A program that cannot be started gives the exit code that a shell gives, and says so."""
    done = workdir.journal("run", "--", "no-such-program")
    assert done.returncode == 127
    assert "cannot run no-such-program" in done.stderr
    workdir.write("plain.txt", "not a program")
    assert workdir.journal("run", "--", "./plain.txt").returncode == 126


def test_program_without_python_says_nothing_was_journaled(workdir: Workdir) -> None:
    """A program that runs no agent passes through, and the summary says so."""
    done = workdir.journal("run", "--", "sh", "-c", "echo hello; exit 3")
    assert (done.returncode, done.stdout) == (3, "hello\n")
    assert "nothing was journaled" in done.stderr


def test_malformed_setting_starts_nothing(workdir: Workdir) -> None:
    """A malformed variable is a usage error before anything runs."""
    done = workdir.journal("run", "--", "touch", "ran", env={"AGENT_JOURNAL_CONTENT": "some"})
    assert done.returncode == 2
    assert "AGENT_JOURNAL_CONTENT is 'some'; it is one of: full, metadata" in done.stderr
    assert not (workdir.path / "ran").exists()


def test_other_sitecustomize_still_runs(workdir: Workdir) -> None:
    """A sitecustomize of the program's own is run too, and our folder is not left on the path."""
    workdir.write("site/sitecustomize.py", "import os; os.environ['THEIRS'] = 'ran'\n")
    workdir.write("agent.py", "import os, sys; print(os.environ['THEIRS'], [p for p in sys.path if 'autoload' in p])\n")
    done = workdir.run("agent.py", env={"PYTHONPATH": str(workdir.path / "site")})
    assert done.stdout == "ran []\n", done.stderr


def test_child_processes_are_journaled_too(workdir: Workdir) -> None:
    """A program that starts others, and a pool that forks, each write as a process of their own into the sessions."""
    workdir.write("inner.py", BY_HAND.replace('"s1"', '"inner"'))
    workdir.write(
        "outer.py",
        BY_HAND
        + """
import multiprocessing, subprocess
subprocess.run([sys.executable, "inner.py"], check=True)
def work(number):
    return agent.invoke({"notes": []}, {"configurable": {"thread_id": f"fork-{number}"}})["notes"]
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map(work, range(3)))
        pool.close()
        pool.join()
""",
    )
    done = workdir.run("-W", "ignore", "outer.py")
    assert done.returncode == 0, done.stderr
    sessions = {session["session_id"]: session for session in workdir.sessions()}
    assert set(sessions) == {"s1", "inner", "fork-0", "fork-1", "fork-2"}
    assert {session["status"] for session in sessions.values()} == {"COMPLETED"}
    assert {session["steps"] for session in sessions.values()} == {3}
    writers = {workdir.events(session)[0]["writer"] for session in ("s1", "inner", "fork-0")}
    assert len(writers) == 3


def test_terminate_reaches_the_program(workdir: Workdir) -> None:
    """SIGTERM to the runner ends the program, and its session is told."""
    workdir.write(
        "agent.py",
        WALKER
        + 'build(("slow", lambda s: time.sleep(60))).invoke('
        + '{"notes": []}, {"configurable": {"thread_id": "s1"}})\n',
    )
    runner = psutil.Popen(
        [BIN / "agent-journal", "run", "--", sys.executable, "agent.py"], cwd=workdir.path, env=workdir.env
    )
    try:
        wait_for(lambda: '"NODE_START"' in workdir.journal("show", "s1", "--events").stdout)
        runner.send_signal(signal.SIGTERM)
        assert runner.wait(30) == 128 + signal.SIGTERM
    finally:
        end(runner)
    assert workdir.sessions()[0]["status"] == "INTERRUPTED"


def test_runner_dies_agent_goes_on(workdir: Workdir) -> None:
    """When the runner is killed the agent goes on, and after five seconds delivers for itself."""
    workdir.write(
        "agent.py",
        WALKER
        + """
def wait(state):
    open("waiting", "w").close()
    for _ in range(600):
        if os.path.exists("go"):
            return {"notes": ["went on"]}
        time.sleep(0.1)
build(("wait", wait)).invoke({"notes": []}, {"configurable": {"thread_id": "s1"}})
time.sleep(2)
open("done", "w").close()
""",
    )
    runner = psutil.Popen(
        [BIN / "agent-journal", "run", "--", sys.executable, "agent.py"], cwd=workdir.path, env=workdir.env
    )
    try:
        wait_for((workdir.path / "waiting").exists)
        (agent,) = runner.children()
        runner.send_signal(signal.SIGKILL)
        runner.wait(30)
        time.sleep(7)
        (workdir.path / "go").touch()
        agent.wait(60)
    finally:
        end(runner)
    assert (workdir.path / "done").exists()
    types = [event["event_type"] for event in workdir.events("s1")]
    assert types == ["AGENT_START", "NODE_START", "NODE_END", "AGENT_END"]
    assert workdir.sessions()[0]["status"] == "COMPLETED"


def test_other_interpreter_is_told_to_install(workdir: Workdir) -> None:
    """A Python without our package runs as ever, and stderr says how to install it there."""
    workdir.write("langgraph/__init__.py", "")
    bare = workdir.path / "bare"
    done = workdir.command(sys.executable, "-m", "venv", "--without-pip", bare)
    assert done.returncode == 0, done.stderr
    done = workdir.journal("run", "--", bare / "bin" / "python", "-c", "import langgraph; print('ran')")
    assert done.stdout == "ran\n"
    assert "cannot import otel_agent_journal" in done.stderr
    assert "-m pip install otel-agent-journal" in done.stderr


def wait_for(condition: object, timeout_s: float = 40.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        if time.monotonic() > deadline:
            pytest.fail("what was waited for did not come")
        time.sleep(0.1)


def end(process: psutil.Popen) -> None:
    """Kill a process and all it started."""
    try:
        below = process.children(recursive=True)
    except psutil.NoSuchProcess:
        below = []
    for one in (*below, process):
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue


def test_path_is_absolute(workdir: Workdir) -> None:
    """A program that changes its working directory is still journaled where it was started."""
    (workdir.path / "away").mkdir()
    workdir.write("agent.py", BY_HAND.replace("agent = build", "os.chdir('away'); agent = build"))
    workdir.run("agent.py")
    assert not (workdir.path / "away" / ".agent-journal").exists()
    assert (workdir.path / ".agent-journal" / "journal.db").exists()
    assert workdir.sessions()[0]["steps"] == 3
