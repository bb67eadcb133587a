"""The public API, pinned: a change here is one that users see."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import otel_agent_journal


def test_public_names() -> None:
    """These names are public, sorted, and each can be imported."""
    assert otel_agent_journal.__all__ == [
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
    assert all(getattr(otel_agent_journal, name) is not None for name in otel_agent_journal.__all__)
    assert dir(otel_agent_journal) == otel_agent_journal.__all__


def test_import_is_light(tmp_path: Path) -> None:
    """Importing the package, and recording with it, imports nothing heavy that it may never need."""
    program = """
import sys, otel_agent_journal
otel_agent_journal.configure()
with otel_agent_journal.session("s1", agent="a"):
    pass
otel_agent_journal.shutdown()
heavy = {"rich", "click", "sqlalchemy", "boto3", "starlette", "grpc", "langchain_core", "langgraph", "requests"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False, env={}, cwd=tmp_path
    )
    assert done.stdout == "[]\n", done.stderr
