"""What is asked of one session or one step: the same data that the command line prints."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from starlette.responses import Response

from otel_agent_journal.codec import encode_value
from otel_agent_journal.errors import SessionNotFound
from otel_agent_journal.projections.anthropic_request import anthropic_request
from otel_agent_journal.projections.openai_request import openai_request
from otel_agent_journal.reading import step_rows, steps_in_full
from otel_agent_journal.reading.conversation import conversation
from otel_agent_journal.reading.named_steps import with_content
from otel_agent_journal.reading.prompts import prompt_of
from otel_agent_journal.reading.session_records import stood
from otel_agent_journal.server.bounded import MOST_ITEMS, PIECE, Cutter, at, bounded
from otel_agent_journal.server.problems import Refused
from otel_agent_journal.store.linked import read_whole
from otel_agent_journal.store.rules import whole_of

if TYPE_CHECKING:
    from otel_agent_journal.event import JournalEvent
    from otel_agent_journal.projections.cost import Cost
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.projections.steps import Step
    from otel_agent_journal.reading.journal import Journal
    from otel_agent_journal.server.rooms import Room
    from otel_agent_journal.server.routes import Call

INERT: Final = frozenset(("image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"))  # which run nothing
DEFAULT_STEPS: Final = 1000
DEFAULT_MESSAGES: Final = 200
_DIGEST: Final = re.compile(r"[0-9A-Za-z:_-]{1,200}")


def head_of(journal: Journal, session_id: str) -> SessionHead:
    """Return the head of the session with this very id; of a trace that is part of one, that session's.

    Raises:
        SessionNotFound: there is none.
    """
    head = journal.exact(session_id)
    if head is None:
        raise SessionNotFound(session_id, "GET /api/sessions lists them all")
    return whole_of(journal.store, head)


def session(call: Call, journal: Journal) -> bytes:
    """Return where a session stands, as `status -o json` prints it."""
    return encode_value(stood(journal, head_of(journal, call.args["id"])))


def steps(call: Call, journal: Journal) -> bytes:
    """Return the steps as `show -o json` prints them, a page of them."""
    head = head_of(journal, call.args["id"])
    first = call.number("from", 1, least=1)
    limit = call.number("limit", DEFAULT_STEPS, least=1, most=10_000)
    tree = journal.tree(head)
    walked = islice((step for step in tree.walk() if step.number >= first), limit)
    return encode_value(list(step_rows.rows(head.session_id, walked, head.writers, journal.costs(tree))))


def step(call: Call, journal: Journal) -> bytes:
    """Return one step with all that is known of it, as `show SESSION/STEP -o json` prints it; what is long is cut."""
    return encode_value(bounded(_step(call, journal)))


def value(call: Call, journal: Journal) -> Response:
    """Return a piece of what is too long for the answer to a step."""
    found = at(_step(call, journal), call.text("pointer") or "")
    first = call.number("from", 0)
    if isinstance(found, list | tuple):
        cutter = Cutter()
        return Response(encode_value(cutter.of(found[first : first + MOST_ITEMS])), media_type="application/json")
    text = found if isinstance(found, str) else encode_value(found).decode()
    return Response(
        text[first : first + PIECE].encode("utf-8", "replace"),
        headers={"Agent-Journal-Length": str(len(text))},
        media_type="text/plain; charset=utf-8",
    )


class Looked(NamedTuple):
    """A step that was looked at, with its content, and what goes with it."""

    head: SessionHead
    tree: steps_in_full.Steps
    step: Step
    costs: Mapping[str, Cost]
    events: Callable[[], Iterable[JournalEvent]]


def _looked(call: Call, journal: Journal) -> Looked:
    """Find a step by its id or number in the fold, and read what it took and gave where it stands; else by its name.

    Raises:
        NoSuchStep: there is none; or several.
    """
    head = head_of(journal, call.args["id"])
    session_id, text = head.session_id, call.args["step"]
    room = call.hub.room(session_id)
    with room.lock:
        state = room.fold.state(text)
        if state is None and text.isascii() and text.isdecimal():
            state = room.fold.numbered(int(text[:12]))
        known = None if state is None else room.fold.step(state.step_id)
        costs = {} if state is None else room.fold.costs(state.step_id)
    if state is None or known is None:
        tree, found = steps_in_full.named(journal, head, text)
        return Looked(head, tree, found, journal.costs(tree), lambda: journal.events(session_id, head))
    first_ns, last_ns = state.first_ns, state.last_ns

    def events(after_ns: int = 0) -> Iterator[JournalEvent]:
        after = (after_ns - 1, "") if after_ns > 0 else None
        for event in read_whole(journal.store, session_id, after, head=head):
            if event.timestamp_ns > last_ns:
                return
            yield event

    return Looked(head, _Locked(room), with_content(known, events(first_ns)), costs, events)


class _Locked(NamedTuple):
    """The steps of a room's fold."""

    room: Room

    def step(self, step_id: str) -> Step | None:
        with self.room.lock:
            return self.room.fold.step(step_id)


