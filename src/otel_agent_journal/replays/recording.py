"""A recorded session as code is run against it: its attempts by where they ran, and what each took and gave.

The whole session is in memory, as it is for `show`; values that it keeps apart are read as they are asked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

from otel_agent_journal.event import CHUNK, REASONING, JournalEvent
from otel_agent_journal.mapping.genai import TOOL_CALL_ID
from otel_agent_journal.mapping.harmless import CUT, REDACTED
from otel_agent_journal.projections.links import fork_of
from otel_agent_journal.projections.steps import Attempt, Step, StepTree, fold_steps
from otel_agent_journal.reading.answers import answer_of
from otel_agent_journal.reading.blobs import refers_to_blob
from otel_agent_journal.reading.differing import canonical
from otel_agent_journal.reading.values import mappings_in
from otel_agent_journal.replays.words import BY_HAND, PARAMETERS, READ, REMOTE, SERVABLE, is_call

_LEAST_NAME: Final = 6  # characters; a shorter id stands in words that do not mean it

Resolved = Callable[[str, Any], Any]


class Place(NamedTuple):
    """Where in its graph a node ran."""

    step: int | None
    path: str


class Recording:
    """A recorded session.

    Args:
        session_id: the session.
        events: of it and its parts.
        resolved: replaces references to values that are kept apart, given a session and a value.
        lost_writers: the processes that are held for dead.
    """

    def __init__(
        self,
        session_id: str,
        events: Iterable[JournalEvent],
        resolved: Resolved,
        *,
        lost_writers: Collection[str] = frozenset(),
    ) -> None:
        self.session_id = session_id
        self._resolved = resolved
        kept = list(events)
        made = (pair[0] for event in kept if (pair := fork_of(event)) is not None and pair[1] == session_id)
        self.forked_from: str | None = next(made, None)
        self.tree: StepTree = fold_steps(kept, lost_writers=lost_writers)
        self._steps: dict[str, Step] = {step.step_id: step for step in self.tree.steps}
        self._inputs: dict[str, bytes] = {}
        self._first_step: dict[str, int] = {}
        self._tools: defaultdict[str, list[Attempt]] | None = None
        self._parents = {one.key: above for above in self.tree.attempts for one in self.tree.beneath(above)}

    @property
    def refusal(self) -> str | None:
        """Why the session cannot be replayed at all; None where it can."""
        if self.forked_from is None:
            return None
        return (
            f"session {self.session_id} was forked from {self.forked_from}, and has only what came after that:"
            f" a program begins at its beginning; replay {self.forked_from}"
        )

    @property
    def is_in_a_session_of_others(self) -> bool:
        """Whether the program called the session something else: it was named by who ran it."""
        return any("framework_session_id" in root.details_start for root in self.roots)

    def calls_of(self, tool: str) -> Sequence[Attempt]:
        """Return the calls of a tool, in order of start."""
        if self._tools is None:
            self._tools = defaultdict(list)
            for one in sorted(self.tree.attempts, key=lambda one: one.start_ns):
                if one.kind == "TOOL":
                    self._tools[one.name].append(one)
        return self._tools.get(tool, ())

    def calls(self) -> list[Attempt]:
        """Return the calls that are served: not those within one that is served as a whole."""
        return [one for one in self.tree.attempts if self.is_call(one)]

    def is_call(self, attempt: Attempt) -> bool:
        """Tell whether an attempt is a call that is served by itself."""
        if not is_call(attempt.kind, attempt.details_start):
            return False
        above = self.parent(attempt)
        while above is not None:
            if above.details_start.get(REMOTE):
                return False
            if above.kind == "TOOL" and above.details_start.get("effects") != READ:
                return False
            if above.kind in ("MODEL", "RETRIEVAL"):
                return False
            above = self.parent(above)
        return True

    def remote_around(self, attempt: Attempt) -> Attempt | None:
        """Return the call whose answer tells of an attempt, where there is one."""
        above = self.parent(attempt)
        while above is not None and not above.details_start.get(REMOTE):
            above = self.parent(above)
        return above

    @property
    def roots(self) -> list[Attempt]:
        """The invocations, in order."""
        return sorted((one for root in self.tree.roots for one in root.attempts), key=lambda one: one.start_ns)

    def beneath(self, attempt: Attempt) -> Sequence[Attempt]:
        """Return what ran directly in an attempt, in order of start."""
        return self.tree.beneath(attempt)

    def parent(self, attempt: Attempt) -> Attempt | None:
        """Return the attempt that one ran in."""
        return self._parents.get(attempt.key)

    def step(self, attempt: Attempt) -> Step:
        """Return the step that an attempt is one of."""
        return self._steps[attempt.step_id]

    def number(self, attempt: Attempt) -> int:
        """Return the number of its step."""
        return self._steps[attempt.step_id].number

    def place(self, attempt: Attempt) -> Place | None:
        """Return where in its graph a node ran."""
        return place_of(attempt.details_start)

    def first_step(self, parent: Attempt) -> int:
        """Return LangGraph's number of the first step below an attempt: what others are counted from."""
        known = self._first_step.get(parent.key)
        if known is None:
            places = (self.place(one) for one in self.beneath(parent) if one.kind == "NODE")
            known = self._first_step[parent.key] = min(
                (at.step for at in places if at and at.step is not None), default=0
            )
        return known

    def given(self, attempt: Attempt) -> bytes:
        """Return what a step took, in a form that is the same for what is equal."""
        known = self._inputs.get(attempt.key)
        if known is None:
            value = self.resolved(asked_of(attempt.details_start))
            known = self._inputs[attempt.key] = comparable(value, (self.session_id,))
        return known

    def answer(self, attempt: Attempt) -> dict[str, Any]:
        """Return what a model answered, as `reading.answers.answer_of`."""
        return answer_of(self.session_id, self.step(attempt), self._resolved, attempt) or {}

    def output(self, attempt: Attempt) -> tuple[Any, Any]:
        """Return what a step gave: the output, and what the framework's own form holds more."""
        end = attempt.details_end
        return self.resolved(end.get("output")), self.resolved(end.get("raw"))

    def resolved(self, value: Any) -> Any:
        """Return a value whole."""
        return self._resolved(self.session_id, value)

    def chunks(self, attempt: Attempt) -> list[tuple[str, str]]:
        """Return what was streamed: CHUNK or REASONING, and the text."""
        return [
            (note.type, str(note.details.get("text", "")))
            for note in attempt.notes
            if note.type in (CHUNK, REASONING) and note.details.get("text")
        ]

    def why_not(self, attempt: Attempt) -> str | None:
        """Return why what an attempt gave cannot be served; None where it can."""
        start, end = attempt.details_start, attempt.details_end
        if "scope" in start or "span_name" in start:
            return "it was recorded through a span of another library, which nothing can be served through"
        if start.get(BY_HAND) and not end.get(SERVABLE) and attempt.outcome is not None:
            return "the program makes this call by itself; have it do so in step.served(...)"
        if attempt.outcome is None or (attempt.outcome == "interrupted" and not end.get("interrupts")):
            return "it was running when the recording ended"
        if start.get(REMOTE) and "raw" in end:
            return self._lacking(end)
        if attempt.outcome == "cancelled":
            return "it was cancelled"
        if start.get(REMOTE):
            return "what it answered is not in the journal: content is off, or it was too much to be kept"
        if attempt.outcome == "error":
            return None if attempt.error is not None else "it failed, and the journal does not say by what"
        if attempt.outcome == "ok" and attempt.kind == "MODEL" and "output" not in end:
            return "what it answered is not in the journal: content is off"
        return self._lacking(end)

    def _lacking(self, end: Mapping[str, Any]) -> str | None:
        for name in ("output", "raw"):
            if name in (end.get(REDACTED) or ()):
                return f"a redactor has changed its {name}"
            if name in (end.get(CUT) or ()):
                return f"of its {name} a part alone is in the journal"
        found = {name: self.resolved(end[name]) for name in ("output", "raw") if name in end}
        if any(map(refers_to_blob, mappings_in(found, lambda mapping: not refers_to_blob(mapping)))):
            return "a value of it is kept apart, and is not there"
        return None


