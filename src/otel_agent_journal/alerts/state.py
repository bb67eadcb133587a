"""What becomes of an alert: pending, firing, resolved, and who is to be told of it still. Pure.

`moved` is the whole of it: what is known, what was found just now, and the time give what is known next. An alert is
known as long as it holds, or somebody is to be told of it; then it is forgotten, and history has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from otel_agent_journal.alerts.rules import NS_PER_S, Rule
from otel_agent_journal.event import derived_id

PENDING: Final = "pending"
FIRING: Final = "firing"
RESOLVED: Final = "resolved"

REFRESH_NS: Final = 600 * NS_PER_S  # how old the note may be that an alert was found
STALE_NS: Final = 25 * 3600 * NS_PER_S  # after which nobody judges its rule: the rarest watcher comes once a day
FIRST_PAUSE_NS: Final = 5 * NS_PER_S  # after a message was not taken; doubled each time
LONGEST_PAUSE_NS: Final = 600 * NS_PER_S
GIVEN_UP_NS: Final = 72 * 3600 * NS_PER_S
MAX_OWED: Final = 20  # messages of one alert to one receiver that wait; older ones make room, which is said


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A row that a rule has found: what it is, and what can be said of it. `why` stays in the journal."""

    labels: Mapping[str, str]
    values: Mapping[str, Any] = {}
    summary: str = ""
    why: str | None = None


