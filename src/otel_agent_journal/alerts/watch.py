"""A watcher of one journal: judges each rule when it is due, moves its alerts on, and sends what is owed.

`Watch.step` does what there is to do now and says when to come again: the command line, a server and a test call it
alike. Several may watch one journal; each alert is moved on, and told, by one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import msgspec

from otel_agent_journal.alerts.book import Book
from otel_agent_journal.alerts.judging import Judge
from otel_agent_journal.alerts.receivers import Receiver
from otel_agent_journal.alerts.rules import BROKEN, NS_PER_S, Rule, Rules
from otel_agent_journal.alerts.sending import Outbox, Outcome
from otel_agent_journal.alerts.state import (
    FIRING,
    PENDING,
    RESOLVED,
    STALE_NS,
    Alert,
    Found,
    alert_id,
    dropped_from,
    is_forgettable,
    moved,
    sent,
    unwatched,
)
from otel_agent_journal.alerts.summary import one_line
from otel_agent_journal.alerts.unjudged import Unjudged
from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.threads import Bell

IDLE_S: Final = 3600.0
AWAY_S: Final = 1.0  # between two looks at a store that cannot be reached
TAKE_IN_NS: Final = 5 * NS_PER_S  # between two looks for what dead processes have left


class Change(NamedTuple):
    """What a watcher tells as it happens: an alert fires or is over, or a message came to this."""

    alert: Alert
    outcome: Outcome | None = None


class Watch:
    """Watches one journal. Used by one thread, but for `stop`.

    Args:
        journal: what is watched; its clock is the watcher's.
        rules: what is looked for.
        receivers: who is told, by the names in the rules.
        told: called with each change.
        note: takes a line that the watcher's operator should see.

    Raises:
        UnsupportedByStore: the store keeps no documents.
    """

    def __init__(
        self,
        journal: Journal,
        rules: Rules,
        receivers: Mapping[str, Receiver],
        *,
        told: Callable[[Change], object] = lambda change: None,
        note: Callable[[str], object] = lambda line: None,
    ) -> None:
        self._journal = journal
        self._rules = rules.rules
        self._told_of_end = {name: entry.resolved for name, entry in rules.receivers.items()}
        self._told = told
        self._note = note
        self._book = Book(journal.store)
        self._judge = Judge(journal)
        self._bell = Bell()
        self._outbox = Outbox(self._book, receivers, journal.store.url, journal.clock, self._bell)
        self._known: dict[str, Alert] = {}
        self._due_ns: dict[str, int] = {}
        self._taken_in_ns = 0
        self._stopped = False

    @property
    def firing(self) -> list[Alert]:
        """The alerts of these rules that fire, as this watcher knows it."""
        return [one for one in self._known.values() if one.state == FIRING and self.is_ours(one)]

    @property
    def alerts(self) -> list[Alert]:
        """All that is known of alerts, those of other watchers' rules among it."""
        return list(self._known.values())

    def is_ours(self, alert: Alert) -> bool:
        """Tell whether an alert is of one of these rules."""
        name = alert.labels.get("rule") if alert.rule == BROKEN else alert.rule
        return any(rule.name == name for rule in self._rules)

    def step(self, *, every_rule: bool = False) -> float:
        """Judge the rules that are due, or all, and send what is; return the seconds until there is more to do.

        Raises:
            StoreUnreachable: the store is away; what was not done is done by the next step.
        """
        now_ns = self._journal.clock()
        self._settle()
        due = [rule for rule in self._rules if every_rule or self._due_ns.get(rule.name, 0) <= now_ns]
        if due:
            if now_ns - self._taken_in_ns >= TAKE_IN_NS:
                self._journal.take_in_dead()
                self._taken_in_ns = now_ns
            self._known = self._book.alerts()
            self._finish_others(now_ns)
        for rule in due:
            began_ns = self._journal.clock()
            self._pass(rule)
            self._due_ns[rule.name] = began_ns + rule.every_ns
            self._send()
        self._send()
        return self._pause_s()

    def check(self) -> list[Alert]:
        """Judge every rule once, and send what is due; return what fires, once nothing is on its way.

        What a receiver does not take stays owed, for the next watcher.

        Raises:
            StoreUnreachable: and other errors of the store.
        """
        self.step(every_rule=True)
        self.finish()
        return self.firing

    def finish(self) -> None:
        """Send what is due, and wait until nothing is on its way: bounded by what a receiver may take."""
        while True:
            self._settle()
            self._send()
            if not self._outbox.is_busy:
                return
            self._bell.wait(1.0)

    def run(self) -> None:
        """Watch until `stop`; a store that is away is waited for, which is said once.

        Raises:
            StoreError: the store can be watched no more: it is damaged, or refuses what is asked.
        """
        said = False
        while not self._stopped:
            try:
                pause_s = self.step()
                if said:
                    self._note("the store is back")
                said = False
            except StoreUnreachable as error:
                if not said:
                    self._note(f"nothing is watched now: {error}; trying again every {AWAY_S:g} s")
                said, pause_s = True, AWAY_S
            if not self._stopped:
                self._bell.wait(pause_s)
        self.finish()

    def stop(self) -> None:
        """End `run` soon; from any thread, or a signal's handler."""
        self._stopped = True
        self._bell.ring()

    # --- rules ------------------------------------------------------------------------------------------------------

    def _pass(self, rule: Rule) -> None:
        """Judge a rule, and move its alerts on; where it cannot be judged they stay, and that is an alert."""
        now_ns = self._journal.clock()
        broken = {"rule": rule.name}
        try:
            found = self._judge.found(rule, now_ns)
        except Unjudged as error:
            why = f"rule {rule.name} cannot be judged: {error.told}"
            self._move(rule, BROKEN, broken, Found(labels=broken, summary=one_line(why), why=str(error)))
            return
        except StoreUnreachable:
            raise
        except Exception as error:  # noqa: BLE001 - a defect in one rule must not end all others, nor be silent
            why = f"rule {rule.name} cannot be judged: {type(error).__name__}, a defect of agent-journal"
            self._note(f"{why}: {error}")
            self._move(rule, BROKEN, broken, Found(labels=broken, summary=why))
            return
        self._move(rule, BROKEN, broken, None)
        now = {alert_id(rule.name, one.labels): one for one in found}
        before = [one.labels for one in self._known.values() if one.rule == rule.name and one.alert_id not in now]
        for one in found:
            self._move(rule, rule.name, one.labels, one)
        for labels in before:
            self._move(rule, rule.name, labels, None)

    def _move(self, rule: Rule, name: str, labels: Mapping[str, str], found: Found | None) -> None:
        """Move one alert on, if nobody else has; whoever has is believed."""
        key = alert_id(name, labels)
        known = self._recorded(self._known.get(key))
        judged = rule if name == rule.name else msgspec.structs.replace(rule, for_ns=0)
        now_ns = self._journal.clock()
        to = [one for one in rule.send if self._told_of_end.get(one, True)]
        then = moved(known, found, judged, name, now_ns, resolved_to=to)
        if then is known:
            self._keep(key, self._forgotten(known))
        elif then is None:
            if known is not None and not self._book.forget(known):
                self._keep(key, self._book.get(key))
            else:
                self._keep(key, None)
        else:
            self._write(known, then)

    def _write(self, known: Alert | None, then: Alert) -> None:
        written = self._book.put(then)
        if written is None:
            self._keep(then.alert_id, self._book.get(then.alert_id))
            return
        for owed in dropped_from(known, written) if known is not None else ():
            self._book.record_unsent(written, owed, "newer messages made it leave its place", self._journal.clock())
        self._keep(written.alert_id, self._forgotten(self._recorded(written)))
        if then.state != PENDING and (known is None or known.state != then.state):
            self._told(Change(written))

    def _recorded(self, alert: Alert | None) -> Alert | None:
        """Return an alert once history has it: before it changes again, and before anybody is told."""
        if alert is None or alert.recorded:
            return alert
        self._book.record(alert)
        noted = self._book.put(msgspec.structs.replace(alert, recorded=True))
        return self._book.get(alert.alert_id) if noted is None else noted

    def _forgotten(self, alert: Alert | None) -> Alert | None:
        """Return None of an alert that asks for nothing more; it is deleted then."""
        if alert is None or not is_forgettable(alert):
            return alert
        self._book.forget(alert)
        return None

    def _finish_others(self, now_ns: int) -> None:
        """Do what other watchers have left: events, messages to nobody, and alerts that nobody watches any more."""
        for key, alert in list(self._known.items()):
            known = self._recorded(alert)
            if known is not None and self.is_ours(known):
                known = self._without_unknown_receivers(known, now_ns)
            elif known is not None and known.state != RESOLVED and now_ns - known.checked_ns >= STALE_NS:
                self._write(known, unwatched(known, now_ns))
                continue
            self._keep(key, self._forgotten(known))

    def _without_unknown_receivers(self, alert: Alert, now_ns: int) -> Alert | None:
        """Give up what is owed to a receiver that this file has not, once no other watcher's file seems to have it."""
        for owed in alert.owed:
            if owed.receiver not in self._told_of_end and now_ns - owed.at_ns >= STALE_NS:
                why = f"{owed.receiver} is no receiver of alerts.toml any more"
                self._book.record_unsent(alert, owed, why, now_ns)
                self._note(f"a message of {alert.rule} was not sent: {why}")
                noted = self._book.put(sent(alert, owed))
                if noted is None:
                    return self._book.get(alert.alert_id)
                alert = noted
        return alert

    def _keep(self, key: str, alert: Alert | None) -> None:
        if alert is None:
            self._known.pop(key, None)
        else:
            self._known[key] = alert

    # --- messages ---------------------------------------------------------------------------------------------------

    def _send(self) -> None:
        for key, alert in self._outbox.send(self._known).items():
            self._keep(key, alert)

    def _settle(self) -> None:
        for outcome in self._outbox.settle():
            self._keep(outcome.alert.alert_id, self._forgotten(outcome.alert))
            self._told(Change(outcome.alert, outcome))

    def _pause_s(self) -> float:
        next_ns = min(self._due_ns.get(rule.name, 0) for rule in self._rules)
        owed_ns = self._outbox.next_ns(self._known.values())
        next_ns = next_ns if owed_ns is None else min(next_ns, owed_ns)
        return min(IDLE_S, max(0.0, (next_ns - self._journal.clock()) / NS_PER_S))
