"""A fold written down, so that another process goes on from where it was: what a head carries beside what it shows.

Events seen are counted and no longer told apart: whoever goes on does so from the head's cursor, by which none comes
twice. Of steps and attempts the latest `REMEMBERED` are known by their hashes, of writers as many as a head names.
An attempt that began before all those remembered, and of which only now the START comes, is taken for one that ended.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from otel_agent_journal.projections.about import AboutState
from otel_agent_journal.projections.head import MAX_WRITERS
from otel_agent_journal.projections.id_set import IdSet
from otel_agent_journal.projections.lifecycle import Said
from otel_agent_journal.projections.links import parts_of
from otel_agent_journal.projections.spent import Spending
from otel_agent_journal.projections.status import REMEMBERED, Interruption, Open, Root, StatusState
from otel_agent_journal.projections.verdict import writers_of

MAX_BYTES: Final = 96 * 1024  # of a DynamoDB item's 400 KB; a session with so much open is folded from its beginning
_FORM: Final = 3


class _Ids(msgspec.Struct, array_like=True, frozen=True):
    before: int
    latest: bytes


class _Snapshot(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """The slots of a `StatusState`."""

    form: int
    events: int
    steps: _Ids
    ended: _Ids
    ended_from_ns: list[int]
    forgotten_ns: int
    open: dict[int, Open]
    loose: dict[int, tuple[int, str]]
    instant: dict[str, tuple[int, str]]
    root: Root | None
    unpaired_root: tuple[int, str, str] | None
    last_ended: tuple[int, str, str] | None
    last_event_ns: dict[str, int]
    seen_ns: dict[str, int]
    interruptions: dict[str, Interruption]
    links: list[tuple[str, str, int]]
    forks: list[tuple[str, str, int]]
    lifecycle: Said | None
    invoked_ns: int | None
    about: AboutState
    agent: tuple[int, str, str] | None
    named: tuple[int, str, str] | None
    inner: tuple[int, str, str] | None
    stage: tuple[int, str, str, float | None] | None
    started_ns: int
    updated_ns: int
    errors: int
    spending: Spending


_SAME: Final = (
    *("open", "loose", "instant", "root", "unpaired_root", "last_ended", "lifecycle", "invoked_ns"),
    *("about", "agent", "named", "inner", "stage", "started_ns", "updated_ns", "errors", "spending"),
)
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Snapshot).decode


def snapshot_of(state: StatusState, session_id: str) -> bytes:
    """Return a fold as bytes; none where it is too large, or has parts, for whose events no one cursor speaks."""
    if parts_of(state.links, session_id):
        return b""
    writers = writers_of(state)
    kept = set(sorted(writers, key=lambda writer: (writers[writer], writer))[-MAX_WRITERS:])
    kept.update(one.writer for one in state.open.values())
    if state.root is not None:
        kept.add(state.root.writer)
    marks = sorted(state.interruptions.items(), key=lambda item: item[1])
    snapshot = _Snapshot(
        form=_FORM,
        events=len(state.seen),
        steps=_ids(state.steps),
        ended=_ids(state.ended),
        ended_from_ns=list(state.ended_from_ns),
        forgotten_ns=max(state.forgotten_ns, state.passed_from_ns),
        last_event_ns=_of(kept, state.last_event_ns),
        seen_ns=_of(kept, state.seen_ns),
        interruptions={
            writer: mark
            for place, (writer, mark) in enumerate(marks, MAX_WRITERS - len(marks))
            if place >= 0 or writer in kept
        },
        links=[(*link, at) for link, at in state.links.items()],
        forks=[(*fork, at) for fork, at in state.forks.items()],
        **{name: getattr(state, name) for name in _SAME},
    )
    try:
        written = _encode(snapshot)
    except OverflowError:  # a number beyond 64 bits, which somebody else gave
        return b""
    return written if len(written) <= MAX_BYTES else b""


def restored(snapshot: bytes) -> StatusState | None:
    """Return the fold that was written down, None where nothing was, or by another version of this package."""
    state = StatusState()
    try:
        found = _decode(snapshot)
        state.steps, state.ended = _id_set(found.steps), _id_set(found.ended)
    except (msgspec.MsgspecError, struct.error):
        return None
    if found.form != _FORM:
        return None
    for name in _SAME:
        setattr(state, name, getattr(found, name))
    state.seen = IdSet(before=found.events)
    state.ended_from_ns.extend(found.ended_from_ns)
    state.forgotten_ns = found.forgotten_ns
    state.last_event_ns, state.seen_ns = found.last_event_ns, found.seen_ns
    state.interruptions = found.interruptions
    state.links = {(session_id, trace_id): at for session_id, trace_id, at in found.links}
    state.forks = {(base, fork): at for base, fork, at in found.forks}
    return state


def _of(kept: set[str], times: dict[str, int]) -> dict[str, int]:
    return {writer: at_ns for writer, at_ns in times.items() if writer in kept}


def _ids(ids: IdSet) -> _Ids:
    latest = ids.latest
    return _Ids(len(ids) - len(latest), struct.pack(f"<{len(latest)}Q", *latest))


def _id_set(ids: _Ids) -> IdSet:
    return IdSet(REMEMBERED, latest=struct.unpack(f"<{len(ids.latest) // 8}Q", ids.latest), before=ids.before)
