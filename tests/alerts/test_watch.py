"""A watcher: what it moves on, what it tells, and that nothing is told twice or lost."""

from __future__ import annotations

import msgspec
import pytest

from otel_agent_journal.alerts.book import Book, firing
from otel_agent_journal.alerts.state import GIVEN_UP_NS, STALE_NS
from otel_agent_journal.errors import UnsupportedByStore
from otel_agent_journal.store.protocol import JournalStore, SessionFilter
from tests.alerts.conftest import S, Watched, hook
from tests.alerts.receiver import LocalReceiver

# Fires for each session that failed; needs no SQL.
FAILS = '[[alert]]\nname = "fails"\nkind = "error_rate"\nby = "agent"\nat_least = 1\nsend = ["ops"]\n'


def fail(watched: Watched, session_id: str = "s1", agent: str = "helper") -> None:
    """Keep a session of an agent that failed."""
    builder = watched.builder(session_id)
    builder.end(builder.start("AGENT", agent), "error")
    watched.keep(builder)


def test_an_alert_fires_once_and_is_over_once(watched: Watched, receiver: LocalReceiver) -> None:
    """What holds fires once, however often it is looked at; what holds no more is over once; history has both."""
    fail(watched)
    watch = watched.watch(FAILS + hook(receiver))
    for _ in range(3):
        (alert,) = watch.check()
        watched.clock.advance(60 * S)
    assert (alert.rule, alert.labels, alert.state) == ("fails", {"agent": "helper"}, "firing")
    assert [one.alert_id for one in firing(watched.store)] == [alert.alert_id]
    watched.clock.advance(3600 * S)
    assert watch.check() == []
    assert watched.states() == [("fails", "firing"), ("fails", "resolved")]
    assert [one.json["type"] for one in receiver.got] == ["alert.firing", "alert.resolved"]
    assert [(one.type, one.name) for one in watched.history()] == [
        ("ALERT_FIRING", "fails"),
        ("ALERT_RESOLVED", "fails"),
    ]
    assert Book(watched.store).alerts() == {}


def test_a_restart_sends_nothing_twice(watched: Watched, receiver: LocalReceiver) -> None:
    """A watcher that begins anew goes on with what is known: it tells nobody of what was told."""
    fail(watched)
    text = FAILS + hook(receiver)
    watched.watch(text).check()
    assert len(watched.watch(text).check()) == 1
    assert len(receiver.got) == 1


def test_two_watchers_send_once(watched: Watched, receiver: LocalReceiver) -> None:
    """Of two watchers that find the same at once one moves the alert on, and one sends it."""
    fail(watched)
    text = FAILS + hook(receiver)
    one, two = watched.watch(text), watched.watch(text)
    receiver.hold.clear()
    one.step()
    two.step()
    receiver.wait(1)
    two.step(every_rule=True)
    receiver.hold.set()
    one.finish()
    two.finish()
    two.check()
    assert len(receiver.got) == 1
    assert watched.states() == [("fails", "firing")]


def test_each_row_is_an_alert_of_its_own(watched: Watched, receiver: LocalReceiver) -> None:
    """Alerts are told apart by their labels."""
    fail(watched, "s1", "one")
    fail(watched, "s2", "two")
    watch = watched.watch(FAILS + hook(receiver))
    assert {one.labels["agent"] for one in watch.check()} == {"one", "two"}
    assert len(receiver.got) == 2


def test_a_receiver_that_is_away_is_tried_again(watched: Watched, receiver: LocalReceiver) -> None:
    """What a receiver does not take is kept, said, shown, and sent again later under the same id: never lost."""
    fail(watched)
    receiver.status = 500
    watch = watched.watch(FAILS + hook(receiver))
    (alert,) = watch.check()
    assert [(one.receiver, one.attempts, one.last_error) for one in alert.owed] == [("ops", 1, "it answered 500")]
    assert [one.outcome.why for one in watched.changes if one.outcome] == ["it answered 500"]
    assert watch.step() == pytest.approx(5)  # the first pause
    receiver.status = 200
    watch.check()
    assert len(receiver.got) == 1
    watched.clock.advance(6 * S)
    again = watched.watch(FAILS + hook(receiver))  # whoever comes next does it
    (alert,) = again.check()
    assert alert.owed == ()
    assert len({one.headers["webhook-id"] for one in receiver.got}) == 1
    assert len(receiver.got) == 2


def test_what_happened_first_is_told_first(watched: Watched, receiver: LocalReceiver) -> None:
    """An alert that is over before anybody took that it fired is told whole, in order."""
    fail(watched)
    receiver.status = 503
    watch = watched.watch(FAILS + hook(receiver))
    watch.check()
    watched.clock.advance(3700 * S)
    receiver.status = 200
    watch.check()
    assert [one.json["type"] for one in receiver.got] == ["alert.firing", "alert.firing", "alert.resolved"]
    assert Book(watched.store).alerts() == {}


