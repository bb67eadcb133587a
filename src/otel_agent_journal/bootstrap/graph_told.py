"""`python -m otel_agent_journal.bootstrap.graph_told REFERENCE FILE`: what a graph looks like, as JSON in a file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from otel_agent_journal.bootstrap.session_call import load
from otel_agent_journal.plain import plain


def main() -> int:
    """Write it; return 0, or 1 where what is named is no graph."""
    graph = load(sys.argv[1])
    if not hasattr(graph, "get_graph") or not hasattr(graph, "get_input_jsonschema"):
        sys.stderr.write(f"{sys.argv[1]} is {type(graph).__name__}, which is no graph\n")
        return 1
    schemas = {
        "input_schema": _tried(graph.get_input_jsonschema),
        "output_schema": _tried(graph.get_output_jsonschema),
        "state_schema": _tried(graph.get_output_jsonschema),
        "config_schema": _tried(graph.get_config_jsonschema),
        "context_schema": _tried(graph.get_context_jsonschema),
    }
    told = {"graph": plain(graph.get_graph().to_json()), "schemas": schemas}
    Path(sys.argv[2]).write_bytes(msgspec.json.encode(told))
    return 0


def _tried(ask: Callable[[], Any]) -> Any:
    try:
        return plain(ask())
    except Exception:  # noqa: BLE001 - a type that JSON Schema has no word for: the wire says null
        return None


if __name__ == "__main__":
    sys.exit(main())
