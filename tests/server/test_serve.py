"""`agent-journal serve`, `run --ui` and `export --html` as programs."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from otel_agent_journal.bootstrap.serving import Door, checked_root, open_server
from otel_agent_journal.config import SERVE_TOKEN, settings_with
from otel_agent_journal.errors import ConfigError
from otel_agent_journal.store.sqlite import SqliteStore
from tests.processes import started
from tests.projections import told
from tests.server.served import keep

PROGRAM = [sys.executable, "-c", "from otel_agent_journal.cli import main; main()"]
WAIT_S = 60


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    file = tmp_path / "journal.db"
    store = SqliteStore(file)
    keep(store, [told.start("root", 1), told.end("root", 1, 2)])
    store.close()
    return file


@contextmanager
def running(*arguments: str, cwd: Path, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """A command that runs; killed in the end if it still does."""
    with started(
        [*PROGRAM, *arguments],
        cwd=cwd,
        env={**os.environ, **environ},
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        yield process


def line_of(stream) -> str:
    """The next line, within a bound of time."""
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append(stream.readline()), daemon=True)
    reader.start()
    reader.join(WAIT_S)
    assert found, "nothing was printed in time"
    return found[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_prints_its_link_and_ends_at_a_signal_open_streams_too(
    number: int, journal: Path, tmp_path: Path
) -> None:
    """The link is printed once it listens; SIGTERM and Ctrl-C end it at once, though a stream is open."""
    with running("serve", "--port", "0", "--store", f"sqlite:///{journal}", cwd=tmp_path) as process:
        link = line_of(process.stdout)
        found = re.fullmatch(r"(http://127\.0\.0\.1:\d+/)\?token=([\w-]{32})\n", link)
        assert found is not None, link
        headers = {"Authorization": f"Bearer {found[2]}", "Accept": "text/event-stream"}
        with (
            httpx.Client(base_url=found[1], headers=headers, timeout=WAIT_S, trust_env=False) as client,
            client.stream("GET", f"api/sessions/{told.SESSION}/events") as answer,
        ):
            lines = answer.iter_lines()
            assert next(lines) == "retry: 1000"
            process.send_signal(number)
            assert process.wait(WAIT_S) == 0
            for _ in lines:
                pass  # it ends
        assert process.stderr.read() == ""


def test_the_token_is_in_no_output_of_the_server(journal: Path, tmp_path: Path) -> None:
    """With a token of one's own, it is printed in the link alone; requests with it are not logged, even with -v."""
    token = "0123456789abcdef-of-a-test"
    environ = {SERVE_TOKEN: token}
    store = f"sqlite:///{journal}"
    with running("serve", "-v", "--port", "0", "--store", store, cwd=tmp_path, **environ) as process:
        link = line_of(process.stdout).strip()
        assert link.endswith(f"?token={token}")
        assert httpx.get(link, trust_env=False).status_code == 303
        assert httpx.get(link.replace("0123", "3210"), trust_env=False).status_code == 401
        process.terminate()
        out, err = process.communicate(timeout=WAIT_S)
        assert token not in out + err


def test_run_with_a_viewer_prints_the_link_before_the_program_starts(tmp_path: Path) -> None:
    """The link comes first, on stderr; the program's output and exit code are its own; without a browser it ends."""
    script = "import sys, time; print('mine'); sys.stderr.write('also mine\\n'); sys.exit(7)"
    with running("run", "--ui", "--", sys.executable, "-c", script, cwd=tmp_path) as process:
        out, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 7
    assert out == "mine\n"
    first = err.splitlines()[0]
    assert re.fullmatch(r"agent-journal: watch it at http://127\.0\.0\.1:\d+/latest\?token=[\w-]{32}", first)
    assert "also mine" in err


def test_run_without_what_the_viewer_needs_runs_all_the_same(tmp_path: Path) -> None:
    """Where the viewer cannot be had, that is said, and the program runs."""
    (tmp_path / "journal.db").mkdir()
    command = ("run", "--ui", "--store", f"sqlite:///{tmp_path}/journal.db", "--", sys.executable, "-c", "print(1)")
    with running(*command, cwd=tmp_path) as process:
        out, err = process.communicate(timeout=WAIT_S)
    assert (process.returncode, out) == (0, "1\n")
    assert "there is no viewer" in err


def test_beyond_this_machine_a_token_of_ones_own_is_needed(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listening for other machines needs a token that was given, and a long one; --no-token is for loopback alone."""
    settings = settings_with(store=f"sqlite:///{journal}")
    monkeypatch.delenv(SERVE_TOKEN, raising=False)
    for door in (Door(host="0.0.0.0"), Door(host="0.0.0.0", no_token=True)):
        with pytest.raises(ConfigError):
            open_server(settings, door)
    monkeypatch.setenv(SERVE_TOKEN, "short")
    with pytest.raises(ConfigError, match="shorter than 16"):
        open_server(settings, Door(host="0.0.0.0"))


@pytest.mark.parametrize("path", ["journal", "//evil", "/a?b", "/a b", '/"'])
def test_a_root_path_that_is_none_is_named(path: str) -> None:
    """What cannot stand before our paths is refused as it is given."""
    with pytest.raises(ConfigError, match="root-path"):
        checked_root(path)


def test_a_page_holds_the_session_and_fetches_nothing(journal: Path, tmp_path: Path) -> None:
    """The exported page has the tree and every step in its chunks, and a policy that lets nothing be fetched."""
    page = tmp_path / "page.html"
    with running("export", told.SESSION, "--store", f"sqlite:///{journal}", "--html", str(page), cwd=tmp_path) as one:
        out, err = one.communicate(timeout=WAIT_S)
    if one.returncode and "the viewer is not built" in err:
        pytest.skip("the viewer is not built")
    assert json.loads(out)["file"] == str(page)
    text = page.read_text()
    data = dict(re.findall(r'<script type="[a-z/]+" id="agent-journal-([a-z0-9-]+)">(.*?)</script>', text, re.DOTALL))
    index = json.loads(data["index"])
    chunk = json.loads(gzip.decompress(base64.b64decode(data["chunk-0"])))
    assert json.loads(data["file"])["session_id"] == told.SESSION
    assert set(index) == set(chunk) == {"tree", "", "messages", "events", "steps/root"}
    assert chunk["tree"]["rows"][0][0] == "root"
    assert "default-src 'none'" in text
    assert " src=" not in text.replace(data["file"], "").partition("</head>")[0]
