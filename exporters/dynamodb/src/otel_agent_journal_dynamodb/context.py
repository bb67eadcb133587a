"""Context events: one transaction a call, conditional on where the instance stands.

The transaction holds the events, the ids they use, the instance's head, the record of their arrival and its
announcement, so that none of these is ever there without the others; all of it is of one session, so agents of others
do not meet it. Whatever the answer was, or where there was none, the table decides: it is read back, and
`store.sequence.verdict` says what that means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from otel_agent_journal.errors import ConflictError, StoreError, StoreUnreachable
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.store.protocol import ContextTip
from otel_agent_journal.store.sequence import LAST_SEQ, verdict
from otel_agent_journal_aws import Refusal
from otel_agent_journal_dynamodb.arrivals import Arrivals
from otel_agent_journal_dynamodb.batches import projection, query
from otel_agent_journal_dynamodb.connection import Connection, Item
from otel_agent_journal_dynamodb.failures import error_of
from otel_agent_journal_dynamodb.keys import BY_SEQ, HEAD, INSTANCE, instance_key, sequence_key, used_id
from otel_agent_journal_dynamodb.logs import Record

MAX_EVENTS: Final = 48  # two of TransactWriteItems' 100 actions an event, and four more
TRANSACTION_BYTES: Final = 3_500_000  # of its 4 MB
_ATTEMPTS: Final = 60  # against others that write the same session; each is a few milliseconds
_NEW: Final = "attribute_not_exists(PK)"


class Sequences:
    """The sequences of agent instances in one table. `read` makes the events of items."""

    def __init__(
        self, connection: Connection, arrivals: Arrivals, read: Callable[[Iterable[Item]], Iterator[JournalEvent]]
    ) -> None:
        self._connection = connection
        self._arrivals = arrivals
        self._read = read

    def append(self, events: Sequence[JournalEvent], items: Sequence[Item]) -> int:
        """Write the items of numbered events as one; see `JournalStore.append_context`.

        Returns a number in the log of their session: they are named at or below it.
        """
        instance_id, expected = str(events[0].instance_id), int(events[0].seq or 0)
        partition, logs = items[0]["PK"]["S"], self._arrivals.logs
        refused: Refusal | None = None
        for attempt in range(1, _ATTEMPTS + 1):
            if logs.doubtful(partition):
                logs.last(partition)
            known = logs.tail(partition)
            record = Record(
                known.record.number + 1,
                logs.time_after(known.record),  # before it is asked what is announced
                self._arrivals.announced(partition, known),
                tuple(item["SK"]["S"] for item in items),
            )
            actions = self._actions(instance_id, expected, items, record)
            try:
                self._connection.call("TransactWriteItems", {"TransactItems": actions})
            except Refusal as refusal:
                if refusal.code != "TransactionCanceledException":
                    raise
                refused = refusal
            else:
                logs.saw(partition, record)
                self._arrivals.told([(partition, record)])
                return record.number
            if self._is_written(events, partition):
                return logs.last(partition).number
            self._require_free(events, refusal_reasons(refused))
            logs.last(partition)
            if attempt > 1:
                self._connection.pause(min(attempt, 4))
        assert refused is not None
        raise StoreUnreachable(
            f"store {self._connection.place.url}: instance {instance_id} and its session are written by too many at"
            f" once: {_ATTEMPTS} attempts; nothing was written, the same call may succeed later"
        ) from refused

    def refuse(self, events: Sequence[JournalEvent], partition: str, conflicting: str) -> None:
        """Raise what stands against events of which two have one id: ConflictError, unless something else does."""
        if not self._is_written(events, partition):
            raise ConflictError(conflicting)

    def _is_written(self, events: Sequence[JournalEvent], partition: str) -> bool:
        """Tell whether the events are there; raises where another writer was first."""
        instance_id, expected = str(events[0].instance_id), int(events[0].seq or 0)
        session = self._session_of(instance_id)
        if session not in (None, partition):
            raise StoreError(f"instance {instance_id} is of {session}, not of {partition}; nothing was written")
        next_seq = self._next_seq(partition, instance_id)
        there = list(self._read(self.items(instance_id, expected, limit=len(events))))
        return verdict(instance_id, expected, next_seq, there, events) == "written already"

    def items(
        self, instance_id: str, from_seq: int, *, limit: int | None = None, newest_first: bool = False
    ) -> Iterator[Item]:
        """Yield the items of an instance's events in order of their number, by consistent reads."""
        session = self._session_of(instance_id)
        if session is None or limit == 0:
            return
        found = query(
            self._connection,
            IndexName=BY_SEQ,
            KeyConditionExpression="PK = :p AND InstanceSeq BETWEEN :first AND :last",
            ExpressionAttributeValues={
                ":p": {"S": session},
                ":first": {"S": sequence_key(instance_id, max(0, from_seq))},
                ":last": {"S": sequence_key(instance_id, LAST_SEQ)},
            },
            ScanIndexForward=not newest_first,
            **({} if limit is None else {"Limit": limit}),
        )
        yield from islice(found, limit)

    def tip(self, instance_id: str) -> ContextTip | None:
        """Return where an instance's sequence ends, or None where there is no such instance."""
        pointer = self._get(instance_key(instance_id), HEAD)
        if pointer is None:
            return None
        next_seq = self._next_seq(pointer["Session"]["S"], instance_id)
        return ContextTip(pointer["SessionId"]["S"], next_seq) if next_seq else None

    def of_session(self, partition: str) -> Iterator[str]:
        """Yield the instances of a session."""
        found = query(
            self._connection,
            KeyConditionExpression="PK = :p AND begins_with(SK, :instance)",
            ExpressionAttributeValues={":p": {"S": partition}, ":instance": {"S": INSTANCE}},
            **projection("InstanceId"),
        )
        yield from (item["InstanceId"]["S"] for item in found)

    def _session_of(self, instance_id: str) -> str | None:
        """Return the partition of the session that an instance is in, or None where there is no such instance."""
        item = self._get(instance_key(instance_id), HEAD)
        return None if item is None else item["Session"]["S"]

    def _next_seq(self, partition: str, instance_id: str) -> int:
        item = self._get(partition, instance_key(instance_id))
        return 0 if item is None else int(item["LastSeq"]["N"]) + 1

    def _get(self, partition: str, key: str) -> Item | None:
        return self._connection.call(
            "GetItem",
            {
                "TableName": self._connection.place.table,
                "Key": {"PK": {"S": partition}, "SK": {"S": key}},
                "ConsistentRead": True,
            },
        ).get("Item")

    def _actions(self, instance_id: str, expected: int, items: Sequence[Item], record: Record) -> list[Any]:
        partition, own = items[0]["PK"]["S"], instance_key(instance_id)
        more = {name: items[0][name] for name in ("ExpiresAt",) if name in items[0]}
        head: Item = {
            "PK": {"S": partition},
            "SK": {"S": own},
            "InstanceId": {"S": instance_id},
            "LastSeq": {"N": str(expected + len(items) - 1)},
            **more,
        }
        actions = [self._put(head) if expected == 0 else self._put(head, "LastSeq = :last", expected - 1)]
        pointer: Item = {
            "PK": {"S": own},
            "SK": {"S": HEAD},
            "Session": {"S": partition},
            "SessionId": items[0]["SessionId"],
            **more,
        }
        if expected == 0 or more:  # where items expire, it must not be the first to
            actions.append(self._put(pointer, _NEW if expected == 0 else "attribute_exists(PK)"))
        actions.append(self._put(self._arrivals.logs.item(partition, record)))
        actions.append(self._put(self._arrivals.activity.item(partition, record)))
        for item in items:
            actions.append(self._put({**item, "Arrival": {"N": str(record.number - 1)}}))
            used: Item = {"PK": {"S": own}, "SK": {"S": used_id(item["EventId"]["S"])}, "Seq": item["Seq"], **more}
            actions.append(self._put(used))
        return actions

    def _put(self, item: Item, condition: str = _NEW, last: int | None = None) -> dict[str, Any]:
        request: dict[str, Any] = {
            "TableName": self._connection.place.table,
            "Item": item,
            "ConditionExpression": condition,
        }
        if last is not None:
            request["ExpressionAttributeValues"] = {":last": {"N": str(last)}}
        return {"Put": request}

    def _require_free(self, events: Sequence[JournalEvent], reasons: Sequence[str]) -> None:
        """Raise ConflictError where an event's key or id was taken; its actions are the last two each."""
        for event, *codes in zip(events, *(reasons[-2 * len(events) :][which::2] for which in (0, 1)), strict=False):
            if "ConditionalCheckFailed" in codes:
                raise ConflictError(event.event_id)
        lasting = [code for code in reasons if code not in _PASSING]
        if lasting:
            raise error_of(self._connection.place, Refusal("TransactWriteItems", lasting[0], "", 400, {}))


_PASSING: Final = frozenset(
    (
        "None",
        "ConditionalCheckFailed",
        "TransactionConflict",
        "ThrottlingError",
        "ProvisionedThroughputExceeded",
        "RequestLimitExceeded",
    )
)


def refusal_reasons(refusal: Refusal) -> list[str]:
    """Return the code for each action of a cancelled transaction."""
    return [str(reason.get("Code", "None")) for reason in refusal.answer.get("CancellationReasons") or ()]
