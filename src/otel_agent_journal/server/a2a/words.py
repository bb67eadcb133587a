"""What an agent says while it says it: the last message of a graph, of others the text of the last step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, cast

from otel_agent_journal.event import CHUNK

if TYPE_CHECKING:
    from otel_agent_journal.server.langgraph.following import Part

MESSAGES: Final = "messages"
_SAID_BY_AGENTS: Final = frozenset(("AIMessageChunk", "ai"))


class Words:
    """The words of one run. `text`: of its last message, as far as it has come."""

    def __init__(self) -> None:
        self.text = ""
        self._of: str | None = None

    def take(self, parts: Iterable[Part]) -> list[tuple[str, bool]]:
        """Take in what a run streams; return what is new, and of each whether it goes on what was there."""
        found: list[tuple[str, bool]] = []
        for name, text in self._said(parts):
            goes_on = name == self._of and bool(self.text)
            self._of, self.text = name, self.text + text if goes_on else text
            if goes_on and found:
                found[-1] = (found[-1][0] + text, found[-1][1])
            elif text:
                found.append((text, goes_on))
        return found

    def _said(self, parts: Iterable[Part]) -> Iterator[tuple[str, str]]:
        for part in parts:
            if part.mode == CHUNK and part.data is None:  # it was another run's
                self.text, self._of = "", None
            elif part.mode == CHUNK:
                yield "".join(part.ns), str(part.data)
            elif part.mode == MESSAGES and isinstance(part.data, list) and part.data:
                message = cast("dict[str, Any]", part.data[0] if isinstance(part.data[0], dict) else {})
                if message.get("type") in _SAID_BY_AGENTS and (text := text_of(message.get("content"))):
                    yield str(message.get("id")), text


def text_of(content: Any) -> str:
    """Return the text of a message's content."""
    if isinstance(content, str):
        return content
    blocks = cast("list[Any]", content) if isinstance(content, list) else []
    return "".join(one if isinstance(one, str) else str(one.get("text", "")) for one in blocks if _has_text(one))


def _has_text(block: Any) -> bool:
    return isinstance(block, (str, dict))
