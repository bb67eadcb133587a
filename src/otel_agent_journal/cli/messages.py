"""A conversation for people: roles, words, calls of tools, turns; what is long and beside the point is folded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import msgspec

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.wrapping import wrapped
from otel_agent_journal.codec import encode_value, parse_timestamp
from otel_agent_journal.projections.prompt import messages_in
from otel_agent_journal.reading.blocks import DATA, MEDIUM, REASONING, blocks_of
from otel_agent_journal.reading.conversation import KEYS, as_row, as_text
from otel_agent_journal.reading.gists import call_in_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.projections.steps import Step, StepTree

__all__ = ["KEYS", "Turns", "as_shown", "of_call", "prompt_lines", "transcript"]

_COLORS: Final = {"user": "cyan", "assistant": "green", "tool": "magenta", "system": "yellow"}
_MARKS: Final = {"ok": "✓", "error": "✗", "cancelled": "◼", "interrupted": "‼", "running": "▶"}
_FOLDED: Final = {"system": (3, 300), REASONING: (2, 200), "tool": (20, 2000)}  # lines, characters that are shown
_LONGEST_CALL: Final = 300  # characters; of a call that is longer each argument has a line
_LONGEST_VALUE: Final = 2000


class Turn(NamedTuple):
    """A root step: a run of the session's agent."""

    number: int
    step: Step


class Turns:
    """Which turn of a session each of its steps is of, and which agent of it."""

    def __init__(self, tree: StepTree) -> None:
        self.numbers = {step.step_id: step.number for step in tree.steps}
        self._turns: dict[str, Turn] = {}
        self._agents: dict[str, str] = {}
        self.count = len(tree.roots)
        turn, number = None, 0
        above: list[Step] = []
        for step in tree.walk():
            if step.depth == 0:
                number += 1
                turn = Turn(number, step)
            del above[step.depth :]
            agents = [one for one in above[1:] if one.kind == "AGENT"]
            above.append(step)
            if turn is not None:
                self._turns.setdefault(step.step_id, turn)
            if agents:
                self._agents.setdefault(step.step_id, agents[-1].name)

    def of(self, step_id: str | None) -> Turn | None:
        """Return the turn of a step."""
        return self._turns.get(step_id or "")

    def agent(self, step_id: str | None) -> str | None:
        """Return the agent within the turn that a step is of; None of one that is of the turn's own."""
        return self._agents.get(step_id or "")

    def last(self, count: int) -> set[str]:
        """Return the steps of the last turns."""
        return {step_id for step_id, turn in self._turns.items() if turn.number > self.count - count}


def of_call(step: Step, prompt: Mapping[str, Any], resolved: Callable[[str, Any], Any]) -> Iterator[dict[str, Any]]:
    """Yield what a model call was given, as `--prompt` has it, and what its last attempt answered."""
    last, session_id = step.last, prompt["session_id"]
    answered = messages_in(resolved(session_id, last.details_end.get("output")), "assistant")
    for at_ns, messages in ((last.start_ns, prompt["messages"]), (last.end_ns or last.start_ns, answered)):
        for message in messages:
            yield as_row(session_id, at_ns, step.step_id, step.name, message, {step.step_id: step.number})


