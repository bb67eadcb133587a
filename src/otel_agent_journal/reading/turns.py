"""Where a session turned back: forked from another, or rewound itself, to a point with what came after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from otel_agent_journal.event import SESSION_FORKED, SESSION_REWOUND, JournalEvent


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A session goes on from a point of `base`: another one, or itself.

    `at_ns` is when what comes after that point had begun, `turned_ns` when it was turned back, UTC nanoseconds;
    `number` is that of the step before which it goes on, where it was named by one.
    """

    session_id: str
    base: str
    at_ns: int
    turned_ns: int
    number: int | None = None


def turns_of(events: Iterable[JournalEvent]) -> Iterator[Turn]:
    """Yield where the session of these events turned back, in their order; one that was forked in two parts, twice."""
    for event in events:
        if event.type not in (SESSION_FORKED, SESSION_REWOUND):
            continue
        details = event.details
        rewound = event.type == SESSION_REWOUND
        base = event.session_id if rewound else details.get("base")
        if not isinstance(base, str) or (not rewound and details.get("fork") != event.session_id):
            continue
        at_ns, number = details.get("at_ns"), details.get("step")
        yield Turn(
            session_id=event.session_id,
            base=base,
            at_ns=at_ns if type(at_ns) is int else event.timestamp_ns,
            turned_ns=event.timestamp_ns,
            number=number if type(number) is int else None,
        )
