"""`agent-journal diff`: two sessions side by side, step by step, and where they first went different ways."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.contract import note
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.projections.times import worked_ns

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.projections.steps import Step
    from otel_agent_journal.reading.differing import Difference
    from otel_agent_journal.reading.sides import Content, Side

_DIFFERENT: Final = 5
_MARKS: Final = {"same": ("=", "dim"), "changed": ("≈", "yellow"), "only_a": ("-", "red"), "only_b": ("+", "green")}
_MAX_SAID: Final = 100  # characters of a value that differs
_LEAST_NS: Final = 100 * readable.NS_PER_MS  # of a difference in time that is said; and half as long again


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
    from otel_agent_journal.reading.differing import SAME, first_of
    from otel_agent_journal.reading.sides import Side, compared, fetched

    output = invocation.output()
    journal = invocation.journal()
    left, right, found, since, swapped = compared(Side(journal, a), Side(journal, b))
    if swapped:
        note(f"{right.name} is a fork of {left.name}, which comes first")
    first = first_of(found)
    counts = Counter(one.state for one in found)
    shown = [] if stat else [one for one in found if everything or one.state != SAME]
    in_full = fetched(left, right, [*([] if first is None else [first]), *shown])
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


def _lines(
    output: Output,
    left: Side,
    right: Side,
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
