"""Agents run for callers: submitted, queued, started once, watched by the journal; over HTTP, in Lambda, in Python."""
