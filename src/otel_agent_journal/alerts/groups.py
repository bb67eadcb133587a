"""Rules that look at groups of calls: what they cost, how many fail, and whether they take longer than they use to."""

from __future__ import annotations

from otel_agent_journal.alerts.calls import Calls
from otel_agent_journal.alerts.rules import NS_PER_S, Rule
from otel_agent_journal.alerts.state import Found
from otel_agent_journal.alerts.unjudged import Unjudged
from otel_agent_journal.projections.cost import summed

_NS_PER_MS = 1_000_000


def dear(calls: Calls, rule: Rule, now_ns: int) -> list[Found]:
    """Return the groups that have cost more than the rule's dollars within its time, as far as prices are known.

    Raises:
        Unjudged: no price is known of any call.
    """
    groups = calls.since(rule, now_ns - rule.within_ns)
    total = summed(group.cost for group in groups.values())
    if total.unpriced and not total.priced:
        raise Unjudged(
            f"no price is known of any of {total.unpriced:,} calls; name prices in prices.toml, or install"
            " otel-agent-journal[cost] (docs/cost.md)"
        )
    found: list[Found] = []
    for name, group in groups.items():
        usd = group.cost.usd
        if usd is None or usd <= rule.over:
            continue
        least = "at least " if group.cost.unpriced else ""
        gap = f"; of {group.cost.unpriced:,} calls no price is known" if group.cost.unpriced else ""
        found.append(
            Found(
                labels={rule.by: name},
                values={
                    "usd": round(usd, 6),
                    "calls": group.cost.priced + group.cost.unpriced,
                    "unpriced_calls": group.cost.unpriced,
                },
                summary=f"{rule.by} {name} spent {least}${usd:,.2f} within {_span(rule.within_ns)},"
                f" over ${rule.over:,.2f}{gap}",
            )
        )
    return found


def failing(calls: Calls, rule: Rule, now_ns: int) -> list[Found]:
    """Return the groups of whose calls more than the rule's percentage have failed, where there were enough."""
    found: list[Found] = []
    for name, group in calls.since(rule, now_ns - rule.within_ns).items():
        percent = 100 * group.failures / max(1, group.calls)
        if group.calls < rule.at_least or percent <= rule.over:
            continue
        found.append(
            Found(
                labels={rule.by: name},
                values={"percent": round(percent, 1), "calls": group.calls, "failures": group.failures},
                summary=f"{rule.by} {name}: {group.failures:,} of {group.calls:,} calls failed within"
                f" {_span(rule.within_ns)} ({percent:.0f} %, over {rule.over:g} %)",
            )
        )
    return found


def slow(calls: Calls, rule: Rule, now_ns: int) -> list[Found]:
    """Return the groups that take so much longer than in the seven days before: their 95th percentiles compared.

    A group with too few calls, now or then, is not judged.
    """
    usual = calls.usual(rule, now_ns).groups
    found: list[Found] = []
    for name, group in calls.since(rule, now_ns - rule.within_ns).items():
        before_ns, count = usual.get(name, (0, 0))
        now_p95_ns = group.took.at(0.95)
        if now_p95_ns is None or group.took.count < rule.at_least or count < rule.at_least or not before_ns:
            continue
        if now_p95_ns <= rule.factor * before_ns:
            continue
        times = now_p95_ns / before_ns
        found.append(
            Found(
                labels={rule.by: name},
                values={
                    "p95_ms": round(now_p95_ns / _NS_PER_MS, 3),
                    "usual_p95_ms": round(before_ns / _NS_PER_MS, 3),
                    "factor": round(times, 2),
                    "calls": group.took.count,
                },
                summary=f"{rule.by} {name}: p95 {_took(now_p95_ns)} within {_span(rule.within_ns)},"
                f" {times:.1f} times the {_took(before_ns)} of the week before",
            )
        )
    return found


def _took(ns: int) -> str:
    return f"{ns / NS_PER_S:.2f} s" if ns >= NS_PER_S else f"{ns / _NS_PER_MS:.0f} ms"


def _span(ns: int) -> str:
    seconds = ns / NS_PER_S
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
