"""The command line, `agent-journal`: one module a command, data on stdout and everything else on stderr."""

from otel_agent_journal.cli.app import main

__all__ = ["main"]
