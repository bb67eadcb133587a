"""What an invocation's events say of it: its session, whose it is, what it was asked and what it answered."""

from __future__ import annotations

from typing import Any, Final, cast

from otel_agent_journal.foreign import is_a, own
from otel_agent_journal.frameworks.strands.contexts import Call
from otel_agent_journal.frameworks.strands.messages import said_in
from otel_agent_journal.mapping.converse import plain_messages
from otel_agent_journal.mapping.genai import CONVERSATION_ID
from otel_agent_journal.pipeline.recorder import Recorder, recorder_of
from otel_agent_journal.pipeline.step import Step
from otel_agent_journal.pipeline.who import said_of_run

_NOT_SAID: Final = frozenset((CONVERSATION_ID, "session.id"))  # of trace attributes: the session is told elsewhere


def session_id_of(owner: Any) -> str | None:
    """Return the framework's own session id: the session manager's, that of the agent's attributes, or the agent's."""
    manager = getattr(owner, "_session_manager", None) or getattr(owner, "session_manager", None)
    known = getattr(manager, "session_id", None)
    if known:
        return str(known)
    for given in ("trace_attributes", "baggage_attributes"):
        said: Any = getattr(owner, given, None) or {}
        for key in (CONVERSATION_ID, "session.id"):
            if said.get(key):
                return str(said[key])
    own = getattr(owner, "session_id", None)
    return str(own) if own else None


def said_of(recorder: Recorder, owner: Any) -> dict[str, Any]:
    """Return whose a run is, as the `trace_attributes` of an agent, graph or swarm say."""
    said: Any = own(owner, "trace_attributes")
    if not recorder.content or type(said) is not dict or not said:
        return {}
    others = {name: value for name, value in cast("dict[str, Any]", said).items() if name not in _NOT_SAID}
    tags: Any = others.get("tags")
    return said_of_run(others, cast("list[Any]", tags) if isinstance(tags, list | tuple) else ())


def asked_by(call: Call | None) -> Any:
    """Return what a call that Strands' hooks say nothing of is asked."""
    if call is None or not call.span or not is_a(call.prompt, str):
        return None
    return [{"role": "user", "content": [{"text": call.prompt}]}]


def output_of(step: Step, result: Any) -> dict[str, Any]:
    """Return the details of an invocation's ending: what the agent answered."""
    if not recorder_of(step).content:
        return {}
    given: Any = getattr(result, "structured_output", None)
    message: Any = getattr(result, "message", None)
    if given is not None or message is None:
        return {"output": result if given is None else given}
    return {"output": said_in(message)}


def input_of(recorder: Recorder, messages: Any) -> dict[str, Any]:
    if not recorder.content or not messages:
        return {}
    said = [one for message in messages for one in plain_messages(message)]
    return {"input": said[0]["content"] if len(said) == 1 and said[0]["role"] == "user" else said}
