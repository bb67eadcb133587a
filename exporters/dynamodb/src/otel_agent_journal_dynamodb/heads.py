"""The heads of sessions: compare-and-set by version, and their listing through a sparse index.

The index `by_updated` has heads alone, in `LISTS` partitions by when they were last updated, those of parts in as many
of their own. It lags behind the table by some milliseconds, so that a listing may lack what was just written. What a
listing shows is read from the table. A brief one believes the index of a session that has ended, unless something has
arrived there lately: that may be a session which goes on, or has ended anew, and the index does not know it yet.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple
from uuid import uuid4

import msgspec

from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.store.protocol import SessionFilter
from otel_agent_journal.store.rules import is_wanted, merged_writers
from otel_agent_journal_aws import Refusal
from otel_agent_journal_dynamodb.batches import query, read_all
from otel_agent_journal_dynamodb.connection import Connection, Item
from otel_agent_journal_dynamodb.items import HEAD_ATTRIBUTES, brief_head_of, head_item, head_of, list_of
from otel_agent_journal_dynamodb.keys import BY_UPDATED, HEAD, LISTS, session_key

PAGE: Final = 100  # heads of one BatchGetItem
INDEX_PAGE: Final = 1_000  # entries; without a limit DynamoDB Local looks through the whole partition for each page
BRIEF_PAGE: Final = 1_000  # of which few are asked for
_MORE: Final = 4  # entries of a partition beyond its share of a listing
_LATEST_NS: Final = 10**30


class _Entry(NamedTuple):
    """A head in the index; `head` is what that says of one that has ended, where this is enough."""

    negative_ns: int
    session_id: str
    partition: str
    head: SessionHead | None

    def __lt__(self, other: tuple[Any, ...]) -> bool:
        return self[:3] < other[:3]


class Heads:
    """The heads in one table. `lately` returns the partitions of the sessions in which something has arrived lately."""

    def __init__(self, connection: Connection, lately: Callable[[], set[str]]) -> None:
        self._connection = connection
        self._lately = lately

    def get(self, session_id: str) -> SessionHead | None:
        """Return a session's head by a consistent read."""
        item = self._item(session_id)
        return None if item is None else head_of(item)

    def _item(self, session_id: str) -> Item | None:
        return self._connection.call(
            "GetItem",
            {
                "TableName": self._connection.place.table,
                "Key": {"PK": {"S": session_key(session_id)}, "SK": {"S": HEAD}},
                "ConsistentRead": True,
            },
        ).get("Item")

    def write(self, head: SessionHead, more: Item) -> SessionHead | None:
        """Put a head over the version it was read at; `more` are attributes beside it."""
        stored = self.get(head.session_id) if head.version else None  # the first one has nothing to be merged with
        if head.version != (stored.version if stored else 0):
            return None
        writers = merged_writers(stored, head)
        written = msgspec.structs.replace(head, writers=writers, version=head.version + 1)
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(PK)"}
        if stored is not None:
            condition = {
                "ConditionExpression": "#version = :read",
                "ExpressionAttributeNames": {"#version": "Version"},
                "ExpressionAttributeValues": {":read": {"N": str(head.version)}},
            }
        item = {**head_item(written), **more, "Token": {"S": uuid4().hex}}
        try:
            self._connection.call("PutItem", {"TableName": self._connection.place.table, "Item": item, **condition})
        except Refusal as refusal:
            if refusal.code != "ConditionalCheckFailedException":
                raise
            # Perhaps it is our own that is there, of an attempt that was not answered.
            return head_of(item) if (self._item(head.session_id) or {}).get("Token") == item["Token"] else None
        return head_of(item)

    def list(self, wanted: SessionFilter) -> Iterator[SessionHead]:
        """Yield the heads that are wanted, latest first, in the order of the moment of the first one."""
        limit = None if wanted.limit is None else max(0, wanted.limit)
        if limit == 0:
            return
        lately = self._lately() if wanted.brief else set[str]()  # before the index, which is to know of all others
        kinds = (False, True) if wanted.parts else (False,)
        streams = [self._listed(list_of(share, parts=parts), wanted) for parts in kinds for share in range(LISTS)]
        # A head that is written at this moment may be in the index twice, and one call may not ask for it twice.
        by_partition: dict[str, SessionHead | None] = {}
        for entry in islice(heapq.merge(*streams), limit):
            by_partition.setdefault(entry.partition, None if entry.partition in lately else entry.head)
        found = list(by_partition.items())
        size = BRIEF_PAGE if wanted.brief else PAGE
        for start in range(0, len(found), size):
            page = found[start : start + size]
            keys = ((partition, HEAD) for partition, head in page if head is None)
            items = read_all(self._connection, keys, *HEAD_ATTRIBUTES)
            read = {item["PK"]["S"]: head_of(item) for item in items}
            for partition, said in page:
                head = said or read.get(partition)
                if head is not None and is_wanted(head, wanted):
                    yield head

    def _listed(self, place: str, wanted: SessionFilter) -> Iterator[_Entry]:
        """Yield the entries of one partition of the index."""
        values: dict[str, Any] = {
            ":list": {"S": place},
            ":since": {"N": str(wanted.since_ns or 0)},
            ":until": {"N": str(_LATEST_NS if wanted.until_ns is None else wanted.until_ns)},
        }
        conditions: list[str] = []
        names = {"#list": "List"}  # reserved words, as Agent is
        if wanted.statuses:
            values |= {f":s{number}": {"S": status} for number, status in enumerate(wanted.statuses)}
            conditions.append(
                f"SessionStatus IN ({', '.join(f':s{number}' for number in range(len(wanted.statuses)))})"
            )
        if wanted.agent is not None:
            values[":agent"] = {"S": wanted.agent}
            conditions.append("#agent = :agent")
            names["#agent"] = "Agent"
        if wanted.id_prefix:
            values[":prefix"] = {"S": wanted.id_prefix}
            conditions.append("begins_with(SessionId, :prefix)")
        if wanted.until_ns is not None and wanted.until_ns < (wanted.since_ns or 0):
            return
        request: dict[str, Any] = {
            "IndexName": BY_UPDATED,
            "ConsistentRead": False,
            "ScanIndexForward": False,
            "KeyConditionExpression": "#list = :list AND UpdatedNs BETWEEN :since AND :until",
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
            "ProjectionExpression": "PK, UpdatedNs, SessionId",
            "Limit": INDEX_PAGE,
        }
        if wanted.brief:
            request["ProjectionExpression"] += ", SessionStatus, #agent, Brief"
            names["#agent"] = "Agent"
        if conditions:
            request["FilterExpression"] = " AND ".join(conditions)
        if wanted.limit is not None:
            # A filter passes over entries that count as well. Else each partition has about its share of the latest.
            request["Limit"] = max(PAGE, wanted.limit) if conditions else wanted.limit // LISTS + _MORE
        group: list[_Entry] = []
        for item in query(self._connection, **request):
            head = brief_head_of(item) if wanted.brief else None
            one = _Entry(-int(item["UpdatedNs"]["N"]), item["SessionId"]["S"], item["PK"]["S"], head)
            if group and group[0].negative_ns != one.negative_ns:  # equal times come in no order of the ids
                yield from sorted(group)
                group = []
            group.append(one)
        yield from sorted(group)
