"""A process and its spool: what flush says, where paths lie, daemons, forks, and what configuring again leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.e2e.conftest import BIN, Workdir
from tests.processes import started

WORK = """
import os, sys, time
import otel_agent_journal as journal
def work(name):
    with journal.session(name, agent="helper") as session:
        with session.step("tool", "search") as step:
            step.complete("found")
def stored(name, url="sqlite:///.agent-journal/journal.db"):
    try:
        return len(list(journal.open_store(url, create=False).read(name)))
    except journal.JournalError:
        return 0
"""
OURS = "agent-journal: "


def foreign(stderr: str) -> list[str]:
    """Return the lines of stderr that `run` did not say."""
    return [line for line in stderr.splitlines() if not line.startswith(OURS)]


# --- what flush says ----------------------------------------------------------------------------------------------


def test_flush_under_run(workdir: Workdir) -> None:
    """In the child of `run` a flush is True once the parent has delivered, in a forked child too."""
    workdir.write(
        "app.py",
        WORK + "work('a')\nprint(journal.flush(20) is True, stored('a'))\nsys.stdout.flush()\n"
        "if not os.fork():\n    work('b')\n    print(journal.flush(20) is True, stored('b'), flush=True)\n"
        "    os._exit(0)\nos.wait()\n",
    )
    done = workdir.run("app.py")
    assert (done.stdout, foreign(done.stderr)) == ("True 6\nTrue 6\n", [])


@pytest.mark.parametrize("under_run", [False, True])
def test_flush_with_a_store_that_is_away(workdir: Workdir, under_run: bool) -> None:
    """It is not True: printed as False, and its parts say how much is pending."""
    configure = "" if under_run else "journal.configure(instrument=False)\n"
    workdir.write(
        "app.py",
        WORK + configure + "print(journal.flush(1), flush=True)\nwork('a')\nsaid = journal.flush(1)\n"
        "print(said, bool(said), said.pending >= 6, flush=True)\nos.kill(os.getpid(), 9)\n",
    )
    env = {"AGENT_JOURNAL_STORE": "sqlite:////proc/nowhere/journal.db", "AGENT_JOURNAL_SPOOL": "spool"}
    done = workdir.run("app.py", env=env) if under_run else workdir.python("app.py", env=env)
    assert done.stdout == "True\nFalse False True\n"


def test_flush_after_what_was_left_behind(workdir: Workdir) -> None:
    """What a shutdown could not deliver is pending still, also once the process journals elsewhere."""
    workdir.write(
        "app.py",
        WORK + "journal.configure('sqlite:////proc/nowhere/x.db', spool='left', instrument=False)\nwork('a')\n"
        "journal.shutdown()\nprint(journal.flush(1).pending)\n"
        "journal.configure('sqlite:///x.db', instrument=False)\nwork('b')\nprint(journal.flush(9).pending)\n",
    )
    assert workdir.python("app.py").stdout == "6\n6\n"


def test_flush_of_spans_that_wait(workdir: Workdir) -> None:
    """Where spans are forwarded to nobody who listens, flush says how many wait, in a program of its own or `run`'s."""
    workdir.write("app.py", WORK + "work('a')\nprint(repr(journal.flush(3)))\n")
    workdir.write("own.py", WORK + "journal.configure(instrument=False)\nwork('a')\nprint(repr(journal.flush(3)))\n")
    env = {"AGENT_JOURNAL_OTLP": "http://127.0.0.1:9"}
    expected = "Delivered(pending=0, set_aside=0, spans_pending=2)\n"
    assert workdir.run("app.py", env=env).stdout == expected
    assert workdir.python("own.py", env=env).stdout == expected


# --- paths --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("under_run", [False, True])
def test_chdir_changes_nothing(workdir: Workdir, under_run: bool) -> None:
    """What is recorded, flushed and waited for after a chdir is in the journal where the program began."""
    configure = "" if under_run else "journal.configure(instrument=False)\n"
    (workdir.path / "other").mkdir()
    workdir.write(
        "app.py",
        WORK + configure + "home = os.getcwd()\nos.chdir('other')\nwork('a')\n"
        "print(journal.flush(20) is True, stored('a', f'sqlite:///{home}/.agent-journal/journal.db'))\n"
        "print(journal.wait_for('a', timeout_s=10).status, os.listdir('.'))\n",
    )
    done = workdir.run("app.py") if under_run else workdir.python("app.py")
    assert done.stdout == "True 6\nCOMPLETED []\n"


# --- daemons ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["", "os.fork() and os._exit(0)\nos.setsid()\n"])
def test_a_daemon_that_closes_all_descriptors(workdir: Workdir, how: str) -> None:
    """Drain, store and spool of the process go on: all of it is delivered."""
    workdir.write(
        "app.py",
        WORK + f"journal.configure(instrument=False)\nwork('before')\njournal.flush(20)\n{how}os.closerange(3, 256)\n"
        "for number in range(4):\n    work(f'after{number}')\n"
        "said = journal.flush(20)\nprint(said is True, [stored(f'after{n}') for n in range(4)], flush=True)\n",
    )
    assert workdir.python("app.py").stdout == "True [6, 6, 6, 6]\n"


