"""`agent-journal context`: what the agents of a session have in their context, now or at an earlier point."""

from __future__ import annotations

from typing import Any

import click

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation


@click.command("context", short_help="Show the messages and the state of a session's agents, at any point.")
@click.argument("session", required=False, metavar="SESSION[@STEP]")
@click.option("--point", "sequence", metavar="SEQ", help="Behind an event of the agent's context, [INSTANCE:]SEQ.")
@common_options
@pass_invocation
def command(invocation: Invocation, session: str | None, sequence: str | None) -> None:
    """Show the messages and the state of a session's agents, at any point.

    STEP is a number that `show` prints, or another name of a step: what the agents had in their context before it. For
    agents that keep it in the journal; what any model was given, `show SESSION/STEP --prompt` says.
    """
    from otel_agent_journal.bootstrap.contexts import said_by
    from otel_agent_journal.cli import messages
    from otel_agent_journal.cli.choosing import need_session
    from otel_agent_journal.cli.going_back import found_point
    from otel_agent_journal.cli.lines import preview

    output = invocation.output()
    journal = invocation.journal()
    if not session:
        raise need_session(journal, "context")
    head, point = found_point(journal, session, sequence=sequence, option="--point")
    for cut in point.cuts:
        agent = cut.agent
        said = said_by(journal.store, agent, cut.count, cut.checkpoints)
        if not output.for_people:
            record: dict[str, Any] = {
                "session_id": head.session_id,
                "instance_id": agent.instance_id,
                "agent": agent.name,
                "framework": agent.framework or None,
                "seq": cut.count - 1,
                "messages": said.messages,
                "state": said.state,
            }
            output.record(record)
            continue
        kept = f"{agent.framework} " if agent.framework else ""
        where = "" if point.number is None else f" before step {point.number}"
        head_line = f"{kept}agent {readable.one_line(agent.name)}{where}"
        count = readable.plural(len(said.messages), "message")
        output.text(f"{output.paint(head_line, 'bold')}  {count}  {agent.instance_id}:{cut.count - 1}")
        for text in messages.transcript(output, map(messages.as_shown, said.messages)):
            output.text(text)
        if said.state:
            output.text(output.paint("state", "bold"))
            for name, value in said.state.items():
                output.text(f"  {readable.one_line(name)}: {readable.one_line(preview(value), 400)}")
