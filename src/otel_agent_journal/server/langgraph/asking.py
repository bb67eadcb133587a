"""What a client asks of a run, as the session API takes it; what it cannot do is refused by name, never left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from otel_agent_journal.pipeline.graph_calls import GraphCall
from otel_agent_journal.server.langgraph.wire import CheckpointRef, RunCreate
from otel_agent_journal.server.problems import Refused
from otel_agent_journal.sessions.runs import Asked, OnBusy

MODES: Final = (
    "values",
    "updates",
    "messages",
    "messages-tuple",
    "custom",
    "events",
    "tasks",
    "checkpoints",
    "debug",
)
_COMMANDS: Final = frozenset(("resume", "update", "goto", "graph"))
_CONFIG: Final = frozenset(("tags", "metadata", "configurable", "recursion_limit", "run_name", "max_concurrency"))
_OURS: Final = frozenset(("thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map", "run_id"))


def modes_of(said: str | list[str]) -> tuple[str, ...]:
    """Return stream modes.

    Raises:
        Refused: there is no such mode, or it is not done here.
    """
    modes = tuple(dict.fromkeys([said] if isinstance(said, str) else said)) or ("values",)
    unknown = [mode for mode in modes if mode not in MODES]
    if unknown:
        raise Refused(501, f"stream_mode '{unknown[0][:80]}' is not done here; these are: {', '.join(MODES)}")
    if "messages" in modes and "messages-tuple" in modes:
        raise Refused(
            422, "stream_mode has messages and messages-tuple, which have one event name; ask for one of them"
        )
    return modes


def asked_of(body: RunCreate, session_id: str | None, run_metadata: Mapping[str, Any]) -> Asked:
    """Return a run as the session API is asked for it.

    Raises:
        Refused: something is asked for that cannot be done.
    """
    _refuse(body)
    command = body.command and {name: value for name, value in body.command.items() if value is not None}
    if command is not None and not set(command) <= _COMMANDS:
        raise Refused(422, f"command has {', '.join(sorted(set(command) - _COMMANDS))}; it has: resume, update, goto")
    durability = body.durability
    if durability is None and body.checkpoint_during is not None:
        durability = "async" if body.checkpoint_during else "exit"
    call = GraphCall(
        modes=modes_of(body.stream_mode),
        subgraphs=body.stream_subgraphs,
        command=command or None,
        config=_config(body, run_metadata),
        context=body.context,
        checkpoint=checkpoint_of(body.checkpoint, body.checkpoint_id),
        interrupt_before=body.interrupt_before,
        interrupt_after=body.interrupt_after,
        durability=durability,
    )
    given = body.input if not command else command.get("resume", body.input)
    busy = cast("OnBusy", body.multitask_strategy)
    return Asked(
        agent=body.assistant_id,
        input=given,
        session_id=session_id,
        metadata=run_metadata,
        webhook=body.webhook,
        on_busy=busy,
        graph=call,
    )


def checkpoint_of(named: CheckpointRef | None, checkpoint_id: str | None) -> dict[str, Any]:
    """Return where to go on from, as LangGraph's config has it."""
    said = named or CheckpointRef()
    pairs = {
        "checkpoint_id": said.checkpoint_id or checkpoint_id,
        "checkpoint_ns": said.checkpoint_ns or None,
        "checkpoint_map": said.checkpoint_map or None,
    }
    return {name: value for name, value in pairs.items() if value is not None}


def metadata_of(body: RunCreate) -> dict[str, Any]:
    """Return what a run is found by: its own metadata, that of its config, and its tags."""
    config = body.config or {}
    inner: Any = config.get("metadata")
    tags: Any = config.get("tags")
    found = {**(cast("dict[str, Any]", inner) if isinstance(inner, dict) else {}), **(body.metadata or {})}
    return found | ({"tags": tags} if isinstance(tags, list) and tags and "tags" not in found else {})


def _config(body: RunCreate, metadata: Mapping[str, Any]) -> dict[str, Any]:
    config = dict(body.config or {})
    if unknown := sorted(set(config) - _CONFIG):
        raise Refused(422, f"config has {', '.join(unknown)[:200]}; it has: {', '.join(sorted(_CONFIG))}")
    said: Any = config.get("configurable") or {}
    if not isinstance(said, dict):
        raise Refused(422, "config.configurable is no object")
    named = cast("dict[str, Any]", said)
    if inner := [name for name in named if name.startswith("__")]:
        raise Refused(422, f"config.configurable has '{inner[0][:80]}', which is LangGraph's own; leave it out")
    config["configurable"] = {name: value for name, value in named.items() if name not in _OURS}
    plain = {name: value for name, value in metadata.items() if name != "tags"}
    if plain:
        config["metadata"] = plain
    return config


def _refuse(body: RunCreate) -> None:
    if body.multitask_strategy == "rollback":
        raise Refused(
            501, "multitask_strategy rollback deletes what a run did; a journal does not: interrupt, or enqueue"
        )
    if body.after_seconds:
        raise Refused(501, "after_seconds: runs are not put off here; ask for the run when it is to begin")
    if body.on_completion == "delete":
        raise Refused(501, "on_completion delete: a journal keeps what ran; DELETE /threads/{thread_id} deletes it")
    for name in ("feedback_keys", "langsmith_tracer", "strict_resume"):
        if getattr(body, name):
            raise Refused(501, f"{name} is not done here; leave it out")
