"""Prints the server's OpenAPI: `python -m otel_agent_journal.server > docs/openapi.json`."""

from __future__ import annotations

import sys

from otel_agent_journal.server.openapi import document
from otel_agent_journal.server.table import EVERY

sys.stdout.buffer.write(document(EVERY))
