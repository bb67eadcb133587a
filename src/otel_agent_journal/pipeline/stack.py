"""Where an exception was raised and what led to it, as text: for the journal, within bounds.

No code of the exception's class is asked but its `__str__`; its traceback, cause and parts are read through
`BaseException` itself, whatever the class says of them. Of frames the code and the line are read, never a local. Lines
of source come from what `linecache` holds already, else from small regular files. Nothing of an exception is kept.
"""

from __future__ import annotations

import os
import stat
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from types import TracebackType
from typing import Any, Final, NamedTuple, cast

from otel_agent_journal.codec import valid_text
from otel_agent_journal.pipeline.failure import message_of, type_name

MAX_STACK_CHARACTERS: Final = 12_000
MAX_RELATED: Final = 8  # causes and parts that are told of one error

_FRAMES: Final = 30  # of the error itself, the innermost
_FRAMES_OF_RELATED: Final = 10
_MAX_WALKED: Final = 100_000  # frames of one traceback that are gone through
_MAX_LINE: Final = 200
_MAX_SAID: Final = 1000  # characters of a message within a stack
_MAX_NOTES: Final = 4
_MAX_FILES: Final = 6  # read for one stack
_MAX_FILE_BYTES: Final = 512 * 1024
_MAX_KNOWN_LINES: Final = 1000


def _reader(owner: type[BaseException], field: str) -> Callable[[BaseException], Any]:
    """Return what reads a field as `owner` has it, whatever the exception's own class makes of the name."""
    return owner.__dict__[field].__get__


_traceback_of: Final = _reader(BaseException, "__traceback__")
_cause_of: Final = _reader(BaseException, "__cause__")
_context_of: Final = _reader(BaseException, "__context__")
_is_suppressed: Final = _reader(BaseException, "__suppress_context__")
_fields_of: Final = _reader(BaseException, "__dict__")
_parts_of: Final = _reader(BaseExceptionGroup, "exceptions")


class _Place(NamedTuple):
    file: str
    line: int
    name: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.name}"


# --- what led to it -----------------------------------------------------------------------------------------------


def related(error: BaseException) -> list[BaseException]:
    """Return what an error came of, the nearest first: its causes, else contexts, and the parts of groups."""
    found: list[BaseException] = []
    seen, waiting = {id(error)}, deque((error,))
    while waiting and len(found) < MAX_RELATED:
        for one in _next(waiting.popleft()):
            if id(one) not in seen and len(found) < MAX_RELATED:
                seen.add(id(one))
                found.append(one)
                waiting.append(one)
    return found


def _next(error: BaseException) -> Iterator[BaseException]:
    before = _before(error)
    if before is not None:
        yield before
    yield from _parts(error)


def _parts(error: BaseException) -> Sequence[BaseException]:
    return _parts_of(error)[:MAX_RELATED] if issubclass(type(error), BaseExceptionGroup) else ()


def _before(error: BaseException) -> BaseException | None:
    cause = _cause_of(error)
    return cause if cause is not None or _is_suppressed(error) else _context_of(error)


def raise_site(error: BaseException) -> str | None:
    """Return where an exception was raised, as `file:line in function`; None where it never was."""
    places = _innermost(_traceback_of(error), 1)[0]
    return valid_text(str(places[-1][0])) if places else None


# --- the stack ----------------------------------------------------------------------------------------------------


def stack_of(error: BaseException) -> str | None:
    """Return an exception's stack as Python prints it, with its causes before it; None where it was never raised.

    The innermost frames are kept, a recursion is told once, and what is too long is cut in its middle.
    """
    if _traceback_of(error) is None:
        return None
    blocks = [_block(error, _FRAMES)]
    seen, one = {id(error)}, error
    while (before := _before(one)) is not None and id(before) not in seen and len(seen) < MAX_RELATED:
        explicit = _cause_of(one) is not None
        one = before
        seen.add(id(one))
        blocks.append("The error below was raised from it:" if explicit else "The error below was raised handling it:")
        blocks.append(_block(one, _FRAMES_OF_RELATED))
    text = "\n\n".join(reversed(blocks))
    for number, part in enumerate(_parts(error), 1):
        text += f"\n\nPart {number}:\n{_block(part, _FRAMES_OF_RELATED)}"
    return valid_text(_cut(text))


