"""OpenAPI 3.1 of the table of routes, from the Structs that are sent; checked in as `docs/openapi.json`."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from otel_agent_journal.server import wire
from otel_agent_journal.server.problems import MEDIA_TYPE
from otel_agent_journal.server.routes import JSON, Param, Route

_MESSAGES: Final = (wire.SessionRow, wire.Rows, wire.Text, wire.Resync, wire.Delayed)  # of the viewer's stream
_OBJECT: Final = {"type": "object", "additionalProperties": True}
_LISTS: Final = frozenset(("LangGraphAssistants", "LangGraphRuns", "LangGraphStates", "LangGraphThreads", "Steps"))
_ABOUT: Final = {
    "Alerts": "`alerts`, each as `agent-journal alerts list -o json` prints it.",
    "Agents": "`agents`: `name`, `description`, `runs` (whether it can be run here), `sessions`, `updated_ms`.",
    "Status": "As `agent-journal status -o json` prints it: docs/json.md.",
    "Steps": "As `agent-journal show -o json` prints them: docs/json.md.",
    "Step": "As `agent-journal show SESSION/STEP -o json` prints it. `cut` names what is not whole.",
    "Prompt": "As `agent-journal show SESSION/STEP --prompt -o json` prints it.",
    "Messages": "`messages` as `agent-journal show --messages -o json` prints them; `next`: ask on with `from`.",
    "State": "`agents`, each as `agent-journal context -o json` prints it.",
}


def document(routes: tuple[Route, ...]) -> bytes:
    """Return the document, as JSON."""
    structs = [*_MESSAGES, wire.Problem, *(one for route in routes for one in _structs(route))]
    _, components = msgspec.json.schema_components(dict.fromkeys(structs), ref_template="#/components/schemas/{name}")
    named = {one for route in routes if isinstance(one := route.answers, str)}
    for name in sorted(named):
        shape: dict[str, Any] = {"type": "array", "items": _OBJECT} if name in _LISTS else dict(_OBJECT)
        components[name] = shape | ({"description": _ABOUT[name]} if name in _ABOUT else {})
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    told: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "agent-journal", "version": "1", "description": "See docs/server.md."},
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"bearer": []}],
    }
    return msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n"


def _structs(route: Route) -> list[Any]:
    return [one for one in (route.answers, route.takes) if one is not None and not isinstance(one, str)]


def _operation(route: Route) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": route.about}
    answer["content"] = {
        media: {"schema": _schema(route) if media == JSON else {"type": "string"}} for media in route.media_types
    }
    problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
    found: dict[str, Any] = {
        "summary": route.about,
        "operationId": _operation_id(route),
        "parameters": [*map(_path_param, _args(route)), *map(_query_param, route.params)],
        "responses": {
            str(route.status): answer,
            "default": {"description": "What, why, and what next.", "content": {MEDIA_TYPE: problem}},
        },
    }
    if route.takes is not None:
        body = {"schema": {"$ref": f"#/components/schemas/{route.takes.__name__}"}}
        found["requestBody"] = {"required": True, "content": {JSON: body}}
    return found


def _schema(route: Route) -> dict[str, Any]:
    if route.answers is None:
        return {}
    name = route.answers if isinstance(route.answers, str) else route.answers.__name__
    return {"$ref": f"#/components/schemas/{name}"}


def _operation_id(route: Route) -> str:
    words = [segment.strip("{}").replace(".", "_") for segment in route.segments if segment != "api"]
    return "_".join((route.method.lower(), *words))


def _args(route: Route) -> list[str]:
    return [segment[1:-1] for segment in route.segments if segment.startswith("{")]


def _path_param(name: str) -> dict[str, Any]:
    about = f"The {name}, percent-encoded: it may hold a slash."
    return {"name": name, "in": "path", "required": True, "description": about, "schema": {"type": "string"}}


def _query_param(param: Param) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": param.kind}
    if param.several:
        schema = {"type": "array", "items": schema}
    return {"name": param.name, "in": "query", "description": param.about, "schema": schema}
