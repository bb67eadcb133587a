"""What the service answered, kept so that a replay can give it again: the response, and each part of its stream. Pure.

It is plain data, and as such passes the program's redactor. The text of an agent's chunks does so whole, as the output
of its step: here stands how many bytes of it each chunk is.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, cast

from otel_agent_journal.codec import encode_value
from otel_agent_journal.frameworks.bedrock_agents.shapes import mapping
from otel_agent_journal.mapping.media import MAX_BYTES
from otel_agent_journal.plain import plain

LEFT: Final = "left"  # the program read no further
DIED: Final = "died"  # the call or its stream raised


class Kept:
    """Keeps one answer, as it comes.

    Args:
        member: of the response, which is its stream.
        content: whether the journal has content; else nothing is kept.
    """

    def __init__(self, member: str, *, content: bool) -> None:
        self._member = member
        self._is_kept = content
        self._raw: dict[str, Any] = {}
        self._parts: list[dict[str, Any]] = []
        self._text = bytearray()  # of the chunks
        self._length = 0

    def answered(self, response: Mapping[str, Any]) -> None:
        """Keep what the service answered, without its stream."""
        if self._is_kept:
            self._raw["response"] = as_plain({name: one for name, one in response.items() if name != self._member})

    def part(self, event: Mapping[str, Any]) -> None:
        """Keep a part of the stream."""
        if not self._is_kept:
            return
        data = mapping(event.get("chunk")).get("bytes")
        if isinstance(data, bytes):
            self._text += data
            event = {**event, "chunk": {**event["chunk"], "bytes": ""}}
        kept = cast("dict[str, Any]", as_plain(event))
        if isinstance(data, bytes):
            kept["chunk"]["bytes"] = data
        self._keep(kept)

    def _keep(self, part: dict[str, Any]) -> None:
        self._parts.append(part)
        self._length += len(encode_value(part))
        if self._length > MAX_BYTES:
            self._is_kept = False
            self._parts.clear()
            self._text.clear()

    def raw(self, output: Any, ends: str | None = None, error: BaseException | None = None) -> dict[str, Any] | None:
        """Return all of it; None where it is not kept.

        Args:
            output: what the step has as its output.
            ends: how the stream ended, where it was not read to its end.
            error: what was raised.
        """
        if not self._is_kept:
            return None
        raw = dict(self._raw)
        if ends is not None:
            raw["ends"] = ends
        if isinstance(response := getattr(error, "response", None), Mapping):
            raw["error"] = as_plain(response)
        is_output = isinstance(output, str) and output.encode("utf-8", "surrogatepass") == bytes(self._text)
        if self._parts:
            raw["events"] = [_told(one) if is_output else one for one in self._parts]
        return raw


def as_plain(value: Any) -> Any:
    """Return a value as plain data, with times as text that is read again."""
    return plain(_timed(value))


def _timed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _timed(one) for name, one in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list):
        return [_timed(one) for one in cast("list[Any]", value)]
    return value.isoformat() if isinstance(value, datetime) else value


def _told(part: dict[str, Any]) -> dict[str, Any]:
    data = mapping(part.get("chunk")).get("bytes")
    return {**part, "chunk": {**part["chunk"], "bytes": len(data)}} if isinstance(data, bytes) else part


def events_in(raw: Mapping[str, Any], output: Any) -> list[dict[str, Any]]:
    """Return the parts of a stream that was kept, with the texts of its chunks as bytes."""
    text = output.encode("utf-8", "surrogatepass") if isinstance(output, str) else b""
    found: list[dict[str, Any]] = []
    at = 0
    for one in cast("list[dict[str, Any]]", raw.get("events") or ()):
        length = mapping(one.get("chunk")).get("bytes")
        if type(length) is not int:
            found.append(one)
            continue
        found.append({**one, "chunk": {**one["chunk"], "bytes": text[at : at + length]}})
        at += length
    return found
