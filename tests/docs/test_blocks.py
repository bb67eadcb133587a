"""Every block marked `bash` or `python` runs, and every `text` block right below one is what it prints.

The blocks of a page run one after the other in one empty folder. A Python block whose first line is a file's name is
saved under that name, for the blocks after it. A `bash` block that leaves a job in the background shares its shell with
the `bash` blocks below it, up to the one that waits. What needs a server or an installation is marked `console`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, Block, blocks, name

LIMIT_S = 90
LANGUAGES = frozenset(("bash", "python", "text", "console", "json", "toml", ""))
RUNNABLE = [page for page in PAGES if any(block.language in ("bash", "python") for block in blocks(page.read_text()))]
_WORD = re.compile(r"[A-Za-z_]{3,}|[▶✓✗‼·]")


@dataclass
class Script:
    """What runs at once, and the outputs that the page shows of it. `file`: saved, not run."""

    language: str
    text: str
    line: int
    file: str | None = None
    shown: list[str] = field(default_factory=list)

    @property
    def leaves_a_job(self) -> bool:
        """Tell whether something it began in the background runs on when it ends."""
        begun = len(re.findall(r" &$", self.text, re.MULTILINE))
        return self.language == "bash" and begun > len(re.findall(r"^wait$", self.text, re.MULTILINE))


def scripts(found: list[Block]) -> list[Script]:
    """Return what a page's blocks have one run."""
    result: list[Script] = []
    above: Block | None = None
    for block in found:
        if block.language == "bash" and result and result[-1].leaves_a_job:
            result[-1].text += block.text
        elif block.language in ("bash", "python"):
            result.append(Script(block.language, block.text, block.line, block.file))
        elif block.language == "text" and above is not None and above.language in ("bash", "python"):
            result[-1].shown.append(block.text)
        above = block
    return result


def run(script: Script, folder: Path, there: Path = Path(sys.executable).parent) -> str:
    """Run a script in a folder, with the programs of an environment; return what it printed. All it began is ended."""
    if script.file is not None:
        (folder / script.file).write_text(script.text)
        return ""
    command = [there / "python", "-c", script.text] if script.language == "python" else ["bash", "-euc", script.text]
    env = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "AGENT_JOURNAL_"))} | {
        "PATH": f"{there}{os.pathsep}{os.environ['PATH']}",
        "AGENT_JOURNAL_OUTPUT": "table",
        "AGENT_JOURNAL_DEMO_PACE": "0.01",
        "COLUMNS": "160",
    }
    log = folder.parent / f"{folder.name}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            code = process.wait(LIMIT_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    printed = log.read_text()
    assert code == 0, f"line {script.line}: exit code {code}\n{printed}"
    return printed


def words(line: str) -> list[str]:
    """Return what stays the same from run to run: words and signs, no figures and no bars."""
    return [word for word in _WORD.findall(line) if word not in ("ago", "just", "min", "now")]


def not_printed(shown: str, printed: str) -> list[str]:
    """Return the lines of a text block whose words no printed line has; of one that ends in … as its beginning."""
    real = [[], *(words(line) for line in printed.splitlines())]
    begun = [line for line in shown.splitlines() if line.endswith("…")]
    whole = [line for line in shown.splitlines() if not line.endswith("…")]
    missing = [line for line in whole if words(line) not in real]
    return missing + [line for line in begun if not any(one[: len(words(line))] == words(line) for one in real)]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("page", RUNNABLE, ids=name)
def test_blocks_run(page: Path, tmp_path: Path) -> None:
    """Each runnable block ends well within its time, and prints every line that the page shows of it."""
    folder = tmp_path / "here"
    folder.mkdir()
    for script in scripts(blocks(page.read_text())):
        assert not script.leaves_a_job, f"line {script.line}: a job is never waited for"
        printed = run(script, folder)
        for shown in script.shown:
            assert not_printed(shown, printed) == [], f"line {script.line}, printed was:\n{printed}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_says_what_it_is(page: Path) -> None:
    """A block is marked as one of the languages that readers and this suite know, and JSON and TOML are such."""
    text = page.read_text()
    found = blocks(text)
    assert len(re.findall(r"^```", text, re.MULTILINE)) == 2 * len(found)
    for block in found:
        assert block.language in LANGUAGES, block.line
        if block.language == "json":
            json.loads(block.text)
        elif block.language == "toml":
            tomllib.loads(block.text)


@pytest.mark.parametrize("page", RUNNABLE, ids=name)
def test_saved_files_are_used(page: Path) -> None:
    """A Python block that is saved as a file is used by a block after it."""
    found = blocks(page.read_text())
    for number, block in enumerate(found):
        if block.file is not None:
            later = "".join(one.text for one in found[number + 1 :] if one.language in ("bash", "python"))
            assert block.file.removesuffix(".py") in later, block.file


def test_this_suite_sees_what_is_wrong(tmp_path: Path) -> None:
    """A block that fails, hangs on in the background, or prints something else is noticed."""
    page = "```bash\nsleep 100 &\n```\n\n```text\nnever shown\n```\n\n```bash\necho said 5 things\nwait\n```\n"
    (script,) = scripts(blocks(page))
    assert script.text.count("\n") == 3
    assert script.shown == ["never shown\n"]
    (left,) = scripts(blocks("```bash\nsleep 100 &\n```\n"))
    assert left.leaves_a_job
    assert run(Script("bash", "echo said 5 things", 1), tmp_path) == "said 5 things\n"
    assert not_printed("said 7 things\n\n", "said 5 things\n") == []
    assert not_printed("said 7 words\n", "said 5 things\n") == ["said 7 words"]
    assert not_printed("said 7 …\n", "said 5 things\n") == []
    assert not_printed("never 7 …\n", "said 5 things\n") == ["never 7 …"]
    with pytest.raises(AssertionError, match="exit code 1"):
        run(Script("python", "raise SystemExit(1)", 1), tmp_path)
    with pytest.raises(AssertionError, match="exit code 3"):
        run(Script("bash", "(exit 3)\necho not reached", 1), tmp_path)
