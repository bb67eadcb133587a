"""What calls cost: what a price depends on, sums of which a part is not known, and each call paid for once."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent_journal.event import JournalEvent, Usage, step_of_span
from otel_agent_journal.mapping import genai
from otel_agent_journal.projections import cost as costs
from otel_agent_journal.projections.about import decode_about, encode_about
from otel_agent_journal.projections.cost import (
    DAY,
    HALF_HOUR_NS,
    NO_CALLS,
    SIZES,
    Billed,
    Cost,
    Rates,
    amount_of,
    dollars,
    summed,
)
from otel_agent_journal.projections.outline import outline
from otel_agent_journal.projections.paid import cost_within, own_costs, paid
from otel_agent_journal.projections.snapshot import restored, snapshot_of
from otel_agent_journal.projections.spent import KEPT, MAX_SUMS, NONE_SPENT, Spent
from otel_agent_journal.projections.status import fold
from otel_agent_journal.projections.steps import fold_steps
from otel_agent_journal.projections.verdict import head_of
from tests.projections import told

DAY_NS = DAY * HALF_HOUR_NS
RATES = Rates(input=Decimal(3), output=Decimal(15), cache_read=Decimal("0.3"), cache_write=Decimal("3.75"))


def rates(billed: Billed) -> Rates | None:
    """Every model but `unknown` costs the same."""
    return None if "unknown" in (billed.asked, billed.answered) else RATES


def asked(model: str = "m", provider: str = "openai", **more: Any) -> dict[str, Any]:
    return {"attributes": {costs.PROVIDER: provider, costs.ASKED: model, **more}}


def call(step: str, at: int, *, under: str | None = "root", model: str = "m", **more: Any) -> list[JournalEvent]:
    """A call of a model that takes ten nanoseconds."""
    ending = {name: more.pop(name) for name in ("usage", "details") if name in more}
    outcome = more.pop("outcome", "ok")
    return [
        told.start(step, at, under=under, kind="MODEL", name=model, details=asked(model), **more),
        told.end(step, at, at + 10, outcome, under=under, kind="MODEL", name=model, **more, **ending),
    ]


def of_head(events: list[JournalEvent]) -> Cost:
    return head_of(fold(events), told.SESSION).about.spent.cost(rates)


def of_tree(events: list[JournalEvent]) -> Cost:
    return summed(own_costs(fold_steps(events), rates).values())


def both(events: list[JournalEvent]) -> Cost:
    """Return what a session cost, by its head and by its tree, which are the same."""
    found = of_tree(events)
    assert of_head(events) == of_head(events[::-1]) == found == of_tree([outline(event) for event in events])
    return found


def test_names_are_those_of_the_mapping() -> None:
    """The pure fold reads the attributes that the mapping writes."""
    assert (costs.PROVIDER, costs.ASKED, costs.ANSWERED) == (
        genai.PROVIDER_NAME,
        genai.REQUEST_MODEL,
        genai.RESPONSE_MODEL,
    )
    assert costs.REPORTED == genai.USAGE_COST
    assert costs.TIERS == genai.SERVICE_TIER_READINGS


def test_tokens_at_their_rates_by_hand() -> None:
    """1,000 tokens of input, of which 400 were read and 200 written to a cache, and 100 of output, by hand."""
    usage = Usage(input_tokens=1000, output_tokens=100, cache_read_tokens=400, cache_write_tokens=200)
    by_hand = Decimal(400) * 3 + 400 * Decimal("0.3") + 200 * Decimal("3.75") + 100 * 15
    assert amount_of(usage, RATES) == by_hand / 1_000_000 == Decimal("0.00357")
    whole = Rates(input=Decimal(3), output=Decimal(15))
    assert amount_of(usage, whole) == Decimal("0.0045")
    thought = Usage(output_tokens=100, reasoning_tokens=40)
    assert amount_of(thought, Rates(output=Decimal(1), reasoning=Decimal(10))) == Decimal("0.00046")
    assert amount_of(thought, RATES) == Decimal("0.0015")
    assert amount_of(Usage(), Rates(call=Decimal("0.01")), 3) == Decimal("0.03")


def test_tokens_without_a_price_are_not_free() -> None:
    """Where some tokens have no price the whole has none; of none there need be none."""
    assert amount_of(Usage(input_tokens=1), Rates(output=Decimal(1))) is None
    assert amount_of(Usage(output_tokens=1), Rates(output=Decimal(1))) == Decimal("0.000001")
    odd = Usage(input_tokens=1, cache_read_tokens=9, output_tokens=1, reasoning_tokens=9)
    assert amount_of(odd, RATES) == Decimal("0.0000177")


@pytest.mark.parametrize("value", [True, "1", None, -1, 1e9, float("nan"), float("inf"), [1]])
def test_what_is_no_number_of_dollars(value: Any) -> None:
    """Texts, signs and what no call costs are no costs."""
    assert dollars(value) is None


def test_dollars_are_exact() -> None:
    """Ten times a tenth is one."""
    assert sum([dollars(0.1) or 0] * 10) == 1
    assert dollars(2) == 2


def test_a_sum_says_what_it_lacks() -> None:
    """Sums count the calls that have no price; of nothing but such the cost is not known."""
    events = [
        told.start("root", 0),
        *call("a", 10, usage={"input_tokens": 100, "output_tokens": 10}),
        *call("b", 30, model="unknown", usage={"input_tokens": 100}),
        *call("c", 50),
        told.end("root", 0, 99),
    ]
    assert both(events) == Cost(Decimal("0.00045"), 1, 2)
    assert both(events).usd == 0.00045
    assert both(call("b", 30, under=None, model="unknown", usage={"input_tokens": 1})).usd is None
    assert both([told.start("root", 0), told.end("root", 0, 1)]) == NO_CALLS


def test_what_a_provider_said_comes_first() -> None:
    """A cost that was reported counts, whatever the price; a cached answer costs nothing."""
    said = {"attributes": {costs.REPORTED: 0.25}}
    assert both(call("a", 1, usage={"input_tokens": 10**6}, details=said)) == Cost(Decimal("0.25"), 1)
    assert both(call("a", 1, model="unknown", details=said)) == Cost(Decimal("0.25"), 1)
    assert both(call("a", 1, details={"cached": True})) == Cost(Decimal(0), 1)


def test_failed_calls() -> None:
    """A call that failed is paid for where it used something; one that was cancelled may have; one cut off is open."""
    assert both(call("a", 1, outcome="error")) == NO_CALLS
    assert both(call("a", 1, outcome="error", usage={"output_tokens": 100})) == Cost(Decimal("0.0015"), 1)
    assert both(call("a", 1, outcome="cancelled")) == Cost(unpriced=1)
    cut = [call("a", 1)[0], told.interrupted("w1", 50)]
    assert both(cut) == NO_CALLS


def test_retries_are_each_paid_for() -> None:
    """Two attempts that both used tokens cost both."""
    used = {"usage": {"output_tokens": 100}}
    events = [*call("a", 1, outcome="error", attempt=1, **used), *call("a", 20, attempt=2, **used)]
    assert both(events) == Cost(Decimal("0.003"), 2)


def test_a_call_around_a_call_is_paid_for_once() -> None:
    """A framework's call and its client's beneath it, by step or by span, an agent's and its calls': once."""
    used = {"usage": {"output_tokens": 100}}
    outer = call("outer", 10, under=None, trace_id="t", span_id="s", **used)
    inner = [
        told.start("inner", 12, under=step_of_span("t", "s"), kind="MODEL", name="m"),
        told.end("inner", 12, 15, under=step_of_span("t", "s"), kind="MODEL", name="m", **used),
    ]
    assert both([outer[0], *inner, outer[1]]) == Cost(Decimal("0.0015"), 1)
    by_step = [
        told.start("inner", 12, under="outer", kind="MODEL", name="m"),
        told.end("inner", 12, 15, under="outer", kind="MODEL", name="m", **used),
    ]
    assert both([outer[0], *by_step, outer[1]]) == Cost(Decimal("0.0015"), 1)
    outer = call("outer", 10, **used)
    agent = [told.start("root", 0), *outer, told.end("root", 0, 99, usage={"output_tokens": 100})]
    assert both(agent) == Cost(Decimal("0.0015"), 1)


def test_the_one_that_tells_it_counts() -> None:
    """Of a call and one beneath it the one that says what was used counts; where neither does they are one call."""
    used = {"usage": {"output_tokens": 100}}
    silent = call("inner", 12, under="outer")
    telling = call("outer", 10, under="root", **used)
    assert both([telling[0], *silent, telling[1]]) == Cost(Decimal("0.0015"), 1)
    outer = call("outer", 10, under="root")
    assert both([outer[0], *silent, outer[1]]) == Cost(unpriced=1)
    silent = call("inner", 12)
    agent = [told.start("root", 0), *silent, told.end("root", 0, 99, usage={"input_tokens": 1000}, details=asked())]
    assert both(agent) == Cost(Decimal("0.003"), 1)
    assert both(call("alone", 1, under=None)) == Cost(unpriced=1)


def test_agents_whose_calls_are_not_journaled() -> None:
    """What an agent used counts where no call tells it; many invocations are summed up."""
    events: list[JournalEvent] = []
    for number in range(2 * KEPT):
        at = number * 100
        ending = told.end(f"r{number}", at, at + 9, usage={"output_tokens": 1}, details=asked())
        events += [told.start(f"r{number}", at, details=asked()), ending]
    assert both(events) == Cost(Decimal(15 * 2 * KEPT) / 1_000_000, 2 * KEPT)


def test_more_calls_than_are_kept_one_by_one() -> None:
    """Calls are summed up, with those that tell no usage, and those around others, whichever came first."""
    used = {"usage": {"output_tokens": 100}}
    events: list[JournalEvent] = []
    for number in range(3 * KEPT):
        at = number * 100
        outer = call(f"o{number}", at, under=None, **used)
        inner = call(f"i{number}", at + 1, under=f"o{number}", **used)
        events += [outer[0], *inner, msg_at(outer[1], at + 50)] if number % 2 else [*outer]
    assert of_head(events) == of_tree(events) == Cost(Decimal("0.0015") * 3 * KEPT, 3 * KEPT)
    state = restored(snapshot_of(fold(events[:200]), told.SESSION))
    assert state is not None
    head = head_of(fold(events[200:], state), told.SESSION)
    assert head.about.spent.cost(rates) == of_tree(events)
    assert decode_about(encode_about(head.about)) == head.about
    assert head.output_tokens == 100 * 3 * KEPT


def msg_at(end: JournalEvent, at: int) -> JournalEvent:
    """The same ending, of an attempt that took longer."""
    import msgspec

    begun = end.timestamp_ns - (end.duration_ns or 0)
    return msgspec.structs.replace(end, timestamp_ns=at, duration_ns=at - begun)


def test_calls_beneath_one_that_ends_long_after() -> None:
    """A call around hundreds of others is paid for by those, though the first of them are summed up by then."""
    used = {"usage": {"output_tokens": 100}}
    (begun, ended) = call("outer", 0, under=None, **used)
    events = [begun]
    for number in range(800):
        events += call(f"i{number}", 10 + number * 10, under=f"n{number}" if number % 5 else "outer", **used)
    events.append(msg_at(ended, 10_000))
    assert of_head(events) == of_tree(events) == Cost(Decimal("0.0015") * 800, 800)


def test_too_many_kinds_of_calls_have_no_price() -> None:
    """A head lists so many sums; the calls beyond them are counted, and nothing is said of what they cost."""
    events = [
        event
        for number in range(MAX_SUMS + 40)
        for event in call(f"a{number}", number * DAY_NS, under=None, usage={"output_tokens": 100})
    ]
    found = of_head(events)
    assert found == of_head(events[::-1])
    assert (found.priced, found.unpriced) == (MAX_SUMS, 40)
    assert len(head_of(fold(events), told.SESSION).about.spent.sums) == MAX_SUMS


def test_what_a_price_depends_on() -> None:
    """The day, or the half hour where prices go by it; provider, models and tier; how large the input is."""

    def billed(at: int, model: str, tokens: int = 0, **said: Any) -> Billed:
        start, _ = call("a", at, model=model)
        usage = {"input_tokens": tokens}
        end = told.end("a", at, at + 1, kind="MODEL", name=model, usage=usage, details={"attributes": said})
        (found,) = paid(fold_steps([start, end])).values()
        return found.billed

    at = 20_000 * DAY_NS + 3 * HALF_HOUR_NS
    assert billed(at, "m") == Billed(20_000 * DAY, "openai", "m", "", "", 0)
    assert billed(at, "deepseek-chat").since == 20_000 * DAY + 3
    assert billed(at, "m", **{costs.ANSWERED: "deepseek-v4"}).since == 20_000 * DAY + 3
    assert billed(at, "m", **{costs.ANSWERED: "m-2026", costs.TIERS[0]: "Flex"})[3:5] == ("m-2026", "flex")
    assert billed(at, "m", **{costs.ANSWERED: "m", costs.TIERS[1]: "default"})[3:5] == ("", "")
    assert [billed(at, "m", SIZES[0] + more).size for more in (-1, 0, 1)] == [0, 0, 1]
    assert billed(at, "m", 10**7).size == len(SIZES)
    assert len(billed(at, "m" * 999).asked) == 200


def test_strange_calls_of_others() -> None:
    """Endings of others, without duration, step or attributes that are any, are calls too."""
    odd = told.foreign("MODEL_END", 5, outcome="ok", usage=Usage(output_tokens=100), details={"attributes": "x"})
    loose = told.foreign("MODEL_END", 7, step_id="a", outcome=None, usage=Usage(output_tokens=100), name="m")
    assert of_head([odd, loose]) == of_head([loose, odd]) == Cost(Decimal("0.003"), 2)
    assert of_tree([loose]) == Cost(Decimal("0.0015"), 1)
    late = told.start("s", 1, kind="TOOL", under="root", details={"attributes": {costs.PROVIDER: 3}})
    assert both([late, told.end("s", 1, 2, kind="TOOL", under="root")]) == NO_CALLS
    assert Spent() == NONE_SPENT


def test_of_two_endings_of_one_attempt_the_later_counts() -> None:
    """An attempt that is told to have ended twice is one call."""
    used = {"usage": {"output_tokens": 100}}
    start, end = call("a", 1, under=None, **used)
    again = told.end("a", 1, 20, kind="MODEL", name="m", usage={"output_tokens": 200})
    assert of_head([start, end, again]) == of_head([again, end, start]) == Cost(Decimal("0.003"), 1)


def test_an_outermost_agent_costs_all_beneath_it() -> None:
    """A step's cost with that of everything beneath it."""
    events = [
        told.start("root", 0),
        told.start("sub", 5, under="root"),
        *call("a", 10, under="sub", usage={"output_tokens": 100}),
        *call("b", 30, under="sub", usage={"output_tokens": 100}),
        told.end("sub", 5, 60, under="root"),
        told.end("root", 0, 99),
    ]
    tree = fold_steps(events)
    found = own_costs(tree, rates)
    assert cost_within(tree, tree.roots[0], found) == Cost(Decimal("0.003"), 2)
    assert [one.step_id for one in tree.attempts] == ["root", "sub", "a", "b"]