def asked_of(details: Mapping[str, Any]) -> Any:
    """Return what a step takes: its input; of a call that is remote all that it is asked."""
    if not details.get(REMOTE):
        return details.get("input")
    return [details.get("input"), details.get(PARAMETERS)]


def place_of(details: Mapping[str, Any]) -> Place | None:
    """Return where a node's START says that it is; None for what is none, or does not say."""
    place: Any = details.get("place")
    if not isinstance(place, Mapping):
        return None
    said = cast("Mapping[str, Any]", place)
    number = said.get("step")
    return Place(number if type(number) is int else None, _path(said.get("path")))


def _path(value: Any) -> str:
    """Return a path of LangGraph's as text, the same before and behind JSON."""
    if isinstance(value, list | tuple):
        return f"({','.join(map(_path, cast('list[Any]', value)))})"
    return repr(value)


def call_id_of(details: Mapping[str, Any]) -> str | None:
    """Return the id of the tool call that a START is of."""
    attributes: Any = details.get("attributes")
    found = cast("Mapping[str, Any]", attributes).get(TOOL_CALL_ID) if isinstance(attributes, Mapping) else None
    return found if isinstance(found, str) else None


def request_of(details: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the digests by which a model's START tells its request; None where it does not."""
    request: Any = details.get("request")
    if not isinstance(request, Mapping):
        return None
    told = cast("Mapping[str, Any]", request)
    return {name: _named(told[name]) for name in ("messages", "tools", "params", "model") if name in told}


def _named(value: Any) -> str:
    return str(cast("Mapping[str, Any]", value).get("digest")) if isinstance(value, Mapping) else str(value)


def comparable(value: Any, names: Iterable[str]) -> bytes:
    """Return plain data in a form that is the same for what is equal, whatever the session is called in it."""
    said = canonical(value)
    for name in names:
        if len(name) >= _LEAST_NAME:
            said = said.replace(name.encode("utf-8", "surrogatepass"), b"<session>")
    return said
