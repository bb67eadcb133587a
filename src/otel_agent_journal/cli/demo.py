"""`agent-journal demo`: a small agent of one of the frameworks, live, then its tree and what to try next."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
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


@click.command("demo", short_help="Run a small agent live, no key and no account needed.")
@click.option(
    "--framework",
    type=click.Choice(list(SHOWS)),
    default="langgraph",
    show_default=True,
    help="Which kind of agent.",
)
@click.option("--otlp", metavar="URL", help="Forward its spans there, as http://localhost:4318.")
@click.option("--session", metavar="ID", help="Journal it under this session id.")
@common_options
@pass_invocation
def command(invocation: Invocation, framework: str, otlp: str | None, session: str | None) -> int:
    """Run a small agent live, no key and no account needed.

    The framework is the real one, the model is scripted; those of AWS talk to a local server in Bedrock's own format.
    Shows its steps as they begin and end, then the tree, and what to try next.
    """
    from otel_agent_journal.bootstrap import run_agent
    from otel_agent_journal.errors import MissingExtra

    show = SHOWS[framework]
    if find_spec(show.needs) is None:
        raise MissingExtra(f"this demo is a {framework} agent; {show.needs}", f"otel-agent-journal[{show.extra}]")
    if invocation.format is None and not os.environ.get("AGENT_JOURNAL_OUTPUT"):
        invocation.format = "table"  # a show for people, in a pipe too
    output = invocation.output()
    settings = invocation.settings(otlp=otlp, session=session)
    live = _Live(output)
    with tempfile.TemporaryFile("w+") as answer:
        code = run_agent(
            settings,
            [sys.executable, "-m", f"otel_agent_journal.testing.{show.module}"],
            watch=live.show,
            stdin=subprocess.DEVNULL,
            stdout=answer,
        )
        answer.seek(0)
        said = answer.read().strip()
    if output.for_people and live.session_id is not None:
        _epilogue(invocation, output, live.session_id, said, show, otlp)
    return code


class _Live:
    """Prints events as they are delivered; remembers the session."""

    def __init__(self, output: Output) -> None:
        from otel_agent_journal.cli.lines import EventLines

        self.session_id: str | None = None
        self._output = output
        self._lines = EventLines(output, sessions=False)

    def show(self, events: Sequence[JournalEvent]) -> None:
        from otel_agent_journal.codec import encode_line

        for event in events:
            self.session_id = event.session_id
            if self._output.for_people:
                self._lines.show(event)
        if not self._output.for_people:
            self._output.encoded(encode_line(event) for event in events)


def _epilogue(invocation: Invocation, output: Output, session_id: str, said: str, show: Show, otlp: str | None) -> None:
    from otel_agent_journal.cli.readable import one_line
    from otel_agent_journal.cli.show import print_tree

    journal = invocation.journal(adopt=False)
    output.text("")
    output.text(f"the agent answered: {one_line(said)}")
    output.text("")
    print_tree(output, journal, journal.session(session_id))
    tries = [
        (f"agent-journal show {session_id[:8]}/{show.step}", "one step in full: what went in, what came out"),
        (f"agent-journal show {session_id[:8]} --messages", "what was said"),
        ("agent-journal ls", "all sessions; in a pipe, JSON lines"),
        ("agent-journal tail -f", "every step as it begins and ends, in a second terminal"),
        ("agent-journal run -- python my_agent.py", "your own agent, no line of it changed"),
    ]
    if otlp is None:
        tries.append(("agent-journal demo --otlp http://localhost:4318", "the same, and its trace in Jaeger"))
    tries += [
        (f"agent-journal demo --framework {name}", "another framework")
        for name, other in SHOWS.items()
        if other is not show and find_spec(other.needs) is not None
    ][:1]
    width = max(len(command) for command, _ in tries)
    output.text("")
    output.text("what to try next:")
    for what, why in tries:
        output.text(f"  {what:<{width}}  {why}")