def test_descriptors_that_are_the_programs_by_now(workdir: Workdir) -> None:
    """Files that got the numbers of ours stay as they are; what cannot be delivered here is said, and kept."""
    workdir.write(
        "app.py",
        WORK + "journal.configure(instrument=False)\nwork('before')\njournal.flush(20)\nos.closerange(3, 256)\n"
        "files = [open(f'theirs{number}', 'w+') for number in range(40)]\n"
        "work('after')\nprint(bool(journal.flush(2)))\n"
        "for file in files:\n    file.write('x')\n    file.flush()\n"
        "print({os.stat(f'theirs{number}').st_size for number in range(40)})\n",
    )
    done = workdir.python("app.py")
    assert done.stdout == "False\n{1}\n"
    assert "they wait in the spool" in done.stderr
    assert {row["session_id"]: row["status"] for row in workdir.sessions()} == dict.fromkeys(
        ("before", "after"), "COMPLETED"
    )


def test_a_deleted_folder_under_run(workdir: Workdir) -> None:
    """Somebody deletes all of .agent-journal while an agent works: what comes after is whole, and it is said."""
    workdir.write(
        "app.py",
        # The parent may be making a file anew in a folder that is just being deleted.
        WORK + "import shutil\nwork('before')\njournal.flush(20)\n"
        "while os.path.exists('.agent-journal'): shutil.rmtree('.agent-journal', ignore_errors=True)\nwork('after')\n"
        "print(journal.flush(20) is True, stored('after'))\n",
    )
    done = workdir.run("app.py")
    assert done.stdout == "True 6\n"
    assert "taken away" in done.stderr


# --- forks and configuring again ----------------------------------------------------------------------------------


def test_an_exporter_by_itself_delivers_after_a_fork(workdir: Workdir) -> None:
    """A worker's spans reach the store while it runs, whether its master has exported before or not."""
    workdir.write(
        "app.py",
        WORK + "from importlib.metadata import entry_points\nfrom opentelemetry.sdk.trace import TracerProvider\n"
        "from opentelemetry.sdk.trace.export import BatchSpanProcessor\n"
        "(found,) = entry_points(group='opentelemetry_traces_exporter', name='agent_journal')\n"
        "provider = TracerProvider()\nprovider.add_span_processor(BatchSpanProcessor(found.load()()))\n"
        "tracer = provider.get_tracer('server')\n"
        "def chat(name):\n"
        "    said = {'gen_ai.operation.name': 'chat', 'gen_ai.request.model': 'm', 'gen_ai.conversation.id': name}\n"
        "    with tracer.start_as_current_span('chat m', attributes=said): pass\n    provider.force_flush()\n"
        "if sys.argv[1] == 'master': chat('master')\n"
        "if os.fork() == 0:\n    chat('worker')\n    print(journal.flush(20) is True, stored('worker'), flush=True)\n"
        "    os._exit(0)\nos.wait()\n",
    )
    assert workdir.python("app.py", "master").stdout == "True 2\n"
    assert workdir.python("app.py", "worker").stdout.split()[0] == "True"


def test_configuring_again_leaves_nothing(workdir: Workdir) -> None:
    """Objects, threads, descriptors, span processors and hooks of the calls before are given back, with OTLP too."""
    workdir.write(
        "app.py",
        WORK + "import gc\nfrom opentelemetry import trace\nfrom opentelemetry.sdk import trace as sdk\n"
        "from otel_agent_journal import forks\nbare = sdk.TracerProvider.__init__\n"
        "provider = sdk.TracerProvider()\ntrace.set_tracer_provider(provider)\n"
        "def taken():\n    gc.collect()\n"
        "    ours = [one for one in gc.get_objects() if str(type(one).__module__).startswith('otel_agent_journal')]\n"
        "    return len(ours), len(os.listdir('/proc/self/task')), len(os.listdir('/proc/self/fd')),"
        " len(provider._active_span_processor._span_processors), len(forks._registry._owners)\n"
        "def again(number):\n    journal.configure(f'sqlite:///{number % 2}.db', instrument=number % 3 == 0)\n"
        "    work('s')\n    assert journal.flush(20)\n"
        "for number in range(6): again(number)\nbefore = taken()\nfor number in range(12): again(number)\n"
        "for _ in range(100):  # a thread that was told to end takes its time\n"
        "    more = [after - first for first, after in zip(before, taken())]\n"
        "    if more[0] <= 10 and max(more[1:]) <= 0: break\n    time.sleep(0.05)\n"
        "print(more)\n"
        "journal.shutdown()\n"
        "print(sdk.TracerProvider.__init__ is bare, provider._active_span_processor._span_processors)\n",
    )
    done = workdir.python("app.py")
    more, last = done.stdout.splitlines()
    objects, *others = json.loads(more)
    assert (max(others) <= 0, last) == (True, "True ()"), others
    assert objects <= 10


