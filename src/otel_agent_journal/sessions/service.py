"""The service behind every door of the session API: submit, look, answer, cancel, fork. Knows no HTTP.

A submission is durable as it is answered: the line says what is to be run, the journal that it was asked for. A
dispatcher of this process, or of any other on the same store, starts it then.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from otel_agent_journal.codec import encode_value
from otel_agent_journal.errors import SessionNotFound
from otel_agent_journal.event import time_ordered_id
from otel_agent_journal.pipeline.content import ContentEncoder
from otel_agent_journal.plain import plain
from otel_agent_journal.projections.head import AWAITING_INPUT, CANCELLED, INTERRUPTED, LOST, PENDING, PROCESSING
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.sessions.agents import Agent
from otel_agent_journal.sessions.processes import stop_group
from otel_agent_journal.sessions.queue import Key, Lines
from otel_agent_journal.sessions.runs import (
    MAX_QUEUED,
    STARTED,
    Asked,
    Line,
    OnBusy,
    Refused,
    Run,
    Submitted,
    checked,
    checked_id,
    unfit,
)
from otel_agent_journal.sessions.telling import Telling
from otel_agent_journal.sessions.watched import ENDINGS, State, Watched

Fork = Callable[[str, int | str | None, Mapping[str, Any] | None, str | None], str]
"""Forks a session: its id, the step before which, a state, and the id of the fork where one is asked for."""

_LONGEST_PAUSE_S: Final = 1.0


class SessionService:
    """Runs agents for callers. Safe from any thread that the store is safe from.

    Args:
        journal: an open journal, whose store keeps documents.
        agents: by name.
        encoder: what of a submission is journaled, and how.
        fork: forks a session.
        submitted: called once a submission is durable, with its session and run: starts it, or has it started.
    """

    def __init__(
        self,
        journal: Journal,
        agents: Mapping[str, Agent],
        *,
        encoder: ContentEncoder,
        fork: Fork,
        submitted: Callable[[str, str], object] = lambda session_id, run: None,
    ) -> None:
        self.journal = journal
        self.agents = dict(agents)
        self.lines = Lines(journal.store)
        self.watched = Watched(journal)
        self.submitted = submitted
        self.telling = Telling(journal.store, encoder)
        self._fork = fork

    # --- asking -----------------------------------------------------------------------------------------------------

    def submit(
        self,
        agent: str | None = None,
        input: Any = None,  # noqa: A002 - the field's name in the journal
        *,
        session_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        webhook: str | None = None,
        task_token: str | None = None,
        on_busy: OnBusy = "reject",
        idempotency_key: str | None = None,
    ) -> Submitted:
        """Submit a run of an agent, and have its session's id at once; see `Asked` for the fields, `ask` for errors."""
        asked = Asked(
            agent=agent,
            input=plain(input),
            session_id=session_id,
            metadata=metadata or {},
            webhook=webhook,
            task_token=task_token,
            on_busy=on_busy,
        )
        return self.ask(asked, key=idempotency_key)

    def ask(self, asked: Asked, *, key: str | None = None) -> Submitted:
        """Take a submission; durable when this returns, and soon started.

        Args:
            asked: what is asked.
            key: an Idempotency-Key: of several submissions of one key and one body there is one run.

        Raises:
            Refused: it cannot be done: of no agent here, malformed, the session at work, or the key of another body.
            StoreUnreachable: and other errors of the store.
        """
        asked = msgspec.structs.replace(checked(asked), metadata=dict(asked.metadata))
        named, text = self._agent_of(asked), encode_value(asked.input).decode()
        now_ns = time.time_ns()
        fresh = asked.session_id is None
        session_id, run_id = asked.session_id or _fresh(now_ns), _fresh(now_ns)
        if key is None:
            return self._take(asked, named, text, session_id, run_id, now_ns, fresh=fresh)
        digest = hashlib.sha256(msgspec.json.encode(msgspec.to_builtins(asked), order="sorted")).hexdigest()
        kept = self.lines.key(key, Key(digest=digest, session_id=session_id, run=run_id, at_ns=now_ns))
        if kept.digest != digest:
            raise Refused(
                f"the Idempotency-Key {key} was used for another submission, of session {kept.session_id};"
                " give this one a key of its own, or send the same body",
                status=409,
                title="Idempotency-Key was used",
            )
        if not kept.done:  # by us, or by who died before the answer: as far as it was done, it is done again
            self._take(asked, named, text, kept.session_id, kept.run, kept.at_ns, fresh=fresh)
            self.lines.key_done(key, kept)
        return Submitted(session_id=kept.session_id, run=kept.run)

    def _take(
        self, asked: Asked, agent: str, text: str, session_id: str, run_id: str, at_ns: int, *, fresh: bool
    ) -> Submitted:
        answers, over = (False, None) if fresh else self._may_go_on(session_id)
        run = Run(
            run=run_id,
            agent=agent,
            at_ns=at_ns,
            input=self.lines.keep_input(run_id, text),
            metadata=dict(asked.metadata),
            webhook=asked.webhook,
            task_token=asked.task_token,
            answers=answers,
            graph=asked.graph,
        )

        def joined(line: Line | None) -> Line:
            line = line or Line(session_id=session_id)
            if line.find(run_id) is not None:
                return line
            if line.active and [one.run for one in line.active] != [over]:
                _refuse_busy(session_id, line, asked.on_busy)
            for waiting in line.runs:
                if waiting.reason == AWAITING_INPUT and waiting.task_token and run.task_token is None:
                    inherited = msgspec.structs.replace(run, task_token=waiting.task_token)
                    return line.without(waiting.run).with_run(inherited)
            return line.with_run(run)

        line = self.lines.change(session_id, joined)
        self.telling.submitted(session_id, run, asked)
        if asked.on_busy == "interrupt" and line is not None and line.active[0].run != run_id:
            self._cancel(line, [other for other in line.active if other.run != run_id])
        self.submitted(session_id, run_id)
        return Submitted(session_id=session_id, run=run_id)

    def answer(
        self,
        session_id: str,
        given: Any,
        *,
        agent: str | None = None,
        on_busy: OnBusy = "reject",
        key: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        webhook: str | None = None,
        task_token: str | None = None,
    ) -> Submitted:
        """Answer what a session waits for, or give it its next turn; as `ask`, of a session that is there.

        Raises:
            SessionNotFound: it is not.
            Refused: as for `ask`; above all where the session is at work.
        """
        self.watched.head(checked_id(session_id))
        asked = Asked(
            agent=agent or self._last_agent(session_id),
            input=plain(given),
            session_id=session_id,
            metadata=metadata or {},
            webhook=webhook,
            task_token=task_token,
            on_busy=on_busy,
        )
        return self.ask(asked, key=None if key is None else f"{session_id}\n{key}")

    def cancel(self, session_id: str) -> State:
        """Ask for every run of a session to stop: CANCEL_REQUESTED is journaled, then the processes are told.

        Raises:
            SessionNotFound: there is no such session.
            Refused: nothing of it runs, or waits to run.
        """
        line = self.lines.get(checked_id(session_id))
        if line is None or not line.active:
            state = self.state(session_id)
            raise Refused(
                f"session {session_id} is {state.status}: no run of it, submitted here, is under way",
                status=409,
                title="Nothing to cancel",
            )
        self._cancel(line, list(line.active))
        return self.state(session_id)

    def cancel_run(self, session_id: str, run_id: str) -> None:
        """Ask for one run of a session to stop; of those behind it nothing is asked.

        Raises:
            Refused: it is not under way.
        """
        line = self.lines.get(checked_id(session_id))
        run = None if line is None else line.find(run_id)
        if line is None or run is None or run not in line.active:
            raise Refused(f"run {run_id} is not under way", status=409, title="Nothing to cancel")
        self._cancel(line, [run])

    def agent_for(self, session_id: str) -> str | None:
        """Return the agent that a session ran with last, or that of the session that it was forked from."""
        return self._last_agent(session_id)

    def fork(
        self,
        session_id: str,
        at: int | str | None = None,
        state: Mapping[str, Any] | None = None,
        *,
        new: str | None = None,
    ) -> str:
        """Fork a session at a step, as `agent-journal copy` does, and return the id of the fork; nothing runs yet.

        Raises:
            SessionNotFound, NoSuchPoint, StoreError: as for `otel_agent_journal.fork`.
        """
        return self._fork(checked_id(session_id), at, state, None if new is None else checked_id(new))

    # --- looking ----------------------------------------------------------------------------------------------------

    def state(self, session_id: str) -> State:
        """Return where a session stands.

        Raises:
            SessionNotFound: there is none of this id.
        """
        active = _active(self.lines.get(session_id))
        return self.watched.state(session_id, waiting=max(0, len(active) - 1), under_way=bool(active))

    def result(self, session_id: str) -> tuple[State, Any]:
        """Return where a session stands, and what its latest run has answered; None while it has not."""
        state = self.state(session_id)
        return state, self.watched.result(session_id) if state.ended else None

    def wait(self, session_id: str, timeout_s: float = 60.0) -> State:
        """Return where a session stands once its latest run has ended, or as it is after that time."""
        deadline, pause = time.monotonic() + timeout_s, 0.05
        while not (state := self.state(session_id)).ended:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)
        return state

    # --- within -----------------------------------------------------------------------------------------------------

    def _agent_of(self, asked: Asked) -> str:
        name = asked.agent
        if name is None and len(self.agents) == 1:
            name = next(iter(self.agents))
        if name is None:
            raise unfit(f"agent is not given; it is one of: {self._known()}")
        if name not in self.agents:
            raise unfit(f"agent '{name}' is not known here; it is one of: {self._known()}")
        return name

    def _known(self) -> str:
        return ", ".join(self.agents) or "none: name some in AGENT_JOURNAL_AGENTS, or with --agents"

    def _last_agent(self, session_id: str) -> str | None:
        """Return the agent that a session ran with last, or that of the session that it was forked from."""
        seen: set[str] = set()
        known: str | None = session_id
        while known is not None and known not in seen and len(seen) < 100:
            seen.add(known)
            if (agent := self.lines.last_agent(known)) is not None:
                return agent
            head = self.journal.exact(known)
            if head is not None and head.agent in self.agents:
                return head.agent
            known = None if head is None else head.forked_from
        return None

    def _may_go_on(self, session_id: str) -> tuple[bool, str | None]:
        """Refuse where a process that we did not start is at work.

        Returns:
            Whether the session waits for an answer, and the run that has said its last word, and is still in the line.
        """
        active = _active(self.lines.get(session_id))
        if len(active) > 1:
            return False, None
        try:
            head = self.watched.head(session_id)
        except SessionNotFound:
            return False, None
        waits = head.status == INTERRUPTED and head.reason == AWAITING_INPUT
        if active:
            is_over = active[0].state == STARTED and head.status in ENDINGS and (head.ended_ns or 0) > active[0].at_ns
            return is_over and waits, active[0].run if is_over else None
        if head.status == PROCESSING:
            raise Refused(
                f"session {session_id} is at work in a process that was not started here; wait until it has ended",
                status=409,
                title="Session is busy",
            )
        return waits, None

    def _cancel(self, line: Line, runs: list[Run]) -> None:
        session_id, ids = line.session_id, [run.run for run in runs]
        for run_id in ids:
            self.telling.cancelled(session_id, run_id)
        for run in self.lines.cancel(session_id, ids):
            if run.state == STARTED:
                stop_group(run)
            else:
                self.telling.unbegun(session_id, run, CANCELLED, "cancelled before it began")

    def give_up(self, session_id: str, run: Run) -> None:
        """Have done with a run whose process is gone; journal that, where nothing that it left behind says so."""
        self.journal.take_in_dead()
        head = self.watched.head(session_id)
        if head.status == PENDING:
            self.telling.unbegun(session_id, run, LOST, "the process that was to run it is gone")
            self.lines.end(session_id, run.run, INTERRUPTED, LOST)
        elif head.status != PROCESSING:
            self.lines.end(session_id, run.run, head.status, head.reason)


def _refuse_busy(session_id: str, line: Line, on_busy: OnBusy) -> None:
    if on_busy == "reject":
        raise Refused(
            f"session {session_id} is at work, in run {line.active[0].run}; wait until it has ended, or say what to do:"
            " on_busy enqueue or interrupt",
            status=409,
            title="Session is busy",
        )
    if len(line.active) >= MAX_QUEUED:
        raise Refused(
            f"session {session_id} has {len(line.active)} runs waiting, {MAX_QUEUED} is the most; try again later",
            status=429,
            title="Too many runs are waiting",
        )


def _active(line: Line | None) -> tuple[Run, ...]:
    return () if line is None else line.active


def _fresh(now_ns: int) -> str:
    return time_ordered_id(now_ns, os.urandom(10))
