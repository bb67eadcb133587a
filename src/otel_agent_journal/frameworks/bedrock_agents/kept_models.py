"""What a model answered, kept so that a replay can give it again. Pure.

A stream cuts a text in parts, and a redactor must see it whole. So each text stands once, joined, under the block that
it is of; where it was in the parts stands how long it was.
"""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from otel_agent_journal.codec import encode_value
from otel_agent_journal.frameworks.bedrock_agents.bodies import decoded
from otel_agent_journal.frameworks.bedrock_agents.kept import Kept, as_plain
from otel_agent_journal.frameworks.bedrock_agents.shapes import mapping
from otel_agent_journal.mapping.media import MAX_BYTES

TEXTS: Final = "texts"
_CHARS: Final = "$chars"
_JSON: Final = "json"
_NAMES: Final = frozenset(
    ("id", "finish_reason", "model", "name", "object", "role", "stopReason", "stop_reason", "toolUseId", "type")
)
"""Fields whose text is a name, and stands whole in each part. Any other may be a piece of what a stream has cut."""
_MAX_DEPTH: Final = 32


class KeptModel(Kept):
    """Keeps one answer of a model, as it comes."""

    def __init__(self, member: str | None, *, content: bool) -> None:
        super().__init__(member or "", content=content)
        self._texts: dict[str, list[str]] = {}

    def body(self, data: bytes) -> None:
        """Keep the body of an answer that has come whole."""
        if not self._is_kept:
            return
        if len(data) > MAX_BYTES:
            self._is_kept = False
            return
        try:
            told: Any = data.decode()
        except UnicodeDecodeError:
            told = {"bytes": data}
        self._raw["response"]["body"] = told

    def part(self, event: Mapping[str, Any]) -> None:
        """Keep a part of the stream."""
        if not self._is_kept:
            return
        chunk = mapping(event.get("chunk"))
        found = decoded(chunk.get("bytes"))
        if isinstance(found, dict):
            self._keep({"chunk": {_JSON: self._cut(found)}})
        else:
            self._keep(as_plain(self._cut(event)))

    def raw(self, output: Any, ends: str | None = None, error: BaseException | None = None) -> dict[str, Any] | None:
        """Return all of it; None where it is not kept."""
        raw = super().raw(output, ends, error)
        if raw is not None and self._texts:
            raw[TEXTS] = {name: "".join(texts) for name, texts in self._texts.items()}
        return raw

    def _cut(self, event: Any) -> Any:
        def cut(name: str, value: Any) -> Any:
            if not isinstance(value, str):
                return value
            self._texts.setdefault(name, []).append(value)
            return {_CHARS: len(value)}

        return _mapped(event, cut)


def given_again(raw: Mapping[str, Any], events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the parts of a stream with their texts."""
    texts, at = mapping(raw.get(TEXTS)), dict[str, int]()

    def whole(name: str, value: Any) -> Any:
        length = mapping(value).get(_CHARS)
        if type(length) is not int:
            return value
        begin = at.get(name, 0)
        at[name] = begin + length
        return str(texts.get(name, ""))[begin : begin + length]

    found: list[dict[str, Any]] = []
    for event in events:
        said = _mapped(event, whole)
        chunk = mapping(said.get("chunk"))
        found.append({"chunk": {"bytes": encode_value(chunk[_JSON])}} if _JSON in chunk else said)
    return found


def body_again(told: Any) -> bytes:
    """Return the body of an answer that was kept."""
    return told.encode() if isinstance(told, str) else a2b_base64(str(mapping(told).get("bytes", "")))


def _mapped(value: Any, change: Callable[[str, Any], Any], block: Any = 0, depth: int = 0) -> Any:
    """Return a value with its texts changed, each told with its name, behind the block of the answer that it is of."""
    if depth > _MAX_DEPTH:
        return value
    if isinstance(value, list):
        return [_mapped(one, change, block, depth + 1) for one in cast("list[Any]", value)]
    if not isinstance(value, Mapping):
        return value
    fields = cast("Mapping[str, Any]", value)
    block = fields.get("contentBlockIndex", fields.get("index", block))
    found: dict[str, Any] = {}
    for name, one in fields.items():
        changed = one if name in _NAMES else change(f"{block}.{name}", one)
        found[name] = changed if changed is not one else _mapped(one, change, block, depth + 1)
    return found
