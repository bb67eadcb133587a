"""Messages to receivers: each by one watcher at a time, in a thread of its receiver's, repeated until it is taken.

Who sends a message has noted so in the journal first, for `LEASE_NS`; whoever dies meanwhile is followed by another. So
a message is sent at least once, and by watchers that live exactly once. The store is touched by the caller's thread
alone. A receiver that fails is left alone for a while, and costs no other one time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from otel_agent_journal.alerts.book import Book
from otel_agent_journal.alerts.message import Message, message_of
from otel_agent_journal.alerts.receivers import Receiver
from otel_agent_journal.alerts.rules import NS_PER_S
from otel_agent_journal.alerts.state import (
    GIVEN_UP_NS,
    Alert,
    Owed,
    claimed,
    find_owed,
    first_owed,
    not_sent,
    sent,
)
from otel_agent_journal.errors import JournalError
from otel_agent_journal.threads import Bell, start_thread
from otel_agent_journal.webhooks import NotSent

LEASE_NS: Final = 90 * NS_PER_S  # three times the longest that a receiver may take
AWAY_NS: Final = 30 * NS_PER_S  # how long a receiver that failed is left alone at most, by all alerts


class Sending(NamedTuple):
    """A message on its way."""

    alert_id: str
    owed: Owed
    since_ns: int


class Outcome(NamedTuple):
    """What came of a message; `why`: it was not taken."""

    alert: Alert
    owed: Owed
    why: str | None = None
    given_up: bool = False


class _Answer(NamedTuple):
    sending: Sending
    why: str | None
    retry_after_s: float


class Outbox:
    """Sends what is owed. Used by one thread.

    Args:
        book: where it is noted.
        receivers: by their names.
        store: of which the messages are, masked.
        clock: UTC nanoseconds.
        bell: rung when an answer has come.
    """

    def __init__(
        self, book: Book, receivers: Mapping[str, Receiver], store: str, clock: Callable[[], int], bell: Bell
    ) -> None:
        self._book = book
        self._receivers = receivers
        self._store = store
        self._clock = clock
        self._bell = bell
        self._on_its_way: dict[str, Sending] = {}
        self._answers: deque[_Answer] = deque()
        self._settled: dict[str, _Answer] = {}  # answers that could not be noted yet, by message
        self._away_until: dict[str, int] = {}

    @property
    def is_busy(self) -> bool:
        """Tell whether something is on its way, or has come back and is not noted."""
        return bool(self._on_its_way or self._answers or self._settled)

    def next_ns(self, alerts: Iterable[Alert]) -> int | None:
        """Return when there is something to send of alerts; None: nothing is owed, or all of it is on its way."""
        times = [self._time_of(one) for alert in alerts for one in first_owed(alert) if self._can_go(one, alert)]
        return min(times, default=None)

    def send(self, alerts: Mapping[str, Alert]) -> dict[str, Alert | None]:
        """Begin to send what is due, what happened first to each receiver first.

        Returns:
            By their ids, the alerts as they are then; None of one of which nothing is known any more.
        """
        now_ns = self._clock()
        due: dict[str, tuple[Alert, Owed]] = {}
        for alert in alerts.values():
            for owed in first_owed(alert):
                first = due.get(owed.receiver)
                is_due = self._can_go(owed, alert) and self._time_of(owed) <= now_ns
                if is_due and (first is None or owed.at_ns < first[1].at_ns):
                    due[owed.receiver] = alert, owed
        moved: dict[str, Alert | None] = {}
        for seen, owed in due.values():
            alert = moved.get(seen.alert_id, seen)
            if alert is None:
                continue
            noted = self._book.put(claimed(alert, owed, now_ns + LEASE_NS))
            if noted is None:  # another has it
                moved[alert.alert_id] = self._book.get(alert.alert_id)
                continue
            moved[alert.alert_id] = noted
            mine = find_owed(noted, owed)
            if mine is not None:
                self._begin(noted, mine, now_ns)
        return moved

    def settle(self) -> list[Outcome]:
        """Note what has come of messages since; return it."""
        now_ns = self._clock()
        for receiver, sending in list(self._on_its_way.items()):
            if now_ns - sending.since_ns > LEASE_NS:  # its thread hangs: whatever comes of it comes too late
                del self._on_its_way[receiver]
                self._settled[_key(sending)] = _Answer(sending, f"it did not end within {LEASE_NS // NS_PER_S} s", 0)
        while self._answers:
            answer = self._answers.popleft()
            if self._on_its_way.get(answer.sending.owed.receiver) == answer.sending:
                del self._on_its_way[answer.sending.owed.receiver]
                self._settled[_key(answer.sending)] = answer
        found: list[Outcome] = []
        for key, answer in list(self._settled.items()):
            outcome = self._noted(answer, now_ns)
            del self._settled[key]
            if outcome is not None:
                found.append(outcome)
        return found

    def _can_go(self, owed: Owed, alert: Alert) -> bool:
        return alert.recorded and owed.receiver in self._receivers and owed.receiver not in self._on_its_way

    def _time_of(self, owed: Owed) -> int:
        return max(owed.next_ns, self._away_until.get(owed.receiver, 0))

    def _begin(self, alert: Alert, owed: Owed, now_ns: int) -> None:
        sending = Sending(alert.alert_id, owed, now_ns)
        receiver, message = self._receivers[owed.receiver], message_of(alert, owed, self._store)
        self._on_its_way[owed.receiver] = sending

        def work() -> None:
            self._answers.append(_answer(sending, receiver, message))
            self._bell.ring()

        if start_thread(work) is None:
            self._answers.append(_Answer(sending, "no thread can be had", 0))

    def _noted(self, answer: _Answer, now_ns: int) -> Outcome | None:
        """Note an answer over whatever version there is by now. Raises StoreError: it is noted later."""
        sending, why = answer.sending, answer.why
        receiver = sending.owed.receiver
        if why is None:
            self._away_until.pop(receiver, None)
        while True:
            alert = self._book.get(sending.alert_id)
            owed = None if alert is None else find_owed(alert, sending.owed)
            if alert is None or owed is None:
                return None
            given_up = why is not None and now_ns - owed.at_ns >= GIVEN_UP_NS
            if why is None or given_up:
                moved = sent(alert, owed)
            else:
                moved = not_sent(alert, owed, why, now_ns, int(answer.retry_after_s * NS_PER_S))
                tried = find_owed(moved, owed)
                if tried is not None:
                    self._away_until[receiver] = min(tried.next_ns, now_ns + AWAY_NS)
            if given_up and why is not None:
                self._book.record_unsent(alert, owed, why, now_ns)
            noted = self._book.put(moved)
            if noted is not None:
                return Outcome(noted, owed, why, given_up)


def _key(sending: Sending) -> str:
    return f"{sending.alert_id}:{sending.owed.receiver}:{sending.owed.state}:{sending.owed.at_ns}"


def _answer(sending: Sending, receiver: Receiver, message: Message) -> _Answer:
    try:
        receiver.send(message)
    except NotSent as error:
        return _Answer(sending, str(error), error.retry_after_s)
    except JournalError as error:
        return _Answer(sending, str(error), 0)
    except Exception as error:  # noqa: BLE001 - of a receiver that others wrote: its thread must answer
        return _Answer(sending, f"it failed with {type(error).__name__}", 0)
    return _Answer(sending, None, 0)
