"""Which session the spans of a trace belong to, where it is for one of them to say.

A trace's spans come in any order, and one without a session before the one that names it. So traces are remembered;
what was kept under a trace's own id stays there, and where a session comes to be known of it, both are told
(SESSION_LINKED). Pure but for that memory, which may outlive the process. `RecentTraces` may be used by several
threads, and by what interrupts one; other memories by one at a time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final, Protocol

import msgspec

from otel_agent_journal.event import SESSION_LINKED, derived_id
from otel_agent_journal.mapping.facts import SessionNoted
from otel_agent_journal.mapping.span_record import SpanRecord
from otel_agent_journal.mapping.to_events import session_named_by

REMEMBERED_TRACES: Final = 100_000


class Trace(msgspec.Struct):
    """What is remembered of a trace. `changed`: since it was last kept, where it is kept at all."""

    session_id: str | None = None  # None: no span has named one yet
    named_ns: int = 0  # when it was heard of
    is_session: bool = False  # spans were kept under the trace's own id
    linked: bool = False  # and both have been told
    changed: bool = False


class Traces(Protocol):
    """What remembers traces."""

    def get(self, trace_id: str) -> Trace:
        """Return what is known of a trace, to be changed in place; of one that is not, a new one."""
        ...


class RecentTraces:
    """Remembers the last so many traces, in memory."""

    def __init__(self, limit: int = REMEMBERED_TRACES) -> None:
        self._limit = limit
        self._traces: OrderedDict[str, Trace] = OrderedDict()

    def get(self, trace_id: str) -> Trace:
        """Return what is known of a trace, to be changed in place."""
        trace = self._traces.get(trace_id)
        if trace is None:
            trace = self._traces.setdefault(trace_id, Trace())
        with suppress(KeyError):  # another thread was faster
            self._traces.move_to_end(trace_id)
            if len(self._traces) > self._limit:
                self._traces.popitem(last=False)
        return trace


class TraceSessions:
    """The sessions of traces.

    Args:
        traces: what remembers them; by default the last 100,000 in memory.
    """

    def __init__(self, traces: Traces | None = None) -> None:
        self._traces: Traces = RecentTraces() if traces is None else traces

    def name(self, trace_id: str, session_id: str | None, now_ns: int) -> None:
        """Remember which session a trace is said to belong to; the first that is said counts."""
        if session_id is None:
            return
        trace = self._traces.get(trace_id)
        if trace.session_id is None:
            trace.session_id, trace.named_ns, trace.changed = session_id, now_ns, True

    def session(self, record: SpanRecord, now_ns: int) -> str:
        """Return the session a span is kept under: the same one however often it is read.

        What was heard of before its trace was named stays with the trace, though its name may be known by now.
        """
        trace = self._traces.get(record.trace_id)
        session_id = session_named_by(record) or (trace.session_id if now_ns >= trace.named_ns else None)
        if session_id is None or session_id == record.trace_id:
            if not trace.is_session:
                trace.is_session = trace.changed = True
            return record.trace_id
        return session_id

    def links(self, trace_ids: Iterable[str], *, again: bool = True) -> Iterator[SessionNoted]:
        """Yield the links of traces that are sessions of their own, and part of another: once more each time.

        Args:
            again: also of those whose links were asked for before.
        """
        for trace_id in dict.fromkeys(trace_ids):
            trace = self._traces.get(trace_id)
            if not trace.is_session or trace.session_id is None or trace.session_id == trace_id:
                continue
            if again or not trace.linked:
                trace.linked = True
                yield from links(trace.session_id, trace_id, trace.named_ns)


def links(session_id: str, trace_id: str, now_ns: int) -> Iterator[SessionNoted]:
    """Yield what tells a session and a trace that was kept under its own id that they are one."""
    for one, other in ((session_id, trace_id), (trace_id, session_id)):
        yield SessionNoted(
            session_id=one,
            event_id=derived_id(f"link:{session_id}:{trace_id}"),
            type=SESSION_LINKED,
            level="INFO",
            timestamp_ns=now_ns,
            details={"session": session_id, "trace": trace_id, "other": other},
        )
