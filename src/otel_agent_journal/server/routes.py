"""The table of routes: which request is answered by what, and what OpenAPI says of it.

Paths are matched as they were sent, segment by segment, and decoded then: an id may hold a slash, dots, anything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar
from urllib.parse import unquote

import msgspec
from starlette.responses import Response

from otel_agent_journal.errors import ConfigError
from otel_agent_journal.server.problems import Refused

if TYPE_CHECKING:
    from starlette.requests import Request

    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.reading.journal import Journal
    from otel_agent_journal.server.hub import Hub
    from otel_agent_journal.server.journals import Journals

JSON: Final = "application/json"
_Value = TypeVar("_Value")


class Param(msgspec.Struct, frozen=True):
    """A parameter of a query, as OpenAPI tells of it."""

    name: str
    about: str
    kind: str = "string"
    several: bool = False


class Call(NamedTuple):
    """A request as a route sees it.

    `args` are the parts of its path that the route names, decoded; `agents` those that can be run, and what they do.
    """

    request: Request
    args: Mapping[str, str]
    hub: Hub
    journals: Journals
    contexts: Contexts | None
    agents: Mapping[str, str]

    def text(self, name: str) -> str | None:
        """Return a parameter, None where it is not there or empty."""
        return self.request.query_params.get(name) or None

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a parameter that may be given several times, or as a list with commas."""
        return tuple(part for one in self.request.query_params.getlist(name) for part in one.split(",") if part)

    def number(self, name: str, default: int, *, least: int = 0, most: int = 1 << 62) -> int:
        """Return a whole number.

        Raises:
            Refused: it is none, or out of bounds.
        """
        text = self.text(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdecimal() and least <= int(text[:20]) <= most):
            raise Refused(400, f"{name} is '{text[:80]}'; a whole number from {least} to {most} is expected")
        return int(text)

    def parsed(self, name: str, parse: Callable[[str], _Value]) -> _Value | None:
        """Return a parameter as `parse` reads it.

        Raises:
            Refused: it cannot.
        """
        text = self.text(name)
        try:
            return None if text is None else parse(text)
        except (ConfigError, ValueError) as error:
            raise Refused(400, f"{name} is '{text and text[:80]}'; {error}") from error


Contexts = Callable[["Journal", "SessionHead", "int | None"], "Iterable[Mapping[str, Any]]"]
"""Yields what each agent of a session has in its context, before a step or now."""
Blocking = Callable[["Call", "Journal"], "Response | bytes"]
Flowing = Callable[["Call"], Awaitable[Response]]


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One route.

    Args:
        method: of HTTP.
        path: with `{name}` for a segment that is an argument.
        about: what it does, in one line.
        answers: what it says, as a Struct, or the name of a schema that is any object.
        does: answers it in a thread, with a journal to itself; or
        flows: answers it in the loop.
        params: of its query.
        writes: whether it needs `--write`.
        media_types: of its answer.
        status: of its answer.
        takes: the Struct of its body.
    """

    method: str
    path: str
    about: str
    answers: Any = None
    does: Blocking | None = None
    flows: Flowing | None = None
    params: tuple[Param, ...] = ()
    writes: bool = False
    media_types: tuple[str, ...] = (JSON,)
    status: int = 200
    takes: Any = None

    @property
    def segments(self) -> tuple[str, ...]:
        """The path in parts."""
        return tuple(self.path.strip("/").split("/"))


class Found(NamedTuple):
    """The route of a request, and its arguments."""

    route: Route
    args: Mapping[str, str]


class Routes:
    """Finds the route of a request."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self.all = routes

    def find(self, method: str, path: str) -> Found:
        """Return the route of a path as it was sent.

        Raises:
            Refused: there is none, or not for this method.
        """
        sent = path.strip("/").split("/")
        fitting = [(route, args) for route in self.all if (args := _fit(route.segments, sent)) is not None]
        literal = [one for one in fitting if "{" not in one[0].path.rpartition("/")[2]]
        fitting = literal or fitting
        for route, args in fitting:
            if route.method == method or (method == "HEAD" and route.method == "GET"):
                return Found(route, args)
        if fitting:
            methods = ", ".join(sorted({route.method for route, _ in fitting}))
            raise Refused(405, f"{method} is not done here; {methods} is", headers={"Allow": methods})
        raise Refused(404, f"there is no {unquote(path)[:200]}; /openapi.json lists what there is")


def _fit(segments: tuple[str, ...], sent: list[str]) -> dict[str, str] | None:
    if len(segments) != len(sent):
        return None
    args: dict[str, str] = {}
    for segment, one in zip(segments, sent, strict=True):
        if segment.startswith("{"):
            if not one:
                return None
            args[segment[1:-1]] = unquote(one, errors="replace")
        elif segment != one:
            return None
    return args
