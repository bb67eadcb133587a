"""What the server says to the viewer, as Structs: the source of `openapi.json` and of the viewer's TypeScript types.

Times are milliseconds since the epoch, with fractions: JavaScript's numbers do not hold nanoseconds. What is not known
is null, never 0. Names that the command line prints, too, mean here what docs/json.md says of them.
"""

from __future__ import annotations

from typing import Any

import msgspec


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A session in a list, and above its tree.

    `doing`: in a few words what runs in it now: "researcher is thinking…", "3 tools
    running"; what other processes do for the session is part of it. `last`: the last line worth reading: an answer, a
    question, an error. `forked_from` as in `status`. `live`: whether it may still change by itself.
    """

    session_id: str
    status: str
    reason: str | None = None
    agent: str | None = None
    stage: str | None = None
    progress: float | None = None
    live: bool = False
    doing: str | None = None
    last: str | None = None
    steps: int = 0
    errors: int = 0
    events: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    unpriced_calls: int = 0
    began_ms: float | None = None
    updated_ms: float | None = None
    ended_ms: float | None = None
    seen_ms: float | None = None
    user: str | None = None
    tenant: str | None = None
    tags: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    process: str | None = None
    forked_from: str | None = None
    forks: tuple[str, ...] = ()


class Sessions(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a list, newest first. `cursor` asks for the next one; null where there is none.

    `counts`: of the latest thousand that the filters but for `status` leave, how many have each status.
    """

    sessions: tuple[SessionRow, ...]
    cursor: str | None = None
    counts: dict[str, int] = {}


class Row(msgspec.Struct, frozen=True, array_like=True):
    """A row of a session's tree: a step at one place, with the attempts made there. An array on the wire.

    `key` names it for good; `parent` is the key of the row above. `number` is that of `SESSION/N`. `attempts`: of each
    begin and end (null while it runs) in milliseconds, and its outcome. `errors` are those that began in it.
    `cost_usd` is its own. `given`, `gave`: what went in and came out, in a few words; `tail`: of a running step the end
    of the text that it streams. `revision` grows with each change, over all rows of a session.
    """

    key: str
    parent: str | None
    step_id: str
    number: int
    kind: str
    name: str
    status: str
    reason: str | None
    began_ms: float
    ended_ms: float | None
    seen_ms: float | None
    worked_ms: float | None
    waited_ms: float
    attempts: tuple[tuple[float, float | None, str | None], ...]
    errors: int
    warnings: int
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    unpriced_calls: int
    error: str | None
    given: str
    gave: str
    tail: str
    orphan: bool
    revision: int


class Tree(msgspec.Struct, frozen=True, kw_only=True):
    """A session with all its rows, in order of their start. `at` is what `/api/stream?after=` goes on from.

    `waits`: stretches in which nobody worked, begin and end in milliseconds, and for what. `critical`: keys of the
    rows on the critical path. `truncated`: how many rows there are behind these: `?from=N` gives those from number N.
    `delayed_s`: how far behind the store may be, where it cannot be live.
    """

    session: SessionRow
    rows: tuple[Row, ...]
    at: str
    waits: tuple[tuple[float, float, str], ...] = ()
    critical: tuple[str, ...] = ()
    truncated: int = 0
    delayed_s: float | None = None


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """The message `rows` of a stream: rows that are new or changed, each whole. Taking one twice does no harm.

    `gone`: keys of rows that are no more, as where a late event shows that a step is another one's; taken out first.
    """

    session_id: str
    rows: tuple[Row, ...] = ()
    gone: tuple[str, ...] = ()


class Resync(msgspec.Struct, frozen=True, kw_only=True):
    """The message `resync`: something was left out. Fetch the session's tree anew; where it is null, the list."""

    session_id: str | None = None


class Delayed(msgspec.Struct, frozen=True, kw_only=True):
    """The message `delayed`: how far what is shown may be behind; null once it is live again. `why` is for people."""

    delayed_s: float | None = None
    why: str | None = None


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """The message `text`: what a step streamed on. `offset` is in UTF-16 units from the attempt's first character.

    `attempt` is the ordinal that `/steps/{step}` gives. Where the offset is not what one has, a piece is missing: fetch
    the step anew.
    """

    session_id: str
    key: str
    attempt: int
    offset: int
    text: str


class File(msgspec.Struct, frozen=True, kw_only=True):
    """What an exported page says of itself: see `server/one_file.py`."""

    version: int
    session_id: str
    exported_ms: float


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error as RFC 9457 has it, `application/problem+json`. `detail` says what, why and what next."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None
    errors: tuple[dict[str, Any], ...] = ()
