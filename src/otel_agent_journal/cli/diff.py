"""`agent-journal diff`: two sessions side by side, step by step, and where they first went different ways."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.contract import note
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.projections.times import WorkAxis, worked_ns

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.projections.steps import Step, StepTree
    from otel_agent_journal.reading.differing import Difference
    from otel_agent_journal.reading.journal import Journal

_DIFFERENT: Final = 5
_MARKS: Final = {"same": ("=", "dim"), "changed": ("≈", "yellow"), "only_a": ("-", "red"), "only_b": ("+", "green")}
_MAX_SAID: Final = 100  # characters of a value that differs
_OF_REQUEST: Final = ("messages", "tools", "params")
_CONTENT: Final = (*_OF_REQUEST, "input", "output")
_IN_FULL: Final = 20  # steps that are changed of which it is shown what their content differs in
_LEAST_NS: Final = 100 * readable.NS_PER_MS  # of a difference in time that is said; and half as long again
_PROMPTS: Final = 5  # of these, model calls that were given something else: each reads its session once

Content = tuple[str, str, Any, Any]  # what of it differs, where in that, and what each side has there


@click.command("diff", short_help="Compare two sessions, step by step.")
@click.argument("a", metavar="A[@STEP]")
@click.argument("b", metavar="B[@STEP]")
@click.option("--stat", is_flag=True, help="How many steps are the same, changed, and on one side alone.")
@click.option("--all", "everything", is_flag=True, help="Steps that are the same, too.")
@click.option("--exit-code", is_flag=True, help="End with 5 where they differ.")
@common_options
@pass_invocation
def command(invocation: Invocation, a: str, b: str, stat: bool, everything: bool, exit_code: bool) -> int:
    """Compare two sessions, step by step.

    Steps are paired by where they are: below the same step, at the same place of the graph, the same tool call, or by
    kind, name and order. Ids and times are no difference. With @STEP only what was before it. Of a fork and its
    base what they share is left out.
    """
    from otel_agent_journal.reading.differing import SAME, differences, first_of

    output = invocation.output()
    journal = invocation.journal()
    left, right = _Side(journal, a), _Side(journal, b)
    if right.forked_at(left) is not None:
        left, right = right, left
        note(f"{right.name} is a fork of {left.name}, which comes first")
    since = left.forked_at(right)
    found = differences(left.tree, right.tree, since=since or 1, absolute=since is not None)
    first = first_of(found)
    counts = Counter(one.state for one in found)
    shown = [] if stat else [one for one in found if everything or one.state != SAME]
    in_full = _fetched(left, right, [*([] if first is None else [first]), *shown])
    if output.for_people:
        for line in _lines(output, left, right, shown, in_full, first, counts, since, everything=everything):
            output.text(line)
    else:
        totals = {state: counts[state] for state in _MARKS}
        steps = [_record(one, in_full) for one in shown]
        record = {"a": left.name, "b": right.name, "same": first is None, "shared": (since or 1) - 1, "totals": totals}
        output.record(
            {
                **record,
                "spent": {"a": left.spent, "b": right.spent},
                "first": None if first is None else _record(first, in_full),
                "steps": steps,
            }
        )
    return _DIFFERENT if exit_code and first is not None else 0


class _Side:
    """One of the two sessions, up to a step where one is named."""

    def __init__(self, journal: Journal, text: str) -> None:
        from otel_agent_journal.cli.choosing import find_step
        from otel_agent_journal.projections.steps import fold_steps
        from otel_agent_journal.reading.differing import fingerprinted

        head, step = journal.session_and_step(text)
        self._journal = journal
        self._whole: dict[str, Step] = {}
        self._prompts: dict[str, dict[str, Any] | None] = {}
        self.head: SessionHead = head
        self.name = self.head.session_id
        events = (fingerprinted(event, self.name) for event in journal.events(self.name))
        tree: StepTree = fold_steps(events, lost_writers=journal.silent(self.head))
        if step is not None:
            until_ns = find_step(tree, step, self.name).start_ns
            before = (event for event in journal.events(self.name) if event.timestamp_ns < until_ns)
            tree = fold_steps(fingerprinted(event, self.name) for event in before)
        self.tree = tree

    @property
    def spent(self) -> dict[str, int]:
        """How long it was worked, and how many tokens it took."""
        usage = self.tree.totals().usage
        worked = WorkAxis((one for root in self.tree.roots for one in root.attempts), self._journal.clock())
        return {
            "duration_ms": worked.total_ns // readable.NS_PER_MS,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
        }

    def forked_at(self, fork: _Side) -> int | None:
        """Return the step of this session before which another one was forked from it."""
        from otel_agent_journal.reading.turns import turns_of

        turns = turns_of(self._journal.store.read(fork.name)) if fork.head.forked_from == self.name else ()
        return next((turn.number or 1 for turn in turns if turn.base == self.name), None)

    def fetch(self, step_ids: Collection[str]) -> None:
        """Read what these steps took and gave, in one pass over the session."""
        from otel_agent_journal.projections.outline import outline
        from otel_agent_journal.projections.steps import fold_steps

        events = self._journal.events(self.name)
        tree = fold_steps(event if event.step_id in step_ids else outline(event) for event in events)
        self._whole = {step_id: step for step_id in step_ids if (step := tree.step(step_id)) is not None}

    def content(self, step: Step, name: str) -> Any:
        """Return what a step that was fetched took or gave."""
        from otel_agent_journal.reading import steps_in_full

        whole = self._whole.get(step.step_id)
        if whole is None:
            return None
        if name in _OF_REQUEST:
            if step.step_id not in self._prompts:
                self._prompts[step.step_id] = steps_in_full.prompt(self._journal, self.head, whole)
            return (self._prompts[step.step_id] or {}).get(name)
        details = whole.last.details_end if name == "output" else whole.last.details_start
        return self._journal.resolved(self.name, details.get(name))


def _fetched(left: _Side, right: _Side, found: Sequence[Difference]) -> dict[int, list[Content]]:
    """Return by `id` what the content of the first few that are changed differs in."""
    from otel_agent_journal.reading.differing import CHANGED, holding

    came_of = holding(found)
    distinct = {id(one): one for one in found if one.state == CHANGED and id(one) not in came_of}
    changed = list(distinct.values())[:_IN_FULL]
    asked = [id(one) for one in changed if not set(_OF_REQUEST).isdisjoint(one.what)][:_PROMPTS]
    for side, steps in ((left, [one.pair.left for one in changed]), (right, [one.pair.right for one in changed])):
        side.fetch({step.step_id for step in steps if step is not None})
    return {id(one): list(_contents(left, right, one, prompt=id(one) in asked)) for one in changed}


def _record(one: Difference, in_full: Mapping[int, list[Content]]) -> dict[str, Any]:
    sides = {"a": one.pair.left, "b": one.pair.right}
    return {
        "state": one.state,
        "differs": list(one.what),
        **{name: None if step is None else _told(step) for name, step in sides.items()},
        "content": {
            name: {"at": where, "a": ours, "b": theirs} for name, where, ours, theirs in in_full.get(id(one), ())
        },
    }


def _told(step: Step) -> dict[str, Any]:
    usage, worked = step.last.usage, worked_ns(step)
    return {
        "number": step.number,
        "step_id": step.step_id,
        "kind": step.kind,
        "name": step.name,
        "status": step.status,
        "duration_ms": None if worked is None else worked // readable.NS_PER_MS,
        "input_tokens": usage.input_tokens if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
    }


def _contents(left: _Side, right: _Side, one: Difference, *, prompt: bool) -> Iterator[Content]:
    """Yield what of the content of a pair differs first, where, and what each side has there."""
    from otel_agent_journal.reading.differing import first_within

    ours, theirs = one.pair
    if ours is None or theirs is None:
        return
    for name in (name for name in _CONTENT if name in one.what and (prompt or name not in _OF_REQUEST)):
        found = first_within(left.content(ours, name), right.content(theirs, name))
        if found is not None:
            yield name, *found


def _lines(
    output: Output,
    left: _Side,
    right: _Side,
    shown: list[Difference],
    in_full: Mapping[int, list[Content]],
    first: Difference | None,
    counts: Mapping[str, int],
    since: int | None,
    *,
    everything: bool,
) -> Iterator[str]:
    names = readable.one_line(left.name), readable.one_line(right.name)
    yield f"{output.paint('a', 'red')} {names[0]}  {output.paint('b', 'green')} {names[1]}"
    if since is not None:
        shared = f"they share steps 1 to {since - 1} of a" if since > 1 else "they share the beginning of a"
        yield output.paint(shared, "dim")
    folded = {} if everything else _folded(shown)
    for one in shown:
        beneath = folded.get(id(one), 0)
        if beneath is None:
            continue
        mark, color = _MARKS[one.state]
        numbers = "/".join("-" if step is None else str(step.number) for step in one.pair)
        step = one.pair.left or one.pair.right
        assert step is not None
        more = f" (+{beneath:,} beneath)" if beneath else ""
        line = f"{numbers:>7} {output.paint(mark, color)} {step.kind.lower()} {readable.one_line(step.name, 60)}{more}"
        yield f"{line}  {_what(one)}".rstrip()
        for name, where, ours, theirs in in_full.get(id(one), ()):
            yield output.paint(f"          {name}{readable.one_line(where, 60)}", "dim")
            yield output.paint(f"          - {_shown(ours)}", "red")
            yield output.paint(f"          + {_shown(theirs)}", "green")
    spent = [f"{name} {_spent(side.spent)}" for name, side in (("a", left), ("b", right))]
    if first is None:
        yield f"no difference  {'  '.join(spent)}"
        return
    step = first.pair.left or first.pair.right
    assert step is not None
    side = "a" if first.pair.left is not None else "b"
    totals = ", ".join(f"{counts[state]} {word}" for state, word in _WORDS.items() if counts[state])
    yield f"first difference: step {step.number} of {side}, {step.kind.lower()} {readable.one_line(step.name, 60)}"
    yield f"{totals}  {'  '.join(spent)}"


def _spent(spent: Mapping[str, int]) -> str:
    """Return how long was worked and how many tokens it took, in a few words."""
    tokens = spent["input_tokens"] + spent["output_tokens"]
    took = readable.duration(spent["duration_ms"] * readable.NS_PER_MS)
    return f"{took}, {readable.count(tokens)} tokens" if tokens else took


def _folded(shown: Sequence[Difference]) -> dict[int, int | None]:
    """Return by `id` of steps on one side alone how many beneath them are, too; of those beneath None."""
    alone: dict[tuple[bool, str], int] = {}
    found: dict[int, int | None] = {}
    one_sided = [
        (step, one.pair.left is not None, id(one))
        for one in shown
        if None in one.pair and (step := one.pair.left or one.pair.right) is not None
    ]
    for step, side, own in sorted(one_sided, key=lambda one: one[0].depth):
        above = alone.get((side, step.parent_step_id or ""))
        alone[side, step.step_id] = own if above is None else above
        found[own] = 0 if above is None else None
        if above is not None:
            found[above] = (found[above] or 0) + 1
    return found


_WORDS: Final = {"same": "the same", "changed": "changed", "only_a": "in a alone", "only_b": "in b alone"}


def _what(one: Difference) -> str:
    ours, theirs = one.pair
    if ours is None or theirs is None:
        return ""
    said: list[str] = []
    for name in one.what:
        if name == "status":
            said.append(f"{ours.status} → {theirs.status}")
        elif name == "model":
            said.append(f"→ {readable.one_line(theirs.name, 60)}")
        elif name == "usage":
            said.append(f"tokens {_tokens(ours)} → {_tokens(theirs)}")
        else:
            said.append(name)
    before, after = worked_ns(ours), worked_ns(theirs)
    if before is not None and after is not None and abs(after - before) >= max(_LEAST_NS, min(before, after) // 2):
        said.append(f"{readable.duration(before)} → {readable.duration(after)}")
    return ", ".join(said)


def _tokens(step: Step) -> str:
    usage = step.last.usage
    return "-" if usage is None else f"{usage.input_tokens}+{usage.output_tokens}"


def _shown(value: Any) -> str:
    from otel_agent_journal.cli.lines import preview

    return "nothing" if value is None else readable.one_line(preview(value), _MAX_SAID)
