"""Answers of bounded size: what is long is cut, with a note of where and how long it is; the rest is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from otel_agent_journal.server.problems import Refused

MOST_TEXT: Final = 64 * 1024  # characters of one text
MOST_ITEMS: Final = 2000  # of one list
MOST_IN_ALL: Final = 4 * 1024 * 1024  # characters of all texts together; beyond that each keeps its beginning
LEAST_TEXT: Final = 1024
PIECE: Final = 1024 * 1024  # characters of the rest, at once
DEEPEST: Final = 100


class Cutter:
    """Cuts a value. `cut` tells of each place: a JSON pointer, and the length of what was there."""

    def __init__(self) -> None:
        self.cut: list[dict[str, Any]] = []
        self._left = MOST_IN_ALL

    def of(self, value: Any, pointer: str = "", depth: int = 0) -> Any:
        """Return a value within its bounds."""
        if isinstance(value, str):
            return self._text(value, pointer)
        if depth > DEEPEST:
            self.cut.append({"pointer": pointer, "length": None, "unit": "levels"})
            return None
        if isinstance(value, Mapping):
            named = cast("Mapping[Any, Any]", value)
            self._left -= 8 * len(named)
            return {
                str(name): self.of(one, f"{pointer}/{_escaped(str(name))}", depth + 1) for name, one in named.items()
            }
        if isinstance(value, list | tuple):
            listed = cast("list[Any]", value)
            shown = listed[:MOST_ITEMS]
            if len(shown) < len(listed):
                self.cut.append({"pointer": pointer, "length": len(listed), "unit": "items"})
            self._left -= 8 * len(shown)
            return [self.of(one, f"{pointer}/{number}", depth + 1) for number, one in enumerate(shown)]
        return value

    def _text(self, text: str, pointer: str) -> str:
        most = MOST_TEXT if self._left > 0 else LEAST_TEXT
        self._left -= min(len(text), most)
        if len(text) <= most:
            return text
        self.cut.append({"pointer": pointer, "length": len(text), "unit": "characters"})
        return text[:most]


def bounded(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record within its bounds; `cut` in it says what is not whole."""
    cutter = Cutter()
    shown = cutter.of(record)
    return {**shown, "cut": cutter.cut}


def at(value: Any, pointer: str) -> Any:
    """Return what a JSON pointer names.

    Raises:
        Refused: there is nothing.
    """
    for part in pointer.split("/")[1:] if pointer else ():
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, Mapping) and name in value:
            value = cast("Mapping[str, Any]", value)[name]
        elif (
            isinstance(value, list | tuple)
            and name.isascii()
            and name.isdecimal()
            and int(name) < len(cast("list[Any]", value))
        ):
            value = cast("list[Any]", value)[int(name)]
        else:
            raise Refused(404, f"there is nothing at {pointer[:200]}; `cut` in the step's answer names what there is")
    return value


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
