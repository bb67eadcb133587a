"""Which sessions may have events that their stored head does not know: those with a mark (docs/adr/0024).

A store object marks a session before it writes its first event there, under an id that it makes for this marking alone,
and takes the mark away once a head has ended that has all of its events. So a session without a mark is settled. Marks
of others are theirs; those of holders that have vanished go by `settling`. A forked child has no mark of its parent's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Final, NamedTuple
from uuid import uuid4

from otel_agent_journal.codec import valid_text
from otel_agent_journal.errors import ConflictError, WrongExpectedSequence
from otel_agent_journal_aws import Refusal
from otel_agent_journal_aws.failures import DENIED
from otel_agent_journal_dynamodb.batches import Request, delete, projection, put, query, write_all
from otel_agent_journal_dynamodb.connection import Connection, Item
from otel_agent_journal_dynamodb.keys import LISTS, mark_key, marks_of

RENEW_S: Final = 15 * 60.0  # a mark that is older is put again, before its holder writes and behind what it wrote
VANISHED_S: Final = 60 * 60.0  # a mark that is older is of a holder that has vanished, or was suspended since
MAX_HOLDS: Final = 10_000  # sessions in hand; the mark of one more than that is left to those who find it old
UNKNOWN: Final = 10**16  # where in its log something arrived that nobody has logged: behind every record


class Mark(NamedTuple):
    """A mark as it was found: its sort key, and when it was put."""

    key: str
    at_ns: int

    def is_old(self) -> bool:
        """Tell whether its holder has vanished. AWS refuses calls of whose clock is five minutes off, or more."""
        return time.time() - self.at_ns / 1e9 > VANISHED_S


class _Hold:
    """A marking of ours: who writes now, the last record that has ours, and the keys of which nobody knows."""

    __slots__ = ("at_s", "holder", "last", "owed", "writers")

    def __init__(self) -> None:
        self.holder = uuid4().hex  # of this marking alone: a delete that comes late hits no other
        self.at_s = 0.0
        self.writers = 0
        self.last = 0
        self.owed: set[str] = set()

    def is_fresh(self) -> bool:
        return 0 <= time.time() - self.at_s < RENEW_S

    def is_covered(self, number: int) -> bool:
        """Tell whether all that was written is in the first `number` records; what failed is waited for for a while."""
        return self.last <= number and not (self.owed and time.time() - self.at_s < VANISHED_S)


class Marks:
    """The marks in one table, and those that this object holds. Thread-safe.

    Args:
        connection: to the table.
        begun: told the session of each mark, once it is put: what was known of that before may not be so any more.
    """

    def __init__(self, connection: Connection, begun: Callable[[str], object]) -> None:
        self._connection = connection
        self._begun = begun
        self._lock = Lock()
        self._holds: dict[str, _Hold] = {}
        self._pid = os.getpid()

    @contextmanager
    def writing(
        self, names: Mapping[str, str], keys: Mapping[str, Collection[str]], more: Item
    ) -> Generator[dict[str, int]]:
        """Hold marks of sessions while they are written to; what is yielded takes in which record it arrived.

        Args:
            names: the sessions' ids by partition.
            keys: by partition, the sort keys of what is written. Where that fails, it must succeed before the mark
                goes: any part of it may be there.
            more: attributes for each mark.
        """
        holds = {partition: self._hold(partition) for partition in names}
        arrived: dict[str, int] = {}
        failed = True
        try:
            self._mark(names, holds, more)
            yield arrived
            self._mark(names, holds, more)  # a process may have been suspended in between
            failed = False
        except (WrongExpectedSequence, ConflictError):  # nothing was written
            failed = False
            raise
        finally:
            with self._own():
                for partition, hold in holds.items():
                    hold.writers -= 1
                    hold.last = max(hold.last, arrived.get(partition, 0))
                    change = hold.owed.update if failed else hold.owed.difference_update
                    change(keys.get(partition, ()))

    def settle(self, partition: str, number: int) -> bool:
        """Take our own mark away, if all that was written under it is in the first `number` records.

        Returns whether there is none of ours any more. Whoever writes from now on marks the session anew.
        """
        requests = self.let_go(partition, number)
        write_all(self._connection, requests or ())
        return requests is not None

    def let_go(self, partition: str, number: int) -> list[Request] | None:
        """Forget our own mark as `settle` does, and return what takes it away; None where it stays."""
        with self._own():
            hold = self._holds.get(partition)
            if hold is None:
                return []
            if hold.writers or not hold.is_covered(number):
                return None
            del self._holds[partition]
        if hold.owed:  # what failed was not repeated for so long: its mark is judged as those of others are
            return []
        return [delete((marks_of(partition), mark_key(partition, hold.holder)))]

    def forget(self) -> None:
        """Put all marks anew before they are relied on: the table is gone, and may come back as another."""
        with self._own():
            for hold in self._holds.values():
                hold.at_s = 0.0

    def is_alone(self, partition: str, number: int) -> bool:
        """Tell whether nobody in this process but the caller writes a session, or has written behind a number."""
        with self._own():
            hold = self._holds.get(partition)
        return hold is None or (hold.writers <= 1 and hold.is_covered(number))

    def others(self, partition: str) -> list[Mark]:
        """Return the marks of a session that are not held by this object."""
        found = query(
            self._connection,
            KeyConditionExpression="PK = :p AND begins_with(SK, :session)",
            ExpressionAttributeValues={":p": {"S": marks_of(partition)}, ":session": {"S": mark_key(partition)}},
            **projection("SK", "At"),
        )
        marks = [Mark(item["SK"]["S"], int(item["At"]["N"])) for item in found]
        with self._own():
            hold = self._holds.get(partition)
        return [mark for mark in marks if hold is None or mark.key != mark_key(partition, hold.holder)]

    def remove(self, partition: str, mark: Mark) -> None:
        """Delete a mark of somebody else, unless it was renewed since it was found."""
        try:
            self._connection.call(
                "DeleteItem",
                {
                    "TableName": self._connection.place.table,
                    "Key": {"PK": {"S": marks_of(partition)}, "SK": {"S": mark.key}},
                    "ConditionExpression": "#at = :seen",
                    "ExpressionAttributeNames": {"#at": "At"},
                    "ExpressionAttributeValues": {":seen": {"N": str(mark.at_ns)}},
                },
            )
        except Refusal as refusal:
            if refusal.code != "ConditionalCheckFailedException":
                raise

    def sessions(self) -> Iterator[str]:
        """Yield the sessions that have a mark, each once."""
        for share in range(LISTS):
            last: str | None = None
            for item in query(
                self._connection,
                KeyConditionExpression="PK = :p",
                ExpressionAttributeValues={":p": {"S": f"UNSETTLED#{share}"}},
                **projection("SessionId"),
            ):
                session_id: str = item["SessionId"]["S"]
                if session_id != last:
                    yield session_id
                last = session_id

    def _own(self) -> Lock:
        if self._pid != os.getpid():  # a child: the marks are its parent's, and the lock may be held by nobody here
            self._lock, self._holds, self._pid = Lock(), {}, os.getpid()
        return self._lock

    def _hold(self, partition: str) -> _Hold:
        with self._own():
            hold = self._holds.get(partition)
            if hold is None:
                if len(self._holds) >= MAX_HOLDS:
                    del self._holds[next(iter(self._holds))]
                hold = self._holds[partition] = _Hold()
            hold.writers += 1
            return hold

    def _mark(self, names: Mapping[str, str], holds: Mapping[str, _Hold], more: Item) -> None:
        """Put the marks that are not there yet, or grow old. Two threads may put the same one: it is the same."""
        now_s = time.time()
        if "ExpiresAt" in more:  # behind whatever is written before it is put again
            more = {"ExpiresAt": {"N": str(int(more["ExpiresAt"]["N"]) + int(VANISHED_S))}}
        old = [(partition, hold) for partition, hold in holds.items() if not hold.is_fresh()]
        items = [
            {
                "PK": {"S": marks_of(partition)},
                "SK": {"S": mark_key(partition, hold.holder)},
                "SessionId": {"S": valid_text(names[partition])},
                "At": {"N": str(int(now_s * 1e9))},
                **more,
            }
            for partition, hold in old
        ]
        self._put(items)
        for partition, hold in old:
            hold.at_s = now_s
            self._begun(partition)

    def _put(self, items: list[Item]) -> None:
        if len(items) > 1:
            try:
                write_all(self._connection, [put(item) for item in items])
            except Refusal as refusal:
                if refusal.code not in DENIED:
                    raise
            else:
                return
        for item in items:
            self._connection.call("PutItem", {"TableName": self._connection.place.table, "Item": item})
