"""The journal event and the ids it is known by. Pure: now and randomness are arguments.

Events are made in `mapping/` from what an agent recorded, are encoded by `codec.py`, and are kept by a
`JournalStore`. This module knows nothing of spans, files or databases.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha1
from types import MappingProxyType
from typing import Any, Final, cast

import msgspec

SCHEMA_VERSION: Final = 1

STEP_KINDS: Final = ("AGENT", "NODE", "MODEL", "TOOL", "RETRIEVAL", "STEP")
OUTCOMES: Final = ("ok", "error", "cancelled", "interrupted")
EFFECTS: Final = ("read", "write", "irreversible")  # of tools
LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")

SESSION_INITIATED: Final = "SESSION_INITIATED"
SESSION_COMPLETED: Final = "SESSION_COMPLETED"
SESSION_FAILED: Final = "SESSION_FAILED"
SESSION_INTERRUPTED: Final = "SESSION_INTERRUPTED"
SESSION_LINKED: Final = "SESSION_LINKED"
SESSION_FORKED: Final = "SESSION_FORKED"
SESSION_REWOUND: Final = "SESSION_REWOUND"
CANCEL_REQUESTED: Final = "CANCEL_REQUESTED"
ARTEFACT_ADDED: Final = "ARTEFACT_ADDED"
RUN_RESUMED: Final = "RUN_RESUMED"
AGENT_INVOCATION_STARTED: Final = "AGENT_INVOCATION_STARTED"
AGENT_INVOCATION_SUCCEEDED: Final = "AGENT_INVOCATION_SUCCEEDED"
AGENT_INVOCATION_FAILED: Final = "AGENT_INVOCATION_FAILED"
PROGRESS: Final = "PROGRESS"
CHUNK: Final = "CHUNK"
REASONING: Final = "REASONING"
REQUEST: Final = "REQUEST"
WARNING: Final = "WARNING"
FINAL_RESPONSE: Final = "FINAL_RESPONSE"
STAGE_CHANGED: Final = "STAGE_CHANGED"
STREAM_PART: Final = "STREAM_PART"  # what a graph streams for a client, as LangGraph has it
AGENT_ENTRYPOINT_STARTED: Final = "AGENT_ENTRYPOINT_STARTED"
AGENT_ENTRYPOINT_COMPLETED: Final = "AGENT_ENTRYPOINT_COMPLETED"
AGENT_ENTRYPOINT_FAILED: Final = "AGENT_ENTRYPOINT_FAILED"
AGENT_BACKGROUND_TASK_STARTED: Final = "AGENT_BACKGROUND_TASK_STARTED"
AGENT_BACKGROUND_TASK_COMPLETED: Final = "AGENT_BACKGROUND_TASK_COMPLETED"
AGENT_BACKGROUND_TASK_FAILED: Final = "AGENT_BACKGROUND_TASK_FAILED"

ALERT_FIRING: Final = "ALERT_FIRING"
ALERT_RESOLVED: Final = "ALERT_RESOLVED"
ALERT_UNSENT: Final = "ALERT_UNSENT"

WRITTEN_BY: Final = "written_by"  # in the details of entries: which tool or sandbox let somebody else write them
REPLAY: Final = "replay"  # in the details of a START in a replay: what of the recording the step is
PROCESS: Final = "process"  # in the details of the first event that a process writes to a session: which it is

CONTEXT_FORKED: Final = "CONTEXT_FORKED"
CONTEXT_REWOUND: Final = "CONTEXT_REWOUND"
CHECKPOINT_SAVED: Final = "CHECKPOINT_SAVED"
CHECKPOINT_WRITES: Final = "CHECKPOINT_WRITES"
CHECKPOINTS_DELETED: Final = "CHECKPOINTS_DELETED"

START_TYPES: Final = frozenset(f"{kind}_START" for kind in STEP_KINDS)
END_TYPES: Final = frozenset(f"{kind}_{phase}" for kind in STEP_KINDS for phase in ("END", "ERROR"))
_KIND_OF_TYPE: Final = {one: one.rpartition("_")[0] for one in (*START_TYPES, *END_TYPES)}
IN_STEP_TYPES: Final = frozenset((PROGRESS, CHUNK, REASONING, REQUEST, WARNING, FINAL_RESPONSE))
CONTEXT_TYPES: Final = frozenset(
    (
        "SYSTEM_MESSAGE",
        "USER_MESSAGE",
        "ASSISTANT_MESSAGE",
        "TOOL_CALL",
        "TOOL_RESULT",
        CONTEXT_REWOUND,
        "CONTEXT_REPLACED",
        CONTEXT_FORKED,
        CHECKPOINT_SAVED,
        CHECKPOINT_WRITES,
        CHECKPOINTS_DELETED,
        "MESSAGE_REDACTED",
        "STATE_CHANGED",
    )
)

EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})


def mapping_of(value: Any) -> Mapping[str, Any]:
    """Return a part of some details that is an object; of anything else an empty one."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else EMPTY


