"""`agent-journal resume`: run a program that goes on with a session, from where that stands."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import click

from otel_agent_journal.cli.going_back import once_option
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.cli.operating import agree, yes_option
from otel_agent_journal.pasting import pasted

if TYPE_CHECKING:
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.reading.journal import Journal
    from otel_agent_journal.reading.tool_calls import ToolCall

_NO_CONTEXT: Final = (
    "no agent of it has a context in the journal, so the program begins anew; what keeps one: JournalSaver(),"
    " JournalSessionManager(), ContextService(), agent-journal run --checkpoint"
)


@click.command("resume", short_help="Run a program that goes on with a session, from where that stands.")
@click.option("--otlp", metavar="URL", help="Forward spans there, as http://localhost:4318. [env: AGENT_JOURNAL_OTLP]")
@click.option("--checkpoint", is_flag=True, help="As for run; by itself where the session has a thread.")
@once_option
@yes_option
@click.argument("session", required=False)
@click.argument("cmd", nargs=-1, type=click.UNPROCESSED, metavar="-- CMD...")
@common_options
@pass_invocation
def command(
    invocation: Invocation,
    otlp: str | None,
    checkpoint: bool,
    once: bool,
    yes: bool,
    session: str | None,
    cmd: tuple[str, ...],
) -> int:
    """Run a program that goes on with a session, from where that stands.

    Its agents keep their context in the journal: LangGraph by JournalSaver, Strands by JournalSessionManager, others by
    ContextService. One that had not finished goes on with what was left; tool calls that were completed are not made
    again. As in: agent-journal resume reading-7 -- python my_agent.py
    """
    from otel_agent_journal.bootstrap import run_agent
    from otel_agent_journal.bootstrap.going_back import not_running, resume_of, settle
    from otel_agent_journal.bootstrap.resuming import resume_for_env
    from otel_agent_journal.cli.choosing import need_session
    from otel_agent_journal.config import CHECKPOINT, RESUME
    from otel_agent_journal.reading.agents import agents_of
    from otel_agent_journal.reading.points import LANGGRAPH

    journal = invocation.journal()
    if not session:
        raise need_session(journal, "resume")
    settle(journal)
    head, step = journal.session_and_step(session)
    if step is not None:
        raise click.UsageError(
            f"'resume' goes on from the end of a session; to go on from step {step}, fork it, or rewind it:"
            f" agent-journal copy {pasted(session)}, agent-journal overwrite {pasted(session)}"
        )
    if not cmd:
        raise click.UsageError(
            "'resume' needs the program that goes on, as in:"
            f" agent-journal resume {pasted(head.session_id)} -- python my_agent.py"
        )
    not_running(journal, head)
    agents = list(agents_of(journal.store, head.session_id))
    anew, checkpoint = not agents, checkpoint or any(one.framework == LANGGRAPH for one in agents)
    _agree_to_repeat(journal, head, anew=anew, once=once, yes=yes)
    asked = resume_of(journal, head, once=once)
    environ = {**os.environ, RESUME: resume_for_env(asked), **({CHECKPOINT: "on"} if checkpoint else {})}
    return run_agent(invocation.settings(otlp=otlp, session=head.session_id), cmd, env=environ)


def _agree_to_repeat(journal: Journal, head: SessionHead, *, anew: bool, once: bool, yes: bool) -> None:
    """Show what of the world may be changed once more, and ask."""
    from otel_agent_journal.cli.going_back import happened_after, shown
    from otel_agent_journal.reading.tool_calls import distinct, tree_with_tools
    from otel_agent_journal.reading.turns import turns_of

    tree = tree_with_tools(journal.events(head.session_id), lost_writers=journal.silent(head))
    turns = [] if once else list(turns_of(journal.store.read(head.session_id)))
    last_ns = max((turn.turned_ns for turn in turns if turn.base == head.session_id), default=0)
    own = happened_after(journal, head, last_ns)
    last_run_ns = max((root.last.start_ns for root in tree.roots), default=0)  # what runs before it left is done with
    left_open = [one for one in own if one.outcome in (None, "interrupted") and one.start_ns >= last_run_ns]
    open_calls = own if anew else left_open
    repeated: list[ToolCall] = []
    for turn in turns:
        if any(root.last.start_ns > turn.turned_ns for root in tree.roots):
            continue  # it was gone on from already
        base = head if turn.base == head.session_id else journal.exact(turn.base)
        after = [] if base is None else happened_after(journal, base, turn.at_ns)
        repeated += [one for one in after if base is not head or one.start_ns < turn.turned_ns]
    repeated = distinct(repeated)
    if anew or open_calls or repeated:
        lines = [_NO_CONTEXT, *shown([*open_calls, *repeated])] if anew else [*shown([*open_calls, *repeated])]
        if repeated:
            lines.append("--once serves what was returned, and calls nothing twice")
        agree(f"to go on with {head.session_id}, which may do again what has happened already", lines, yes=yes)
