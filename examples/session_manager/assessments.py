"""The assessment service's own routes, on the session API: what a submission is, and what its callers are told.

Everything it answers is folded from the journal; it keeps nothing itself.
"""

from typing import Any
from urllib.parse import quote, unquote

import msgspec
from agent import STAGES

from otel_agent_journal.codec import format_timestamp
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.sessions.http import (
    HttpAnswer,
    HttpRequest,
    about,
    answer,
    body_of,
    not_allowed,
    problem,
    refusals_told,
)
from otel_agent_journal.sessions.service import SessionService
from otel_agent_journal.sessions.watched import State

AGENT = "assessment"
STATUSES = {
    "RequirementsAnalyzer": "ANALYZING_REQUIREMENTS",
    "CostCalculator": "CALCULATING_COSTS",
    "TemplateRetriever": "RETRIEVING_TEMPLATES",
    "PowerPointGenerator": "GENERATING_POWERPOINT",
    "SOWGenerator": "GENERATING_SOW",
}
EVENT_TYPES = {
    "REASONING": "reasoning",
    "TOOL_START": "tool_call",
    "TOOL_END": "tool_response",
    "TOOL_ERROR": "tool_response",
    "CHUNK": "chunk",
    "WARNING": "warning",
    "FINAL_RESPONSE": "final_response",
}
SHOWN = {"text", "message", "input", "output", "attempt", "backoff_s"}  # of an event's details
MAX_EVENTS = 1000  # the latest, in one answer


class Assessment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is submitted."""

    company: str
    requirements: str
    region: str = "us-east-1"
    monthly_users: int | None = None
    budget_usd: float | None = None


class AssessmentRoutes:
    """Answers the service's requests, over ASGI and in Lambda alike."""

    max_body_bytes = 256 * 1024

    def __init__(self, sessions: SessionService) -> None:
        self._sessions = sessions

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """Return the answer to a request."""
        return refusals_told(lambda: self._answer(request))

    def _answer(self, request: HttpRequest) -> HttpAnswer:
        path, _, session_id = request.path.rpartition("/")
        session_id = unquote(session_id)
        if request.path == "/api/submit-assessment":
            return self._submit(request) if request.method == "POST" else not_allowed(request, {"POST": None})
        if path not in ("/api/agent-status", "/api/results") or not session_id:
            return problem(404, "Not found", f"{request.path} is no path of this service")
        if request.method != "GET":
            return not_allowed(request, {"GET": None})
        return self._status(session_id) if path == "/api/agent-status" else self._result(session_id)

    def _submit(self, request: HttpRequest) -> HttpAnswer:
        asked = msgspec.to_builtins(body_of(request, Assessment, self.max_body_bytes))
        key = request.headers.get("idempotency-key")
        done = self._sessions.submit(AGENT, asked, metadata={"company": asked["company"]}, idempotency_key=key)
        poll_url = f"/api/agent-status/{quote(done.session_id, safe='')}"
        told = {
            "session_id": done.session_id,
            "status": "PENDING",
            "message": "The assessment was submitted and is about to begin.",
            "poll_url": poll_url,
        }
        return answer(202, told, {"location": poll_url})

    def _status(self, session_id: str) -> HttpAnswer:
        state = self._sessions.state(session_id)
        told = {
            "session_id": session_id,
            "status": status_of(state),
            "current_stage": state.stage,
            "progress": state.progress or 0,
            **self._asked(session_id),
            "agent_events": self._events(session_id),
            "error": msgspec.to_builtins(state.error),
            "created_at": state.created_at,
            "updated_at": state.updated_at,
        }
        return about(session_id, answer(200, told))

    def _result(self, session_id: str) -> HttpAnswer:
        state, result = self._sessions.result(session_id)
        told = {
            "session_id": session_id,
            "status": status_of(state),
            "result": result,
            "documents": msgspec.to_builtins(state.artefacts),
            "error": msgspec.to_builtins(state.error),
            "created_at": state.created_at,
            "updated_at": state.updated_at,
        }
        if state.ended:
            return about(session_id, answer(200, told))
        return about(session_id, answer(202, told, {"retry-after": "2"}))

    def _asked(self, session_id: str) -> dict[str, Any]:
        """Return the request's own fields, as they were submitted."""
        asked = self._sessions.watched.progress(session_id).input
        found = self._sessions.journal.resolved(session_id, asked)
        return dict(found) if isinstance(found, dict) else {}

    def _events(self, session_id: str) -> list[dict[str, Any]]:
        events = self._sessions.journal.events(session_id)
        shown = [event for event in events if event.type in EVENT_TYPES][-MAX_EVENTS:]
        return [self._sessions.journal.resolved(session_id, told_of(event)) for event in shown]


def status_of(state: State) -> str:
    """Return the status of the service that a session's is."""
    if state.status == "PROCESSING":
        return STATUSES.get(state.stage or "", "PENDING")
    if state.status in ("PENDING", "COMPLETED"):
        return state.status
    configuration = state.error is not None and state.error.kind == "configuration"
    return "CONFIGURATION_ERROR" if configuration else "ERROR"


def told_of(event: JournalEvent) -> dict[str, Any]:
    """Return an event as the service's callers see it."""
    details = {name: value for name, value in event.details.items() if name in SHOWN}
    failed = {} if event.error is None else {"error": event.error.message}
    told = {"type": EVENT_TYPES[event.type], "timestamp": format_timestamp(event.timestamp_ns), "name": event.name}
    return told | details | failed


assert set(STATUSES) == set(STAGES)
