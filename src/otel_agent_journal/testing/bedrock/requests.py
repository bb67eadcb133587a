"""What arrives: the operations that are served, and a request as a script's functions and tests read it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

_ROUTES: Final[Mapping[str, re.Pattern[str]]] = {
    # From the `requestUri`s of the service models. Ids are percent-encoded, so that no slash is inside one.
    "Converse": re.compile(r"/model/(?P<model_id>[^/]+)/converse"),
    "ConverseStream": re.compile(r"/model/(?P<model_id>[^/]+)/converse-stream"),
    "InvokeModel": re.compile(r"/model/(?P<model_id>[^/]+)/invoke"),
    "InvokeModelWithResponseStream": re.compile(r"/model/(?P<model_id>[^/]+)/invoke-with-response-stream"),
    "InvokeAgent": re.compile(
        r"/agents/(?P<agent_id>[^/]+)/agentAliases/(?P<alias_id>[^/]+)/sessions/(?P<session_id>[^/]+)/text"
    ),
    "InvokeInlineAgent": re.compile(r"/agents/(?P<session_id>[^/]+)"),
    "InvokeFlow": re.compile(r"/flows/(?P<flow_id>[^/]+)/aliases/(?P<alias_id>[^/]+)"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, as it came. Ids that its path does not name are empty."""

    number: int  # from 1, in the order of arrival
    operation: str
    path: str
    headers: Mapping[str, str]  # names in lower case
    body: Mapping[str, Any]
    model_id: str = ""
    agent_id: str = ""
    alias_id: str = ""
    session_id: str = ""
    flow_id: str = ""

    @property
    def text(self) -> str:
        """What was said last: the text of the last message, an agent's input text, a flow's first document."""
        match self.body:
            case {"inputText": str(text)}:
                return text
            case {"messages": [*_, {"content": [*_] as blocks}]}:
                said = [block["text"] for block in cast("list[dict[str, Any]]", blocks) if "text" in block]
                return "\n".join(said)
            case {"inputs": [{"content": {"document": document}}, *_]}:
                return document if isinstance(document, str) else json.dumps(document)
            case _:
                return ""

    @property
    def tool_results(self) -> tuple[Mapping[str, Any], ...]:
        """The `toolResult` blocks of the last message."""
        match self.body:
            case {"messages": [*_, {"content": [*_] as blocks}]}:
                found = cast("list[dict[str, Any]]", blocks)
                return tuple(block["toolResult"] for block in found if "toolResult" in block)
            case _:
                return ()


def read_request(number: int, target: str, headers: Mapping[str, str], payload: bytes) -> Request | None:
    """Return the request, or None where no served operation has that path."""
    path = urlsplit(target).path
    for operation, pattern in _ROUTES.items():
        found = pattern.fullmatch(path.rstrip("/"))
        if found is not None:
            ids = {name: unquote(value) for name, value in found.groupdict().items()}
            return Request(
                number=number, operation=operation, path=unquote(path), headers=headers, body=_decode(payload), **ids
            )
    return None


def _decode(payload: bytes) -> Mapping[str, Any]:
    try:
        decoded: object = json.loads(payload or b"{}")
    except ValueError:
        return {}
    return cast("dict[str, Any]", decoded) if isinstance(decoded, dict) else {}
