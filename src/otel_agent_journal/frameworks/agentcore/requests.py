"""One request to an entrypoint: its root step, and the lifecycle events beside it.

The step is what everything that the handler runs hangs below; AGENT_ENTRYPOINT_STARTED and what follows it are for
those who watch requests (docs/adr/0011). This module knows nothing of how a handler is run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

from opentelemetry import context as context_api

from otel_agent_journal.event import (
    AGENT_ENTRYPOINT_COMPLETED,
    AGENT_ENTRYPOINT_FAILED,
    AGENT_ENTRYPOINT_STARTED,
)
from otel_agent_journal.foreign import is_a
from otel_agent_journal.frameworks.agentcore.boundary import kept_from_app, name_of
from otel_agent_journal.pipeline.failure import is_cancel
from otel_agent_journal.pipeline.recorder import Recorder
from otel_agent_journal.pipeline.step import Step
from otel_agent_journal.plain import text_of

REQUEST_ID: Final = "aws.request_id"  # the semantic conventions' name
STREAM_CHARACTERS: Final = 1_000_000  # of a streamed answer; what is beyond is counted, and is in the CHUNK events
MAX_BODY_BYTES: Final = 1_000_000  # of a response that a handler made itself

_TEXTS: Final = ("text/", "application/json", "application/xml")


class Sessions:
    """Which sessions the process has served, as far as one must know: the only one there was, if it was one.

    A microVM serves one session in its life, so a thread that has lost its context still belongs to it.
    """

    def __init__(self) -> None:
        self._first: str | None = None
        self._many = False

    def served(self, session_id: str) -> None:
        """Note that a request was of this session."""
        if self._first is None:
            self._first = session_id
        elif self._first != session_id:
            self._many = True

    @property
    def only(self) -> str | None:
        """The session of every request so far; None where there was none, or more than one."""
        return None if self._many else self._first


class Request:
    """A request from its START to its ending, of which only the first counts. Safe from any thread; never raises."""

    def __init__(self, recorder: Recorder, step: Step, request_id: str | None) -> None:
        self.step = step
        self.is_text = False  # what a response of the handler's own streams
        self._recorder = recorder
        self._request_id = request_id
        self._over = False
        self._items = 0
        self._text: list[str] = []
        self._characters = 0

    @classmethod
    def begin(cls, recorder: Recorder, handler: Any, request_context: Any, given: dict[str, Any]) -> Request:
        """Open the step of a request. `given`: content of its START."""
        request_id = runtime_id("get_request_id")
        session_id = getattr(request_context, "session_id", None) or runtime_id("get_session_id")
        name = name_of(handler)
        content = given if recorder.content else {}
        step = recorder.start_step(
            "STEP",
            name,
            session_id=session_id if isinstance(session_id, str) else None,
            attributes={REQUEST_ID: request_id} if request_id else None,
            details=dict(content),
        )
        request = cls(recorder, step, request_id)
        request._say(AGENT_ENTRYPOINT_STARTED, content)
        return request

    def item(self, item: Any) -> None:
        """Note a part of a streamed answer: texts are journaled, everything is counted."""
        with kept_from_app("a part of a stream"):
            self._items += 1
            if type(item) is bytes and self.is_text:
                item = item.decode("utf-8", "replace")
            if is_a(item, str) and self._recorder.content:
                item = text_of(item)
                self.step.chunk(item)
                if self._characters < STREAM_CHARACTERS:
                    self._text.append(item[: STREAM_CHARACTERS - self._characters])
                self._characters += len(item)

    def drained(self) -> None:
        """End it: its stream came to its end."""
        self._complete(self._streamed)

    def completed(self, output: Any) -> None:
        """End it: its handler returned."""
        self._complete(lambda: {} if output is None else {"output": _body(output)})

    def failed(self, error: BaseException, *, cancelled: bool | None = None) -> None:
        """End it: its handler raised or was cancelled, by what the error is or as said; its stream was broken off."""
        if not self._ends():
            return
        with kept_from_app("a request's failure"):
            cancelled = is_cancel(error) if cancelled is None else cancelled
            self.step.end(
                "cancelled" if cancelled else "error", error=error, details=self._streamed() if self._items else None
            )
            reason = {"reason": "cancelled"} if cancelled else {}
            self._say(AGENT_ENTRYPOINT_FAILED, reason, "WARNING" if cancelled else "ERROR", error)

    def dropped(self) -> None:
        """End it: its stream is gone, read or not."""
        self.failed(GeneratorExit("the stream was dropped"))

    def left(self) -> bool:
        """End it: the response is over before its stream is, since the client went away. False where it had ended.

        What the handler has running goes on until the app closes the stream, and ends by itself.
        """
        if self._over:
            return False
        self.step.let_go()
        self.failed(GeneratorExit("the client went away"))
        return True

    def _complete(self, output: Callable[[], dict[str, Any]]) -> None:
        if not self._ends():
            return
        with kept_from_app("a request's result"):
            content: dict[str, Any] = {}
            if self._recorder.content:
                with kept_from_app("a request's output"):
                    content = output()
            self.step.end("ok", details=dict(content))
            self._say(AGENT_ENTRYPOINT_COMPLETED, content)

    def _ends(self) -> bool:
        over, self._over = self._over, True  # no call between the two: one alone is the first
        return not over

    def _streamed(self) -> dict[str, Any]:
        if not self._recorder.content:
            return {}
        found: dict[str, Any] = {"items": self._items}
        if self._text:
            found["output"] = "".join(self._text)
        if self._characters > STREAM_CHARACTERS:
            found["lost"] = f"{self._characters - STREAM_CHARACTERS:,} characters; they are in the CHUNK events"
        return found

    def _say(
        self, event_type: str, details: dict[str, Any], level: str = "INFO", error: BaseException | None = None
    ) -> None:
        if self._request_id:
            details = {"request_id": self._request_id, **details}
        step = self.step
        self._recorder.record(step.session_id, event_type, details, level=level, name=step.name, step=step, error=error)


def _body(output: Any) -> Any:
    """Return what a handler answered; of a response object its status and, where it is text, its body."""
    if not is_response(output):
        return output
    found: dict[str, Any] = {"status_code": output.status_code, "media_type": output.media_type}
    body = getattr(output, "body", None)
    if isinstance(body, bytes) and len(body) <= MAX_BODY_BYTES and is_text(output):
        found["body"] = body.decode("utf-8", "replace")
    return found


def is_response(result: Any) -> bool:
    """Tell whether a handler made the response itself, as one of Starlette's."""
    responses: Any = sys.modules.get("starlette.responses")
    return responses is not None and is_a(result, responses.Response)


def is_text(response: Any) -> bool:
    """Tell whether a response says that its body is text."""
    return str(response.media_type).startswith(_TEXTS)


def runtime_id(getter: str) -> str | None:
    """Return an id that the runtime keeps for the code of a request, where there is one."""
    context: Any = sys.modules.get("bedrock_agentcore.runtime.context")
    found = getattr(getattr(context, "BedrockAgentCoreContext", None), getter, lambda: None)()
    return found if isinstance(found, str) and found else None


def session_here(recorder: Recorder, sessions: Sessions) -> str | None:
    """Return the session that this code belongs to: by its context, else as the only one there is."""
    return recorder.session_of(context_api.get_current(), runtime_id("get_session_id")) or sessions.only