# --- run says nothing untrue --------------------------------------------------------------------------------------


def test_run_of_a_program_with_a_journal_of_its_own(workdir: Workdir) -> None:
    """It names that journal, and does not say that there was no agent."""
    workdir.write("app.py", WORK + "journal.configure('sqlite:///own.db')\nwork('a')\n")
    said = workdir.run("app.py").stderr
    assert "own.db" in said
    assert "nothing was journaled" not in said


@pytest.mark.parametrize("place", ["file/journal.db", "folder/journal.db"])
def test_run_with_a_store_that_cannot_be(workdir: Workdir, place: str) -> None:
    """Why nothing can be written is said: a file is where a folder should be, or the other way."""
    workdir.write("file", "here")
    (workdir.path / "folder" / "journal.db").mkdir(parents=True)
    workdir.write("app.py", WORK + "work('a')\nprint('ran')\n")
    done = workdir.run("app.py", env={"AGENT_JOURNAL_STORE": f"sqlite:///{place}"})
    assert done.stdout == "ran\n"
    assert "ran no agent" not in done.stderr
    assert "irectory" in done.stderr or "is a folder" in done.stderr


def test_a_wrapper_that_is_killed(workdir: Workdir) -> None:
    """The program goes on, takes up its own delivery, and its journal is whole."""
    workdir.write(
        "app.py",
        WORK + "os.kill(os.getppid(), 9)\n"
        "with journal.session('a', agent='helper') as session:\n    time.sleep(8)\n"
        "print(journal.flush(20) is True, stored('a'), flush=True)\n",
    )
    assert workdir.run("app.py").stdout == "True 4\n"


@pytest.mark.parametrize("isolated", [False, True])
def test_a_subinterpreter_is_left_alone(workdir: Workdir, isolated: bool) -> None:
    """Nothing of ours runs in it and nothing is printed, under `run` and where it calls us itself."""
    pytest.importorskip("_xxsubinterpreters")
    workdir.write(
        "app.py",
        f"import _xxsubinterpreters as interpreters\nmade = interpreters.create(isolated={isolated})\n"
        "interpreters.run_string(made, 'import otel_agent_journal, sys; from otel_agent_journal import forks;"
        ' print(forks.is_main_interpreter(), "otel_agent_journal.bootstrap.process" in sys.modules)\')\n'
        "interpreters.destroy(made)\nprint('done')\n",
    )
    done = workdir.run("app.py")
    assert (done.returncode, done.stdout, foreign(done.stderr)) == (0, "False False\ndone\n", [])


# --- signals ------------------------------------------------------------------------------------------------------

LISTENS = """
import os, signal, sys, time
got = []
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
    signal.signal(number, lambda number, _: os.write(1, b"%d\\n" % number))
os.write(1, b"ready\\n")
end = time.monotonic() + 60
while time.monotonic() < end and not os.path.exists("over"):
    time.sleep(0.02)
sys.exit(7)
"""


def wrapper_of(workdir: Workdir, *program: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """Start `run` in a group of its own within this session."""
    return started(
        [BIN / "agent-journal", "run", "--", *program],
        cwd=workdir.path,
        env=workdir.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def test_every_signal_reaches_the_program(workdir: Workdir) -> None:
    """Each is handed on once, none ends or stops the wrapper, and it ends as the program does."""
    workdir.write("app.py", LISTENS)
    with wrapper_of(workdir, sys.executable, "app.py") as wrapper:
        assert wrapper.stdout is not None
        assert wrapper.stdout.readline() == b"ready\n"
        numbers = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD})
        for number in numbers:
            os.kill(wrapper.pid, number)
            assert wrapper.stdout.readline() == b"%d\n" % number
        (workdir.path / "over").touch()
        assert wrapper.wait(60) == 7
        assert wrapper.stdout.read() == b""


def state_of(pid: int) -> str:
    """Return a process's state, as proc(5) has it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_program_that_stops_stops_the_wrapper(workdir: Workdir) -> None:
    """As a shell expects of a job: stopped by SIGTSTP both stand still, and SIGCONT has both go on."""
    waits = "import time; print('ready', flush=True); time.sleep(60)"
    with wrapper_of(workdir, sys.executable, "-c", waits) as wrapper:
        children = Path(f"/proc/{wrapper.pid}/task/{wrapper.pid}/children")

        def both(state: str) -> bool:
            end = time.monotonic() + 20
            while time.monotonic() < end:
                if {state_of(wrapper.pid), *map(state_of, map(int, children.read_text().split()))} == {state}:
                    return True
                time.sleep(0.05)
            return False

        assert wrapper.stdout is not None
        assert wrapper.stdout.readline() == b"ready\n"
        os.kill(wrapper.pid, signal.SIGTSTP)
        assert both("T")
        os.kill(wrapper.pid, signal.SIGCONT)
        assert both("S")
        os.kill(wrapper.pid, signal.SIGTERM)
        assert wrapper.wait(60) == 128 + signal.SIGTERM