def test_a_receiver_says_when_to_come_again(watched: Watched, receiver: LocalReceiver) -> None:
    """`Retry-After` is kept to."""
    fail(watched)
    receiver.status, receiver.headers = 429, {"retry-after": "120"}
    (alert,) = watched.watch(FAILS + hook(receiver)).check()
    assert alert.owed[0].next_ns == watched.clock() + 120 * S


def test_what_is_given_up_is_in_history(watched: Watched, receiver: LocalReceiver) -> None:
    """A message that nobody took for three days is tried no more; history says so."""
    fail(watched)
    receiver.status = 500
    rule = FAILS.replace("at_least", 'within = "7d"\nat_least')
    watch = watched.watch(rule + hook(receiver))
    watch.check()
    watched.clock.advance(GIVEN_UP_NS)
    (alert,) = watch.check()
    assert alert.owed == ()
    (unsent,) = [one for one in watched.history() if one.type == "ALERT_UNSENT"]
    assert (unsent.details["receiver"], unsent.details["why"]) == ("ops", "it answered 500")


def test_a_watcher_that_died_is_followed(watched: Watched, receiver: LocalReceiver) -> None:
    """What a watcher had taken on and did not send is sent by another, once its time is over."""
    fail(watched)
    text = FAILS + hook(receiver)
    receiver.hold.clear()
    watched.watch(text).step()  # its request hangs, and it never hears of the answer
    receiver.wait(1)
    receiver.hold.set()
    other = watched.watch(text)
    other.check()
    assert len(receiver.got) == 1
    watched.clock.advance(91 * S)
    other.check()
    assert len(receiver.got) == 2
    assert receiver.got[0].headers["webhook-id"] == receiver.got[1].headers["webhook-id"]


def test_a_slow_receiver_holds_up_no_other(watched: Watched, receiver: LocalReceiver) -> None:
    """While one receiver does not answer, the others are told."""
    quick = LocalReceiver()
    try:
        fail(watched)
        receiver.hold.clear()
        table = f'[receiver.quick]\nkind = "webhook"\nurl = "{quick.url}"\nunsigned = true\n'
        watch = watched.watch(FAILS.replace('["ops"]', '["ops", "quick"]') + hook(receiver) + table)
        watch.step()
        (got,) = quick.wait(1)
        assert "webhook-signature" not in got.headers
        receiver.hold.set()
        watch.finish()
        assert len(receiver.got) == 1
    finally:
        quick.close()


def test_who_is_not_told_of_the_end(watched: Watched, receiver: LocalReceiver) -> None:
    """A receiver with `resolved = false` is told what fires alone."""
    fail(watched)
    watch = watched.watch(FAILS + hook(receiver, "resolved = false"))
    watch.check()
    watched.clock.advance(3700 * S)
    watch.check()
    assert [one.json["type"] for one in receiver.got] == ["alert.firing"]


def test_pending_survives_a_restart(watched: Watched, receiver: LocalReceiver) -> None:
    """How long something has held is in the journal: a check every minute by cron counts as a watcher does."""
    fail(watched)
    text = FAILS.replace("send", 'for = "2m"\nsend') + hook(receiver)
    assert watched.watch(text).check() == []
    watched.clock.advance(60 * S)
    assert watched.watch(text).check() == []
    watched.clock.advance(61 * S)
    assert len(watched.watch(text).check()) == 1


def test_a_rule_is_judged_when_it_is_due(watched: Watched, receiver: LocalReceiver) -> None:
    """Each rule is judged every so often, counted from when it was last begun."""
    watch = watched.watch(FAILS.replace("send", 'every = "5m"\nsend') + hook(receiver))
    assert watch.step() == pytest.approx(300)
    fail(watched)
    watched.clock.advance(299 * S)
    assert watch.step() == pytest.approx(1)
    assert watch.firing == []
    watched.clock.advance(1 * S)
    watch.step()
    assert len(watch.firing) == 1


