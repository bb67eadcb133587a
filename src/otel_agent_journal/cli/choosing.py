"""Which session, which step: what was named on the command line, or what to say where that names none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_agent_journal.cli.contract import CliError

if TYPE_CHECKING:
    from otel_agent_journal.projections.steps import Step, StepTree
    from otel_agent_journal.reading.journal import Journal

_MAX_NAMED: Final = 5  # candidates that an error names
_NOT_FOUND: Final = 3


def find_step(tree: StepTree, text: str) -> Step:
    """Return the step with this id or number, the only one of this name, or the only one whose id begins so.

    Raises:
        CliError: none or several; exit code 3.
    """
    steps = tree.steps
    exact = [step for step in steps if step.step_id == text or str(step.number) == text]
    near = (
        exact
        or [step for step in steps if step.name == text]
        or [step for step in steps if step.step_id.startswith(text)]
    )
    if len(near) == 1:
        return near[0]
    if not near:
        names = ", ".join(dict.fromkeys(step.name for step in steps[:50] if step.name))
        raise CliError(f"no step matches '{text}'; steps here: {names or 'none'}; their ids: show SESSION", _NOT_FOUND)
    named = ", ".join(f"{step.number} {step.name} {step.step_id}" for step in near[:_MAX_NAMED])
    more = ", …" if len(near) > _MAX_NAMED else ""
    raise CliError(f"{len(near)} steps match '{text}': {named}{more}; give the number, or the id", _NOT_FOUND)


def need_session(journal: Journal, command: str) -> CliError:
    """Return the usage error of a command that was given no session; it names the newest."""
    newest = journal.newest()
    if newest is None:
        return CliError(f"'{command}' needs a session, and the journal {journal.store.url} is empty", 2)
    return CliError(
        f"'{command}' needs a session; the newest is {newest.session_id}: agent-journal {command} {newest.session_id}",
        2,
    )
