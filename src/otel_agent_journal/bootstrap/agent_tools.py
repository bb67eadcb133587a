"""The journal as a tool of agents: their tools wired, and the same for code that calls them itself."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from otel_agent_journal.agent_tools.answers import Answer
from otel_agent_journal.agent_tools.scope import Scope
from otel_agent_journal.agent_tools.tools import DEFAULT_WAIT_S, JournalTools
from otel_agent_journal.bootstrap.journal_access import ProcessAccess
from otel_agent_journal.config import TOOLS_ALLOW
from otel_agent_journal.errors import MissingExtra
from otel_agent_journal.store.protocol import JournalStore

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool


def journal_tools(
    session_id: str | None = None,
    *,
    store: str | JournalStore | None = None,
    allow: Iterable[str] | None = None,
    written_by: str = "tool",
) -> JournalTools:
    """Return the tools of an agent, confined to its session and lineage.

    Args:
        session_id: the agent's session; by default that of the code that calls a tool, `--session`, or
            AGENT_JOURNAL_SESSION.
        store: a URL, an open store, or None: the store that this process records to, else the environment's.
        allow: more sessions that are within reach, by name or pattern, as `team-*`; by default what
            AGENT_JOURNAL_TOOLS_ALLOW says.
        written_by: what entries say of where they came from.
    """
    access = ProcessAccess(store, session_id)
    return JournalTools(access, Scope(access.own_session, _allowed(allow)), written_by=written_by)


def langchain_tools(
    session_id: str | None = None, *, store: str | JournalStore | None = None, allow: Iterable[str] | None = None
) -> list[BaseTool]:
    """Return the journal's tools for an agent of LangChain or LangGraph; arguments as of `journal_tools`.

    Raises:
        MissingExtra: langchain-core is not installed.
    """
    try:
        from otel_agent_journal.agent_tools.langchain import tools_of
    except ImportError as error:
        raise MissingExtra("tools for LangChain", "otel-agent-journal[langgraph]") from error
    return tools_of(journal_tools(session_id, store=store, allow=allow))


def strands_tools(
    session_id: str | None = None, *, store: str | JournalStore | None = None, allow: Iterable[str] | None = None
) -> list[Any]:
    """Return the journal's tools for a Strands agent; arguments as of `journal_tools`.

    Raises:
        MissingExtra: Strands is not installed.
    """
    try:
        from otel_agent_journal.agent_tools.strands import tools_of
    except ImportError as error:
        raise MissingExtra("tools for Strands", "otel-agent-journal[strands]") from error
    return tools_of(journal_tools(session_id, store=store, allow=allow))


def _allowed(allow: Iterable[str] | None) -> tuple[str, ...]:
    if allow is not None:
        return tuple(allow)
    return tuple(one for part in os.environ.get(TOOLS_ALLOW, "").split(",") if (one := part.strip()))


class _Own:
    """The tools of this process's own code: within a session these are that session's, outside of any anybody's."""

    def __init__(self) -> None:
        access = ProcessAccess()
        self._confined = JournalTools(access, Scope(access.own_session, _allowed(None)))
        self._free = JournalTools(access, Scope(lambda: None, ("*",)))

    def here(self) -> JournalTools:
        return self._free if self._confined.scope.own is None else self._confined


_own: list[_Own] = []


def _tools() -> JournalTools:
    if not _own:
        _own.append(_Own())
    return _own[0].here()


def write_journal_entry(
    session_id: str | None = None,
    event_type: str | None = None,
    tool_name: str | None = None,
    details: Any = None,
    level: str | None = None,
) -> Answer:
    """Write an entry into a session's journal, under the step that this code runs in.

    Raises nothing: `status` is `success`, or `refused`, `too_large`, `rate_limited`, `error`, with a `message`.

    Args:
        session_id: the session; by default the one that this code runs in.
        event_type: a type of your own in upper snake case, as DATA_CLEANED; NOTE by default.
        tool_name: what the entry is about.
        details: any data, up to 16 KB of JSON.
        level: DEBUG, INFO, WARNING or ERROR.
    """
    return _tools().write_journal_entry(session_id, event_type, tool_name, details, level)


def read_journal(
    session_id: str | None = None,
    filter_event_type: str | Iterable[str] | None = None,
    *,
    cursor: str | None = None,
    limit: int = 50,
) -> Answer:
    """Read a session's journal: `entries` in their order, each with its point, and `more` where there are more.

    Raises nothing; `status` is `success` or `not_found`, or as of `write_journal_entry`.

    Args:
        session_id: the session; by default the one that this code runs in.
        filter_event_type: only events of this type, or of one of these.
        cursor: `cursor` of the answer before, to read on.
        limit: entries at most, up to 200.
    """
    return _tools().read_journal(session_id, filter_event_type, cursor=cursor, limit=limit)


def query_journal(session_id: str | None, sql: str) -> Answer:
    """Ask about a session and its lineage in SQL; `entries` are the rows. Raises nothing; see `read_journal`.

    Args:
        session_id: the session; None is the one that this code runs in.
        sql: one SELECT over the tables sessions, steps, events, tools and models.
    """
    return _tools().query_journal(session_id, sql)


def wait_for_journal(
    session_id: str | None = None,
    until: str | Iterable[str] | None = None,
    *,
    timeout_s: float = DEFAULT_WAIT_S,
    since: str | None = None,
) -> Answer:
    """Wait until a session has an event of a type, or an ending; `entries` has it. Raises nothing.

    `status` is `success`, or `timeout` where it did not come in time.

    Args:
        session_id: the session, which need not be there yet; by default the one that this code runs in.
        until: one or several event types; by default whatever ends a session.
        timeout_s: how long at most, up to 300.
        since: events before this time do not count.
    """
    return _tools().wait_for_journal(session_id, until, timeout_s=timeout_s, since=since)
