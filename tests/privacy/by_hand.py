"""A hand-written agent that puts a secret into every argument of the API, and onto its steps' spans."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from opentelemetry import baggage, context, trace
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, StatusCode, TraceFlags, TraceState

from otel_agent_journal import invocation, record_event, session, step
from tests.privacy.places import BESIDE, CONTENT, DEPLOYED, NAME, NOWHERE, RUN, WHO, Kind, Scenario

PLACES: dict[str, Kind] = {
    # what the API is given
    "session id": NAME,
    "agent": NAME,
    "session input": CONTENT,
    "user": WHO,
    "tenant": WHO,
    "tag": WHO,
    "metadata value": CONTENT,
    "metadata name": CONTENT,
    "record type": NAME,
    "record value": CONTENT,
    "record name": CONTENT,
    "record reason": CONTENT,
    "record place": CONTENT,
    "stage": NAME,
    "response": CONTENT,
    "step name": NAME,
    "step input": CONTENT,
    "step attribute": CONTENT,
    "step attribute of a known name": NAME,
    "step attribute name": CONTENT,
    "step attribute with a number": CONTENT,
    "progress": CONTENT,
    "progress detail": CONTENT,
    "progress detail name": CONTENT,
    "progress code": CONTENT,
    "warning": CONTENT,
    "warning operation": CONTENT,
    "reasoning": CONTENT,
    "chunk": CONTENT,
    "output": CONTENT,
    "output name": CONTENT,
    "source": CONTENT,
    "message id": CONTENT,
    "ending attribute": CONTENT,
    "usage of an unknown name": NOWHERE,
    "bytes": CONTENT,
    "large value": CONTENT,
    "failure": CONTENT,
    "failure detail": CONTENT,
    "failure reason": CONTENT,
    # exceptions
    "message": CONTENT,
    "cause": CONTENT,
    "note": CONTENT,
    "part of a group": CONTENT,
    "line of source": CONTENT,
    "local variable": NOWHERE,
    "argument of an exception": CONTENT,
    "cancel message": CONTENT,
    "type of an exception": NAME,
    # OpenTelemetry's own calls within a step
    "span attribute": RUN,
    "span attribute name": RUN,
    "span event": RUN,
    "span event attribute": RUN,
    "span event exception": RUN,
    "span status": RUN,
    "link attribute": BESIDE,
    "span of a program": BESIDE,
    "attribute of a program's span": BESIDE,
    "event of a program's span": BESIDE,
    "status of a program's span": BESIDE,
    "link of a program's span": BESIDE,
    "url of a client": BESIDE,
    "header of a client": BESIDE,
    "statement": BESIDE,
    "trace state": RUN,
    "baggage": NOWHERE,
    # another library's span of a model call
    "foreign prompt": RUN,
    "foreign answer": RUN,
    "foreign attribute": RUN,
    "foreign message of an event": RUN,
    "foreign error": RUN,
    # calls of agents
    "invocation input": CONTENT,
    "invocation agent": NAME,
    "invocation output": CONTENT,
    "invocation failure": CONTENT,
    "event by name": CONTENT,
    "event by name, reason": CONTENT,
    "event by name, error": CONTENT,
    # the process
    "argument of the process": CONTENT,
    "resource attribute": DEPLOYED,
    "environment variable": NOWHERE,
}


def program(say: Callable[[str], str]) -> None:
    """Say all of it."""
    with _arguments("agent.py", "--notes", f"/{say('argument of the process')}"):
        _session(say)
    for fail in (_cause, _group, _source, _own_type):
        with contextlib.suppress(BaseException), session("failures"), step("tool", "fails"):
            fail(say)
    with contextlib.suppress(asyncio.CancelledError), session("cancelled"), step("tool", "cancelled"):
        raise asyncio.CancelledError(say("cancel message"))
    _on_spans(say)
    _foreign(say)
    _calls(say)


def _session(say: Callable[[str], str]) -> None:
    about = {"user": say("user"), "tenant": say("tenant"), "tags": [say("tag")]}
    about |= {"note": say("metadata value"), say("metadata name"): 1}
    with session(say("session id"), agent=say("agent"), input=say("session input"), attributes=about) as s:
        told = {"deep": [say("record value")], say("record name"): 1, "reason": say("record reason")}
        s.record(say("record type").upper(), {**told, "place": {"path": say("record place")}})
        s.stage(say("stage"), progress=10)
        attributes = {"app.note": say("step attribute"), say("step attribute name"): 7, "gen_ai.tool.name": "t"}
        attributes |= {"gen_ai.tool.call.id": say("step attribute of a known name")}
        attributes |= {f"app.{say('step attribute with a number')}": 7}
        with s.step("tool", say("step name"), input={"q": say("step input")}, attributes=attributes) as one:
            details: dict[str, Any] = {"file": say("progress detail"), say("progress detail name"): 1}
            one.progress(say("progress"), **details, code=say("progress code"))
            one.warning(say("warning"), operation=say("warning operation"), attempt=2)
            one.reasoning(say("reasoning"))
            one.chunk(say("chunk"))
            output = {"deep": say("output"), say("output name"): 1, "picture": say("bytes").encode()}
            one.complete(
                [output, say("large value") + "x" * 70_000],
                sources=[f"https://example.org/?q={say('source')}"],
                message_id=say("message id"),
                usage={"input_tokens": 3, say("usage of an unknown name"): 4},
                attributes={"app.end": say("ending attribute")},
            )
        with s.step("tool", "said to fail") as one:
            one.fail(say("failure"), why=say("failure detail"), reason=say("failure reason"))
        s.respond(say("response"))


class _Broken(Exception):
    """Has what it was made with in its message and its arguments."""


def _cause(say: Callable[[str], str]) -> None:
    hidden = say("local variable")
    try:
        raise KeyError(say("cause"))
    except KeyError as error:
        broken = _Broken(say("message"), {"deep": say("argument of an exception")})
        broken.add_note(say("note"))
        assert hidden
        raise broken from error


def _group(say: Callable[[str], str]) -> None:
    raise ExceptionGroup("several", [ValueError(say("part of a group"))])


def _source(say: Callable[[str], str]) -> None:
    """Raise in a line of source that has the secret in it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "raising.py"
        file.write_text(f"def go():\n    raise OSError(5, 'no')  # {say('line of source')}\n")
        spec = importlib.util.spec_from_file_location("raising", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        with step("tool", "raises"):
            module.go()


def _own_type(say: Callable[[str], str]) -> None:
    raise type(say("type of an exception"), (Exception,), {})("no")


def _on_spans(say: Callable[[str], str]) -> None:
    """Say it by OpenTelemetry's own calls."""
    other = SpanContext(1, 2, is_remote=True)
    with session("spans"), step("tool", "on its span") as one:
        span = trace.get_current_span()
        span.set_attribute("app.note", say("span attribute"))
        span.set_attribute(say("span attribute name"), 7)
        span.add_event(say("span event"), {"note": say("span event attribute")})
        span.record_exception(ValueError(say("span event exception")))
        span.add_link(other, {"why": say("link attribute")})
        span.set_status(StatusCode.ERROR, say("span status"))
        one.complete()
    token = context.attach(baggage.set_baggage("note", say("baggage")))
    with session("clients"), step("tool", "asks") as one:
        tracer = trace.get_tracer("a.client")
        links = [Link(other, {"why": say("link of a program's span")})]
        with tracer.start_as_current_span("GET", links=links) as span:
            span.set_attribute("url.full", f"https://example.org/?token={say('url of a client')}")
            span.set_attribute("http.request.header.authorization", [say("header of a client")])
            span.set_attribute("db.query.text", f"SELECT '{say('statement')}'")
            span.set_attribute("note", say("attribute of a program's span"))
            span.set_attribute(say("span of a program"), 7)
            span.add_event("exception", {"exception.message": say("event of a program's span")})
            span.set_status(StatusCode.ERROR, say("status of a program's span"))
        one.complete()
    context.detach(token)


def _foreign(say: Callable[[str], str]) -> None:
    """Say it on a span of another library's, for a model call."""
    told = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.conversation.id": "foreign"}
    tracer = trace.get_tracer("another.library")
    state = TraceState([("vendor", say("trace state"))])
    caller = SpanContext(3, 4, is_remote=True, trace_flags=TraceFlags(1), trace_state=state)
    within = trace.set_span_in_context(NonRecordingSpan(caller))
    with contextlib.suppress(ValueError), tracer.start_as_current_span("chat m", within, attributes=told) as span:
        span.set_attribute("gen_ai.system_instructions", say("foreign prompt"))
        span.set_attribute("gen_ai.completion.0.content", say("foreign answer"))
        span.set_attribute("theirs", say("foreign attribute"))
        span.add_event("gen_ai.user.message", {"content": say("foreign message of an event")})
        raise ValueError(say("foreign error"))


def _calls(say: Callable[[str], str]) -> None:
    with invocation("calls", agent=say("invocation agent"), input=say("invocation input")) as call:
        call.succeed(say("invocation output"))
    with invocation("calls") as call:
        call.fail(say("invocation failure"))
    details = {"what": say("event by name"), "reason": say("event by name, reason")}
    record_event("calls", "CALL_FAILED", say("event by name, error"), **details)


@contextlib.contextmanager
def _arguments(*given: str) -> Iterator[None]:
    """Be a process that was started with these."""
    before, sys.argv = sys.argv, list(given)
    try:
        yield
    finally:
        sys.argv = before


def environ(say: Callable[[str], str]) -> dict[str, str]:
    """Return what the process is started with."""
    return {
        "OTEL_RESOURCE_ATTRIBUTES": f"team={say('resource attribute')}",
        "MY_SETTING": say("environment variable"),
    }


BY_HAND = Scenario(program, PLACES, environ=environ)
# Every span is a step then, also those of clients; what a light span drops is still nowhere.
EVERY_SPAN = Scenario(
    program,
    {place: RUN if kind is BESIDE and place != "link attribute" else kind for place, kind in PLACES.items()},
    environ=lambda say: {**environ(say), "AGENT_JOURNAL_SPANS": "all"},
)
