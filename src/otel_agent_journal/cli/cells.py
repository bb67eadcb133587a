"""Text measured and cut as a terminal shows it: by cells, and never within what is one character to a person.

A letter and its marks, an emoji and its skin, and a flag of two letters stay together: of East Asian characters each
takes two cells, of marks none. Text that runs from right to left takes the cells that it takes; its order is the
terminal's matter. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from rich.cells import cell_len

__all__ = ["cell_len", "clusters", "cut_middle", "fit", "padded", "told_apart", "within", "wrapped"]

ELLIPSIS: Final = "…"
_JOINER: Final = "\u200d"
_LEAST_TAIL: Final = 4  # cells of an id's end, by which most differ


def clusters(text: str) -> Iterator[str]:
    """Yield what is one character to a person each."""
    found = ""
    for letter in text:
        if found and not _joins(found, letter):
            yield found
            found = ""
        found += letter
    if found:
        yield found


def within(text: str, width: int) -> str:
    """Return text that takes `width` cells at most, what is too long ending in an ellipsis."""
    if cell_len(text) <= width:
        return text
    return _beginning(text, width - 1) + ELLIPSIS if width > 0 else ""


def cut_middle(text: str, width: int, tail: int | None = None) -> str:
    """Return text that takes `width` cells at most, what is too long with an ellipsis in its middle.

    `tail`: the cells of its end that are kept, by default half of them.
    """
    if cell_len(text) <= width:
        return text
    if width < 3:
        return within(text, width)
    tail = (width - 1) // 2 if tail is None else tail
    if text.isascii():
        return text[: width - 1 - tail] + ELLIPSIS + text[len(text) - tail :]
    end = _beginning(reversed(list(clusters(text))), tail)
    return _beginning(text, width - 1 - tail) + ELLIPSIS + "".join(reversed(list(clusters(end))))


def padded(text: str, width: int) -> str:
    """Return text that takes `width` cells at least."""
    return text + " " * (width - cell_len(text))


def fit(text: str, width: int) -> str:
    """Return text cut or padded to exactly `width` cells."""
    return padded(within(text, width), width)


def told_apart(ids: Collection[str], width: int) -> Mapping[str, str]:
    """Return each id in `width` cells at most, cut in its middle so that no two look the same, where that can be.

    The end is as long as it must be: ids of a series differ there. Of those that look the same however they are cut,
    that part is shown from which on they differ.
    """
    distinct = dict.fromkeys(ids)
    half = (width - 1) // 2
    tails = [half, *range(half - 1, _LEAST_TAIL - 1, -1), *range(half + 1, width - 1)]
    best = {one: cut_middle(one, width) for one in distinct}
    for tail in tails:
        if len(set(best.values())) == len(distinct) or width < 3:
            return best
        shown = {one: cut_middle(one, width, tail) for one in distinct}
        if len(set(shown.values())) > len(set(best.values())):
            best = shown
    same: dict[str, list[str]] = {}
    for one, text in best.items():
        same.setdefault(text, []).append(one)
    for alike in (found for found in same.values() if len(found) > 1):
        begin = _first_difference(alike)
        best.update({one: ELLIPSIS + within(one[begin:], width - 1) for one in alike})
    return best


def wrapped(text: str, width: int) -> Iterator[str]:
    """Yield text in lines of `width` cells at most, broken at spaces where there are any in the line's second half."""
    while cell_len(text) > width > 0:
        line = _beginning(text, width) or next(clusters(text))
        at = line.rfind(" ")
        if at > len(line) // 2 and not text[len(line) :].startswith(" "):
            line = line[:at]
        yield line.rstrip()
        text = text[len(line) :].lstrip()
    yield text


def _beginning(text: str | Iterator[str], width: int) -> str:
    """Return as much of the beginning as there is room for."""
    if isinstance(text, str) and text.isascii():
        return text[: max(0, width)]
    found, left = "", width
    for one in clusters(text) if isinstance(text, str) else text:
        left -= cell_len(one)
        if left < 0:
            break
        found += one
    return found


def _joins(before: str, letter: str) -> bool:
    """Tell whether a letter belongs to what stands before it: a mark, a skin, a joined emoji, a flag's second half."""
    if letter.isascii():
        return False
    if before[-1] == _JOINER or "\U0001f3fb" <= letter <= "\U0001f3ff" or not cell_len(letter):
        return True
    is_flag = "\U0001f1e6" <= letter <= "\U0001f1ff"
    return is_flag and len(before) == 1 and "\U0001f1e6" <= before <= "\U0001f1ff"


def _first_difference(alike: list[str]) -> int:
    first, last = min(alike), max(alike)
    return next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
