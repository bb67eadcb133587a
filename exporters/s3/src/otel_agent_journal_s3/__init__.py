"""The journal in S3: `open_store` is what the URL scheme names."""

from otel_agent_journal_s3.store import S3Store, open_store

__all__ = ["S3Store", "open_store"]
