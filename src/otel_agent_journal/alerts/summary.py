"""The sentence of an alert: a text with `{column}` in it, and formats as Python has them for numbers. Pure.

No attribute, index or conversion is reached through one: a name of a column, and a format that is short.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from string import Formatter
from typing import Any, Final

MAX_SUMMARY: Final = 500  # characters that are sent
_NAME: Final = re.compile(r"[^\W\d]\w*")
_FORMAT: Final = re.compile(r"[<>^]?[+ -]?#?0?\d{0,2}[,_]?(?:\.\d{1,2})?[a-zA-Z%]?")


def columns_in(summary: str) -> tuple[str, ...]:
    """Return the columns that a summary names.

    Raises:
        ValueError: it is malformed; says what to write.
    """
    return tuple(name for _, name, _ in _parts(summary) if name is not None)


def summed_up(summary: str, row: Mapping[str, Any]) -> str:
    """Return a summary with the values of a row in it; what is not known is `-`.

    Raises:
        ValueError: a column is not there, or a format does not fit its value.
    """
    said: list[str] = []
    for text, name, form in _parts(summary):
        said.append(text)
        if name is not None:
            said.append(_formatted(name, form, row))
    return one_line("".join(said))


def one_line(text: str) -> str:
    """Return a text on one line, not longer than what is sent, without characters that steer a terminal."""
    plain = " ".join("".join(one if one.isprintable() else " " for one in text[: 4 * MAX_SUMMARY]).split())
    return plain if len(plain) <= MAX_SUMMARY else plain[: MAX_SUMMARY - 1] + "…"


def missing(summary: str, columns: Collection[str]) -> str | None:
    """Return a column that a summary names and that there is not, or None."""
    return next((name for name in columns_in(summary) if name not in columns), None)


def _formatted(name: str, form: str, row: Mapping[str, Any]) -> str:
    if name not in row:
        raise ValueError(f"summary names {{{name}}}; there are {', '.join(row) or 'no columns'}")
    value = row[name]
    if value is None:
        return "-"
    try:
        return format(value, form)
    except (TypeError, ValueError) as error:
        raise ValueError(f"summary formats {{{name}:{form}}}, which its value does not take: {error}") from error


def _parts(summary: str) -> list[tuple[str, str | None, str]]:
    try:
        parsed = list(Formatter().parse(summary))
    except ValueError as error:
        raise ValueError(f"summary is malformed ({error}); a column is written {{name}}, a brace {{{{") from error
    found: list[tuple[str, str | None, str]] = []
    for text, name, form, conversion in parsed:
        if name is not None and (not _NAME.fullmatch(name) or conversion or not _FORMAT.fullmatch(form or "")):
            raise ValueError(f"summary has {{{name}}} in a form that it may not have; write {{name}} or {{name:.2f}}")
        found.append((text, name, form or ""))
    return found
