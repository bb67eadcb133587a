"""Assistants: the agents that can be run here. What a graph alone knows is asked of it, in a process of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from otel_agent_journal.codec import encode_value, format_timestamp
from otel_agent_journal.server.langgraph.reading import body_of, bounded, chosen
from otel_agent_journal.server.langgraph.wire import AssistantSearch, LangGraphAssistant
from otel_agent_journal.server.problems import Refused

if TYPE_CHECKING:
    from otel_agent_journal.reading.journal import Journal
    from otel_agent_journal.server.routes import Call

GRAPH: Final = "graph"
SCHEMAS: Final = "schemas"

Describe = Callable[[str], Mapping[str, Any]]
"""Returns the `graph` and the `schemas` of an agent; raises `Refused` where it is no graph, or cannot be loaded."""


class Assistants:
    """The agents of this server.

    Args:
        agents: by name, with what they do.
        describe: asks one what it looks like.
    """

    def __init__(self, agents: Mapping[str, str], describe: Describe) -> None:
        self._agents = agents
        self._describe = describe
        self._began_ns = time.time_ns()
        self._lock = threading.Lock()
        self._described: dict[str, Mapping[str, Any]] = {}

    def get(self, call: Call, _journal: Journal) -> bytes:
        """Answer `GET /assistants/{assistant_id}`."""
        return encode_value(msgspec.to_builtins(self._told(self._named(call))))

    def search(self, call: Call, _journal: Journal) -> bytes:
        """Answer `POST /assistants/search`."""
        body = body_of(call, AssistantSearch)
        bounded(body.limit, body.offset)
        if body.metadata:
            return b"[]"  # none has any
        wanted = (body.graph_id, body.name)
        names = [name for name in self._agents if all(one in (None, name) for one in wanted)]
        shown = names[body.offset : body.offset + body.limit]
        return encode_value([chosen(msgspec.to_builtins(self._told(name)), body.select) for name in shown])

    def graph(self, call: Call, _journal: Journal) -> bytes:
        """Answer `GET /assistants/{assistant_id}/graph`."""
        return encode_value(self._of(self._named(call))[GRAPH])

    def schemas(self, call: Call, _journal: Journal) -> bytes:
        """Answer `GET /assistants/{assistant_id}/schemas`."""
        name = self._named(call)
        return encode_value({"graph_id": name, **self._of(name)[SCHEMAS]})

    def _named(self, call: Call) -> str:
        name = call.args["assistant_id"]
        if name not in self._agents:
            known = ", ".join(self._agents) or "none: start it with --write and --agents"
            raise Refused(404, f"there is no assistant {name[:80]}; there are: {known}")
        return name

    def _of(self, name: str) -> Mapping[str, Any]:
        with self._lock:
            if name not in self._described:
                self._described[name] = self._describe(name)
            return self._described[name]

    def _told(self, name: str) -> LangGraphAssistant:
        at = format_timestamp(self._began_ns)
        described = self._agents[name] or None
        return LangGraphAssistant(
            assistant_id=name, graph_id=name, name=name, description=described, created_at=at, updated_at=at
        )
