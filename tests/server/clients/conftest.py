"""`agent-journal serve --write --a2a` over graphs, and clients of it that are other people's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
TOKEN = "a-token-of-these-tests"
LONG_S = 110.0  # the machine is shared; none of it takes a tenth of that alone
AGENTS = "".join(
    f'{name} = "tests.sessions.graphs:{name}"\n' for name in ("chat", "booking", "sleeper", "broken", "large")
)
AGENTS += "".join(f'{name} = "tests.sessions.scripted:{name}"\n' for name in ("echo", "talker"))


class Serving(NamedTuple):
    """A server, by its address, its folder and its process."""

    url: str
    folder: Path
    process: subprocess.Popen[str]

    @property
    def store(self) -> str:
        """The URL of its store."""
        return f"sqlite:///{self.folder}/journal.db"


Serve = Callable[..., Serving]


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Starts servers, each over a journal of its own or that of another; all end with the tests."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str, over: Serving | None = None, write: bool = True, **environ: str) -> Serving:
        folder = tmp_path_factory.mktemp("served") if over is None else over.folder
        (folder / "agents.toml").write_text(f"[agents]\n{AGENTS}")
        (folder / "journal.db").touch()
        paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        command = ["serve", "--port", "0", "--store", f"sqlite:///{folder}/journal.db", *options]
        command += ["--write", "--agents", "agents.toml"] if write else []
        environ = {"AGENT_JOURNAL_SERVE_TOKEN": TOKEN, "PYTHONPATH": os.pathsep.join(paths), **environ}
        process = subprocess.Popen(
            [BIN / "agent-journal", *command], cwd=folder, env=os.environ | environ, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        url = urlsplit(process.stdout.readline().strip())
        return Serving(f"{url.scheme}://{url.netloc}", folder, process)

    yield start
    for process in started:
        process.terminate()
    for process in started:
        process.wait(20)
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(scope="session")
def served(serve: Serve) -> Serving:
    """A server that has it all."""
    return serve("--a2a", "--allow-origin", "http://app.example")