@st.composite
def sessions_that_cost(draw: st.DrawFn) -> list[JournalEvent]:
    """Draw sessions of steps in steps, some of which are calls, each attempt within one of its parent."""
    events: list[JournalEvent] = []
    clock = iter(range(1, 10**6))
    number = iter(range(1000))

    def step(under: str | None, depth: int) -> None:
        name, begun = f"s{next(number)}", next(clock)
        kind = draw(st.sampled_from(("AGENT", "MODEL", "MODEL", "NODE"))) if under else "AGENT"
        model = draw(st.sampled_from(("m", "unknown")))
        events.append(told.start(name, begun, under=under, kind=kind, name=model, details=asked(model)))
        # A head sees whether a call is right beneath another, a tree also whether it is further below.
        for _ in range(draw(st.integers(0, 3)) if depth < (2 if kind == "MODEL" else 3) else 0):
            step(name, 3 if kind == "MODEL" else depth + 1)
        used = draw(st.none() | st.builds(dict, input_tokens=st.integers(0, 9), output_tokens=st.integers(1, 9)))
        usage = {"usage": used} if used and kind == "MODEL" else {}
        details = draw(st.sampled_from(({}, {"cached": True}, {"attributes": {costs.REPORTED: 0.5}})))
        outcome = draw(st.sampled_from(("ok", "ok", "error", "cancelled")))
        details = details if kind == "MODEL" else {}
        events.append(
            told.end(name, begun, next(clock), outcome, under=under, kind=kind, name=model, details=details, **usage)
        )

    for _ in range(draw(st.integers(1, 2))):
        step(None, 0)
    return events


@given(sessions_that_cost(), st.randoms(use_true_random=False))
def test_heads_and_trees_agree(events: list[JournalEvent], shuffle: Any) -> None:
    """What a listing says that a session cost is what its steps cost, in any order of events, told twice."""
    found = of_tree(events)
    again = [*events, *events[:5]]
    shuffle.shuffle(again)
    assert of_head(events) == of_head(again) == found
