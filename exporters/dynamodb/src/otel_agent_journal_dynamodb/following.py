"""Following all sessions: what was announced, each event once (docs/adr/0031).

A look reads the activity since the last one, and a little before it, for items that were put a moment late; where a
session's number is above the place that the cursor has of it, its log is read from there. A session that the cursor has
no place of begins behind what its items say was announced before. So a look costs what is active, and an idle one a
handful of Queries.

Whoever begins, or comes back when items may have expired, walks through the sessions first, by Scan: of each what was
announced before the time at which the walk began, which its records tell; then it goes on from that time.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any, Final

import msgspec

from otel_agent_journal.errors import StoreError
from otel_agent_journal_dynamodb.activity import FOREVER_NS, SECOND_NS, SURE_NS, WINDOW_NS, Sight, Sights
from otel_agent_journal_dynamodb.arrivals import Arrivals, Place, is_of_session
from otel_agent_journal_dynamodb.connection import Connection
from otel_agent_journal_dynamodb.cursors import Cursor, Stand, Walk, cursor_of, hash_of, text_of_cursor
from otel_agent_journal_dynamodb.keys import ARRIVED, LAST, Key

WHOLE_NS: Final = 20 * SECOND_NS  # so often the whole window is read again, for items that were put late
SHOWN: Final = 60  # characters of a cursor in a message
LATEST_NS: Final = 2 * SECOND_NS  # in between as much, for those that were put as it is the rule


class _Seen(msgspec.Struct):
    """What a session's items say: the last number, the number behind which the first one begins, the last time."""

    number: int
    since: int
    at_ns: int


