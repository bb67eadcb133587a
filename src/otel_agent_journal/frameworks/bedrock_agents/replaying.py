"""Calls of Bedrock in a process that is replayed: models, agents and flows answer from the recording, no other.

The one method of botocore that sends a request gives what was recorded. All around it is botocore's: it checks what
it is given, tells its hooks, makes errors of what the service said, and its stream is an `EventStream`.
"""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from io import BytesIO
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, cast

from otel_agent_journal.frameworks.bedrock_agents.kept import DIED, LEFT, events_in
from otel_agent_journal.frameworks.bedrock_agents.kept_models import body_again, given_again
from otel_agent_journal.frameworks.bedrock_agents.shapes import mapping
from otel_agent_journal.pipeline.current import get_recorder
from otel_agent_journal.pipeline.step import Step, current_step
from otel_agent_journal.projections.steps import Attempt
from otel_agent_journal.replays.current import replaying
from otel_agent_journal.replays.replaying import Replay
from otel_agent_journal.replays.rules import MODELS, TOOLS
from otel_agent_journal.replays.words import REMOTE

FENCED: Final = {"bedrock-runtime": MODELS, "bedrock-agent-runtime": TOOLS}
"""Services whose calls never go out unasked, and what `live` names where the program makes those that are no steps."""

_OK: Final = 200
_REFUSED: Final = 400

_asking: ContextVar[Step | None] = ContextVar("agent_journal_asking", default=None)


@contextmanager
def asking(step: Step | None) -> Generator[None]:
    """Have the request that is sent in the block be the call that a step is of."""
    token = _asking.set(step)
    try:
        yield
    finally:
        _asking.reset(token)


def answer_of(operation: Any) -> tuple[Any, dict[str, Any]] | None:
    """Return what stands for an answer of the service: of HTTP, and parsed; None where the request is sent.

    Args:
        operation: botocore's model of it.

    Raises:
        Diverged: the recording does not have the call.
        Exception: what the call raised, where the service had not answered.
    """
    replay, service = replaying(), operation.service_model.service_name
    if replay is None or service not in FENCED:
        return None
    step = _asking.get()
    if step is None:
        if FENCED[service] not in replay.rules.live and not replay.is_called_within(current_step()):
            raise _refused(replay, f"{service}.{operation.name}")
        return None
    attempt = replay.serve(step)
    return None if attempt is None else _recorded(replay, step, attempt, operation)


def _refused(replay: Replay, what: str) -> Exception:
    """Return the error of a call that cannot be served: a step of its own, which the recording does not have."""
    error = replay.refused(what, "the program calls Bedrock in a way that no recording is served to")
    recorder = get_recorder()
    if recorder is not None:
        recorder.start_step("STEP", what, details={REMOTE: True}).end("error", error=error)
    return error


def _recorded(replay: Replay, step: Step, attempt: Attempt, operation: Any) -> tuple[Any, dict[str, Any]]:
    output, found = replay.recording.output(attempt)
    raw = mapping(found)
    if "response" not in raw:
        if "error" not in raw:
            raise replay.error(attempt)
        return _http(raw["error"], _REFUSED), dict(raw["error"])
    told = dict(raw["response"])
    body = told.pop("body", None) if operation.has_streaming_output else None
    parsed = restored(told, operation.output_shape)
    if operation.has_streaming_output:
        parsed["body"] = _body(None if body is None else body_again(body), replay, attempt)
    shape = operation.get_event_stream_output()
    if shape is not None:
        kept = given_again(raw, events_in(raw, output)) if step.kind == "MODEL" else events_in(raw, output)
        events = [restored(one, shape) for one in kept]
        member = operation.output_shape.event_stream_name
        parsed[member] = _stream(operation, shape, _Parts(replay, step, attempt, raw, events))
    return _http(parsed, _OK), parsed


def _http(parsed: Mapping[str, Any], status: int) -> Any:
    told = mapping(parsed.get("ResponseMetadata"))
    known: Any = told.get("HTTPStatusCode") or status
    return SimpleNamespace(status_code=known, headers=dict(mapping(told.get("HTTPHeaders"))), content=b"", raw=None)


def restored(value: Any, shape: Any) -> Any:
    """Return plain data as botocore has it: bytes and times by the service's model."""
    if shape is None or getattr(shape, "is_document_type", False):
        return value
    kind = shape.type_name
    if kind == "structure" and isinstance(value, Mapping):
        members = shape.members
        pairs = cast("Mapping[str, Any]", value).items()
        return {name: restored(one, members.get(name)) for name, one in pairs}
    if kind == "map" and isinstance(value, Mapping):
        return {name: restored(one, shape.value) for name, one in cast("Mapping[str, Any]", value).items()}
    if kind == "list" and isinstance(value, list):
        return [restored(one, shape.member) for one in cast("list[Any]", value)]
    if kind == "blob" and isinstance(value, str):
        return a2b_base64(value)
    if kind == "timestamp" and isinstance(value, str):
        return datetime.fromisoformat(value)
    return value


# --- streams -------------------------------------------------------------------------------------------------------


class _Part(NamedTuple):
    """A part of a stream, as botocore's parser is given one."""

    parsed: dict[str, Any]
    status: int = _OK

    @property
    def headers(self) -> dict[str, Any]:
        return {":event-type": next(iter(self.parsed), "")}

    def to_response_dict(self) -> dict[str, Any]:
        return {"status_code": self.status, "parsed": self.parsed}


class _Parser:
    """Stands for botocore's parser: what is recorded is parsed."""

    def parse(self, response: Mapping[str, Any], _: Any) -> Any:
        return response["parsed"]


class _Parts:
    """Stands for the connection of a stream, and gives its parts."""

    def __init__(
        self, replay: Replay, step: Step, attempt: Attempt, raw: Mapping[str, Any], events: list[dict[str, Any]]
    ) -> None:
        self._replay = replay
        self._step = step
        self._attempt = attempt
        self._raw = raw
        self._events = events
        self._closed = False

    def close(self) -> None:
        self._closed = True

    def stream(self, *_: Any) -> Iterator[bytes]:
        return iter(())

    def parts(self) -> Iterator[_Part]:
        for event in self._events:
            if self._closed:
                return
            yield _Part(event)
        ends = self._raw.get("ends")
        if self._closed or ends not in (LEFT, DIED):
            return
        if ends == LEFT:
            raise self._replay.read_on(f"{self._step.kind.lower()} {self._step.name}")
        if "error" not in self._raw:
            raise self._replay.error(self._attempt)
        yield _Part(dict(self._raw["error"]), _REFUSED)


class Broken:
    """Stands for what a body is read from, where that broke."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def read(self, *_: Any) -> bytes:
        raise self._error

    readinto = readline = stream = read

    def close(self) -> None:
        """Nothing is open."""


def body_of(source: Any, length: int | None) -> Any:
    """Return a body as botocore gives one.

    Args:
        source: what it is read from.
        length: how many bytes there are to be; None: nobody knows.
    """
    from botocore.response import StreamingBody

    return StreamingBody(source, length)


def _body(data: bytes | None, replay: Replay, attempt: Attempt) -> Any:
    """Return a body that is read as the recorded one: None is one that broke."""
    return body_of(Broken(replay.error(attempt)), None) if data is None else body_of(BytesIO(data), len(data))


def _stream(operation: Any, shape: Any, parts: _Parts) -> Any:
    from botocore.eventstream import EventStream

    stream: Any = EventStream(parts, shape, _Parser(), operation.name)
    stream._event_generator = parts.parts()  # noqa: SLF001 - what its own constructor makes of a connection
    return stream
