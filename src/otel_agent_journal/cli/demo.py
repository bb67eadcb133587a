"""`agent-journal demo`: a small research agent, live, then its tree and what to try next."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.event import JournalEvent

AGENT = "otel_agent_journal.testing.demo_agent"


@click.command("demo", short_help="Run a small research agent live, no key and no account needed.")
@click.option("--otlp", metavar="URL", help="Forward its spans there, as http://localhost:4318.")
@click.option("--session", metavar="ID", help="Journal it under this session id.")
@common_options
@pass_invocation
def command(invocation: Invocation, otlp: str | None, session: str | None) -> int:
    """Run a small research agent live, no key and no account needed.

    A real LangGraph agent on a scripted model: a subgraph, a fan-out, tools of which one fails and is retried. Shows
    its steps as they begin and end, then the tree, and what to try next.
    """
    from otel_agent_journal.bootstrap import run_agent
    from otel_agent_journal.errors import MissingExtra

    if find_spec("langgraph") is None:
        raise MissingExtra("the demo is a LangGraph agent; langgraph", "otel-agent-journal[langgraph]")
    if invocation.format is None and not os.environ.get("AGENT_JOURNAL_OUTPUT"):
        invocation.format = "table"  # a show for people, in a pipe too
    output = invocation.output()
    settings = invocation.settings(otlp=otlp, session=session)
    live = _Live(output)
    with tempfile.TemporaryFile("w+") as answer:
        code = run_agent(
            settings,
            [sys.executable, "-m", AGENT],
            watch=live.show,
            stdin=subprocess.DEVNULL,
            stdout=answer,
        )
        answer.seek(0)
        said = answer.read().strip()
    if output.for_people and live.session_id is not None:
        _epilogue(invocation, output, live.session_id, said, otlp)
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
                self._output.text(self._lines.line(event))
        if not self._output.for_people:
            self._output.encoded(encode_line(event) for event in events)


def _epilogue(invocation: Invocation, output: Output, session_id: str, said: str, otlp: str | None) -> None:
    from otel_agent_journal.cli.show import print_tree

    journal = invocation.journal(adopt=False)
    output.text("")
    output.text(f"the agent answered: {said}")
    output.text("")
    print_tree(output, journal, journal.session(session_id))
    tries = [
        (f"agent-journal show {session_id[:8]}/write_up", "one step in full: what went in, what came out"),
        (f"agent-journal show {session_id[:8]} --messages", "what was said"),
        ("agent-journal ls", "all sessions; in a pipe, JSON lines"),
        ("agent-journal tail -f", "every step as it begins and ends, in a second terminal"),
        ("agent-journal run -- python my_agent.py", "your own agent, no line of it changed"),
    ]
    if otlp is None:
        tries.append(("agent-journal demo --otlp http://localhost:4318", "the same, and its trace in Jaeger"))
    width = max(len(command) for command, _ in tries)
    output.text("")
    output.text("what to try next:")
    for what, why in tries:
        output.text(f"  {what:<{width}}  {why}")
