"""A session's steps for people: the lines above the tree, and a line a step, as wide as the terminal is.

Bars are over work: what nobody worked is folded into a line that says how long that was, and for what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_agent_journal.cli import money, readable, steps
from otel_agent_journal.cli.cells import cell_len, fit, within
from otel_agent_journal.projections.causes import Causes
from otel_agent_journal.projections.selection import Chosen
from otel_agent_journal.projections.times import Stretch, WorkAxis, own_ns, worked_ns
from otel_agent_journal.reading import amounts
from otel_agent_journal.reading.step_rows import gist_of, usage_of

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.projections.about import Process
    from otel_agent_journal.projections.cost import Cost
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.projections.steps import Attempt, Step, StepTree

_MAX_LABEL: Final = 72
_MAX_FORKS: Final = 5  # that are named
_LEAST_NAME: Final = 24  # characters of a label for kind and name, however deep a step is
_LEAST_LEVELS: Final = 3
_LEAST_WAIT_NS: Final = readable.NS_PER_S  # that has a line of its own
_BAR: Final = 24
_WIDE: Final = 110  # columns of a terminal from which on the bar has its full width
_LEAST_BESIDE: Final = 32  # cells behind a bar of full width
_BARS: Final = 78  # from which on there are bars at all
_TOKENS: Final = 64  # from which on there are tokens
_LEAST_REMARK: Final = 32  # cells that what went wrong on the way is cut to
_LEAST_TAIL: Final = 16  # cells for what went in and came out
_LONGEST: Final = 400  # characters of a line's end where there is no terminal to fit
_LONGEST_GIST: Final = 160


def headline(
    output: Output, head: SessionHead, now_ns: int, worked: int | None = None, cost: str = ""
) -> Iterator[str]:
    """Yield the lines above a session's tree. `worked`: how long it was worked, where the tree was read."""
    color = {"COMPLETED": "green", "ERROR": "red", "PROCESSING": "cyan"}.get(head.status, "yellow")
    status = f"{head.status} ({head.reason.replace('_', ' ')})" if head.reason else head.status
    facts = [(readable.one_line(head.agent or "session"), "bold"), (status, color)]
    facts.append((readable.plural(head.steps, "step"), ""))
    if head.errors:
        facts.append((readable.plural(head.errors, "error"), "red"))
    tokens = head.input_tokens + head.output_tokens
    if tokens:
        facts.append((f"{readable.count(tokens)} tokens", ""))
    if cost and cost != money.NOT_KNOWN:  # which the rows of its calls say
        facts.append((cost, ""))
    end_ns = head.ended_ns if head.ended_ns is not None else now_ns if head.status == "PROCESSING" else None
    if head.started_ns and end_ns is not None:
        took = end_ns - head.started_ns
        folded = worked is not None and took - worked >= _LEAST_WAIT_NS
        facts.append(
            (
                f"{readable.duration(worked)} of work in {readable.duration(took)}"
                if folded
                else readable.duration(took),
                "",
            )
        )
    yield from _joined(output, facts)
    where = [(fact, "dim") for fact in _where(head, now_ns)]
    process = [(fact, "dim") for fact in _processes(head.about.processes)]
    for line in [[*where, *process]] if output.tty else [where, process]:
        yield from _joined(output, line)
    if head.forked_from:
        yield output.paint(f"fork of {readable.one_line(head.forked_from)}, whose steps come before these", "dim")
    if head.forks:
        named = ", ".join(readable.one_line(one, 40) for one in head.forks[:_MAX_FORKS])
        more = f" and {len(head.forks) - _MAX_FORKS} more" if len(head.forks) > _MAX_FORKS else ""
        yield output.paint(f"forks {named}{more}", "dim")
    if said := readable.said_of(head.about):
        yield output.paint(f"tags {said}", "dim")


