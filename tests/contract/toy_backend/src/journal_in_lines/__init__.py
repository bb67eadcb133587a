"""A journal in one file of JSON lines."""

from journal_in_lines.store import LinesStore, open_store

__all__ = ["LinesStore", "open_store"]