def test_a_broken_rule_is_an_alert(watched: Watched, receiver: LocalReceiver) -> None:
    """A rule that cannot be judged is an alert, over once it can be; its own alerts stay as they were meanwhile."""
    pytest.importorskip("duckdb")
    fail(watched)
    text = '[[alert]]\nname = "fails"\nsql = "SELECT {} FROM sessions"\ntimeout = "60s"\nsend = ["ops"]\n' + hook(
        receiver
    )
    good, bad = text.replace("{}", "agent"), text.replace("{}", "agnt")
    watched.watch(good).check()
    broken = watched.watch(bad)
    assert sorted(one.rule for one in broken.check()) == ["fails", "rule_broken"]
    assert [one.json["data"]["rule"] for one in receiver.got] == ["fails", "rule_broken"]
    assert "cannot be judged: SQL line 1, column 8" in receiver.got[1].json["data"]["summary"]
    assert [one.rule for one in watched.watch(good).check()] == ["fails"]
    assert watched.states()[-1] == ("rule_broken", "resolved")


def test_a_defect_in_a_rule_ends_no_other(watched: Watched, receiver: LocalReceiver) -> None:
    """A rule that fails in a way that nobody foresaw is an alert, said, and the others are judged."""
    fail(watched)

    def broken() -> frozenset[str]:
        raise ZeroDivisionError("nobody foresaw it")

    text = FAILS + '[[alert]]\nname = "dear"\nkind = "spend"\nover = 1\n' + hook(receiver)
    watch = watched.watch('[[alert]]\nname = "first"\nkind = "stuck"\n' + text)
    watched.journal.waiting = broken  # type: ignore[method-assign]
    watch.step()
    assert {one.rule for one in watch.alerts} >= {"rule_broken"}
    assert "ZeroDivisionError" in watched.notes[0]


def test_a_rule_that_is_gone_is_over_after_a_day(watched: Watched, receiver: LocalReceiver) -> None:
    """An alert whose rule no watcher has stays for a day, in case one comes; then it is over, as not known."""
    fail(watched)
    watched.watch(FAILS + hook(receiver)).check()
    other = watched.watch('[[alert]]\nname = "other"\nkind = "stuck"\n')
    watched.clock.advance(STALE_NS - 1)
    assert other.check() == []
    assert len(firing(watched.store)) == 1
    watched.clock.advance(1)
    other.check()
    assert firing(watched.store) == []
    assert "not known" in watched.history()[-1].details["why"]


def test_a_message_to_a_receiver_that_is_gone_is_not_lost_silently(watched: Watched, receiver: LocalReceiver) -> None:
    """What is owed to a receiver that no file has for a day is given up, in history and with a word."""
    fail(watched)
    receiver.status = 500
    rule = FAILS.replace("at_least", 'within = "7d"\nat_least')
    watched.watch(rule + hook(receiver)).check()
    other = watched.watch(rule.replace('send = ["ops"]\n', ""))
    (alert,) = other.check()
    assert [one.receiver for one in alert.owed] == ["ops"]  # another watcher's file may have it
    watched.clock.advance(STALE_NS)
    (alert,) = other.check()
    assert alert.owed == ()
    assert watched.history()[-1].type == "ALERT_UNSENT"
    assert "ops is no receiver" in watched.notes[0]


def test_history_is_a_session_that_listings_leave_out(watched: Watched, receiver: LocalReceiver) -> None:
    """History is a session a day; `heads` has it only where it is asked for by its id, and its head is up to date."""
    fail(watched)
    watched.watch(FAILS + hook(receiver)).check()
    listed = [head.session_id for head in watched.journal.heads(SessionFilter())]
    assert listed == ["s1"]
    assert [head.session_id for head in watched.journal.heads(SessionFilter(limit=1))] == ["s1"]
    (own,) = watched.journal.heads(SessionFilter(id_prefix="_alerts-"))
    assert (own.session_id, own.status, own.agent) == ("_alerts-2026-01-11", "COMPLETED", "alerts")
    newest = watched.journal.newest()
    assert newest is not None
    assert newest.session_id == "s1"
    assert "_alerts-2026-01-11" not in set(watched.store.unsettled())


def test_what_another_left_half_done_is_done(watched: Watched, receiver: LocalReceiver) -> None:
    """A watcher that died between moving an alert on and writing history is made up for, with the same event."""
    fail(watched)
    text = FAILS + hook(receiver)
    watched.watch(text).check()
    (alert,) = firing(watched.store)
    assert Book(watched.store).put(msgspec.structs.replace(alert, recorded=False)) is not None
    before = watched.history()
    watched.watch(text).check()
    assert watched.history() == before
    (alert,) = firing(watched.store)
    assert alert.recorded


def test_a_store_that_keeps_no_documents_cannot_be_watched(watched: Watched) -> None:
    """It is refused by the capability that it lacks."""

    class Without:
        def __init__(self, store: JournalStore) -> None:
            self.url = store.url
            self.capabilities = msgspec.structs.replace(store.capabilities, documents=False)

    with pytest.raises(UnsupportedByStore, match="documents"):
        Book(Without(watched.store))  # type: ignore[arg-type]
