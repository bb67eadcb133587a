"""A session's rows of all tables, of one reading of it. The same rows as SQL over the store gives.

Events stream; steps are folded, which holds the session's steps together. What is not written yet is bounded by rows
and by the length of JSON in them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from importlib import import_module
from operator import attrgetter
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from otel_agent_journal.event import CONTEXT_TYPES, END_TYPES, IN_STEP_TYPES, START_TYPES, JournalEvent
from otel_agent_journal.lake.manifest import Key
from otel_agent_journal.lake.schema import FOLDED, TABLES, schema_of, twin_of
from otel_agent_journal.projections.cost import Price
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.projections.outline import outline
from otel_agent_journal.projections.paid import paid
from otel_agent_journal.projections.steps import fold_steps
from otel_agent_journal.query.arrow import array_of, pa
from otel_agent_journal.query.tables import JSON, REAL, TIME, AttemptRow, Column, StepRow
from otel_agent_journal.store.linked import read_whole
from otel_agent_journal.store.protocol import JournalStore

pc: Final[Any] = import_module("pyarrow.compute")  # it carries no types

_NS_PER_MS: Final = 1e6
_ROWS: Final = 1_024  # that wait of a table, at most
_FIRST_ROWS: Final = 32  # how large rows are is seen by those before
_JSON_BYTES: Final = 4 * 1024**2  # of JSON in them, about
_OF_STEPS: Final = START_TYPES | END_TYPES
_BARE: Final = IN_STEP_TYPES | CONTEXT_TYPES  # of which a tree needs no details
_ATTEMPTS: Final = {"MODEL": "model_calls", "TOOL": "tool_calls"}


class Sink(Protocol):
    """What takes the rows of a table."""

    def add(self, table: str, batch: Any) -> None:
        """Take rows, in order."""
        ...


class _Waiting:
    """The rows of a table that are not written yet: their sources, as many as their JSON lets be."""

    def __init__(self, table: str, sink: Sink, price: Price) -> None:
        self._table = table
        self._sink = sink
        self._schema = schema_of(table)
        self._columns = TABLES[table].columns
        self._large = [(column.name, _taken(column, price)) for column in self._columns if column.kind == JSON]
        self._plain = [
            (column, _taken(column, price))
            for column in self._columns
            if column.kind != JSON and not _is_derived(column)
        ]
        self._sources: list[Any] = []
        self._most = _FIRST_ROWS
        self.rows = 0

    def add(self, source: Any) -> None:
        """Take a row."""
        self._sources.append(source)
        if len(self._sources) >= self._most:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if not self._sources:
            return
        made: dict[str, Any] = {}
        things: dict[Callable[..., Any], list[Any]] = {}  # of which several columns are parts
        for column, taken in self._plain:
            if column.of is None or column.part is None:
                made[column.name] = array_of(column.kind, list(map(taken, self._sources)))
                continue
            if column.of not in things:
                things[column.of] = list(map(taken, self._sources))
            made[column.name] = array_of(column.kind, _parts_of(things[column.of], column.part))
        for name, taken in self._large:
            made[name] = array_of(JSON, list(map(taken, self._sources)), as_text=True)
        for column in self._columns:
            if _is_derived(column):
                made[column.name] = _derived(column, made)
        arrays = [made[field.name].cast(field.type) for field in self._schema]
        self._sink.add(self._table, pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        count, size_bytes = len(self._sources), sum(made[name].nbytes for name, _ in self._large)
        self.rows += count
        self._most = max(1, min(2 * self._most, _ROWS, _JSON_BYTES * count // (size_bytes + 1)))
        self._sources.clear()


class Read(NamedTuple):
    """What was read of a session: how many events, and the key of the first one, as it is stored."""

    events: int
    first: Key | None


class SessionRows:
    """Reads sessions of a store, one after the other, and hands their rows on.

    Args:
        store: which can be read.
        sink: takes the rows.
        tables: those wanted.
        price: what calls are billed at.
        moved: called with how many events were read.
    """

    def __init__(
        self, store: JournalStore, sink: Sink, tables: Sequence[str], price: Price, moved: Callable[[int], object]
    ) -> None:
        self._store = store
        self._moved = moved
        self._waiting = {name: _Waiting(name, sink, price) for name in tables}
        self._folds = not FOLDED.isdisjoint(tables)
        self._first: Key | None = None
        self._events = 0

    @property
    def rows(self) -> int:
        """How many rows were handed on."""
        return sum(one.rows for one in self._waiting.values())

    def add(self, head: SessionHead, judged: SessionHead, lost: Collection[str]) -> Read:
        """Read a session. `head` is its own, `judged` how it is shown, `lost` its writers that have gone silent."""
        self._first, self._events = None, 0
        if "sessions" in self._waiting:
            self._waiting["sessions"].add(judged)
        events = self._told(head)
        if self._folds:
            self._fold(head.session_id, events, lost)
        elif "events" in self._waiting:
            for _ in events:
                pass
        self._moved(self._events % _ROWS)
        return Read(self._events, self._first)

    def flush(self) -> None:
        """Hand on what waits."""
        for one in self._waiting.values():
            one.flush()

    def _told(self, head: SessionHead) -> Iterator[JournalEvent]:
        """Yield the events of a session, each handed on as a row on its way."""
        add = self._waiting["events"].add if "events" in self._waiting else None
        session_id = head.session_id
        for event in read_whole(self._store, session_id, head=head):
            if self._first is None:
                self._first = event.key
            self._events += 1
            if not self._events % _ROWS:
                self._moved(_ROWS)
            if add is not None:
                is_own = event.session_id == session_id
                add(event if is_own else msgspec.structs.replace(event, session_id=session_id))
            yield event

    def _fold(self, session_id: str, events: Iterator[JournalEvent], lost: Collection[str]) -> None:
        tree = fold_steps(map(_needed, events), lost_writers=lost)
        calls = paid(tree)
        steps = self._waiting.get("steps")
        for step in tree.steps:
            if steps is not None:
                steps.add(StepRow(session_id, step, calls))
            attempts = self._waiting.get(_ATTEMPTS.get(step.kind, ""))
            if attempts is not None:
                for attempt in step.attempts:
                    attempts.add(AttemptRow(session_id, attempt, calls))


def _needed(event: JournalEvent) -> JournalEvent:
    """Leave out what a fold of steps does not need: it holds the events of a session together."""
    if event.type in _OF_STEPS:
        return event
    return event if not event.details or event.type not in _BARE else outline(event)


def _is_derived(column: Column) -> bool:
    """Tell whether a column says what another one says in nanoseconds."""
    return column.kind == TIME or (column.kind == REAL and column.name.endswith("_ms"))


def _derived(column: Column, made: Mapping[str, Any]) -> Any:
    """Return such a column of the one of nanoseconds."""
    if column.kind == REAL:
        return pc.divide(made[f"{column.name.removesuffix('_ms')}_ns"].cast(pa.float64(), safe=False), _NS_PER_MS)
    return made[twin_of(column.name)].cast(pa.timestamp("ns", tz="UTC")).cast(pa.timestamp("us", tz="UTC"), safe=False)


def _parts_of(things: list[Any], name: str) -> list[Any]:
    part = attrgetter(name)
    return [None if thing is None else part(thing) for thing in things]


def _taken(column: Column, price: Price) -> Callable[[Any], Any]:
    """Return what takes of a row's source a column, or the thing that it is a part of."""
    priced, of = column.priced, column.of
    if of is not None and column.kind != JSON:
        return of if priced is None else lambda source: of(source, price)
    return column.value if priced is None else lambda source: priced(source, price)