def _cut(text: str) -> str:
    if len(text) <= MAX_STACK_CHARACTERS:
        return text
    first = MAX_STACK_CHARACTERS // 3
    left_out = len(text) - MAX_STACK_CHARACTERS
    return f"{text[:first]}\n  ... {left_out:,} characters left out ...\n{text[first + left_out :]}"


def _block(error: BaseException, most: int) -> str:
    runs, left_out = _innermost(_traceback_of(error), most)
    lines = ["Traceback (most recent call last):"] if runs else []
    if left_out:
        lines.append(f"  ... {left_out:,} frames left out ...")
    sources = _sources(place for place, _ in runs)
    for place, times in runs:
        lines.append(f'  File "{place.file}", line {place.line}, in {place.name}')
        if source := sources.get((place.file, place.line)):
            lines.append(f"    {source}")
        if times > 1:
            lines.append(f"  [{times - 1:,} times more]")
    message = message_of(error)[:_MAX_SAID]
    lines.append(f"{type_name(error)}: {message}" if message else type_name(error))
    notes: Any = _fields_of(error).get("__notes__")
    if type(notes) is list:
        lines += [note[:_MAX_SAID] for note in cast("list[Any]", notes)[:_MAX_NOTES] if type(note) is str]
    return "\n".join(lines)


def _innermost(traceback: TracebackType | None, most: int) -> tuple[list[tuple[_Place, int]], int]:
    """Return the innermost places with how often each came in a row, and how many frames were left out before them."""
    runs = deque[tuple[_Place, int]](maxlen=most)
    walked = 0
    while traceback is not None and walked < _MAX_WALKED:
        code = traceback.tb_frame.f_code
        place = _Place(code.co_filename, traceback.tb_lineno or 0, code.co_qualname)
        if runs and runs[-1][0] == place:
            runs[-1] = (place, runs[-1][1] + 1)
        else:
            runs.append((place, 1))
        walked += 1
        traceback = traceback.tb_next
    return list(runs), walked - sum(times for _, times in runs)


# --- lines of source ----------------------------------------------------------------------------------------------

_known: Final[dict[tuple[str, int], str]] = {}  # so that an error that comes again and again reads no file


def _sources(places: Iterable[_Place]) -> dict[tuple[str, int], str]:
    """Return the lines of source at some places; those of a file that is not to be had are empty."""
    found: dict[tuple[str, int], str] = {}
    wanted: dict[str, set[int]] = {}
    for place in reversed(list(places)):
        known = _known.get((place.file, place.line))
        if known is None:
            wanted.setdefault(place.file, set()).add(place.line)
        else:
            found[place.file, place.line] = known
    for file, numbers in islice(wanted.items(), _MAX_FILES):
        lines = _lines_of(file)
        for number in numbers:
            found[file, number] = lines[number - 1].strip()[:_MAX_LINE] if 0 < number <= len(lines) else ""
            if len(_known) >= _MAX_KNOWN_LINES:
                _known.clear()
            _known[file, number] = found[file, number]
    return found


def _lines_of(file: str) -> list[str]:
    cache: Any = getattr(sys.modules.get("linecache"), "cache", None)
    entry: Any = cast("dict[str, Any]", cache).get(file) if type(cache) is dict else None
    if type(entry) is tuple and len(cast("tuple[Any, ...]", entry)) == 4:  # else it is one that is yet to be read
        return cast("list[str]", entry[2])
    return [] if file.startswith("<") else _read(file).split("\n")


def _read(file: str) -> str:
    """Return the text of a small regular file. Opening waits for nobody: what a code object names may be anything."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError):
        return ""
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_size > _MAX_FILE_BYTES:
            return ""
        return os.read(descriptor, about.st_size).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)
