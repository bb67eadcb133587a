"""`lambda_session_handler`: the session API as one Lambda function, behind API Gateway or a function URL.

A request is answered at once. What it submits is run by the same function, which invokes itself asynchronously for it:
`{"action": "run", "session_id": …, "run": …}`. Lambda may deliver that twice; the run starts once.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, cast

from otel_agent_journal.bootstrap.session_run import execute
from otel_agent_journal.bootstrap.sessions import open_service, settings_for
from otel_agent_journal.config import AGENTS, Settings
from otel_agent_journal.errors import ConfigError, JournalError, MissingExtra
from otel_agent_journal.sessions.agents import Order, Runs, agents_from, agents_of
from otel_agent_journal.sessions.gateway import is_request, request_from, response_of
from otel_agent_journal.sessions.http import HttpAnswer, Routes, SessionRoutes, problem
from otel_agent_journal.sessions.notices import Notices
from otel_agent_journal.sessions.runs import ENDED, QUEUED, STARTED, Refused
from otel_agent_journal.sessions.service import SessionService

GATEWAY_S: Final = 29.0  # after which API Gateway answers by itself
_RESERVE_S: Final = 3.0
_STALE_NS: Final = 15 * 1_000_000_000  # a run that waits for so long was not invoked, or Lambda is late
_LOOK_S: Final = 0.25

Invoke = Callable[[str, bytes], object]
"""Invokes a function by its ARN asynchronously with a payload."""


class LambdaSessions:
    """The session API within a Lambda function: call it with Lambda's event and context.

    Args:
        agents: as for `Sessions`; by default those of AGENT_JOURNAL_AGENTS.
        store: a URL; by default AGENT_JOURNAL_STORE. One that other invocations reach, too: not a file in /tmp.
        routes: makes what answers requests, of the service; by default `SessionRoutes`.
        invoke: invokes a function asynchronously; by default by boto3.

    Raises:
        ConfigError: a setting is malformed.
    """

    def __init__(
        self,
        agents: Mapping[str, Runs] | None = None,
        *,
        store: str | None = None,
        routes: Callable[[SessionService], Routes] = SessionRoutes,
        invoke: Invoke | None = None,
    ) -> None:
        given = agents_from(os.environ[AGENTS]) if agents is None and os.environ.get(AGENTS) else agents or {}
        self._settings: Settings = settings_for(store)
        self._invoke = invoke or _invoke
        self.service: SessionService = open_service(self._settings, agents_of(given))
        self._routes = routes(self.service)

    def __call__(self, event: Any, context: Any) -> Any:
        """Answer one event of Lambda: a request, or what this function has invoked itself with."""
        if is_request(event):
            return response_of(self._answered(event, context))
        asked: Mapping[str, Any] = cast("Any", event) if isinstance(event, Mapping) else {}
        action = asked.get("action")
        if action != "run":
            raise ConfigError(
                f"action is {action!r}; a request of API Gateway or a function URL, or 'run', is expected"
            )
        return {"ran": self._run(str(asked["session_id"]), str(asked["run"]), context)}

    def _answered(self, event: Mapping[str, Any], context: Any) -> HttpAnswer:
        until = time.monotonic() + min(GATEWAY_S - _RESERVE_S, _left_s(context) - _RESERVE_S)
        self.service.submitted = partial(self._begin, context)
        try:
            request = request_from(event)
        except Refused as error:
            return problem(error.status, error.title, str(error))
        answer = self._routes.answer(request)
        waits_until = min(until, time.monotonic() + (answer.again or 0))
        while answer.again and time.monotonic() + _LOOK_S < waits_until:
            time.sleep(_LOOK_S)
            answer = self._routes.answer(request)
        if answer.session_id is not None:
            self._look_after(answer.session_id, context)
        return answer

    def _run(self, session_id: str, run_id: str, context: Any) -> bool:
        """Run what was submitted, as far as Lambda gives time for it; then what waits behind it."""
        line = self.service.lines.get(session_id)
        run = None if line is None else line.find(run_id)
        if run is None or run.agent not in self.service.agents:
            return False
        order = Order(session_id=session_id, run=run_id, agent=self.service.agents[run.agent])
        deadline = time.monotonic() + _left_s(context)
        ran = execute(self.service, self._settings, order, pause=time.sleep, deadline=deadline)
        line = self.service.lines.get(session_id)
        if ran and line is not None and line.active:
            self._begin(context, session_id, line.active[0].run)
        return ran

    def _begin(self, context: Any, session_id: str, run_id: str) -> None:
        """Have a run started; where that fails now, the next look at the session does it."""
        line = self.service.lines.get(session_id)
        if line is None or not line.active or line.active[0].run != run_id:
            return
        payload = json.dumps({"action": "run", "session_id": session_id, "run": run_id}).encode()
        try:
            self._invoke(str(context.invoked_function_arn), payload)
        except JournalError:
            raise
        except Exception as error:  # noqa: BLE001 - durable it is; a function that is throttled is one such reason
            self.service.telling.warning(
                session_id, line.active[0], f"the function could not be invoked yet: {type(error).__name__}"
            )

    def _look_after(self, session_id: str, context: Any) -> None:
        """Do for the session that is looked at what a server's dispatcher would do."""
        line = self.service.lines.get(session_id)
        for run in () if line is None else line.runs:
            if run.state == ENDED:
                Notices(self.service, secret=os.environ.get("AGENT_JOURNAL_WEBHOOK_SECRET")).tell(session_id, run)
        first = line.active[0] if line is not None and line.active else None
        if first is None:
            return
        now_ns = time.time_ns()
        if first.state == QUEUED and now_ns - max(first.at_ns, first.until_ns) > _STALE_NS:
            self._begin(context, session_id, first.run)
        elif first.state == STARTED and now_ns - max(first.seen_ns, first.at_ns) > 120 * 1_000_000_000:
            self.service.give_up(session_id, first)


_HANDLERS: Final[list[LambdaSessions]] = []


def lambda_session_handler(event: Any, context: Any) -> Any:
    """Serve the session API in AWS Lambda: the function's handler, for API Gateway 1 and 2, and function URLs.

    Agents are those of AGENT_JOURNAL_AGENTS, the store that of AGENT_JOURNAL_STORE. `LambdaSessions` is given them.
    """
    if not _HANDLERS:
        _HANDLERS.append(LambdaSessions())
    return _HANDLERS[0](event, context)


def _left_s(context: Any) -> float:
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    return float(remaining()) / 1000 if callable(remaining) else GATEWAY_S  # type: ignore[arg-type]


def _invoke(arn: str, payload: bytes) -> None:
    try:
        import boto3
    except ImportError as error:
        raise MissingExtra("boto3, by which the function invokes itself,", "boto3") from error
    cast("Any", boto3).client("lambda").invoke(FunctionName=arn, InvocationType="Event", Payload=payload)
