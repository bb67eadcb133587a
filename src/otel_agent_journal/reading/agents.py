"""The agents of a session that have a context: which instance each is, and what its program calls it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import msgspec

from otel_agent_journal.errors import UnsupportedByStore
from otel_agent_journal.event import EMPTY
from otel_agent_journal.store.lineage import bases
from otel_agent_journal.store.protocol import JournalStore

BY_HAND = ""  # the framework of a context that a program keeps itself


class AgentContext(msgspec.Struct, frozen=True, kw_only=True):
    """An agent instance. `count`: of its events, those of the instances that it was forked from among them.

    `known_as` is what its program knows it by: of LangGraph the thread, of Strands the agent's id, else the instance;
    of a fork that says nothing of it, that which the first of its bases is known by. `within` is what it is unique in,
    where that is not the session: a session of Strands. `name` is for people.
    """

    instance_id: str
    session_id: str
    framework: str
    name: str
    known_as: str
    within: str | None = None
    count: int
    bases: tuple[tuple[str, int], ...] = ()


def agents_of(store: JournalStore, session_id: str) -> Iterator[AgentContext]:
    """Yield the agents of a session that have a context, by their instances.

    Raises:
        UnsupportedByStore: the store keeps no contexts.
        StoreUnreachable: and other errors of the store.
    """
    if not store.capabilities.context:
        raise UnsupportedByStore(store.url, "context")
    for instance_id in sorted(store.instances(session_id)):
        chain = tuple(bases(store, instance_id))
        tip = store.context_tip(instance_id)
        if tip is None:
            continue
        agent = _said_of(store, instance_id) or (_said_of(store, chain[0][0]) if chain else EMPTY)
        known_as = str(agent.get("thread") or agent.get("agent") or (chain[0][0] if chain else instance_id))
        yield AgentContext(
            instance_id=instance_id,
            session_id=session_id,
            framework=str(agent.get("framework") or BY_HAND),
            name=str(agent.get("name") or known_as),
            known_as=known_as,
            within=str(agent["session"]) if "session" in agent else None,
            count=tip.next_seq + sum(count for _, count in chain),
            bases=chain,
        )


def _said_of(store: JournalStore, instance_id: str) -> Mapping[str, Any]:
    """Return what the first event of an instance says of it."""
    first = next(store.read_context(instance_id, limit=1), None)
    said: Any = None if first is None else first.details.get("agent")
    return cast("Mapping[str, Any]", said) if isinstance(said, Mapping) else EMPTY
