"""Words of a command line that a person can paste into a shell, whatever is in them. Pure.

Ids come from programs and clients, so they may hold spaces, quotes, control characters. What cannot be printed as it
is, is written with the escapes of bash, zsh and ksh (`$'…'`), and steers no terminal.
"""

from __future__ import annotations

import shlex

_ESCAPED = "'\\"


def pasted(word: str) -> str:
    """Return a word as a shell takes it; one that begins with a hyphen behind `--`, so that it is no option."""
    is_plain = word.isprintable() and "  " not in word and word == word.strip()
    quoted = shlex.quote(word) if is_plain else "$'" + "".join(map(_letter, word)) + "'"
    return f"-- {quoted}" if word.startswith("-") else quoted


def _letter(letter: str) -> str:
    code = ord(letter)
    if letter in _ESCAPED:
        return "\\" + letter
    if letter.isprintable() and letter != " ":
        return letter
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no text, as Python has those of a command line
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 and (code < 0x80 or letter >= "\udc80") else f"\\U{code:08x}"
