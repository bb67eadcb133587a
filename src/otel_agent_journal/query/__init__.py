"""SQL over any store: `agent-journal query`, on DuckDB."""
