"""Numbers that come from outside, read as a person would: be they numbers, texts, or a sign that none is known. Pure.

Senders of spans write 12, "12" and 12.0 for the same, and -1, NaN or nothing for what they do not know. Nothing
here raises, whatever a value is.
"""

from __future__ import annotations

import re
from math import isfinite
from typing import Any, Final

_MAX_COUNT: Final = 2**53  # what a double counts exactly; nothing has more tokens
_MAX_DIGITS: Final = 400  # of a text; what is longer is no number
_WHOLE: Final = re.compile(r"[+-]?[0-9]+")
_DECIMAL: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def number_of(value: Any) -> int | float | None:
    """Return the finite number that a value is, or that a text says; None where there is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        text = value.strip()
        if len(text) > _MAX_DIGITS or _DECIMAL.fullmatch(text) is None:
            return None
        value = int(text) if _WHOLE.fullmatch(text) else float(text)
    return value if isinstance(value, int | float) and isfinite(value) else None


def whole_of(value: Any) -> int | None:
    """Return the whole number that a value is or says; None where it is none."""
    found = number_of(value)
    return int(found) if found is not None and found == int(found) else None


def count_of(value: Any) -> int | None:
    """Return how many of something a value says there are; None where it says nothing, as -1 does."""
    found = value if type(value) is int else number_of(value)
    return int(found) if found is not None and 0 <= found < _MAX_COUNT else None
