"""The routes of A2A: a card and an endpoint for each agent."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from a2a.server.routes.jsonrpc_dispatcher import JsonRpcDispatcher
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    HTTPAuthSecurityScheme,
    SecurityRequirement,
    SecurityScheme,
    StringList,
)
from google.protobuf.json_format import MessageToDict
from starlette.responses import JSONResponse, Response

from otel_agent_journal.server.a2a.handler import Handler
from otel_agent_journal.server.problems import Refused
from otel_agent_journal.server.routes import Call, Route

if TYPE_CHECKING:
    from otel_agent_journal.sessions.service import SessionService

_VERSION: Final = "1.0"
_CARD: Final = "/.well-known/agent-card.json"
_MODES: Final = ("text/plain", "application/json")


class Agents:
    """The agents of a server, for A2A.

    Args:
        service: runs them.
        described: each by name, with what it does.
    """

    def __init__(self, service: SessionService, described: Mapping[str, str]) -> None:
        self._service = service
        self._described = described
        self._dispatchers: dict[str, JsonRpcDispatcher] = {}

    async def ask(self, call: Call) -> Response:
        """Answer `POST /a2a/{agent}`."""
        name = self._named(call)
        if name not in self._dispatchers:
            handler = Handler(self._service, call.journals, call.hub, name)
            self._dispatchers[name] = JsonRpcDispatcher(request_handler=handler)
        call.request.scope["root_path"] = ""
        return await self._dispatchers[name].handle_requests(call.request)

    async def card(self, call: Call) -> Response:
        """Answer `GET /a2a/{agent}/.well-known/agent-card.json`, and that of a server that has one agent."""
        if "agent" not in call.args and len(self._described) != 1:
            places = ", ".join(f"/a2a/{name}{_CARD}" for name in self._described)
            raise Refused(404, f"there are {len(self._described)} agents here, each with a card of its own: {places}")
        name = self._named(call) if "agent" in call.args else next(iter(self._described))
        return JSONResponse(MessageToDict(self._card(call, name)))

    def _named(self, call: Call) -> str:
        name = call.args["agent"]
        if name not in self._described:
            raise Refused(404, f"there is no agent {name[:80]}; there are: {', '.join(self._described)}")
        return name

    def _card(self, call: Call, name: str) -> AgentCard:
        url, root = call.request.url, call.request.scope.get("root_path", "")
        place = f"{url.scheme}://{url.netloc}{root}/a2a/{quote(name)}"
        about = self._described[name] or f"The agent {name}."
        skill = AgentSkill(id=name, name=name, description=about, tags=["agent"])
        return AgentCard(
            name=name,
            description=about,
            version=version("otel-agent-journal"),
            supported_interfaces=[AgentInterface(url=place, protocol_binding="JSONRPC", protocol_version=_VERSION)],
            capabilities=AgentCapabilities(streaming=True, push_notifications=False, extended_agent_card=False),
            security_schemes={
                "bearer": SecurityScheme(http_auth_security_scheme=HTTPAuthSecurityScheme(scheme="Bearer"))
            },
            security_requirements=[SecurityRequirement(schemes={"bearer": StringList()})],
            default_input_modes=_MODES,
            default_output_modes=_MODES,
            skills=[skill],
        )


def a2a_routes(service: SessionService, described: Mapping[str, str]) -> tuple[Route, ...]:
    """Return the routes of A2A."""
    agents = Agents(service, described)
    flows: Any = agents.ask
    return (
        Route(method="POST", path="/a2a/{agent}", about="A2A, as JSON-RPC.", answers="A2A", flows=flows, writes=True),
        Route(method="GET", path=f"/a2a/{{agent}}{_CARD}", about="An agent's card.", answers="A2A", flows=agents.card),
        Route(method="GET", path=_CARD, about="The card of the only agent.", answers="A2A", flows=agents.card),
    )
