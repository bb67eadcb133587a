"""The journal of otel-agent-journal in PostgreSQL: `open_store("postgresql://…")`."""

from otel_agent_journal_postgresql.store import PostgreSQLStore, open_store

__all__ = ["PostgreSQLStore", "open_store"]