class Following:
    """Follows all sessions of one table. Thread-safe."""

    def __init__(self, connection: Connection, arrivals: Arrivals) -> None:
        self._connection = connection
        self._arrivals = arrivals

    def follow(self, text: str | None, limit: int) -> tuple[dict[Key, int], str, bool]:
        """Return the keys of the next events, the cursor behind them, and whether there are no more now.

        Each key with its record's number, as of one session. Of one session events come in order of their arrival,
        and sessions in the order of theirs, look by look.

        Raises:
            StoreError: this journal never gave that cursor.
        """
        now_ns = self._arrivals.activity.now_ns()
        cursor = self._cursor(text)
        found: dict[Key, int] = {}
        is_over = limit <= 0
        while not is_over and len(found) < limit:
            if cursor.walk is None and now_ns - cursor.whole_ns > SURE_NS:
                cursor = msgspec.structs.replace(cursor, walk=Walk(now_ns))
            if cursor.walk is not None:
                cursor = self._walked(cursor, cursor.walk, found, limit)
            else:
                cursor, is_over = self._looked(cursor, found, limit)
        return found, text_of_cursor(cursor, self._connection.place.table), is_over

    def tip(self) -> str:
        """Return the cursor behind all that is announced now."""
        now_ns = self._arrivals.activity.now_ns()
        sights = self._arrivals.activity.read(now_ns - WINDOW_NS, FOREVER_NS, now_ns).found
        stands = tuple(
            Stand(hash_of(partition), seen.number, 0, _seconds(now_ns)) for partition, seen in _seen(sights).items()
        )
        return text_of_cursor(Cursor(now_ns, now_ns, stands), self._connection.place.table)

    def place_of(self, text: str, partition: str) -> Place:
        """Return where a cursor of all stands in one session. In a walk that is looked for by a Scan of what is left.

        Raises:
            StoreError: this journal never gave that cursor.
        """
        cursor = self._cursor(text)
        walk = cursor.walk
        if walk is None or not self._is_walked(walk, partition):
            return self._begun(cursor, partition)
        if walk.is_within and walk.partition == partition:
            return Place(walk.number, walk.keys)
        return _of(walk.stands, partition) or Place(self._arrivals.boundary(partition, walk.until_ns - WINDOW_NS)[0])

    def _cursor(self, text: str | None) -> Cursor:
        if text is None:
            return Cursor()
        if is_of_session(text):
            raise StoreError(f"cursor '{text}' is one of a session; start at None")
        cursor = cursor_of(text, self._connection.place.table)
        if cursor is None:
            raise StoreError(f"cursor '{text[:SHOWN]}' is not one of store {self._connection.place.url}; start at None")
        return cursor

    def _begun(self, cursor: Cursor, partition: str) -> Place:
        """Return where a cursor stands in a session that no walk has come by."""
        if not cursor.whole_ns:
            return Place()
        place = _of(cursor.stands, partition)
        return place or Place(self._arrivals.boundary(partition, cursor.whole_ns - WINDOW_NS)[0])

    # --- looking ---

    def _looked(self, cursor: Cursor, found: dict[Key, int], limit: int) -> tuple[Cursor, bool]:
        """Return the cursor behind a look, and whether that is all there is."""
        now_ns = self._arrivals.activity.now_ns()
        stands = {stand.session: stand for stand in cursor.stands}
        is_whole = cursor.latest_ns < cursor.whole_ns or now_ns - cursor.whole_ns >= WHOLE_NS
        sights = self._sights(cursor, now_ns, is_whole=is_whole)
        sessions = _seen(sights.found)
        if not is_whole and any(seen.since and hash_of(one) not in stands for one, seen in sessions.items()):
            is_whole = True  # where that session begins an item says that may lie further back
            sights = self._sights(cursor, now_ns, is_whole=True)
            sessions = _seen(sights.found)
        for partition, seen in sessions.items():
            stand = stands.get(hash_of(partition))
            place = Place(seen.since) if stand is None else Place(stand.number, stand.keys)
            at_ns = seen.at_ns
            if place.number < seen.number:
                if len(found) >= limit:
                    return msgspec.structs.replace(cursor, stands=tuple(stands.values())), False
                place = self._arrivals.take(partition, place, found, limit, seen.number)
                at_ns = max(at_ns, sights.end_ns)
            at_s = max(_seconds(at_ns), stand.at_s if stand else 0)
            stands[hash_of(partition)] = Stand(hash_of(partition), place.number, place.keys, at_s)
            if place.number < seen.number:
                return msgspec.structs.replace(cursor, stands=tuple(stands.values())), False
        whole_ns = sights.end_ns if is_whole else cursor.whole_ns
        kept = tuple(stand for stand in stands.values() if stand.at_s >= _seconds(whole_ns - WINDOW_NS))
        return Cursor(whole_ns, sights.end_ns, kept), sights.is_all

    def _sights(self, cursor: Cursor, now_ns: int, *, is_whole: bool) -> Sights:
        start_ns = cursor.whole_ns - WINDOW_NS if is_whole else cursor.latest_ns - LATEST_NS
        seen_ns = max(cursor.latest_ns, cursor.whole_ns)
        return self._arrivals.activity.read(start_ns, seen_ns, now_ns)

    # --- walking ---

    def _walked(self, cursor: Cursor, walk: Walk, found: dict[Key, int], limit: int) -> Cursor:
        """Return the cursor behind as much of a walk as there is room for; without it where it is done."""
        before_ns = walk.until_ns - WINDOW_NS
        stands = list(walk.stands)
        inside = [walk.partition] if walk.is_within else []
        for partition in chain(inside, self._partitions(walk.partition)):
            last, then_ns = self._arrivals.boundary(partition, before_ns)
            begun = Place(walk.number, walk.keys) if walk.is_within else self._begun(cursor, partition)
            place = self._arrivals.take(partition, begun, found, limit, last)
            is_within = place.number < last
            walk = Walk(walk.until_ns, partition, place.number, place.keys, is_within)
            if then_ns >= before_ns - WINDOW_NS and not is_within:  # items around that time may say otherwise
                stands.append(Stand(hash_of(partition), max(place.number, last), 0, _seconds(walk.until_ns)))
            if len(found) >= limit:
                return msgspec.structs.replace(cursor, walk=msgspec.structs.replace(walk, stands=tuple(stands)))
        return Cursor(walk.until_ns, 0, tuple(stands))

    def _is_walked(self, walk: Walk, partition: str) -> bool:
        """Tell whether a walk has come by a session, in the order that DynamoDB alone knows."""
        if partition == walk.partition:
            return True
        return partition not in self._partitions(walk.partition)

    def _partitions(self, after: str) -> Iterator[str]:
        """Yield the sessions that have a log, in the order of a Scan, which is the same for good."""
        request: dict[str, Any] = {
            "TableName": self._connection.place.table,
            "ConsistentRead": True,
            "FilterExpression": "begins_with(PK, :session) AND begins_with(SK, :record)",
            "ExpressionAttributeValues": {":session": {"S": "SESSION#"}, ":record": {"S": ARRIVED}},
            "ProjectionExpression": "PK",
        }
        if after:
            request["ExclusiveStartKey"] = _end_of(after)
        while True:
            answer = self._connection.call("Scan", request)
            for item in answer["Items"]:
                if item["PK"]["S"] != after:
                    after = item["PK"]["S"]
                    yield after
            last = answer.get("LastEvaluatedKey")
            if not last:
                return
            # A session's log lies before all else that it has, so it was come by, or is not there.
            passed = last["SK"]["S"] >= ARRIVED or not last["PK"]["S"].startswith("SESSION#")
            request["ExclusiveStartKey"] = _end_of(last["PK"]["S"]) if passed else last


def _end_of(partition: str) -> dict[str, Any]:
    return {"PK": {"S": partition}, "SK": {"S": LAST}}


def _seconds(at_ns: int) -> int:
    return at_ns // SECOND_NS


def _of(stands: tuple[Stand, ...], partition: str) -> Place | None:
    wanted = hash_of(partition)
    return next((Place(stand.number, stand.keys) for stand in stands if stand.session == wanted), None)


def _seen(sights: list[Sight]) -> dict[str, _Seen]:
    """Return what items say of each session, in the order of the first that says something."""
    found: dict[str, _Seen] = {}
    for sight in sights:
        seen = found.setdefault(sight.partition, _Seen(sight.number, sight.since, sight.at_ns))
        seen.number = max(seen.number, sight.number)
        seen.since = min(seen.since, sight.since)
        seen.at_ns = max(seen.at_ns, sight.at_ns)
    return found
