"""What every Python under `agent-journal run` pays, and when the journal starts there: before what it is for is run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import otel_agent_journal

AUTOLOAD = Path(otel_agent_journal.__file__).parent / "autoload"
STARTED = "print('STARTED' if 'otel_agent_journal.bootstrap.agent' in sys.modules else 'not')"


def python(folder: Path, program: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a program as under `run`, its modules in a folder."""
    source = Path(otel_agent_journal.__file__).parent.parent
    path = os.pathsep.join(map(str, (AUTOLOAD, folder, source)))
    env = {
        **os.environ,
        "PYTHONPATH": path,
        "AGENT_JOURNAL_STORE": f"sqlite:///{folder}/journal.db",
        "AGENT_JOURNAL_DRAIN": "parent",
        **environ,
    }
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{program}"], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def test_a_child_that_runs_no_agent(tmp_path: Path) -> None:
    """It imports nothing of ours, of OpenTelemetry, nor more of the standard library than a bare interpreter does."""
    told = "print(*sorted(name for name in sys.modules if not name.startswith(('_distutils', 'distutils'))))"
    here = set(python(tmp_path, told).stdout.split())
    bare = subprocess.run([sys.executable, "-c", f"import sys\n{told}"], capture_output=True, text=True, check=True)
    assert here - set(bare.stdout.split()) <= {"sitecustomize", "atexit"}


@pytest.mark.parametrize(
    "name", ["langchain_core", "langgraph", "strands", "botocore", "bedrock_agentcore", "gevent", "mine"]
)
def test_the_first_of_a_framework(tmp_path: Path, name: str) -> None:
    """The journal has started before the first line of a framework's package runs."""
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text(f"import sys\n{STARTED}\n")
    done = python(tmp_path, f"import json\n{STARTED}\nimport {name}\n{STARTED}", AGENT_JOURNAL_WATCH="mine,yours")
    assert done.stdout.split() == ["not", "STARTED", "STARTED"]
    assert done.stderr.count("agent-journal: instrumented") <= 1


@pytest.mark.parametrize("first", ["langgraph.graph", "otel_agent_journal.bootstrap.agent"])
def test_no_framework_is_imported_that_the_program_does_not_use(tmp_path: Path, first: str) -> None:
    """Each is hooked when it is imported itself: a program of one pays for no other, nor for its clients of AWS."""
    others = ("strands", "boto3", "botocore", "bedrock_agentcore", "mcp", "sqlalchemy", "duckdb")
    done = python(tmp_path, f"import {first}\nprint('here', *[name for name in {others} if name in sys.modules])")
    assert done.stdout.split() == ["here"]


@pytest.mark.parametrize(
    "program",
    [
        "import opentelemetry.trace",
        "from opentelemetry import trace",
        "import opentelemetry\nimport opentelemetry.trace",
        "from opentelemetry.sdk.trace import TracerProvider",
    ],
)
def test_what_the_start_imports_itself(tmp_path: Path, program: str) -> None:
    """OpenTelemetry, whose import starts us and which we import, is there once and whole."""
    more = (
        "import opentelemetry, opentelemetry.trace, opentelemetry.sdk.trace\n"
        "assert opentelemetry.trace is sys.modules['opentelemetry.trace'] and opentelemetry.sdk.trace.TracerProvider\n"
        "assert opentelemetry is sys.modules['opentelemetry'] and opentelemetry.__spec__.name == 'opentelemetry'\n"
        "assert opentelemetry.__path__ and opentelemetry.trace.__spec__.origin == opentelemetry.trace.__file__\n"
        "assert not [one for one in sys.meta_path if type(one).__module__ == 'sitecustomize']"
    )
    assert python(tmp_path, f"{program}\n{more}\n{STARTED}").stdout == "STARTED\n"


def test_journaling_by_hand(tmp_path: Path) -> None:
    """A program that uses this package alone is journaled under `run` without a call of configure()."""
    done = python(
        tmp_path,
        "from otel_agent_journal import session\nimport otel_agent_journal as journal\n"
        "assert journal.session is session and journal.__version__\n"
        "with session('s1'): pass\n"
        "from otel_agent_journal.bootstrap.process import is_attached\nprint(is_attached())",
    )
    assert done.stdout == "True\n"
    assert list((tmp_path / "spool").glob("*/*.seg"))


def test_what_the_program_does_as_it_ends(tmp_path: Path) -> None:
    """Functions that it registered before the journal started are still journaled: the journal ends last."""
    done = python(
        tmp_path,
        "import atexit\n"
        "def goodbye():\n"
        "    from otel_agent_journal import session\n"
        "    from otel_agent_journal.bootstrap.process import is_attached\n"
        "    with session('late'): print(is_attached())\n"
        "atexit.register(goodbye)\nimport otel_agent_journal.pipeline.session",
    )
    assert done.stdout == "True\n"


def test_threads_that_import_at_once(tmp_path: Path) -> None:
    """No thread runs a framework before it is hooked, and none waits for another for ever."""
    for name in ("langgraph", "strands", "botocore"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"import sys\n{STARTED}\n")
    done = python(
        tmp_path,
        "import threading, importlib\n"
        "names = ['langgraph', 'strands', 'botocore', 'opentelemetry.trace', 'opentelemetry.sdk.trace']\n"
        "threads = [threading.Thread(target=importlib.import_module, args=(name,)) for name in names]\n"
        "[one.start() for one in threads]; [one.join(20) for one in threads]\n"
        "print(*[one.is_alive() for one in threads])",
    )
    assert "False False False False False" in done.stdout
    assert (done.stdout.count("STARTED"), done.stdout.count("not")) == (3, 0)


def test_without_us(tmp_path: Path) -> None:
    """A Python that cannot import this package says so once, and runs."""
    (tmp_path / "langgraph").mkdir()
    (tmp_path / "langgraph" / "__init__.py").write_text("")
    (tmp_path / "said").mkdir()
    hidden = "sys.path[:] = [one for one in sys.path if not one.endswith('/src') and 'site-packages' not in one]\n"
    done = python(tmp_path, f"{hidden}import langgraph\nprint('ran')", AGENT_JOURNAL_ANNOUNCE=str(tmp_path / "said"))
    assert done.stdout == "ran\n"
    assert "cannot import otel_agent_journal" in done.stderr
