"""What is asked of the session API, and what the store keeps of it until it is done. Pure.

A session has a *line*: the runs that are asked for and not done with, in their order. The first that has not ended is
the one that runs. All that is to last is in the journal; a line is a document that goes when there is nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import msgspec

from otel_agent_journal.errors import JournalError
from otel_agent_journal.event import EMPTY
from otel_agent_journal.pipeline.graph_calls import GraphCall

QUEUED: Final = "queued"
CLAIMED: Final = "claimed"  # a server is about to start it
STARTED: Final = "started"
ENDED: Final = "ended"  # who asked for it is still to be told

MAX_ID_CHARACTERS: Final = 512
MAX_QUEUED: Final = 100
MAX_METADATA: Final = 64

OnBusy = Literal["reject", "enqueue", "interrupt"]
ON_BUSY: Final = ("reject", "enqueue", "interrupt")


class Refused(JournalError):
    """What was asked cannot be done as things are; `status` is HTTP's for it, `title` says which kind of refusal."""

    def __init__(self, message: str, *, status: int, title: str) -> None:
        super().__init__(message)
        self.status = status
        self.title = title


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A submission, as its caller made it.

    `input`: any JSON. `session_id`: of a session that is gone on with, or of a new one; by default a fresh id.
    `metadata`: whose the run is and what it is found by, as `session(attributes=...)` takes it. `webhook`: a URL that
    is told of the end. `task_token`: of a Step Functions task that waits for the end. `on_busy`: what to do where the
    session is at work. `graph`: how a graph is called, where a client of LangGraph says that.
    """

    agent: str | None = None
    input: Any = None
    session_id: str | None = None
    metadata: Mapping[str, Any] = EMPTY
    webhook: str | None = None
    task_token: str | None = None
    on_busy: OnBusy = "reject"
    graph: GraphCall | None = None


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a submission: it is durable."""

    session_id: str
    run: str
    state: str = "PENDING"


class Run(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run of a session, as its line has it.

    `input` is JSON text, None where it lies beside as pieces. `at_ns`: when it was asked for; the id of the event that
    says so follows from `run`. `claim`: whose turn it is to start it, until `until_ns`. `seen_ns`: when the process
    that runs it was last alive. `answers`: it answers what the session waits for. `tries`: to tell who asked, the next
    one at `until_ns`.
    """

    run: str
    agent: str
    at_ns: int
    input: str | None = None
    metadata: dict[str, Any] = {}
    webhook: str | None = None
    task_token: str | None = None
    state: str = QUEUED
    claim: str | None = None
    until_ns: int = 0
    host: str = ""
    pid: int = 0
    process: str = ""
    seen_ns: int = 0
    cancel: bool = False
    answers: bool = False
    status: str | None = None
    reason: str | None = None
    tries: int = 0
    graph: GraphCall | None = None


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """The runs of a session that are not done with."""

    session_id: str
    runs: tuple[Run, ...] = ()

    @property
    def active(self) -> tuple[Run, ...]:
        """Those that have not ended, the one whose turn it is first."""
        return tuple(run for run in self.runs if run.state != ENDED)

    def find(self, run_id: str) -> Run | None:
        """Return a run by its id."""
        return next((run for run in self.runs if run.run == run_id), None)

    def with_run(self, run: Run) -> Line:
        """Return the line with a run added, or in the place of the one of its id."""
        if self.find(run.run) is None:
            return msgspec.structs.replace(self, runs=(*self.runs, run))
        return msgspec.structs.replace(self, runs=tuple(run if one.run == run.run else one for one in self.runs))

    def without(self, run_id: str) -> Line:
        """Return the line without a run."""
        return msgspec.structs.replace(self, runs=tuple(run for run in self.runs if run.run != run_id))

    def changed(self, run_id: str, **values: Any) -> Line:
        """Return the line with fields of one run replaced; itself, where there is no such run."""
        run = self.find(run_id)
        return self if run is None else self.with_run(msgspec.structs.replace(run, **values))


Change = Callable[[Line | None], Line | None]

_line: Final = msgspec.json.Decoder(Line)
_encode: Final = msgspec.json.Encoder().encode


def encode_line(line: Line) -> bytes:
    """Return a line as its document has it."""
    return _encode(line)


def decode_line(data: bytes) -> Line:
    """Return the line that a document has.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return _line.decode(data)


def checked(asked: Asked) -> Asked:
    """Return a submission that can be kept.

    Raises:
        Refused: a field is not what it should be.
    """
    if asked.session_id is not None:
        checked_id(asked.session_id)
    if asked.on_busy not in ON_BUSY:
        raise unfit(f"on_busy is '{asked.on_busy}'; it is one of: {', '.join(ON_BUSY)}")
    if asked.webhook is not None and not asked.webhook.startswith(("http://", "https://")):
        raise unfit("webhook is no URL that begins with https:// or http://; give one, or leave it out")
    if len(asked.metadata) > MAX_METADATA:
        raise unfit(f"metadata has {len(asked.metadata)} names, {MAX_METADATA} is the most; put the rest in the input")
    return asked


def checked_id(session_id: str) -> str:
    """Return the id of a session that a caller names.

    Raises:
        Refused: it is empty, too long, or holds what is no text.
    """
    if not session_id.strip():
        raise unfit("session_id is empty; give a text, or leave it out to be given a fresh one")
    if len(session_id) > MAX_ID_CHARACTERS:
        raise unfit(f"session_id has {len(session_id):,} characters, {MAX_ID_CHARACTERS} is the most; shorten it")
    if any(ord(letter) < 32 or letter == "\x7f" or 0xD800 <= ord(letter) < 0xE000 for letter in session_id):
        raise unfit("session_id holds control characters, or half of one; give printable text")
    return session_id


def unfit(message: str) -> Refused:
    """Return the refusal of a value that is not what it should be."""
    return Refused(message, status=422, title="Unprocessable content")
