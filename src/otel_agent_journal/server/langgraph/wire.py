"""What LangGraph's clients send and are sent, as Structs, in the words of their wire: the MIT client's `schema.py`.

Fields that a client may send and that cannot be done here are named all the same, so that they are refused by name.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Config = dict[str, Any]
Modes = str | list[str]
Nodes = str | list[str]


class ThreadCreate(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `POST /threads`."""

    thread_id: str | None = None
    metadata: dict[str, Any] | None = None
    if_exists: Literal["raise", "do_nothing"] = "raise"
    ttl: Any = None
    supersteps: Any = None


class ThreadPatch(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `PATCH /threads/{thread_id}`: names of metadata are added, or replaced."""

    metadata: dict[str, Any] | None = None
    ttl: Any = None


class ThreadSearch(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `POST /threads/search`."""

    metadata: dict[str, Any] | None = None
    values: dict[str, Any] | None = None
    ids: list[str] | None = None
    status: Literal["idle", "busy", "interrupted", "error"] | None = None
    limit: int = 10
    offset: int = 0
    sort_by: str | None = None
    sort_order: str | None = None
    select: list[str] | None = None
    extract: dict[str, str] | None = None


class CheckpointRef(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A checkpoint, as clients name one."""

    thread_id: str | None = None
    checkpoint_ns: str | None = None
    checkpoint_id: str | None = None
    checkpoint_map: dict[str, Any] | None = None


class RunCreate(msgspec.Struct, frozen=True, kw_only=True):
    """The body of each route that begins a run."""

    assistant_id: str
    input: Any = None
    command: dict[str, Any] | None = None
    stream_mode: Modes = "values"
    stream_subgraphs: bool = False
    stream_resumable: bool | None = None
    metadata: dict[str, Any] | None = None
    config: Config | None = None
    context: Any = None
    checkpoint: CheckpointRef | None = None
    checkpoint_id: str | None = None
    checkpoint_during: bool | None = None
    durability: Literal["sync", "async", "exit"] | None = None
    interrupt_before: Nodes | None = None
    interrupt_after: Nodes | None = None
    webhook: str | None = None
    on_disconnect: Literal["cancel", "continue"] = "continue"
    on_completion: Literal["delete", "keep"] = "keep"
    multitask_strategy: Literal["reject", "interrupt", "rollback", "enqueue"] = "enqueue"
    if_not_exists: Literal["create", "reject"] = "reject"
    after_seconds: float | None = None
    feedback_keys: list[str] | None = None
    langsmith_tracer: Any = None
    strict_resume: bool | None = None


class StateUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `POST /threads/{thread_id}/state`."""

    values: Any = None
    as_node: str | None = None
    checkpoint: CheckpointRef | None = None
    checkpoint_id: str | None = None


class StateAt(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `POST /threads/{thread_id}/state/checkpoint`."""

    checkpoint: CheckpointRef
    subgraphs: bool = False
    select: list[str] | None = None


class HistoryAsked(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `POST /threads/{thread_id}/history`."""

    limit: int = 10
    before: Any = None
    metadata: dict[str, Any] | None = None
    checkpoint: CheckpointRef | None = None
    select: list[str] | None = None


class AssistantSearch(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `POST /assistants/search`."""

    metadata: dict[str, Any] | None = None
    graph_id: str | None = None
    name: str | None = None
    limit: int = 10
    offset: int = 0
    sort_by: str | None = None
    sort_order: str | None = None
    select: list[str] | None = None


class LangGraphThread(msgspec.Struct, frozen=True, kw_only=True):
    """A thread: a session."""

    thread_id: str
    created_at: str
    updated_at: str
    metadata: dict[str, Any]
    status: str
    config: dict[str, Any] = {}
    values: Any = None
    interrupts: dict[str, list[Any]] = {}


class LangGraphRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run: of a session."""

    run_id: str
    thread_id: str
    assistant_id: str
    created_at: str
    updated_at: str
    status: str
    metadata: dict[str, Any]
    multitask_strategy: str | None = None


class LangGraphState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a thread, at a checkpoint."""

    values: Any
    next: list[str]
    checkpoint: dict[str, Any]
    metadata: dict[str, Any]
    created_at: str | None
    parent_checkpoint: dict[str, Any] | None
    tasks: list[dict[str, Any]]
    interrupts: list[Any]


class LangGraphAssistant(msgspec.Struct, frozen=True, kw_only=True):
    """An assistant: an agent that can be run here."""

    assistant_id: str
    graph_id: str
    name: str
    description: str | None
    created_at: str
    updated_at: str
    config: dict[str, Any] = {}
    context: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    version: int = 1
