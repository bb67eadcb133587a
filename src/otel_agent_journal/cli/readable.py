"""Values as people read them: times, durations, counts, and text on one line. Pure.

Data formats never come through here. Text is shaped here, to fit a place of a line; that it cannot drive a terminal is
seen to where it is printed (`output`, `terminal`), whether it came through here or not.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from otel_agent_journal.terminal import neutral

if TYPE_CHECKING:
    from otel_agent_journal.event import ErrorInfo
    from otel_agent_journal.projections.about import About, Process

NS_PER_S: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000

_SPACES: Final = re.compile(r"\s+")


def one_line(text: str, limit: int | None = None) -> str:
    """Return text on one line, runs of white space as one space, cut with an ellipsis at `limit` characters.

    Neutral already, so that it is as long as it will be printed.
    """
    if limit is not None:
        text = text[: limit * 4 + 64]  # enough to fill the line; the rest of a megabyte is not looked at
    line = neutral(_SPACES.sub(" ", text).strip())
    return line if limit is None or len(line) <= limit else line[: max(0, limit - 1)] + "…"


def duration(ns: int | None) -> str:
    """Return a duration in the two units that matter: 850 µs, 12 ms, 3.4 s, 2m 05s, 1h 12m, 3d 04h."""
    if ns is None:
        return ""
    if ns < NS_PER_MS:
        return f"{max(0, ns) // 1000} µs"
    if ns < NS_PER_S:
        return f"{ns / NS_PER_MS:.0f} ms"
    seconds = ns / NS_PER_S
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m" if hours < 24 else f"{hours // 24}d {hours % 24:02d}h"


def ago(then_ns: int, now_ns: int) -> str:
    """Return how long ago a time was, coarsely."""
    passed = now_ns - then_ns
    if passed < -5 * NS_PER_S:
        return f"in {duration(-passed)}"  # the writer's clock is ahead of ours
    if passed < NS_PER_S:
        return "just now"
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        if passed >= size * NS_PER_S:
            return f"{passed // (size * NS_PER_S)} {unit} ago"
    return "just now"


def clock(ns: int, *, millis: bool = False, date: bool = False) -> str:
    """Return a time of day in the reader's own time zone."""
    moment = datetime.fromtimestamp(ns // NS_PER_S, tz=UTC).astimezone()
    text = moment.strftime("%Y-%m-%d %H:%M:%S" if date else "%H:%M:%S")
    return f"{text}.{ns % NS_PER_S // NS_PER_MS:03d}" if millis else text


def count(number: int) -> str:
    """Return a count short enough for a column: 999, 8.1k, 3.2M."""
    if number < 1000:
        return str(number)
    if number < 999_950:
        return f"{number / 1000:.1f}k"
    return f"{number / 1_000_000:.1f}M"


def size(number: int) -> str:
    """Return bytes in binary units."""
    amount = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def plural(number: int, noun: str) -> str:
    """Return `1 step`, `2 steps`, `1,234 steps`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def short_ids(ids: list[str], shortest: int = 8) -> dict[str, str]:
    """Map long hexadecimal ids to the shortest prefix that no other of them has; other ids to themselves."""
    ordered = sorted(set(ids))
    short: dict[str, str] = {}
    for index, one in enumerate(ordered):
        if len(one) < 32 or not re.fullmatch(r"[0-9a-fA-F-]+", one):
            short[one] = one
            continue
        near = ordered[max(0, index - 1) : index] + ordered[index + 1 : index + 2]
        same = max((_common(one, other) for other in near), default=0)
        short[one] = one[: max(shortest, same + 1)]
    return short


def _common(left: str, right: str) -> int:
    length = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        length += 1
    return length


def failure(error: ErrorInfo) -> str:
    """Return why something failed: the exception's type, the service's code where that says more, and the message."""
    code = f" ({error.code})" if error.code and not error.type.endswith(error.code) else ""
    name = error.type.removeprefix("__main__.")  # the program itself: which it is, is said elsewhere
    return f"{name}{code}" + (f": {error.message}" if error.message else "")


def process(one: Process) -> str:
    """Return what a process is known by: its service and version, its host, its pid."""
    service = " ".join(part for part in (one.service, one.version) if part)
    where = f"on {one.host}" if one.host else ""
    pid = f"pid {one.pid}" if one.pid is not None else ""
    return one_line("  ".join(part for part in (service, where, pid) if part) or one.writer, 200)


def said_of(about: About) -> str:
    """Return the tags and labels of a session."""
    return one_line("  ".join([*about.tags, *(f"{name}={value}" for name, value in about.labels.items())]), 300)
