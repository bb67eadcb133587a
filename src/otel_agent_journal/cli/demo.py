"""`agent-journal demo`: a small agent of one of the frameworks, live, then its tree and what to try next."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.event import JournalEvent


class Show(NamedTuple):
    """What the demo of one framework runs and needs."""

    module: str
    needs: str  # the package that is imported
    extra: str
    step: str  # one worth looking into


SHOWS = {
    "langgraph": Show("demo_agent", "langgraph", "langgraph", "write_up"),
    "strands": Show("demo_strands", "strands", "strands", "read_traces"),
    "bedrock-agent": Show("demo_bedrock_agent", "boto3", "bedrock-agents", "code_interpreter"),
    "agentcore": Show("demo_agentcore", "bedrock_agentcore", "agentcore", "weather"),
}


_COMMAND_WIDTH = 80  # a longer one does not push what is said of the others to the right
_MODULE = "otel_agent_journal.testing"
FAILING = Show("demo_refunds", "langgraph", "langgraph", "refund")


@click.command("demo", short_help="Run a small agent live, no key and no account needed.")
@click.option(
    "--framework",
    type=click.Choice(list(SHOWS)),
    default="langgraph",
    show_default=True,
    help="Which kind of agent.",
)
@click.option("--fail", is_flag=True, help="An agent that fails, to find out why.")
@click.option("--otlp", metavar="URL", help="Forward its spans there, as http://localhost:4318.")
@click.option("--session", metavar="ID", help="Journal it under this session id.")
@click.option("--ui", is_flag=True, help="Show it live in a browser, too: prints the link.")
@click.option("--ui-stay/--no-ui-stay", default=None, help="With --ui: whether it is served after the end, too.")
@common_options
@pass_invocation
def command(
    invocation: Invocation,
    framework: str,
    fail: bool,
    otlp: str | None,
    session: str | None,
    ui: bool,
    ui_stay: bool | None,
) -> int:
    """Run a small agent live, no key and no account needed.

    The framework is the real one, the model is scripted; those of AWS talk to a local server in Bedrock's own format.
    Shows its steps as they begin and end, then the tree, and what to try next.
    """
    from otel_agent_journal.bootstrap import run_agent
    from otel_agent_journal.bootstrap.watched_run import run_watched
    from otel_agent_journal.config import CHECKPOINT
    from otel_agent_journal.errors import MissingExtra

    if fail and (framework != "langgraph" or session):
        raise click.UsageError("--fail is one agent of LangGraph, whose sessions have ids of their own")
    show = FAILING if fail else SHOWS[framework]
    if find_spec(show.needs) is None:
        raise MissingExtra(f"this demo is a {framework} agent; {show.needs}", f"otel-agent-journal[{show.extra}]")
    if invocation.format is None and not os.environ.get("AGENT_JOURNAL_OUTPUT"):
        invocation.format = "table"  # a show for people, in a pipe too
    output = invocation.output()
    settings = invocation.settings(otlp=otlp, session=session)
    live = _Live(output, sessions=fail)
    with tempfile.TemporaryFile("w+") as answer:

        def ended() -> None:
            answer.seek(0)
            said = answer.read().strip()
            if output.for_people and live.sessions:
                _epilogue(invocation, output, list(live.sessions), said, show, otlp)
            output.flush()

        run = partial(run_watched, stay=ui_stay, ended=ended) if ui else run_agent
        code = run(
            settings,
            [sys.executable, "-m", f"{_MODULE}.{show.module}"],
            watch=live.show,
            stdin=subprocess.DEVNULL,
            stdout=answer,
            env={**os.environ, **({CHECKPOINT: "on"} if fail else {})},  # so that it can be resumed
        )
        if not ui:
            ended()
    return code


class _Live:
    """Prints events as they are delivered; remembers their sessions."""

    def __init__(self, output: Output, *, sessions: bool) -> None:
        from otel_agent_journal.cli.lines import EventLines

        self.sessions: dict[str, None] = {}  # in the order in which they began
        self._output = output
        self._lines = EventLines(output, sessions=sessions)

    def show(self, events: Sequence[JournalEvent]) -> None:
        from otel_agent_journal.codec import encode_line

        for event in events:
            self.sessions.setdefault(event.session_id)
            if self._output.for_people:
                self._lines.show(event)
        if not self._output.for_people:
            self._output.encoded(encode_line(event) for event in events)


def _epilogue(
    invocation: Invocation, output: Output, sessions: list[str], said: str, show: Show, otlp: str | None
) -> None:
    from otel_agent_journal.cli.readable import one_line
    from otel_agent_journal.cli.show import print_tree

    journal = invocation.journal(adopt=False)
    output.text("")
    for line in said.splitlines():
        output.text(f"the agent answered: {one_line(line)}")
    output.text("")
    print_tree(output, journal, journal.session(sessions[-1]))
    tries = _tries_of_failure(*sessions[-2:]) if show is FAILING else _tries(sessions[-1], show, otlp)
    tries = [(what.replace("agent-journal", _as_typed("agent-journal", sys.argv[0]), 1), why) for what, why in tries]
    width = max((len(what) for what, _ in tries if len(what) <= _COMMAND_WIDTH), default=0)
    output.text("")
    output.text("what to try next:")
    for what, why in tries:
        output.text(f"  {what:<{width}}  {why}")


def _as_typed(name: str, file: str) -> str:
    """Return what a shell finds a program by: its name where that is on the path, else its file."""
    found = shutil.which(name)
    there = found is not None and Path(file).exists() and Path(found).samefile(file)
    return name if there or not Path(file).exists() else shlex.quote(file)


def _tries(session_id: str, show: Show, otlp: str | None) -> list[tuple[str, str]]:
    tries = [
        (f"agent-journal show {session_id[:8]}/{show.step}", "one step in full: what went in, what came out"),
        (f"agent-journal show {session_id[:8]} --messages", "what was said"),
        ("agent-journal ls", "all sessions; in a pipe, JSON lines"),
        ("agent-journal tail -f", "every step as it begins and ends, in a second terminal"),
        ("agent-journal run -- python my_agent.py", "your own agent, no line of it changed"),
    ]
    if find_spec("starlette") is not None:
        tries.insert(3, ("agent-journal serve --open", "the same in a browser, and all sessions, live"))
    if otlp is None:
        tries.append(("agent-journal demo --otlp http://localhost:4318", "the same, and its trace in Jaeger"))
    if find_spec(FAILING.needs) is not None:
        tries.append(("agent-journal demo --fail", "an agent that fails, to find out why"))
    others = (name for name, other in SHOWS.items() if other is not show and find_spec(other.needs) is not None)
    return tries + [(f"agent-journal demo --framework {name}", "another framework") for name in others][:1]


def _tries_of_failure(good: str, failed: str) -> list[tuple[str, str]]:
    python = _as_typed("python", sys.executable)
    return [
        ("agent-journal ls --status error", "the sessions that failed"),
        (f"agent-journal show {failed}/refund", "the step that failed: what went in, and the line of code"),
        (f"agent-journal show {failed}/7 --prompt", "what the model was given just before"),
        (f"agent-journal diff {good} {failed}", "how it differs from one that went well"),
        (f"agent-journal resume {failed} -- {python} -m {_MODULE}.{FAILING.module} --fixed 1007", "go on, mended"),
    ]