def _step(call: Call, journal: Journal) -> dict[str, Any]:
    one = _looked(call, journal)
    return steps_in_full.record(
        journal,
        one.head,
        one.tree,
        one.step,
        one.costs,
        media=False,
        events=one.events,
        with_prompt=call.text("prompt") != "0",
    )


def prompt(call: Call, journal: Journal) -> bytes:
    """Return what a model call was given, as `show --prompt` does; `as` gives it in the form of a provider's API."""
    one = _looked(call, journal)
    given = prompt_of(one.events, one.head.session_id, one.step, journal.without_media)
    if given is None:
        raise Refused(404, f"step {one.step.number} is of kind {one.step.kind.lower()}; only a model call has a prompt")
    form = call.text("as")
    if form is None:
        return encode_value(bounded(given))
    if form not in ("openai", "anthropic"):
        raise Refused(400, f"as is '{form[:80]}'; it is one of openai, anthropic")
    return encode_value((openai_request if form == "openai" else anthropic_request)(given).body)


def messages(call: Call, journal: Journal) -> bytes:
    """Return a page of the conversation, as `show --messages -o json` prints it."""
    head = head_of(journal, call.args["id"])
    first = call.number("from", 0)
    limit = call.number("limit", DEFAULT_MESSAGES, least=1, most=MOST_ITEMS)
    room = call.hub.room(head.session_id)
    with room.lock:
        numbers = room.fold.numbers()
    said = conversation(lambda: journal.events(head.session_id, head), journal.without_media, numbers)
    page = list(islice(said, first, first + limit + 1))
    cutter = Cutter()
    shown = cutter.of(page[:limit])
    return encode_value({"messages": shown, "next": first + limit if len(page) > limit else None, "cut": cutter.cut})


def state(call: Call, journal: Journal) -> bytes:
    """Return what the session's agents have in their contexts, before step `at` or now, as `context` prints it."""
    head = head_of(journal, call.args["id"])
    number = call.number("at", 0, least=1) if call.text("at") else None
    if call.contexts is None:
        raise Refused(501, "this server was made without what reads the contexts of agents")
    return encode_value(bounded({"agents": list(call.contexts(journal, head, number))}))


def blob(call: Call, journal: Journal) -> Response:
    """Return a value that is kept apart: a picture that runs nothing as it is, everything else to be saved."""
    digest = call.args["digest"]
    if not _DIGEST.fullmatch(digest):
        raise Refused(400, "this is no digest; `blob` in a reference is one")
    head = head_of(journal, call.args["id"])
    data = journal.blob(head.session_id, digest)
    if data is None:
        raise Refused(404, f"session {head.session_id} keeps nothing under {digest}")
    kind = call.text("type") or ""
    shown = kind in INERT and _is(data, kind)
    return Response(
        data,
        headers={
            "Content-Disposition": "inline" if shown else 'attachment; filename="blob"',
            "Cache-Control": "private, max-age=86400, immutable",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        },
        media_type=kind if shown else "application/octet-stream",
    )


def _is(data: bytes, kind: str) -> bool:
    """Tell whether data begins as a picture of that type does."""
    begins = {
        "image/png": data.startswith(b"\x89PNG\r\n\x1a\n"),
        "image/jpeg": data.startswith(b"\xff\xd8\xff"),
        "image/gif": data.startswith((b"GIF87a", b"GIF89a")),
        "image/webp": data.startswith(b"RIFF") and data[8:12] == b"WEBP",
        "image/avif": data[4:12] in (b"ftypavif", b"ftypavis"),
    }
    return begins.get(kind, False)