# The namespace of every id derived here: uuid5(NAMESPACE_URL, "urn:otel-agent-journal")
_NAMESPACE: Final = bytes.fromhex("f76a8d2d4d245fe1b67c8f2ebbd57e92")
_SHA1_OF_NAMESPACE: Final = sha1(_NAMESPACE, usedforsecurity=False)
_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}  # the uuid's two fixed bits


class ErrorInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why an attempt failed: the exception's type and message, and the service's own code where it gave one."""

    type: str
    message: str = ""
    code: str | None = None


class Usage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens of one model call. `input_tokens` includes those read from and written to a cache."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0


class JournalEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable fact of a session.

    `timestamp_ns` is UTC since the epoch: of a START the span's start, of an ending the span's end. `step_id`,
    `attempt` and the span ids are set on step events, `instance_id` and `seq` on context events only.
    """

    session_id: str
    event_id: str
    type: str
    timestamp_ns: int
    level: str = "INFO"
    name: str | None = None
    writer: str | None = None
    instance_id: str | None = None
    seq: int | None = None
    step_id: str | None = None
    parent_step_id: str | None = None
    attempt: int | None = None
    trace_id: str | None = None
    span_id: str | None = None
    outcome: str | None = None
    duration_ns: int | None = None
    error: ErrorInfo | None = None
    usage: Usage | None = None
    details: Mapping[str, Any] = EMPTY
    digest: str | None = None
    schema_version: int = SCHEMA_VERSION

    @property
    def key(self) -> tuple[str, int, str]:
        """What makes two events the same: session, time and id. Also the order inside a session."""
        return (self.session_id, self.timestamp_ns, self.event_id)


def derived_id(name: str) -> str:
    """Return uuid5 of `name` in the journal's namespace, as 32 hex digits."""
    state = _SHA1_OF_NAMESPACE.copy()
    state.update(name.encode("utf-8", "surrogatepass"))
    digits = state.hexdigest()
    return f"{digits[:12]}5{digits[13:16]}{_VARIANT[digits[16]]}{digits[17:32]}"


def step_of_span(trace_id: str, span_id: str) -> str:
    """Return what a step names as its parent of which the span alone is known, until that span's own step is.

    A step's id takes its start, too, and OTLP brings children before their parents: readers of a tree resolve it.
    """
    return derived_id(f"{trace_id}:{span_id}")


def step_event_id(step_id: str, attempt: int, start_ns: int, phase: str, index: int = 0) -> str:
    """Return the id of an event of a step: the same through every door, another for each attempt in any process.

    `phase` is START, END, or the type of an event within the step, which `index` counts. `start_ns` tells the
    first attempt of one process from the first attempt of the next (docs/adr/0001).
    """
    return derived_id(f"{step_id}:{attempt}:{start_ns}:{phase}:{index}")


def time_ordered_id(now_ns: int, random_bytes: bytes) -> str:
    """Return a uuid7 as 32 hex digits. `random_bytes`: 10 bytes."""
    head = (now_ns // 1_000_000) & 0xFFFFFFFFFFFF
    tail = int.from_bytes(random_bytes[:10], "big")
    rand_a = (tail >> 68) & 0xFFF
    rand_b = tail & 0x3FFFFFFFFFFFFFFF
    return f"{(head << 80) | (0x7 << 76) | (rand_a << 64) | (0b10 << 62) | rand_b:032x}"


def is_context(event_type: str) -> bool:
    """Tell whether events of this type belong to an agent instance's sequence."""
    return event_type in CONTEXT_TYPES


def kind_of(event_type: str) -> str | None:
    """Return AGENT, NODE, MODEL, TOOL, RETRIEVAL or STEP for a step's START or ending, else None."""
    return _KIND_OF_TYPE.get(event_type)
