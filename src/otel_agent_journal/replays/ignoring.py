"""What is no difference in a replay: times and ids that stand in texts, and values at a path. Each use is counted.

time                 2026-12-01T10:00:00Z, 10:00:00, 2026-12-01, and Unix times in seconds or finer
uuid                 8-4-4-4-12 hex digits, and 32 of them
messages[0].content  a value of what a model was shown; input.url of what a tool was given; [*] for any place
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

from otel_agent_journal.errors import ConfigError

_FIELDS: Final = ("messages", "tools", "params", "input", "parameters", "output")
_TEXTS: Final = {
    "time": (
        re.compile(
            r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?"
            r"|\b\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?\b|\b1[5-9]\d{8}(?:\d{3}|\d{6}|\d{9}|\.\d+)?\b"
        ),
        "<time>",
    ),
    "uuid": (re.compile(r"\b[0-9a-fA-F]{8}(?:-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}\b"), "<uuid>"),
}
_STEP: Final = re.compile(r"\.?([^.\[\]]+)|\[(\d+|\*)\]")
_GONE: Final = "<ignored>"
_DEEPEST: Final = 200


class Ignoring:
    """Rules of `--ignore`.

    Args:
        rules: `time`, `uuid`, or a path that begins with messages, tools, params, input, parameters or output.

    Raises:
        ConfigError: one is none of these.
    """

    def __init__(self, rules: Iterable[str] = ()) -> None:
        self._texts: list[tuple[re.Pattern[str], str]] = []
        self._paths: dict[str, list[tuple[str, ...]]] = {}
        for rule in rules:
            if rule in _TEXTS:
                self._texts.append(_TEXTS[rule])
                continue
            steps = tuple(name or index for name, index in _STEP.findall(rule))
            if not steps or steps[0] not in _FIELDS or "".join(m.group(0) for m in _STEP.finditer(rule)) != rule:
                known = ", ".join((*_TEXTS, *_FIELDS))
                raise ConfigError(
                    f"--ignore is '{rule}'; it is one of time, uuid, or a path such as messages[0].content that begins"
                    f" with one of: {known}"
                )
            self._paths.setdefault(steps[0], []).append(steps[1:])

    def __bool__(self) -> bool:
        """Tell whether there is any rule."""
        return bool(self._texts or self._paths)

    def cleaned(self, field: str, value: Any) -> Any:
        """Return a value without what is ignored in it.

        Args:
            field: messages, tools, params, input, parameters or output.
            value: plain data; it is not changed.
        """
        paths = self._paths.get(field, ())
        if () in paths:
            return _GONE
        return self._clean(value, paths) if paths or self._texts else value

    def _clean(self, value: Any, paths: Sequence[tuple[str, ...]], depth: int = 0) -> Any:
        if isinstance(value, str):
            for pattern, stands in self._texts:
                value = pattern.sub(stands, value)
            return value
        if depth > _DEEPEST:
            return value
        if isinstance(value, Mapping):
            return {
                name: self._below(one, paths, str(name), depth)
                for name, one in cast("Mapping[str, Any]", value).items()
            }
        if isinstance(value, list | tuple):
            return [self._below(one, paths, str(at), depth) for at, one in enumerate(cast("list[Any]", value))]
        return value

    def _below(self, value: Any, paths: Sequence[tuple[str, ...]], step: str, depth: int) -> Any:
        left = [path[1:] for path in paths if path[0] in (step, "*")]
        return _GONE if () in left else self._clean(value, left, depth + 1)
