"""Steps by the names that people give them: their numbers, `search.2`, names, kinds, ids, and the beginnings of these.

A name that says most comes first, so that none hides another: an id or a number, a name, the second of a name or kind,
a kind, the beginning of an id, the beginning of a name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from otel_agent_journal.errors import StoreError
from otel_agent_journal.pasting import pasted
from otel_agent_journal.projections.steps import Step, StepTree

_MAX_NAMED: Final = 8  # candidates that an error names
_MAX_NAMES: Final = 20  # names of steps that an error lists
_NS_PER_S: Final = 1_000_000_000


class NoSuchStep(StoreError):
    """No step of a session has this name."""

    exit_code = 3

    def __init__(self, text: str, message: str, session_id: str) -> None:
        super().__init__(message)
        self.text = text
        self.session_id = session_id


class SeveralSteps(NoSuchStep):
    """Several steps of a session have this name: `numbers` are theirs."""

    def __init__(self, text: str, message: str, session_id: str, numbers: tuple[int, ...]) -> None:
        super().__init__(text, message, session_id)
        self.numbers = numbers


def find_step(tree: StepTree, text: str, session_id: str = "SESSION") -> Step:
    """Return the one step of this name.

    Args:
        tree: the session's.
        text: its number, its id, its name, its name or kind with a count behind (`model.2`), its kind where only one
            step is of that, or the beginning of its id or name.
        session_id: for messages.

    Raises:
        NoSuchStep: there is none; says which there are.
        SeveralSteps: there are several; lists them with number, time and outcome.
    """
    steps = tree.steps
    for chosen in _READINGS:
        near = chosen(steps, text)
        if len(near) == 1:
            return near[0]
        if near:
            raise _several(near, text, session_id)
    names = list(dict.fromkeys(step.name for step in steps if step.name))
    named = ", ".join(names[:_MAX_NAMES]) + (", …" if len(names) > _MAX_NAMES else "")
    raise NoSuchStep(
        text,
        f"session {session_id} has no step '{text}'; it has {f'1 to {len(steps)}: {named}' if steps else 'none'}",
        session_id,
    )


def _exact(steps: Sequence[Step], text: str) -> list[Step]:
    return [step for step in steps if step.step_id == text or str(step.number) == text]


def _of_name(steps: Sequence[Step], text: str) -> list[Step]:
    return [step for step in steps if step.name == text]


def _counted(steps: Sequence[Step], text: str) -> list[Step]:
    """Return the step that `NAME.2` or `kind.2` names: the second one, in order of their numbers."""
    name, dot, count = text.rpartition(".")
    if not (dot and name and count.isascii() and count.isdecimal()):
        return []
    near = _of_name(steps, name) or _of_kind(steps, name)
    return near[int(count) - 1 : int(count)] if int(count) else []


def _of_kind(steps: Sequence[Step], text: str) -> list[Step]:
    return [step for step in steps if step.kind.lower() == text.lower()]


def _id_beginning(steps: Sequence[Step], text: str) -> list[Step]:
    return [step for step in steps if text and step.step_id.startswith(text)]


def _name_beginning(steps: Sequence[Step], text: str) -> list[Step]:
    return [step for step in steps if text and step.name.lower().startswith(text.lower())]


_READINGS: Final[tuple[Callable[[Sequence[Step], str], list[Step]], ...]] = (
    _exact,
    _of_name,
    _counted,
    _of_kind,
    _id_beginning,
    _name_beginning,
)


def _several(near: Sequence[Step], text: str, session_id: str) -> SeveralSteps:
    named = "; ".join(_told(step) for step in near[:_MAX_NAMED])
    more = f"; and {len(near) - _MAX_NAMED} more" if len(near) > _MAX_NAMED else ""
    return SeveralSteps(
        text,
        f"{len(near)} steps of session {session_id} match '{text}': {named}{more};"
        f" name one by its number, as {pasted(f'{session_id}/{near[0].number}')}",
        session_id,
        tuple(step.number for step in near),
    )


def _told(step: Step) -> str:
    moment = datetime.fromtimestamp(step.start_ns // _NS_PER_S, tz=UTC).astimezone()
    return f"{step.number} {step.kind.lower()} {step.name} {moment:%H:%M:%S} {step.status}"
