"""A session as one file that opens offline: the viewer, the session's tree, and all details in compressed chunks.

The file is the viewer's bundle `file.js` and `app.css` inlined, and these elements, in this order:

- `<script type="application/json" id="agent-journal-file">`: `wire.File`: what this is, and of which session;
- `<script type="text/plain" id="agent-journal-chunk-N">`, N from 0: base64 of gzip of a JSON object, from the path of
  an answer to the answer. A path is that of the API behind `/api/sessions/{id}/`, as JavaScript's `encodeURIComponent`
  writes its parts: `tree`, `steps/{step_id}`, `steps/{step_id}/prompt`, `messages`, `events` (a text of JSON lines),
  `state`, and `` (nothing) for the session itself. What was asked for with a query is found without it;
- `<script type="application/json" id="agent-journal-index">`: an object from each path to the number of its chunk. What
  is not in it is not in the file.

Scripts and styles are admitted by their hashes alone, and nothing may be fetched.
"""

from __future__ import annotations

import base64
import gzip
import html
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

from otel_agent_journal.codec import encode_line, encode_value
from otel_agent_journal.errors import ConfigError, JournalError
from otel_agent_journal.event import CHUNK, REASONING
from otel_agent_journal.projections.steps import fold_steps
from otel_agent_journal.reading import steps_in_full
from otel_agent_journal.reading.conversation import conversation
from otel_agent_journal.reading.session_records import stood
from otel_agent_journal.server.bounded import Cutter, bounded
from otel_agent_journal.server.files import STATIC
from otel_agent_journal.server.rooms import Room
from otel_agent_journal.server.wire import File

if TYPE_CHECKING:
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.reading.journal import Journal

CHUNK_BYTES: Final = 512 * 1024  # of JSON, before it is compressed
MOST_MESSAGES: Final = 10_000
MOST_EVENTS: Final = 20_000
MOST_PROMPTS: Final = 200  # model calls whose exact request is in the file: each is rebuilt by reading the session
SCRIPT: Final = "file.js"
STYLE: Final = "app.css"
_POLICY: Final = (
    "default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; img-src data:; base-uri 'none';"
    " form-action 'none'"
)
Answers = Iterator[tuple[str, bytes]]


def write_page(journal: Journal, head: SessionHead, write: Callable[[str], object], folder: Path = STATIC) -> int:
    """Write a session as a page; return how many answers are in it. A chunk of it is in memory at a time.

    Args:
        journal: where it is read.
        head: the session's.
        write: takes the text, piece by piece.
        folder: of the built viewer.

    Raises:
        ConfigError: the viewer is not built.
        StoreUnreachable: and other errors of the store.
    """
    script, style = _built(folder, SCRIPT), _built(folder, STYLE)
    policy = _POLICY.format(script=_hash(script), style=_hash(style))
    title = html.escape(head.session_id[:200])
    write(
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{title}</title>\n'
        f'<style>{style}</style>\n</head>\n<body>\n<div id="app"></div>\n'
    )
    told = File(version=1, session_id=head.session_id, exported_ms=journal.clock() // 1_000_000)
    write(_data("application/json", "agent-journal-file", _inert(msgspec.json.encode(told))))
    index: dict[str, int] = {}
    for number, (names, chunk) in enumerate(_chunks(answers(journal, head))):
        index |= dict.fromkeys(names, number)
        write(_data("text/plain", f"agent-journal-chunk-{number}", base64.b64encode(chunk).decode()))
    write(_data("application/json", "agent-journal-index", _inert(encode_value(index))))
    write(f"<script>{script}</script>\n</body>\n</html>\n")
    return len(index)


def _built(folder: Path, name: str) -> str:
    try:
        text = (folder / name).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"the viewer is not built: {folder / name} is not there; build it with: python scripts/build_ui.py"
        ) from error
    ending = "</style" if name == STYLE else "</script"
    return text.replace(ending, ending.replace("</", "<\\/")).replace("<!--", "<\\!--")


def _hash(text: str) -> str:
    return base64.b64encode(sha256(text.encode()).digest()).decode()


def _data(kind: str, name: str, text: str) -> str:
    return f'<script type="{kind}" id="{name}">{text}</script>\n'


def _inert(data: bytes) -> str:
    """Return JSON in which nothing ends or opens an element."""
    return data.decode().replace("<", "\\u003c")


def _chunks(found: Answers) -> Iterator[tuple[list[str], bytes]]:
    """Yield answers together, compressed, with their paths."""
    together: dict[str, bytes] = {}
    size = 0
    for name, answer in found:
        together[name] = answer
        size += len(answer)
        if size >= CHUNK_BYTES:
            yield list(together), _packed(together)
            together, size = {}, 0
    if together:
        yield list(together), _packed(together)


def _packed(together: dict[str, bytes]) -> bytes:
    text = b",".join(encode_value(name) + b":" + answer for name, answer in together.items())
    return gzip.compress(b"{" + text + b"}", 6, mtime=0)


def answers(journal: Journal, head: SessionHead) -> Answers:
    """Yield the answers that are in the file, by their paths, as JSON."""
    session_id = head.session_id
    room = Room(session_id, journal)
    while room.look() or not room.loaded.is_set():
        pass
    yield "tree", room.tree()
    yield "", encode_value(stood(journal, head))
    events = list(journal.events(session_id, head))
    numbers = {one.step_id: one.number for one in fold_steps(events).steps}
    said = conversation(lambda: events, journal.without_media, numbers)
    cutter = Cutter()
    messages = cutter.of(list(islice(said, MOST_MESSAGES)))
    yield "messages", encode_value({"messages": messages, "next": None, "cut": cutter.cut})
    told = islice((event for event in events if event.type not in (CHUNK, REASONING)), MOST_EVENTS)
    yield "events", encode_value(b"".join(encode_line(event) + b"\n" for event in told).decode())
    yield from _steps(journal, head, events)


def _steps(journal: Journal, head: SessionHead, events: list[Any]) -> Answers:
    tree = fold_steps(events, lost_writers=journal.silent(head))
    costs = journal.costs(tree)
    prompts = 0
    for step in tree.steps:
        wanted = step.kind == "MODEL" and prompts < MOST_PROMPTS
        prompts += wanted
        name = f"steps/{as_in_javascript(step.step_id)}"
        try:
            record = steps_in_full.record(
                journal, head, tree, step, costs, media=False, events=lambda: events, with_prompt=wanted
            )
        except JournalError:
            continue  # one of which a part cannot be had: the file has the others
        if record["prompt"] is not None:
            yield f"{name}/prompt", encode_value(bounded(record["prompt"]))
        yield name, encode_value(bounded(record))


def as_in_javascript(text: str) -> str:
    """Return a part of a path as `encodeURIComponent` writes it."""
    return quote(text, safe="!'()*~", errors="replace")
