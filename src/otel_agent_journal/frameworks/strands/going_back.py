"""What the context of a Strands agent, graph or swarm says at any point, and how a fork is given another state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from otel_agent_journal.codec import encode_value
from otel_agent_journal.context.history import OWN_STATE
from otel_agent_journal.context.service import Context
from otel_agent_journal.mapping.converse import plain_messages
from otel_agent_journal.reading.agents import AgentContext
from otel_agent_journal.reading.keepers import ContextKeeper
from otel_agent_journal.store.protocol import JournalStore

_PROMPT: Final = f"{OWN_STATE}system_prompt"


class StrandsKeeper(ContextKeeper):
    """Reads the contexts that `sessions.py` writes."""

    def said(
        self, store: JournalStore, agent: AgentContext, count: int, checkpoints: Mapping[str, str] | None
    ) -> Mapping[str, Any]:
        """Return `messages`, as the OpenAI API has them, the system prompt in front, and the agent's `state`."""
        context = Context(store, agent.instance_id)
        prompt: Any = context.get_own_state(count).get(_PROMPT) or {}
        messages = [_openai(one) for message in context.get_messages(count) for one in plain_messages(message)]
        given = prompt.get("now")
        system = [{"role": "system", "content": _text_of(given)}] if given else []
        return {"messages": [*system, *messages], "state": context.get_state(count)}


KEEPER: Final = StrandsKeeper()


def _openai(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plain message as the OpenAI API has it."""
    said = {key: value for key, value in message.items() if key not in ("id", "status")}
    calls: Any = said.get("tool_calls")
    if calls:
        said["tool_calls"] = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": encode_value(call["args"]).decode()},
            }
            for call in calls
        ]
    return said


def _text_of(blocks: Any) -> Any:
    """Return a system prompt as a text where it is no more than that."""
    listed = cast("list[Any]", blocks) if isinstance(blocks, list) else []
    texts = [_only_text(block) for block in listed]
    said = [text for text in texts if text is not None]
    return "\n".join(said) if said and len(said) == len(listed) else cast("Any", blocks)


def _only_text(block: Any) -> str | None:
    found = cast("dict[str, Any]", block) if isinstance(block, dict) else {}
    text = found.get("text")
    return text if len(found) == 1 and isinstance(text, str) else None
