"""What is asked of one session or one step: the same data that the command line prints."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from otel_agent_journal.codec import encode_value
from otel_agent_journal.errors import SessionNotFound
from otel_agent_journal.projections.anthropic_request import anthropic_request
from otel_agent_journal.projections.openai_request import openai_request
from otel_agent_journal.reading import step_rows, steps_in_full
from otel_agent_journal.reading.conversation import conversation
from otel_agent_journal.reading.session_records import stood
from otel_agent_journal.server.bounded import MOST_ITEMS, PIECE, Cutter, at, bounded
from otel_agent_journal.server.problems import Refused

if TYPE_CHECKING:
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.reading.journal import Journal
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
    return journal.session(session_id)


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


def _step(call: Call, journal: Journal) -> dict[str, Any]:
    head = head_of(journal, call.args["id"])
    tree, found = steps_in_full.named(journal, head, call.args["step"])
    return steps_in_full.record(journal, head, tree, found, journal.costs(tree), media=False)


def prompt(call: Call, journal: Journal) -> bytes:
    """Return what a model call was given, as `show --prompt` does; `as` gives it in the form of a provider's API."""
    head = head_of(journal, call.args["id"])
    _, found = steps_in_full.named(journal, head, call.args["step"])
    given = steps_in_full.prompt(journal, head, found, journal.without_media)
    if given is None:
        raise Refused(404, f"step {found.number} is of kind {found.kind.lower()}; only a model call has a prompt")
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
    numbers = {one.step_id: one.number for one in journal.tree(head).steps}
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


def result(call: Call, journal: Journal) -> bytes:
    """Return what a session's last run gave; 404 while it has given nothing."""
    head = journal.judged(head_of(journal, call.args["id"]))
    tree = journal.tree(head)
    ended = [root for root in tree.roots if root.last.outcome is not None]
    if not ended:
        raise Refused(404, f"session {head.session_id} is {head.status} and has no result yet; ask again later")
    last = max(ended, key=lambda root: (root.end_ns or 0, root.step_id))
    _, found = steps_in_full.named(journal, head, last.step_id)
    record = steps_in_full.record(journal, head, tree, found, journal.costs(tree), media=False)
    told = {name: record[name] for name in ("session_id", "step_id", "number", "name", "ended_at", "output", "error")}
    return encode_value(bounded({**told, "status": head.status, "reason": head.reason}))
