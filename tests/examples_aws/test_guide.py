"""`docs/debugging-a-workflow.md`: every command of it runs, and gives what the page shows of it.

The AWS CLI is not needed: what a command says is passed to the API it is for, its `--query` applied to the answer.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

import jmespath
import pytest
from botocore import xform_name

from otel_agent_journal_dynamodb.keys import session_key
from tests.docs.pages import ROOT, blocks
from tests.examples_aws import stack
from tests.examples_aws.conftest import World
from tests.examples_aws.function import Function

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("aws")]

GUIDE: Final = ROOT / "docs" / "debugging-a-workflow.md"
BIN: Final = Path(sys.executable).parent
FLAGS: Final = {"--consistent-read": True, "--no-scan-index-forward": False}
NAMES: Final = {"central", "journal", "workflow"}  # of the page's region and state machine
_WORD: Final = re.compile(r"[A-Za-z_]{3,}|[▶✓✗‼·]")


class Command(NamedTuple):
    """A command of the page, and the lines that it shows below it."""

    text: str
    shown: list[str]


def commands() -> list[Command]:
    """Return the page's commands, in order."""
    found: list[Command] = []
    for block in blocks(GUIDE.read_text()):
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            lines = part.rstrip("\n").split("\n")
            end = next(count for count in range(1, len(lines) + 1) if _whole("\n".join(lines[:count])))
            found.append(Command("\n".join(lines[:end]), lines[end:]))
    return found


def _whole(text: str) -> bool:
    """Tell whether a command goes on in the next line."""
    return text.count("'") % 2 == 0 and text.count('"') % 2 == 0 and not text.endswith("\\")


def words(command: str, env: dict[str, str]) -> list[str]:
    """Return a command's words as a shell makes them."""
    script = f"set -- {command}\nprintf '%s\\0' \"$@\""
    done = subprocess.run(["bash", "-uc", script], env=env, capture_output=True, text=True, check=True)
    return done.stdout.split("\0")[:-1]


def asked(client: Any, operation: str, options: list[str]) -> tuple[dict[str, Any], str]:
    """Return an AWS CLI command's options as the API's parameters, and its `--query`."""
    shape = client.meta.service_model.operation_model(
        client.meta.method_to_api_mapping[operation.replace("-", "_")]
    ).input_shape
    names = {"--" + xform_name(name, "-"): name for name in shape.members}
    parameters: dict[str, Any] = {}
    query, left = "", list(options)
    while left:
        option = left.pop(0)
        if option in FLAGS:
            parameters[names[option.replace("--no-", "--")]] = FLAGS[option]
            continue
        value = left.pop(0)
        if option == "--query":
            query = value
        elif option == "--output":
            assert value == "text"
        else:
            kind = shape.members[names[option]].type_name
            parameters[names[option]] = {"map": json.loads, "integer": int}.get(kind, str)(value)
    return parameters, query


def as_text(found: Any) -> str:
    """Return a result as `--output text` prints it, as far as the page needs it."""
    rows = found if isinstance(found, list) and found and isinstance(found[0], list) else [found]
    lines = [row if isinstance(row, list) else [row] for row in rows]
    return "\n".join("\t".join(str(cell) for cell in line) for line in lines)


def run(world: World, command: Command, env: dict[str, str]) -> str:
    """Run a command and return what it prints."""
    program, *rest = words(command.text, env)
    if program == "export":
        return ""
    if program == "aws":
        service, operation, *options = rest
        client = {"dynamodb": world.dynamodb, "stepfunctions": world.states}[service]
        parameters, query = asked(client, operation, options)
        answer = getattr(client, operation.replace("-", "_"))(**parameters)
        return as_text(jmespath.search(query, answer))
    assert program == "agent-journal"
    done = subprocess.run([str(BIN / program), *rest], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command.text, done.stderr)
    return done.stdout


def test_guide(world: World, tmp_path: Path) -> None:
    """Each command of the guide, on a session that failed as the guide's has, says what the guide shows."""
    function = Function(world.table, world.endpoint, tmp_path)
    done = world.run(function, question="What is the price?", max_looks=1, waits=True)
    assert done["status"] == "FAILED", function.results
    env = {
        **function.env,
        "PATH": os.environ["PATH"],
        "AGENT_JOURNAL_STORE": world.url,
        "AGENT_JOURNAL_OUTPUT": "table",
        "COLUMNS": "180",
        "TABLE": world.table,
        "SESSION": done["name"],
        "WORKFLOW": done["stateMachineArn"],
    }
    found = commands()
    assert len(found) > 20
    for command in found:
        said = run(world, command, env)
        told = set(_WORD.findall(said.replace(done["name"], "ticket-8")))
        shown = set(_WORD.findall("\n".join(command.shown))) - NAMES
        assert shown <= told, (command.text, shown - told, said)


def test_guide_is_whole() -> None:
    """Every error that the workflow can end with stands in the guide's table."""
    guide = GUIDE.read_text()
    states = json.loads(stack.WORKFLOW.read_text())["States"]
    ends = {state["Parameters"]["type"] for state in states.values() if "type" in state.get("Parameters", ())}
    assert ends == {"AgentFailed", "AgentNeverEnded"}
    for name in (*ends, *re.findall(r'"S": "([A-Z_]{8,})"', stack.WORKFLOW.read_text())):
        assert name in guide, name


def test_words() -> None:
    """The page's commands are read as a shell reads them."""
    env = {"PATH": os.environ["PATH"], "SESSION": "s-1"}
    assert words("""a --b '{":s": {"S": "SESSION#'$SESSION'"}}' \\\n  c""", env) == [
        "a",
        "--b",
        '{":s": {"S": "SESSION#s-1"}}',
        "c",
    ]
    assert shlex.split("a 'b c'") == words("a 'b c'", env)


def test_overlooked(world: World) -> None:
    """Events that only other programs wrote are in the session's own commands, and in none that is of all sessions."""
    done = world.run(lambda payload: None, max_looks=1)
    env = {**os.environ, "AGENT_JOURNAL_STORE": world.url, "AGENT_JOURNAL_OUTPUT": "table", "COLUMNS": "200"}

    def says(*arguments: str) -> str:
        told = subprocess.run([BIN / "agent-journal", *arguments], env=env, capture_output=True, text=True, check=False)
        return told.stdout

    assert "SESSION_FAILED" in says("show", done["name"], "--events")
    assert "ERROR" in says("status", done["name"])
    assert done["name"] not in says("ls")
    assert done["name"] not in says("tail", "-o", "jsonl", "-n", "10000")
    tailed = says("tail", done["name"])
    assert tailed.index("SESSION_INITIATED") < tailed.index("SESSION_FAILED")
    assert "SESSION_INITIATED" not in says("tail", done["name"], "-n", "1")
    assert session_key("ticket 8") == "SESSION#ticket%208"