def _where(head: SessionHead, now_ns: int) -> list[str]:
    """Return which session it is, since when, and how far it has come."""
    facts = [f"session {readable.one_line(head.session_id)}"]
    if head.started_ns:
        facts.append(f"started {readable.clock(head.started_ns, date=True)}")
    if head.stage:
        done = "" if head.progress is None else f" {head.progress:g} %"
        facts.append(f"stage {readable.one_line(head.stage)}{done}")
    if head.status == "PROCESSING" or head.reason in ("killed", "lost"):
        last_ns = max([head.updated_ns, *head.writers.values()]) if head.status == "PROCESSING" else head.ended_ns
        last_ns = last_ns or head.updated_ns
        facts.append(f"last seen {readable.clock(last_ns)} ({readable.ago(last_ns, now_ns)})")
    return facts


def _joined(output: Output, facts: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield facts, each in its style, as many on a line as fit the terminal."""
    line, used = "", 0
    for text, style in facts:
        if line and output.tty and used + 2 + cell_len(text) > output.width:
            yield line
            line, used = "", 0
        line += ("  " if line else "") + (output.paint(text, style) if style else text)
        used += cell_len(text) + (2 if used else 0)
    if line:
        yield line


def _processes(processes: Sequence[Process]) -> list[str]:
    """Return on which host by which version it ran last, and by how many processes in all."""
    others = [f"the latest of {len(processes)} processes"] if len(processes) > 1 else []
    return [readable.process(processes[-1]), *others] if processes else []


class Column(NamedTuple):
    """A column of the waterfall behind a step's name: how wide it is, and its text."""

    width: int
    text: Callable[[Step], str]


def waterfall(
    output: Output,
    tree: StepTree,
    shown: Chosen,
    last_seen: Mapping[str, int],
    now_ns: int,
    costs: Mapping[str, Cost],
    *,
    flat: bool = False,
    by_own_time: bool = False,
) -> Iterator[str]:
    """Yield one line a step: branch, outcome, name, duration, tokens, when it ran, what went in and out or wrong.

    Args:
        output: says how wide it is, and paints.
        tree: of the session.
        shown: which of its steps.
        last_seen: of each writer.
        now_ns: of the reader.
        costs: of attempts, by their keys.
        flat: they are a list, and no tree.
        by_own_time: their durations are those of their own, without what ran beneath them.
    """
    if not shown.steps:
        return
    drawing = _Drawing(output, tree, shown, last_seen, now_ns, flat=flat)
    columns = [*_columns(output, tree, now_ns, by_own_time), *_of_costs(tree, shown.steps, costs)]
    yield from drawing.lines(columns)


def _columns(output: Output, tree: StepTree, now_ns: int, by_own_time: bool) -> Iterator[Column]:
    """Yield the columns behind a step's name that there is room for."""

    def took(step: Step) -> str:
        return _took(tree, step, now_ns, by_own_time)

    def tokens(step: Step) -> str:
        return _tokens(tree, step)

    yield Column(8, took)
    if not output.tty or output.width >= _TOKENS:
        yield Column(6, tokens)


def _of_costs(tree: StepTree, shown: Sequence[Step], costs: Mapping[str, Cost]) -> Iterator[Column]:
    """Yield the column of costs where there are any; an outermost agent's is with all beneath it, as its tokens are."""
    from otel_agent_journal.projections.paid import cost_within

    def cost(step: Step) -> Cost:
        outermost = step.kind == "AGENT" and step.depth == 0
        return cost_within(tree, step, costs) if outermost else amounts.of_step(step, costs)

    spent = {step.number: money.shown(cost(step)) for step in shown} if costs else {}

    def of_step(step: Step) -> str:
        return spent[step.number]

    width = max((cell_len(text) for text in spent.values()), default=0)
    if width:
        yield Column(width, of_step)


def _took(tree: StepTree, step: Step, now_ns: int, by_own_time: bool) -> str:
    return readable.duration(own_ns(tree, step, now_ns) if by_own_time else worked_ns(step, now_ns))


def _tokens(tree: StepTree, step: Step) -> str:
    usage = tree.totals(step).usage if step.kind == "AGENT" and step.depth == 0 else usage_of(step)
    tokens = (usage.input_tokens + usage.output_tokens) if usage else 0
    return readable.count(tokens) if tokens else ""


class _Drawing:
    """Lays out the lines of a waterfall."""

    def __init__(
        self, output: Output, tree: StepTree, shown: Chosen, last_seen: Mapping[str, int], now_ns: int, *, flat: bool
    ) -> None:
        self._output = output
        self._last_keys = {one.step_id: one.last.key for one in tree.steps}
        self._last_root = tree.roots[-1].step_id
        self._causes = Causes(tree)
        self._resumed = frozenset(tree.resumes.values())
        self._shown = shown
        self._last_seen = last_seen
        self._now_ns = now_ns
        self._flat = flat
        self._axis = WorkAxis((one for step in shown.steps for one in step.attempts), now_ns)

    def lines(self, columns: Sequence[Column]) -> Iterator[str]:
        """Yield them, a step's columns behind its name."""
        output, ones = self._output, self._shown.steps
        digits = len(str(max(step.number for step in ones)))
        room = min(max(20, output.width * 9 // 20), _MAX_LABEL) if output.tty else _MAX_LABEL * 4
        labels = list(self._labels(room))
        width = min(max(cell_len(text) for text in labels), room)
        used = digits + 1 + width + sum(1 + column.width for column in columns)
        bar_width = self._bar_width(used)
        left = output.width - used - (bar_width + 3 if bar_width else 0) - 2 if output.tty else _LONGEST
        waits = {} if self._flat else self._waits()
        for step, text in zip(ones, labels, strict=True):
            if wait := waits.get(id(step)):
                yield output.paint(f"{' ' * digits} {wait}", "dim")
            cells = [
                output.paint(f"{step.number:>{digits}}", "dim"),
                _painted(output, fit(text, width), steps.MARKS[step.status]),
                *(f"{column.text(step):>{column.width}}" for column in columns),
            ]
            if bar_width:
                cells.append(output.paint(self._bar(step, bar_width), steps.MARKS[step.status][1]))
            yield from self._ended(step, " ".join(cells), left, min(digits + 3 * step.depth + 3, 40))

    def _labels(self, room: int) -> Iterator[str]:
        """Yield what stands before the columns: the branch, the mark, the name, and what is folded beneath."""
        if self._flat:
            branches = [""] * len(self._shown.steps)
        else:
            branches = _branches(self._shown.steps, max(_LEAST_LEVELS, (room - _LEAST_NAME) // 3))
        for at, (step, branch) in enumerate(zip(self._shown.steps, branches, strict=True)):
            folded = self._shown.folded.get(at)
            more = f" (+{folded:,} beneath)" if folded else ""
            yield f"{branch}{steps.MARKS[step.status][0]} {steps.label(step)}{more}"

    def _ended(self, step: Step, line: str, left: int, indent: int) -> Iterator[str]:
        """Yield a step's line with its end; what went wrong and has no room there has a line of its own."""
        output = self._output
        remark = "asked a human" if self._was_answered(step) else self._remark(step)
        beside = [text for text in (steps.waits_of(step), steps.warned_of(step)) if text]
        color = "yellow" if step.status == "ok" else steps.MARKS[step.status][1]
        said = readable.one_line(" · ".join([remark, *beside] if remark else beside), _LONGEST)
        if said and step.status == "ok" and cell_len(said) > left >= _LEAST_REMARK:
            said = within(said, left)  # it went well in the end; what went wrong is whole in the step itself
        below = bool(said) and cell_len(said) > left
        if said and not below:
            line += f"  {output.paint(said, color)}"
            left -= cell_len(said) + 2
        gist = self._gist(step, left) if step.status in ("ok", "running", "interrupted") or below else ""
        yield (f"{line}  {output.paint(gist, 'dim')}" if gist else line).rstrip()
        if below:
            room = max(20, output.width - indent - 1)
            yield " " * indent + output.paint(within(said, room), color)

    def _remark(self, step: Step) -> str:
        return steps.remark_of(step, self._last_seen, self._now_ns, self._causes)

    def _was_answered(self, step: Step) -> bool:
        """Tell whether a step that waited for a human was taken up again, perhaps at another place, or given up."""
        if step.status != "interrupted" or step.last.reason is not None:
            return False
        is_over = step.depth == 0 and step.step_id != self._last_root
        return is_over or step.step_id in self._resumed or self._last_keys[step.step_id] != step.last.key

    def _gist(self, step: Step, left: int) -> str:
        """Return what went in and what came out, each in about half of the room that is left."""
        room = min(left, _LONGEST_GIST)
        given, gave = (readable.one_line(text) for text in gist_of(step))
        if room < _LEAST_TAIL or not (given or gave):
            return ""
        if not gave:
            return within(given, room)
        after = f"→ {gave}"
        if given:
            before = within(given, max(room // 2 - 1, room - cell_len(after) - 1))
            return f"{before} {within(after, room - cell_len(before) - 1)}"
        return within(after, room)

    def _waits(self) -> dict[int, str]:
        """Return by the root step before which it stands what is said of a wait in which nobody worked."""
        found: dict[int, str] = {}
        waits = [wait for wait in self._axis.waits if wait.length_ns >= _LEAST_WAIT_NS]
        roots = [step for step in self._shown.steps if step.depth == self._shown.steps[0].depth]
        at = 0
        for before, after in pairwise(roots):
            folded: list[Stretch] = []
            while at < len(waits) and waits[at].end_ns <= after.start_ns:
                folded.append(waits[at])
                at += 1
            outside = [wait for wait in folded if wait.start_ns >= before.last.start_ns]
            if outside:
                length = readable.duration(sum(wait.length_ns for wait in outside))
                found[id(after)] = f"⋯ {length} {_for_what(before)} ⋯"
        return found

    def _bar_width(self, used: int) -> int:
        output = self._output
        if not output.tty or output.width >= max(_WIDE, used + _BAR + 3 + _LEAST_BESIDE):
            return _BAR
        return _BAR // 2 if output.width >= max(_BARS, used + _BAR // 2 + 3) else 0

    def _bar(self, step: Step, width: int) -> str:
        total = max(1, self._axis.total_ns)
        first, last = self._place(step.attempts[0], total, width)
        if len(step.attempts) == 1:
            return f"│{' ' * first}{'━' * (last - first)}{' ' * (width - last)}│"
        cells = [" "] * width
        for attempt in step.attempts:
            start, end = self._place(attempt, total, width)
            cells[start:end] = "━" * (end - start)
            last = max(last, end)
        return f"│{''.join(cells[:first])}{''.join(cells[first:last]).replace(' ', '╌')}{''.join(cells[last:])}│"

    def _place(self, attempt: Attempt, total: int, width: int) -> tuple[int, int]:
        end_ns = self._now_ns if attempt.end_ns is None else attempt.end_ns
        left = min(self._axis.at(attempt.start_ns) * width // total, width - 1)
        return left, min(max(-(-self._axis.at(end_ns) * width // total), left + 1), width)


def _for_what(before: Step) -> str:
    """Return what a wait behind a turn was for, by how that ended."""
    if before.last.reason is not None:
        return "until it was taken up again"
    return "for a human" if before.status == "interrupted" else "until the next turn"


def _painted(output: Output, text: str, mark: tuple[str, str]) -> str:
    branch, found, rest = text.partition(mark[0])
    return f"{output.paint(branch, 'dim')}{output.paint(found, mark[1])}{rest}"


def _branches(shown: list[Step], levels: int) -> Iterator[str]:
    """Yield the lines that join each step to its parent, by looking which depths go on below it.

    Of a step that is deeper only so many `levels` are drawn, with the number of those left out before them.
    """
    goes_on: list[bool] = []
    below: list[list[bool]] = []
    for step in reversed(shown):
        del goes_on[step.depth + 1 :]
        goes_on.extend([False] * (step.depth + 1 - len(goes_on)))
        below.append(goes_on[max(1, step.depth - levels + 1) :])
        goes_on[step.depth] = True
    for step, drawn in zip(shown, reversed(below), strict=True):
        left_out = f"+{step.depth - len(drawn)} " if step.depth > len(drawn) else ""
        stems = "".join("│  " if more else "   " for more in drawn[:-1])
        yield left_out + stems + ("├─ " if drawn[-1] else "└─ ") if drawn else ""
