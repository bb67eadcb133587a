"""One table of a TOML file, its keys taken one by one: what is wrong is said with file, line, table and key.

`tomllib` knows no lines; they are looked for in the text, by the table's header and the key. Values of keys that may be
secrets are never repeated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, cast

from otel_agent_journal.errors import ConfigError
from otel_agent_journal.masking import is_secret_name

_SPAN: Final = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)\s*(s|m|h|d|w)", re.ASCII)
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_NS_PER_S: Final = 1_000_000_000
_SHOWN: Final = 60  # characters of a value in a message


class Table:
    """A table whose keys are taken by their types; `done` says which are left.

    Args:
        file: where it stands.
        text: the file's whole text.
        header: how the table begins, as `[[alert]]`.
        number: which of those with this header, from 0.
        title: what it is in words of errors, as `alert 'spend'`.
        said: its keys and values.
    """

    def __init__(self, file: Path, text: str, header: str, number: int, title: str, said: Mapping[str, Any]) -> None:
        self.file = file
        self.title = title
        self._text = text
        self._header = header
        self._number = number
        self._said = said
        self._taken: set[str] = set()

    def has(self, key: str) -> bool:
        """Tell whether a key stands there."""
        return key in self._said

    def text(self, key: str, default: str = "") -> str:
        """Return a text that is not empty, or the default where the key is not there."""
        value = self._take(key, default)
        if not isinstance(value, str) or (key in self._said and not value.strip()):
            raise self.wrong(key, f'a text is expected, as in {key} = "…"')
        return value

    def choice(self, key: str, choices: Sequence[str], default: str) -> str:
        """Return one of several words."""
        value = self._take(key, default)
        if value not in choices:
            raise self.wrong(key, f"there are {', '.join(choices)}")
        return cast("str", value)

    def flag(self, key: str, *, default: bool) -> bool:
        """Return yes or no."""
        value = self._take(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, f"true or false is expected, without quotes, as in {key} = true")
        return value

    def number(self, key: str, default: float, least: float, most: float) -> float:
        """Return a number between two, both among them."""
        value = self._take(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise self.wrong(key, f"a number from {least:g} to {most:g} is expected, without quotes")
        return float(value)

    def whole(self, key: str, default: int, least: int, most: int) -> int:
        """Return a whole number between two, both among them."""
        value = self._take(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.wrong(key, f"a whole number from {least:,} to {most:,} is expected, without quotes")
        return value

    def span_ns(self, key: str, default: str, least_s: float, most_s: float) -> int:
        """Return a span of time in nanoseconds."""
        value = self._take(key, default)
        match = _SPAN.fullmatch(value.strip()) if isinstance(value, str) else None
        seconds = float(match[1]) * _UNIT_S[match[2]] if match else -1.0
        if not least_s <= seconds <= most_s:
            raise self.wrong(
                key, f'a time from {_span(least_s)} to {_span(most_s)} is expected, as in {key} = "{default}"'
            )
        return round(seconds * _NS_PER_S)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts; one text is a list of one."""
        value = self._take(key, [])
        listed = cast("list[Any]", [value] if isinstance(value, str) else value if isinstance(value, list) else [None])
        if not all(isinstance(one, str) and one for one in listed):
            raise self.wrong(key, f'a list of names is expected, as in {key} = ["ops"]')
        return tuple(dict.fromkeys(cast("list[str]", listed)))

    def done(self) -> None:
        """Raise ConfigError where a key is left that nobody has taken."""
        left = [key for key in self._said if key not in self._taken]
        if left:
            near = get_close_matches(left[0], self._taken, n=1)
            meant = f"did you mean {near[0]}; " if near else ""
            raise self.wrong(left[0], f"{meant}it takes {', '.join(sorted(self._taken))}", named=False)

    def wrong(self, key: str, what_next: str, *, named: bool = True) -> ConfigError:
        """Return the error that a key is not as it has to be."""
        value = self._said.get(key)
        if key not in self._said:
            return self.error(f"{key} is missing", what_next)
        hidden = not named or is_secret_name(key) or "url" in key
        said = f"{key} is not right" if hidden else f"{key} is {_of(value)}"
        said = said if named else f"{key} is not known here"
        return self.error(said, what_next, key=key)

    def error(self, what: str, what_next: str, *, key: str | None = None) -> ConfigError:
        """Return an error about this table, with the line of a key, or of its header."""
        line = self._line(key)
        place = f"{self.file}, line {line}" if line else str(self.file)
        return ConfigError(f"{place}: {self.title}: {what}; {what_next}")

    def _take(self, key: str, default: Any) -> Any:
        self._taken.add(key)
        return self._said.get(key, default)

    def _line(self, key: str | None) -> int | None:
        """Return the line of a key in this table, else of its header; None where it is written in another way."""
        number, found = -1, None
        for line, text in enumerate(self._text.splitlines(), start=1):
            words = text.partition("#")[0].strip()
            if words.startswith("["):
                if found is not None:
                    break
                number += words.replace(" ", "").replace('"', "") == self._header
                found = line if number == self._number and words.startswith(self._header[:2]) else None
            elif found is not None and key is not None and re.match(rf'"?{re.escape(key)}"?\s*=', words):
                return line
        return found


def _of(value: Any) -> str:
    shown = f"'{value}'" if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"


def _span(seconds: float) -> str:
    unit = next((unit for unit in ("d", "h", "m") if seconds and seconds % _UNIT_S[unit] == 0), "s")
    return f"{seconds / _UNIT_S[unit]:g}{unit}"