class Owed(msgspec.Struct, frozen=True, kw_only=True):
    """A message that a receiver has not taken yet.

    Who sends it moves `next_ns` on first, so that no other does; so it is sent again if that one dies.
    """

    receiver: str
    state: str
    at_ns: int
    began_ns: int
    summary: str
    values: Mapping[str, Any] = {}
    attempts: int = 0
    next_ns: int = 0
    last_error: str | None = None


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One alert as it is kept. Times are UTC nanoseconds.

    `began_ns`: since when it holds; `changed_ns`: since when it is in this state; `checked_ns`: when it was last known
    to be so, within `REFRESH_NS`. `recorded`: history has it. `why`: more of it, for who reads the journal. `version`
    is the store's, 0 before it was ever written.
    """

    rule: str
    labels: Mapping[str, str]
    severity: str
    summary: str
    values: Mapping[str, Any] = {}
    state: str = PENDING
    began_ns: int = 0
    changed_ns: int = 0
    checked_ns: int = 0
    recorded: bool = True
    why: str | None = None
    owed: tuple[Owed, ...] = ()
    version: int = 0

    @property
    def alert_id(self) -> str:
        """What tells it from every other: its rule and labels."""
        return alert_id(self.rule, self.labels)


def alert_id(rule: str, labels: Mapping[str, str]) -> str:
    """Return the id of an alert."""
    return derived_id("alert:" + msgspec.json.encode([rule, sorted(labels.items())]).decode())


def message_id(alert: Alert, owed: Owed) -> str:
    """Return the id of a message: the same at each attempt, so that a receiver can tell it came before."""
    return derived_id(f"{alert.alert_id}:{owed.began_ns}:{owed.state}:{owed.at_ns}:{owed.receiver}")


def moved(
    known: Alert | None, found: Found | None, rule: Rule, name: str, now_ns: int, *, resolved_to: Iterable[str] = ()
) -> Alert | None:
    """Return what is known of an alert from now on; None: there is nothing to know.

    Args:
        known: what was known of it.
        found: what its rule has found now, None where that is over.
        rule: how long it must hold, how grave it is, and who is told.
        name: what it is called: the rule's, or that the rule is broken.
        now_ns: UTC.
        resolved_to: the receivers that are told that it is over.
    """
    if found is None:
        return None if known is None else _over(known, now_ns, resolved_to)
    if known is None or known.state == RESOLVED:
        before = () if known is None else known.owed
        version = 0 if known is None else known.version
        known = Alert(
            rule=name,
            labels=found.labels,
            severity=rule.severity,
            summary=found.summary,
            values=found.values,
            began_ns=now_ns,
            changed_ns=now_ns,
            checked_ns=now_ns,
            why=found.why,
            owed=before,
            version=version,
        )
    if known.state == FIRING:
        return known if now_ns - known.checked_ns < REFRESH_NS else msgspec.structs.replace(known, checked_ns=now_ns)
    if now_ns - known.began_ns < rule.for_ns:
        return known
    return _changed(known, FIRING, now_ns, rule.send, found)


def unwatched(known: Alert, now_ns: int) -> Alert:
    """Return an alert as it is where nobody has judged its rule for so long that it is not known whether it holds."""
    return msgspec.structs.replace(
        _changed(known, RESOLVED, now_ns, ()), why="no watcher has this rule any more; whether it holds is not known"
    )


def is_forgettable(alert: Alert) -> bool:
    """Tell whether all is done that an alert asks for."""
    return alert.state == RESOLVED and alert.recorded and not alert.owed


def claimed(alert: Alert, owed: Owed, until_ns: int) -> Alert:
    """Return an alert of which one who sends a message has taken it on."""
    return _with(alert, owed, msgspec.structs.replace(owed, attempts=owed.attempts + 1, next_ns=until_ns))


def sent(alert: Alert, owed: Owed) -> Alert:
    """Return an alert of which a message was taken, or given up."""
    return _with(alert, owed, None)


def not_sent(alert: Alert, owed: Owed, why: str, now_ns: int, retry_after_ns: int = 0) -> Alert:
    """Return an alert of which a message was not taken: when it is tried again, and why."""
    pause_ns = min(LONGEST_PAUSE_NS, FIRST_PAUSE_NS << min(20, max(0, owed.attempts - 1)))
    next_ns = now_ns + max(pause_ns, retry_after_ns)
    return _with(alert, owed, msgspec.structs.replace(owed, next_ns=next_ns, last_error=why))


def find_owed(alert: Alert, like: Owed) -> Owed | None:
    """Return a message as the alert has it now, whatever was noted of it since; None where it is done with."""
    return next((one for one in alert.owed if _same(one, like)), None)


def first_owed(alert: Alert) -> list[Owed]:
    """Return the message of each receiver that is next: what happened first is told first."""
    found: dict[str, Owed] = {}
    for one in alert.owed:
        found.setdefault(one.receiver, one)
    return list(found.values())


def dropped_from(before: Alert, after: Alert) -> list[Owed]:
    """Return the messages that had to make room for a new one."""
    return [one for one in before.owed if find_owed(after, one) is None]


def _over(known: Alert, now_ns: int, resolved_to: Iterable[str]) -> Alert | None:
    if known.state == FIRING:
        return _changed(known, RESOLVED, now_ns, resolved_to)
    if known.state == PENDING:
        return msgspec.structs.replace(known, state=RESOLVED, changed_ns=now_ns) if known.owed else None
    return known


def _changed(known: Alert, state: str, now_ns: int, receivers: Iterable[str], found: Found | None = None) -> Alert:
    summary, values = (known.summary, known.values) if found is None else (found.summary, found.values)
    owed = list(known.owed)
    for receiver in receivers:
        owed.append(
            Owed(
                receiver=receiver,
                state=state,
                at_ns=now_ns,
                began_ns=known.began_ns,
                summary=summary,
                values=values,
            )
        )
        waiting = [one for one in owed if one.receiver == receiver]
        for one in waiting[: max(0, len(waiting) - MAX_OWED)]:
            owed.remove(one)
    return msgspec.structs.replace(
        known,
        state=state,
        summary=summary,
        values=values,
        changed_ns=now_ns,
        checked_ns=now_ns,
        recorded=False,
        owed=tuple(owed),
    )


def _with(alert: Alert, owed: Owed, now: Owed | None) -> Alert:
    kept = [now if _same(one, owed) else one for one in alert.owed]
    return msgspec.structs.replace(alert, owed=tuple(one for one in kept if one is not None))


def _same(one: Owed, other: Owed) -> bool:
    return (one.receiver, one.state, one.at_ns, one.began_ns) == (
        other.receiver,
        other.state,
        other.at_ns,
        other.began_ns,
    )