def as_shown(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message, of whatever form, as a transcript takes it."""
    found = messages_in(message)
    return found[0] if len(found) == 1 else {"role": str(message.get("role") or "user"), "content": dict(message)}


def transcript(
    output: Output, messages: Iterable[Mapping[str, Any]], *, turns: Turns | None = None, full: bool = False
) -> Iterator[str]:
    """Yield the lines of a conversation for people.

    Args:
        output: says how wide it is, and paints.
        messages: with role and content, and as rows of a conversation with when and where they were said.
        turns: of the session, whose beginnings are told.
        full: fold nothing.
    """
    said_any, turn = False, None
    for message in messages:
        said_any = True
        now = turns.of(message.get("step_id")) if turns is not None else None
        if now is not None and now is not turn:
            turn = now
            yield output.paint(_turn_line(turn, turns.count if turns else 0), "bold")
            yield ""
        yield _heading(output, message, turns)
        yield from _said(output, message, full)
        yield ""
    if not said_any:
        yield "no messages were journaled (AGENT_JOURNAL_CONTENT=metadata keeps them out)"


def _turn_line(turn: Turn, count: int) -> str:
    which = f"turn {turn.number} of {count}" if count > 1 else f"turn {turn.number}"
    when = readable.clock(turn.step.start_ns, date=True)
    return f"── {which}  {when}  {readable.one_line(turn.step.name, 60)} {_MARKS[turn.step.status]} ──"


def _heading(output: Output, message: Mapping[str, Any], turns: Turns | None) -> str:
    role = str(message["role"])
    beside = [readable.one_line(str(message.get("author") or message.get("name") or ""), 40)]
    if turns is not None and (agent := turns.agent(message.get("step_id"))):
        beside.append(f"in {readable.one_line(agent, 40)}")
    if message.get("number"):
        beside.append(f"step {message['number']}")
    if message.get("timestamp"):
        beside.append(readable.clock(parse_timestamp(message["timestamp"])))
    told = "  ".join(filter(None, beside))
    painted = output.paint(readable.one_line(role, 40), _COLORS.get(role, "yellow"), "bold")
    return painted + (f"  {output.paint(told, 'dim')}" if told else "")


def _said(output: Output, message: Mapping[str, Any], full: bool) -> Iterator[str]:
    """Yield what a message says: thoughts, words, media, calls."""
    role = str(message["role"])
    if message.get("reasoning"):
        yield from _folded(output, str(message["reasoning"]), REASONING, full)
    for block in blocks_of(message.get("content")):
        if block.kind == REASONING:
            yield from _folded(output, block.text, REASONING, full)
        elif block.kind == MEDIUM:
            yield from (output.paint(line, "magenta") for line in wrapped(block.text, output.width, "  "))
        else:
            kind = "tool" if block.kind == DATA else role
            yield from _folded(output, _laid_out(block.text), kind, full)
    for call in message.get("tool_calls") or ():
        yield from (output.paint(line, "yellow") for line in _call(output, call, full))


def _folded(output: Output, text: str, kind: str, full: bool) -> Iterator[str]:
    """Yield a text, of what is folded its beginning, and how much more there is."""
    style = ("dim",) if kind == REASONING else ()
    lines, most = _FOLDED.get(kind, (0, 0))
    prefix = "thought: " if kind == REASONING else ""
    shown = text
    if lines and not full:
        shown = "\n".join(text.splitlines()[:lines])[:most]
    shown = shown.rstrip()
    for line in wrapped(prefix + shown, output.width, "  "):
        yield output.paint(line, *style)
    if len(shown) < len(text.rstrip()):
        more = len(text.rstrip()) - len(shown)
        yield output.paint(f"  ⋯ {readable.plural(more, 'more character')}; --full shows them ⋯", "dim")


def _laid_out(text: str) -> str:
    """Return JSON in lines, anything else as it is."""
    if len(text) < 80 or text[0] not in "[{":
        return text
    try:
        return msgspec.json.format(text, indent=2)
    except msgspec.DecodeError:
        return text


def _call(output: Output, call: Mapping[str, Any], full: bool) -> Iterator[str]:
    """Yield a call of a tool as it is written in programs; a long one with an argument a line."""
    arguments = call.get("arguments")
    brief = call_in_words(call)
    if not isinstance(arguments, Mapping):
        yield from wrapped(f"→ {readable.one_line(brief, None if full else _LONGEST_CALL)}", output.width, "  ")
        return
    named = cast("Mapping[str, Any]", arguments)
    values = {str(name): _shown(value, full) for name, value in named.items()}
    together = f"{call.get('name')}({', '.join(f'{name}={value}' for name, value in values.items())})"
    if len(together) <= min(_LONGEST_CALL, output.width or _LONGEST_CALL) and "\n" not in together:
        yield f"  → {readable.one_line(together)}"
        return
    yield f"  → {readable.one_line(str(call.get('name')))}("
    for name, value in values.items():
        yield from wrapped(f"{readable.one_line(name)}={value}", output.width, "      ")
    yield "    )"


def _shown(value: Any, full: bool) -> str:
    text = value if isinstance(value, str) else encode_value(value).decode("utf-8", "replace")
    return text if full or len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…"


def prompt_lines(output: Output, prompt: Mapping[str, Any], *, full: bool = False) -> Iterator[str]:
    """Yield the lines of a model call's request for people; what the model was not shown again is marked."""
    yield output.paint(f"model {readable.one_line(str(prompt['model']))}", "bold")
    if not prompt["complete"]:
        yield output.paint(f"not complete: {readable.one_line(prompt['why'])}", "yellow")
    yield ""
    trimmed = {place["before"]: place["messages"] for place in prompt.get("trimmed", ())}
    messages = prompt["messages"]
    for at, message in enumerate(messages):
        if at in trimmed:
            yield from _trimmed(output, trimmed[at])
        yield from transcript(output, [{**message, "content": as_text(message["content"])}], full=full)
    if len(messages) in trimmed:
        yield from _trimmed(output, trimmed[len(messages)])
    for tool in prompt["tools"]:
        described = readable.one_line(str(tool["description"] or ""), None if full else 80)
        name = output.paint(f"tool {readable.one_line(str(tool['name']))}", "magenta", "bold")
        yield f"{name}  {described}".rstrip()
        yield f"  {readable.one_line(_shown(tool['parameters'], full), None if full else 400)}"
    for name, value in prompt["params"].items():
        shown = readable.one_line(_shown(value, full), None if full else 400)
        yield f"{output.paint(readable.one_line(str(name)), 'bold')}  {shown}"


def _trimmed(output: Output, count: int) -> Iterator[str]:
    yield output.paint(f"⋯ {readable.plural(count, 'message')} of before trimmed: not in this prompt ⋯", "yellow")
    yield ""
