"""What a process asks of the session that it goes on with: its agents, and what its tools have returned.

The store is opened when something is asked of it, and what was called is read once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, Final, TypeVar

import msgspec

from otel_agent_journal.bootstrap.openers import NO_LIVE_WRITER, open_drain, open_store
from otel_agent_journal.config import RESUME, Settings, settings_from_env
from otel_agent_journal.errors import ConfigError
from otel_agent_journal.pipeline.current import get_recorder
from otel_agent_journal.pipeline.resuming import Agents, Receipts, Resumption, begin_resumption
from otel_agent_journal.reading.agents import agents_of
from otel_agent_journal.reading.blobs import Blobs
from otel_agent_journal.reading.tool_calls import ToolCall, distinct, tool_calls, tree_with_tools
from otel_agent_journal.reading.turns import Turn, turns_of
from otel_agent_journal.store.lineage import MAX_DEPTH
from otel_agent_journal.store.linked import read_whole
from otel_agent_journal.store.protocol import JournalStore

_Loaded = TypeVar("_Loaded")
_TAKE_IN_S: Final = 5.0


class Resume(msgspec.Struct, frozen=True, kw_only=True):
    """What AGENT_JOURNAL_RESUME says, as JSON: the session, and whether calls that it has made are made once.

    `bases` are the sessions that it was forked from, in turn: a program that names one of these means the fork.
    `cut_off`: its last run was killed, so what the program asks first was asked already, also where it was answered.
    """

    session: str
    once: bool = False
    bases: tuple[str, ...] = ()
    cut_off: bool = False


def resume_for_env(asked: Resume) -> str:
    """Return what AGENT_JOURNAL_RESUME says to a child."""
    return msgspec.json.encode(asked).decode()


def resume_from_env(text: str) -> None:
    """Have this process go on with the session that the variable names.

    Raises:
        ConfigError: it is malformed.
    """
    try:
        asked = msgspec.json.decode(text, type=Resume)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{RESUME} is '{text}'; `agent-journal resume` sets it: {error}") from error
    begin_resumption(resumption_of(settings_from_env(), asked))


def resumption_of(settings: Settings, asked: Resume) -> Resumption:
    """Return what frameworks ask of a session that is gone on with."""
    return Resumption(
        asked.session,
        lambda: _loaded(settings, lambda store: agents_named(store, asked.session)),
        lambda: _receipts(settings, asked),
        bases=asked.bases,
        cut_off=asked.cut_off,
    )


def _receipts(settings: Settings, asked: Resume) -> Receipts:
    """Return what tools have returned; nothing where a redactor may have changed it: an agent wants what it was."""
    recorder = get_recorder()
    if settings.redactor is not None or (recorder is not None and recorder.encoder.redactor is not None):
        if asked.once:
            raise ConfigError(
                "--once serves what tools returned, and a redactor may have changed what the journal has of it:"
                " resume without --once, or without the redactor"
            )
        return Receipts([])
    return _loaded(settings, lambda store: receipts_of(store, asked.session, once=asked.once))


def lines_of(store: JournalStore, session_id: str) -> Iterator[str]:
    """Yield the sessions that one was forked from: the one, what that was forked from, and so on.

    Raises:
        StoreUnreachable: and other errors of the store.
    """
    seen = {session_id}
    while True:
        turns = turns_of(store.read(session_id))
        base = next((turn.base for turn in turns if turn.base not in seen), None)
        if base is None or len(seen) > MAX_DEPTH:
            return
        yield base
        seen.add(base)
        session_id = base


def receipts_of(store: JournalStore, session_id: str, *, once: bool) -> Receipts:
    """Return what the tools of a session, and of what it goes on from, have returned.

    Raises:
        StoreUnreachable: and other errors of the store.
    """
    resolved = Blobs(store).resolved
    turns = list(turns_of(store.read(session_id)))
    rewound_ns = max((turn.turned_ns for turn in turns if turn.base == session_id), default=0)
    by_id = _calls(store, session_id, resolved, rewound_ns)
    later = [call for turn in turns for call in _calls_after(store, turn, resolved)] if once else []
    return Receipts(by_id, distinct(later))


def _calls_after(store: JournalStore, turn: Turn, resolved: Callable[[str, Any], Any]) -> Iterator[ToolCall]:
    """Yield what was called after the point that a session was rewound to or forked at, until it was."""
    for call in _calls(store, turn.base, resolved, turn.at_ns):
        if turn.base != turn.session_id or call.start_ns < turn.turned_ns:
            yield call


def _calls(
    store: JournalStore, session_id: str, resolved: Callable[[str, Any], Any], since_ns: int
) -> Iterator[ToolCall]:
    tree = tree_with_tools(read_whole(store, session_id))
    return tool_calls(session_id, tree, resolved, since_ns=since_ns)


def agents_named(store: JournalStore, session_id: str) -> Agents:
    """Return the agents of a session that have a context, by what their programs call them."""
    found = list(agents_of(store, session_id))
    named = Counter((one.framework, one.known_as) for one in found)
    return Agents(
        by_name={
            (one.framework, one.known_as): one.instance_id
            for one in found
            if one.within is None or named[one.framework, one.known_as] == 1
        },
        within={(one.framework, one.within, one.known_as): one.instance_id for one in found if one.within is not None},
    )


def _loaded(settings: Settings, load: Callable[[JournalStore], _Loaded]) -> _Loaded:
    with closing(open_store(settings)) as store:
        if not settings.drained_by_parent:  # under `resume` that has been done
            open_drain(settings, store, only_writer=NO_LIVE_WRITER).drain_once(patience_s=_TAKE_IN_S)
        return load(store)
