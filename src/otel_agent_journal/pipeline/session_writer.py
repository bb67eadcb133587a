"""What a recorder journals of sessions beside steps: their events, stages, and that this process is alive in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, cast

from opentelemetry.baggage import get_baggage
from opentelemetry.context import Context

from otel_agent_journal.event import EMPTY, RUN_RESUMED, STAGE_CHANGED, ErrorInfo, time_ordered_id
from otel_agent_journal.mapping.facts import FailureNoted, Heartbeat, SessionNoted
from otel_agent_journal.pipeline.clock import Clock, RandomIds
from otel_agent_journal.pipeline.content import WHOLE, ContentEncoder
from otel_agent_journal.pipeline.fact_writer import Appender, FactWriter
from otel_agent_journal.pipeline.introductions import Introductions
from otel_agent_journal.pipeline.step import SESSION_KEY, STEP_KEY, Step
from otel_agent_journal.replays.current import replaying

_SESSION_BAGGAGE: Final = ("gen_ai.conversation.id", "session.id")


class Root(Protocol):
    """What is under way at the top of a session, a root step or an invocation: its process must live for it to end."""

    session_id: str

    def end(self, outcome: str = "ok") -> None:
        """End it; every call but the first does nothing."""
        ...


class SessionWriter(FactWriter):
    """Journals events of sessions, and knows which session code is in. Its arguments are those of `Recorder`."""

    def __init__(
        self,
        appender: Appender,
        encoder: ContentEncoder,
        *,
        session_id: str | None,
        trusts_baggage: bool,
        introduce: Callable[[], Mapping[str, Any]] | None,
        stages: Mapping[str, float],
        clock: Clock | None,
        ids: RandomIds | None,
    ) -> None:
        super().__init__(appender, encoder)
        self.session_id = session_id
        self.trusts_baggage = trusts_baggage
        self.clock = clock or Clock()
        self.ids = ids or RandomIds()
        self._now = self.clock.now_ns
        self._introduce_by = introduce
        self._stages = stages
        self._details_change = encoder.redactor is not None

    def after_fork(self) -> None:
        """Begin, here and in a forked child: the parent's roots end there."""
        if self._introduce_by is not None:
            self._introductions = Introductions(self._introduce_by, self.encoder)
        self._roots: dict[int, Root] = {}

    def session_of(self, context: Context, own: str | None = None) -> str | None:
        """Return the session that a root in this context belongs to; None: its trace's.

        The first that is there: what it is within, `--session`, its framework's `own`, baggage where that is trusted.
        """
        return session_within(context) or self.session_id or own or self.session_carried(context)

    def session_fixed(self, context: Context) -> str | None:
        """Return the session of all in this context, whatever it says itself."""
        return session_within(context) or self.session_id

    def session_carried(self, context: Context) -> str | None:
        """Return the session that baggage names, where it is trusted."""
        for key in _SESSION_BAGGAGE if self.trusts_baggage else ():
            value = get_baggage(key, context)
            if isinstance(value, str) and value:
                return value
        return None

    def record(
        self,
        session_id: str,
        event_type: str,
        details: Mapping[str, Any] = EMPTY,
        *,
        level: str = "INFO",
        name: str | None = None,
        step: Step | None = None,
        event_id: str | None = None,
        error: BaseException | ErrorInfo | None = None,
        failed: Step | None = None,
    ) -> None:
        """Journal an event of a session, beside or within a step.

        `error`: why, where it tells of a failure; `failed`: the step, if another, that the error has ended already.
        """
        if (replay := replaying()) is not None:
            session_id = replay.session_of(session_id)
        if self._details_change:
            details = self.encoder.details(details, exact=event_type in WHOLE)
        if error is not None and level == "ERROR":
            details = {**details, **self.told_of(error, failed or step)}
        now_ns = self._now()
        said = (
            session_id,
            event_id or time_ordered_id(now_ns, self.ids.bytes16()),
            event_type,
            level,
            now_ns,
            name,
            step.step_id if step else None,
            step.parent_step_id if step else None,
            step.attempt if step else None,
            step.span.trace_id if step else None,
            step.span.span_id if step else None,
            details,
        )
        self.write(SessionNoted(*said) if error is None else FailureNoted(*said, self.error_info(error)))

    def stage(self, session_id: str, stage: str, *, progress: float | None = None, step: Step | None = None) -> None:
        """Journal which stage the work has reached. `progress`: percent; by default what is known of the stage."""
        details: dict[str, Any] = {"stage": stage}
        known = self._stages.get(stage) if progress is None else progress
        if known is not None:
            details["progress"] = min(100, max(0, known))
        self.record(session_id, STAGE_CHANGED, details, name=stage, step=step)

    def resumed(self, step: Step, checkpoint_id: str) -> None:
        """Journal that a root goes on from where an interrupted one stopped, at a checkpoint."""
        self.record(step.session_id, RUN_RESUMED, {"checkpoint_id": checkpoint_id}, name=step.name, step=step)

    def heartbeat(self) -> None:
        """Journal that this process is alive, while it has a root open."""
        self.clock.catch_up()
        sessions = tuple({root.session_id for root in list(self._roots.values()) if root.session_id})
        if sessions:
            self.write(Heartbeat(self._now(), sessions))

    def hold(self, root: Root) -> None:
        """Say in heartbeats that this is under way, and end it as cancelled where the process leaves in order."""
        self._roots[id(root)] = root

    def let_go(self, root: Root) -> None:
        """Hold a root no longer: it has ended."""
        self._roots.pop(id(root), None)

    def open_roots(self) -> list[Root]:
        """Return the roots that have not ended."""
        return list(self._roots.values())


def session_within(context: Context) -> str | None:
    """Return the session of the step or block that this context is within."""
    step: Any = context.get(STEP_KEY)
    if step is not None:
        return cast("Step", step).session_id
    return cast("str | None", context.get(SESSION_KEY))
