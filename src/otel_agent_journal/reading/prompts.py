"""A model call's exact request: what the model saw, was offered and was called with, rebuilt from the journal.

Of a step of our own frameworks it is told on its START, by what is new and by references; of a span of others on its
ending, as far as their dialect carries it; of a step by hand it is what was given. What is not in the journal makes a
request incomplete, and it says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

import msgspec

from otel_agent_journal.event import REQUEST as REQUEST_TOLD
from otel_agent_journal.event import JournalEvent, mapping_of
from otel_agent_journal.mapping import genai
from otel_agent_journal.projections.prompt import asks_for_tools, messages_in, system_message, tools_in
from otel_agent_journal.projections.request import DEFINED, REQUEST, RequestFold, digest_and_name
from otel_agent_journal.projections.steps import Attempt, Step
from otel_agent_journal.reading.blobs import refers_to_blob
from otel_agent_journal.reading.references import Referred, is_reference

_PARAMETERS: Final = "gen_ai.request."
_NO_PARAMETERS: Final = frozenset((genai.REQUEST_MODEL,))

Events = Callable[[], Iterable[JournalEvent]]
Resolved = Callable[[str, Any], Any]


def prompt_of(events: Events, session_id: str, step: Step, resolved: Resolved) -> dict[str, Any] | None:
    """Return the request of a model call's last attempt; None for a step of another kind.

    Args:
        events: gives the session's, in order, each time anew.
        session_id: of the session.
        step: with the details of its attempts.
        resolved: replaces blob references, given a session and a value.

    Raises:
        StoreUnreachable: and other errors of the store.
    """
    if step.kind != "MODEL":
        return None
    attempt = step.last
    last_word = next((note for note in reversed(attempt.notes) if note.type == REQUEST_TOLD), None)
    if last_word is not None:
        attempt = msgspec.structs.replace(attempt, details_start={**attempt.details_start, **last_word.details})
    request = attempt.details_start.get(REQUEST)
    if isinstance(request, Mapping):
        found = _told(events, cast("Mapping[str, Any]", request), attempt, session_id, resolved)
    else:
        found = _given(attempt, session_id, resolved)
    return {
        "session_id": session_id,
        "step_id": step.step_id,
        "model": found.model,
        "messages": found.messages,
        "tools": found.tools,
        "params": found.params,
        **({"trimmed": list(found.trimmed)} if found.trimmed else {}),
        "complete": not found.why,
        **({"why": "; ".join(found.why)} if found.why else {}),
    }


class _Found(NamedTuple):
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    params: dict[str, Any]
    model: str
    why: list[str]  # it is not complete
    trimmed: Sequence[dict[str, int]] = ()  # before which message how many of earlier requests are not in it


def _told(events: Events, request: Mapping[str, Any], attempt: Attempt, session_id: str, resolved: Resolved) -> _Found:
    """Return a request that its START tells by what is new and by references."""
    fold = RequestFold(attempt.details_start)
    for event in events():
        fold.apply(event)
    why: list[str] = []
    messages, trimmed = _messages_told(fold, events, request, attempt, session_id, resolved, why)
    defined: dict[str, Any] = {}
    for name in DEFINED:
        home, value = fold.defined.get(name, (session_id, None))
        defined[name] = None if value is None else resolved(home, value)
        if name in request and (value is None or refers_to_blob(defined[name])):
            why.append(f"its {name} are not in the journal")
            defined[name] = None
    params = dict(mapping_of(defined["params"]))
    model = str(request.get("model") or attempt.name)
    return _Found(messages, tools_in(defined["tools"]), params, model, why, trimmed)


def _messages_told(
    fold: RequestFold,
    events: Events,
    request: Mapping[str, Any],
    attempt: Attempt,
    session_id: str,
    resolved: Resolved,
    why: list[str],
) -> tuple[list[dict[str, Any]], list[dict[str, int]]]:
    shown: Any = request.get("messages")
    if not isinstance(shown, Mapping):
        found = messages_in(resolved(session_id, attempt.details_start.get("input")))
        if not found:
            why.append("its messages are not in the journal")
        return found, []
    told = cast("Mapping[str, Any]", shown)
    keys = fold.keys()
    if keys is None:
        count = told.get("count")
        why.append(
            "a request that it is told by is not in the journal"
            if "parts" in told
            else f"of its {count} messages the journal has a digest alone"
        )
        return [], []
    wanted = {digest_and_name(key)[0] for key in keys}
    known = Referred(events(), wanted, resolved).by(wanted, None)
    messages: list[dict[str, Any]] = []
    gone, trimmed = fold.trimmed(), list[dict[str, int]]()
    lost = 0
    for at, key in enumerate([*keys, ""]):
        if at in gone:
            trimmed.append({"before": len(messages), "messages": gone[at]})
        if at == len(keys):
            break
        digest, name = digest_and_name(key)
        message = known.get(digest)
        if message is None:
            lost += 1
            continue
        own = {part: value for part, value in message.items() if part != "name"}
        messages += messages_in([own if name is None else {**own, "name": name}])
    if lost:
        why.append(f"{lost} of its {len(keys)} messages {'is' if lost == 1 else 'are'} not in the journal")
    return messages, trimmed


def _given(attempt: Attempt, session_id: str, resolved: Resolved) -> _Found:
    """Return a request that stands in a step's details as it was given."""
    details: Mapping[str, Any] = resolved(session_id, {**attempt.details_start, **attempt.details_end})
    why: list[str] = []
    given: Any = details.get("messages", details.get("input"))
    messages = messages_in(given)
    if not messages:
        why.append("its messages are not in the journal")
    listed = cast("list[Any]", given) if isinstance(given, list) else [given]
    if any(is_reference(one) or refers_to_blob(one) for one in listed):
        why.append("some of its messages are not in the journal")
    if details.get("system_instructions") and not any(message["role"] == "system" for message in messages):
        messages.insert(0, system_message(details["system_instructions"]))
    offered = tools_in(details.get("tool_definitions", details.get("tools")))
    if not offered and asks_for_tools([*messages, *messages_in(details.get("output"), "assistant")]):
        why.append("which tools it was offered was not told")
    attributes = {
        **mapping_of(attempt.details_start.get("attributes")),
        **mapping_of(attempt.details_end.get("attributes")),
    }
    params = {
        key.removeprefix(_PARAMETERS): value
        for key, value in attributes.items()
        if key.startswith(_PARAMETERS) and key not in _NO_PARAMETERS
    }
    params.update(mapping_of(mapping_of(details.get("metadata")).get("llm.invocation_parameters")))
    params.update(mapping_of(details.get("params")))
    return _Found(messages, offered, params, str(attributes.get(genai.REQUEST_MODEL) or attempt.name), why)
