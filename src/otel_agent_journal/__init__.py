"""Every agent session as an append-only journal: OpenTelemetry spans on the way, durable events that remain.

    agent-journal run -- python my_agent.py      # no line of the agent changes
    agent-journal tail -f                        # every step as it begins and ends

or, in a program: `otel_agent_journal.configure()`. Everything named here is public; it is imported when it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otel_agent_journal.bootstrap.agent_tools import (
        langchain_tools,
        query_journal,
        read_journal,
        strands_tools,
        wait_for_journal,
        write_journal_entry,
    )
    from otel_agent_journal.bootstrap.checkpoints import JournalSaver
    from otel_agent_journal.bootstrap.context import ContextService
    from otel_agent_journal.bootstrap.going_back import fork, resume, rewind
    from otel_agent_journal.bootstrap.process import configure, flush, shutdown
    from otel_agent_journal.bootstrap.replay_here import replay
    from otel_agent_journal.bootstrap.serverless import lambda_handler
    from otel_agent_journal.bootstrap.session_lambda import LambdaSessions, lambda_session_handler
    from otel_agent_journal.bootstrap.sessions import Sessions
    from otel_agent_journal.bootstrap.strands_sessions import (
        JournalSessionManager,
        JournalSessionRepository,
        JournalStorage,
    )
    from otel_agent_journal.bootstrap.waiting import Ending, wait_for
    from otel_agent_journal.delivered import Delivered
    from otel_agent_journal.errors import JournalError
    from otel_agent_journal.event import ErrorInfo, JournalEvent, Usage
    from otel_agent_journal.pipeline.content import Redactor
    from otel_agent_journal.pipeline.exporter import JournalSpanExporter
    from otel_agent_journal.pipeline.lifecycle import invocation, record_event
    from otel_agent_journal.pipeline.marked import extract_journal_entries
    from otel_agent_journal.pipeline.processor import JournalSpanProcessor
    from otel_agent_journal.pipeline.recorder import Recorder
    from otel_agent_journal.pipeline.session import current_session, session, step
    from otel_agent_journal.replays.current import replaying
    from otel_agent_journal.store.registry import open_store

__version__ = "0.1.0"

_HOME = {
    "ContextService": "otel_agent_journal.bootstrap.context",
    "Delivered": "otel_agent_journal.delivered",
    "Ending": "otel_agent_journal.bootstrap.waiting",
    "ErrorInfo": "otel_agent_journal.event",
    "JournalError": "otel_agent_journal.errors",
    "JournalEvent": "otel_agent_journal.event",
    "JournalSaver": "otel_agent_journal.bootstrap.checkpoints",
    "JournalSessionManager": "otel_agent_journal.bootstrap.strands_sessions",
    "JournalSessionRepository": "otel_agent_journal.bootstrap.strands_sessions",
    "JournalSpanExporter": "otel_agent_journal.pipeline.exporter",
    "JournalSpanProcessor": "otel_agent_journal.pipeline.processor",
    "JournalStorage": "otel_agent_journal.bootstrap.strands_sessions",
    "LambdaSessions": "otel_agent_journal.bootstrap.session_lambda",
    "Recorder": "otel_agent_journal.pipeline.recorder",
    "Redactor": "otel_agent_journal.pipeline.content",
    "Sessions": "otel_agent_journal.bootstrap.sessions",
    "Usage": "otel_agent_journal.event",
    "configure": "otel_agent_journal.bootstrap.process",
    "current_session": "otel_agent_journal.pipeline.session",
    "extract_journal_entries": "otel_agent_journal.pipeline.marked",
    "flush": "otel_agent_journal.bootstrap.process",
    "fork": "otel_agent_journal.bootstrap.going_back",
    "invocation": "otel_agent_journal.pipeline.lifecycle",
    "lambda_handler": "otel_agent_journal.bootstrap.serverless",
    "lambda_session_handler": "otel_agent_journal.bootstrap.session_lambda",
    "langchain_tools": "otel_agent_journal.bootstrap.agent_tools",
    "open_store": "otel_agent_journal.store.registry",
    "query_journal": "otel_agent_journal.bootstrap.agent_tools",
    "read_journal": "otel_agent_journal.bootstrap.agent_tools",
    "record_event": "otel_agent_journal.pipeline.lifecycle",
    "replay": "otel_agent_journal.bootstrap.replay_here",
    "replaying": "otel_agent_journal.replays.current",
    "resume": "otel_agent_journal.bootstrap.going_back",
    "rewind": "otel_agent_journal.bootstrap.going_back",
    "session": "otel_agent_journal.pipeline.session",
    "shutdown": "otel_agent_journal.bootstrap.process",
    "step": "otel_agent_journal.pipeline.session",
    "strands_tools": "otel_agent_journal.bootstrap.agent_tools",
    "wait_for": "otel_agent_journal.bootstrap.waiting",
    "wait_for_journal": "otel_agent_journal.bootstrap.agent_tools",
    "write_journal_entry": "otel_agent_journal.bootstrap.agent_tools",
}

__all__ = [
    "ContextService",
    "Delivered",
    "Ending",
    "ErrorInfo",
    "JournalError",
    "JournalEvent",
    "JournalSaver",
    "JournalSessionManager",
    "JournalSessionRepository",
    "JournalSpanExporter",
    "JournalSpanProcessor",
    "JournalStorage",
    "LambdaSessions",
    "Recorder",
    "Redactor",
    "Sessions",
    "Usage",
    "__version__",
    "configure",
    "current_session",
    "extract_journal_entries",
    "flush",
    "fork",
    "invocation",
    "lambda_handler",
    "lambda_session_handler",
    "langchain_tools",
    "open_store",
    "query_journal",
    "read_journal",
    "record_event",
    "replay",
    "replaying",
    "resume",
    "rewind",
    "session",
    "shutdown",
    "step",
    "strands_tools",
    "wait_for",
    "wait_for_journal",
    "write_journal_entry",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
