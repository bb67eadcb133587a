"""Requests of model calls that others traced, as far as their dialects carry them."""

from __future__ import annotations

import pytest

from otel_agent_journal.store.memory import MemoryStore
from tests.frameworks.requests_told import prompts_of
from tests.mapping.recordings import DIALECTS, played, request
from tests.mapping.test_received import journaled


@pytest.mark.parametrize("dialect", DIALECTS)
def test_requests_of_others(dialect: str) -> None:
    """Messages of each are in the one shape, the system prompt first; tools that were not told make it incomplete."""
    events = sorted(journaled(request(played(dialect))), key=lambda event: (event.timestamp_ns, event.event_id))
    (session,) = {event.session_id for event in events if event.type.startswith("MODEL")}
    first, second, *_ = prompts_of(MemoryStore(), session, [one for one in events if one.session_id == session])
    assert [one["role"] for one in first["messages"]] == ["system", "user"]
    assert first["messages"][0]["content"] == "Be brief."
    asked, *results = second["messages"][2:]
    assert next(call["arguments"] for call in asked["tool_calls"]) == {"query": "bread"}
    assert {one["role"] for one in results} == {"tool"}
    assert all(isinstance(one["content"], str) and one["tool_call_id"] for one in results)
    assert (second["complete"], second["why"]) == (False, "which tools it was offered was not told")
