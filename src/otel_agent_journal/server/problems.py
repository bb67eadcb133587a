"""Errors as RFC 9457 has them: what was asked, why not, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.responses import Response

from otel_agent_journal.errors import (
    ConfigError,
    JournalError,
    StoreUnreachable,
    UnsupportedByStore,
)
from otel_agent_journal.server.wire import Problem

MEDIA_TYPE: Final = "application/problem+json"


class Refused(Exception):
    """A request that is answered with a problem.

    Args:
        status: of HTTP.
        detail: what, why, and what next.
        headers: of the answer.
        errors: what is wrong with single parts of the request.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: tuple[dict[str, Any], ...] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.errors = errors


def response_of(refused: Refused) -> Response:
    """Return the answer to a request that is refused."""
    problem = Problem(
        title=HTTPStatus(refused.status).phrase, status=refused.status, detail=refused.detail, errors=refused.errors
    )
    return Response(
        msgspec.json.encode(problem), refused.status, headers=dict(refused.headers or {}), media_type=MEDIA_TYPE
    )


def refused_by(error: JournalError) -> Refused:
    """Return how an error of the journal is answered."""
    match error:
        case StoreUnreachable():
            return Refused(503, str(error), headers={"Retry-After": str(max(1, round(error.retry_after_s)))})
        case UnsupportedByStore():
            return Refused(501, str(error))
        case ConfigError():
            return Refused(400, str(error))
        case _ if error.exit_code == 3:  # not found, of whatever kind
            return Refused(404, str(error))
        case _:
            return Refused(500, str(error))
