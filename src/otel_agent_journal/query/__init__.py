"""SQL over any store, on DuckDB: `query(store, sql)`, and `agent-journal query`. Reads, and nothing else."""

from otel_agent_journal.query.sql import DEFAULT_MEMORY_BYTES, DEFAULT_TIMEOUT_S, query
from otel_agent_journal.query.tables import TABLES

__all__ = ["DEFAULT_MEMORY_BYTES", "DEFAULT_TIMEOUT_S", "TABLES", "query"]
