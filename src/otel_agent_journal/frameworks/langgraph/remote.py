"""Graphs that run on another server: a step for each call of a RemoteGraph, around the stream that it reads.

LangGraph tells its handlers nothing of them. Every way to run one but that of its third version of events goes through
`stream` or `astream`. What becomes current for the other server's sake is current only while the stream is read.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, cast

from opentelemetry import context as context_api

from otel_agent_journal.foreign import class_name, own, type_of
from otel_agent_journal.frameworks.langgraph.messages import plain_update
from otel_agent_journal.frameworks.langgraph.outcomes import outcome_of
from otel_agent_journal.mapping.genai import SERVER_ADDRESS, SERVER_PORT
from otel_agent_journal.pipeline.current import get_recorder
from otel_agent_journal.pipeline.recorder import Recorder, recorder_of
from otel_agent_journal.pipeline.step import Step
from otel_agent_journal.plain import text_of

_INTERRUPT: Final = "__interrupt__"
_OVER: Final = object()  # in the place of a part, where there is no more
_URLS: Final = ("httpx.URL", "httpx._urls.URL")


class RemoteCall:
    """One call of a remote graph while it runs."""

    __slots__ = ("interrupts", "last", "step")

    def __init__(self, step: Step) -> None:
        self.step = step
        self.last: Any = None
        self.interrupts: Any = None

    def take(self, part: Any) -> None:
        """Keep what came last, and what the graph asks."""
        value = _value(part)
        told = cast("dict[str, Any]", value) if type(value) is dict else {}
        asked: Any = told.get(_INTERRUPT)
        if not asked and part is not value and type(part) is dict:
            asked = cast("dict[str, Any]", part).get("interrupts")
        if asked:
            self.interrupts = asked
        if told.keys() != {_INTERRUPT}:
            self.last = value

    def end(self, error: BaseException | None = None) -> None:
        """End the step with what came last, or by what ended it."""
        outcome = "ok" if error is None else outcome_of(error)
        if self.interrupts is not None and (outcome == "ok" or isinstance(error, GeneratorExit)):
            outcome = "interrupted"
        details: dict[str, Any] = {}
        if recorder_of(self.step).content:
            if outcome == "interrupted":
                asked: Any = self.interrupts if error is None or not error.args else error.args[0]
                details["interrupts"] = [_question(one) for one in asked or ()]
            elif self.last is not None:
                details["output"] = plain_update(self.last, recorder_of(self.step).histories.of(self.step.session_id))
        self.step.end(outcome, error=error if outcome in ("error", "cancelled") else None, details=details)


def patched_stream(original: Any, enabled: Callable[[], bool]) -> Any:
    """Return what takes the place of `RemoteGraph.stream`."""

    @functools.wraps(original)
    def stream(graph: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        call = _begun(graph, args, kwargs) if enabled() else None
        parts = original(graph, *args, **kwargs)
        if call is None:
            yield from parts
            return
        try:
            while True:
                with _within(call):
                    part = next(parts, _OVER)
                if part is _OVER:
                    break
                _told(call, call.take, part)
                yield part
        except BaseException as error:
            try:
                parts.close()
            finally:
                _told(call, call.end, error)
            raise
        _told(call, call.end)

    return stream


def patched_astream(original: Any, enabled: Callable[[], bool]) -> Any:
    """Return what takes the place of `RemoteGraph.astream`."""

    @functools.wraps(original)
    async def astream(graph: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        call = _begun(graph, args, kwargs) if enabled() else None
        parts = original(graph, *args, **kwargs)
        if call is None:
            async for part in parts:
                yield part
            return
        try:
            while True:
                with _within(call):
                    part = await anext(parts, _OVER)
                if part is _OVER:
                    break
                _told(call, call.take, part)
                yield part
        except BaseException as error:
            try:
                await parts.aclose()
            finally:
                _told(call, call.end, error)
            raise
        _told(call, call.end)

    return astream


@contextmanager
def _within(call: RemoteCall) -> Generator[None]:
    """Have the step current, for what is sent to the other server on the way; not while the consumer has a part."""
    around = context_api.get_current()
    context_api.attach(call.step.context(around))
    try:
        yield
    finally:
        context_api.attach(around)


def _begun(graph: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> RemoteCall | None:
    recorder = get_recorder()
    if recorder is None:
        return None
    try:
        given = args[0] if args else kwargs.get("input")
        config = args[1] if len(args) > 1 else kwargs.get("config")
        thread = _thread(config) or _thread(own(graph, "config"))
        step = recorder.start_step(
            "AGENT",
            text_of(own(graph, "name") or own(graph, "assistant_id")),
            session_id=None if thread is None else text_of(thread),
            attributes=_server(graph),
            details=_input(recorder, given),
        )
        return RemoteCall(step)
    except Exception:  # noqa: BLE001 - the one boundary: the agent must not feel it
        recorder.failed("a call of a remote graph could not be journaled")
        return None


def _told(call: RemoteCall, tell: Callable[..., None], *said: Any) -> None:
    try:
        tell(*said)
    except Exception:  # noqa: BLE001 - the one boundary
        recorder_of(call.step).failed("a call of a remote graph could not be journaled")
        if tell == call.end:
            call.step.end("error" if said else "ok")


def _input(recorder: Recorder, given: Any) -> dict[str, Any]:
    if not recorder.content or given is None:
        return {}
    return {"input": plain_update(given, recorder.histories.of(None))}


def _thread(config: Any) -> Any:
    found: Any = cast("Mapping[str, Any]", config).get("configurable") if type(config) is dict else None
    return found.get("thread_id") if found else None


def _server(graph: Any) -> dict[str, Any]:
    """Return where the graph runs, as far as LangGraph's own clients say."""
    url: Any = graph
    for name in ("sync_client" if own(graph, "sync_client") is not None else "client", "http", "client", "_base_url"):
        url = own(url, name)
    if class_name(type_of(url)) not in _URLS or not url.host:
        return {}
    return {SERVER_ADDRESS: url.host, **({SERVER_PORT: url.port} if url.port else {})}


def _value(part: Any) -> Any:
    """Return the state or update in a part of a stream, which modes and versions wrap. No tuple is empty."""
    if isinstance(part, tuple):  # an event of the client's, or a namespace, a mode, and what is streamed
        streamed = cast("tuple[Any, ...]", part)
        return getattr(streamed, "data", streamed[-1])
    if type(part) is dict:
        wrapped = cast("dict[str, Any]", part)
        return wrapped["data"] if {"type", "ns", "data"} <= wrapped.keys() else wrapped
    return part


def _question(asked: Any) -> dict[str, Any]:
    if type(asked) is dict:
        said = cast("Mapping[str, Any]", asked)
        return {"id": said.get("id"), "value": said.get("value")}
    return {"id": own(asked, "id"), "value": own(asked, "value")}
