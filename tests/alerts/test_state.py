"""What becomes of an alert, as pure functions."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from otel_agent_journal.alerts.rules import NS_PER_S, Rule
from otel_agent_journal.alerts.state import (
    FIRING,
    LONGEST_PAUSE_NS,
    MAX_OWED,
    PENDING,
    REFRESH_NS,
    RESOLVED,
    Alert,
    Found,
    alert_id,
    claimed,
    dropped_from,
    find_owed,
    first_owed,
    is_forgettable,
    message_id,
    moved,
    not_sent,
    sent,
)

RULE = Rule(name="r", kind="sql", send=("ops",))
FOUND = Found(labels={"agent": "a"}, summary="it is so")


def at(known: Alert | None, found: Found | None, now_s: int, rule: Rule = RULE) -> Alert | None:
    return moved(known, found, rule, rule.name, now_s * NS_PER_S, resolved_to=rule.send)


def fired(now_s: int = 1, rule: Rule = RULE) -> Alert:
    alert = at(None, FOUND, now_s, rule)
    assert alert is not None
    return alert


def told(alert: Alert) -> Alert:
    """Return it as it is once it was recorded and sent."""
    for one in alert.owed:
        alert = sent(alert, one)
    return msgspec.structs.replace(alert, recorded=True)


def test_what_is_found_fires_and_is_owed() -> None:
    """Without `for`, what is found fires at once, is to be recorded, and is owed to each receiver of the rule."""
    alert = fired()
    assert (alert.state, alert.recorded, [one.receiver for one in alert.owed]) == (FIRING, False, ["ops"])


def test_it_has_to_hold() -> None:
    """With `for`, what is found is pending, owes nothing, and fires once it was found for so long."""
    rule = msgspec.structs.replace(RULE, for_ns=60 * NS_PER_S)
    alert = at(None, FOUND, 0, rule)
    assert alert is not None
    assert (alert.state, alert.owed, alert.recorded) == (PENDING, (), True)
    assert at(alert, FOUND, 59, rule) is alert
    later = at(alert, FOUND, 60, rule)
    assert later is not None
    assert (later.state, later.began_ns, later.changed_ns) == (FIRING, 0, 60 * NS_PER_S)


def test_pending_goes_without_a_word() -> None:
    """What is pending and found no more is forgotten."""
    rule = msgspec.structs.replace(RULE, for_ns=60 * NS_PER_S)
    assert at(at(None, FOUND, 0, rule), None, 1, rule) is None


def test_what_goes_on_changes_nothing() -> None:
    """An alert that goes on is not written again, but for a note now and then that it does."""
    alert = told(fired())
    assert at(alert, FOUND, 2) is alert
    later = moved(alert, FOUND, RULE, "r", alert.checked_ns + REFRESH_NS)
    assert later == msgspec.structs.replace(alert, checked_ns=alert.checked_ns + REFRESH_NS)


def test_what_is_over_is_told_then_forgotten() -> None:
    """An alert that is over is resolved, told, and forgotten once that is done."""
    over = at(told(fired()), None, 2)
    assert over is not None
    assert (over.state, [one.state for one in over.owed], is_forgettable(over)) == (RESOLVED, [RESOLVED], False)
    assert is_forgettable(told(over))


def test_what_comes_again_is_another_episode() -> None:
    """One that fires again while its end is still owed keeps what is owed, in order, with other message ids."""
    over = at(fired(), None, 2)
    again = at(over, FOUND, 3)
    assert again is not None
    assert [one.state for one in again.owed] == [FIRING, RESOLVED, FIRING]
    assert len({message_id(again, one) for one in again.owed}) == 3
    assert [one.state for one in first_owed(again)] == [FIRING]


def test_owed_keeps_a_pending_one() -> None:
    """A pending alert that goes while something is owed of it stays until that is told."""
    rule = msgspec.structs.replace(RULE, for_ns=60 * NS_PER_S)
    again = at(at(told(fired()), None, 2), FOUND, 3, rule)
    assert again is not None
    assert (again.state, len(again.owed)) == (PENDING, 1)
    gone = at(again, None, 4, rule)
    assert gone is not None
    assert (gone.state, len(gone.owed), gone.recorded) == (RESOLVED, 1, True)


def test_attempts_are_further_and_further_apart() -> None:
    """A message that is not taken is tried after 5 s, 10 s, 20 s and so on, ten minutes at most, or as is asked."""
    alert = fired()
    pauses = []
    for _ in range(10):
        (owed,) = alert.owed
        (owed,) = claimed(alert, owed, 0).owed
        alert = not_sent(claimed(alert, owed, 0), owed, "no", 0)
        (tried,) = alert.owed
        pauses.append(tried.next_ns // NS_PER_S)
        alert = msgspec.structs.replace(alert, owed=(msgspec.structs.replace(tried, attempts=len(pauses)),))
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 600, 600, LONGEST_PAUSE_NS // NS_PER_S]
    (owed,) = alert.owed
    assert not_sent(alert, owed, "no", 0, 3600 * NS_PER_S).owed[0].next_ns == 3600 * NS_PER_S


def test_what_is_owed_is_bounded() -> None:
    """Of one alert so many messages wait for a receiver; the oldest that makes room is known."""
    alert = fired()
    for number in range(MAX_OWED):
        before = alert
        moved_on = at(alert, None if number % 2 == 0 else FOUND, number + 2)
        assert moved_on is not None
        alert = moved_on
    assert len(alert.owed) == MAX_OWED
    (lost,) = dropped_from(before, alert)
    assert lost.at_ns == NS_PER_S
    assert find_owed(alert, lost) is None


def test_labels_in_any_order_are_one_alert() -> None:
    """An alert is told by its rule and labels, whatever their order, and by nothing else."""
    assert alert_id("r", {"a": "1", "b": "2"}) == alert_id("r", {"b": "2", "a": "1"})
    assert len({alert_id("r", {}), alert_id("r", {"a": "1"}), alert_id("s", {}), alert_id("r", {"a": "2"})}) == 4


# What happens to an alert: it is found or not, its first message is taken or not, and time goes by.
DEEDS = st.lists(st.tuples(st.sampled_from(("found", "gone", "sent", "failed")), st.integers(1, 400)), max_size=60)


@given(deeds=DEEDS, for_s=st.sampled_from((0, 60)))
def test_no_change_is_lost_or_told_twice(deeds: list[tuple[str, int]], for_s: int) -> None:
    """Whatever happens, firing and resolved alternate, and each is told once, owed, or has made room, in order."""
    rule = msgspec.structs.replace(RULE, for_ns=for_s * NS_PER_S)
    alert: Alert | None = None
    changes: list[tuple[str, int]] = []
    done: list[tuple[str, int]] = []
    now_s = 0
    for deed, later_s in deeds:
        now_s += later_s
        before = alert
        if deed in ("found", "gone"):
            alert = at(alert, FOUND if deed == "found" else None, now_s, rule)
            if alert is not None and not alert.recorded:
                changes.append((alert.state, alert.changed_ns))
                alert = msgspec.structs.replace(alert, recorded=True)
            if before is not None and alert is not None:
                done += [(one.state, one.at_ns) for one in dropped_from(before, alert)]
        elif alert is not None and alert.owed:
            (owed,) = first_owed(alert)
            tried = claimed(alert, owed, 0)
            if deed == "sent":
                alert = sent(tried, owed)
                done.append((owed.state, owed.at_ns))
            else:
                alert = not_sent(tried, owed, "no", now_s * NS_PER_S)
        if alert is not None and is_forgettable(alert):
            alert = None
        owing = [] if alert is None else [(one.state, one.at_ns) for one in alert.owed]
        assert done + owing == changes
    assert [state for state, _ in changes] == [FIRING, RESOLVED] * (len(changes) // 2) + [FIRING] * (len(changes) % 2)
