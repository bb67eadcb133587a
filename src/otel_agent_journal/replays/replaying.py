"""What a process asks that is replayed: which recorded step each of its steps is, and what stands for a call.

`bootstrap` begins it; the recorder tells it of each step, and the frameworks ask before they call anything. After the
first call that the recording does not have, nothing is served or called any more, whatever the program makes of the
error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from otel_agent_journal.errors import JournalError
from otel_agent_journal.projections.steps import Attempt
from otel_agent_journal.replays.errors import Answered, Diverged, ReplayEnded, recorded_error
from otel_agent_journal.replays.ignoring import Ignoring
from otel_agent_journal.replays.matching import AMBIGUOUS, CHANGED_ARGS, NEW, SAME, UNREPLAYABLE, Claim, Matcher
from otel_agent_journal.replays.recording import Recording
from otel_agent_journal.replays.rules import Rules
from otel_agent_journal.replays.words import READ, REMOTE, is_call
from otel_agent_journal.threads import Lock

_log = logging.getLogger(__name__)
ANSWER: Final = "error"  # of `on_new`
LIVE: Final = "live"


class Begun(Protocol):
    """A step that has begun, as far as a replay knows it."""

    kind: str
    name: str
    session_id: str
    step_id: str
    parent: Any
    recorded: Any


class Replay:
    """A replay of one session. Thread-safe.

    Args:
        rules: what it is to do.
        load: reads the recording, when the first step begins.
    """

    def __init__(self, rules: Rules, load: Callable[[], Recording]) -> None:
        self.rules = rules
        self._load = load
        self._recording: Recording | None = None
        self._matcher: Matcher | None = None
        self._lock = Lock()
        self._stopped: JournalError | None = None
        self._past = False  # the step is behind us from which on all is live
        self.in_memory: dict[Any, Any] = {}  # what stands for what keeps an agent's state, by the id of that
        self.kept: list[Any] = []
        self._stands_in: str | None = None  # what the program calls the session, where it has made up a name

    @property
    def recording(self) -> Recording:
        """The recorded session.

        Raises:
            StoreUnreachable: and other errors of the store.
        """
        if self._recording is None:
            self._recording = self._load()
            self._matcher = Matcher(self._recording, (self.rules.name,), Ignoring(self.rules.ignore))
        return self._recording

    @property
    def diverged(self) -> JournalError | None:
        """Why nothing is served any more."""
        return self._stopped

    def session_of(self, named: str) -> str:
        """Return the session that a program means by a name.

        The recorded session is replayed under a name of its own. A program that makes up a name in each run means it
        by the first that it uses; any other session has a name beside it.
        """
        rules = self.rules
        if named.startswith(f"{rules.name}/"):
            return named
        if named in ("", rules.session, rules.name):
            return rules.name
        with self._lock:
            if self._stands_in is None:
                self._stands_in = named
                if self._matcher is not None:
                    self._matcher.also_called(named)
        return rules.name if named == self._stands_in else f"{rules.name}/{named}"

    def began(self, step: Begun, details: Mapping[str, Any]) -> dict[str, Any]:
        """Take note of a step that begins; return what its START says of it."""
        with self._lock:
            try:
                claim = self._claim(step, details)
            except JournalError as error:
                self._stopped = self._stopped or error
                claim = Claim(step.name, None, NEW, why=str(error))
            except Exception as error:  # noqa: BLE001 - then nothing may be called either
                _log.warning("step=<%s> | could not be looked for in the recording", step.name, exc_info=True)
                self._stopped = self._stopped or Diverged(NEW, step.name, f"{type(error).__name__}: {error}")
                claim = Claim(step.name, None, NEW, why=str(error))
            step.recorded = claim
        told: dict[str, Any] = {"verdict": claim.verdict}
        if claim.attempt is not None:
            told |= {"of": claim.attempt.step_id, "attempt": claim.attempt.ordinal}
        if claim.differs:
            told["differs"] = list(claim.differs)
        if claim.why:
            told["why"] = claim.why
        if claim.is_live:
            told["live"] = True
        return told

    def _claim(self, step: Begun, details: Mapping[str, Any]) -> Claim:
        recording, rules = self.recording, self.rules
        assert self._matcher is not None
        if self._stands_in is not None:
            self._matcher.also_called(self._stands_in)
        if step.parent is None and step.session_id != rules.name:
            return Claim(step.name, None, NEW, why=f"it is of another session than {rules.session}, which is replayed")
        above: Any = step.parent.recorded if step.parent is not None else None
        is_told = above is not None and (above.is_remote or above.is_told)
        claim = self._matcher.claim(
            step.kind,
            step.name,
            step.step_id,
            above,
            details,
            anywhere=(rules.once if self._past else rules.calls_models) and not is_told,
            in_order=is_told,
        )
        claim.is_told, claim.is_remote = is_told, bool(details.get(REMOTE))
        number = None if claim.attempt is None else recording.number(claim.attempt)
        if number is not None and rules.until is not None and number >= rules.until:
            self._stopped = self._stopped or ReplayEnded(f"the replay ends before step {rules.until}")
        if rules.since is not None and (self._past or (number is not None and number >= rules.since)):
            self._past = True
            claim.is_live = claim.attempt is None or number is None or number >= rules.since
        if above is not None and is_told:
            claim.is_live = above.is_live
        if is_told or not is_call(step.kind, details):
            return claim
        claim.is_live = claim.is_live or self._is_called(step, claim)
        if claim.attempt is not None and not claim.is_live and (why := recording.why_not(claim.attempt)):
            claim.verdict, claim.why = UNREPLAYABLE, why
        return claim

    def _is_called(self, step: Begun, claim: Claim) -> bool:
        """Tell whether a call is made that the rules name: a new one of a tool only where new ones are asked for."""
        if not self.rules.calls(step.kind, step.name):
            return False
        return claim.attempt is not None or step.kind == "MODEL" or self.rules.on_new == LIVE

    def serve(self, step: Begun) -> Attempt | None:
        """Return the recorded attempt that stands for a call; None where the call is made.

        What ran within it is served with it: nothing of that is made here. Of what is remote the answer tells it.

        Args:
            step: of the call: a model, a tool, a retrieval, or an agent that is remote.

        Raises:
            Answered: a tool is answered that it failed, in place of a call.
            Diverged: the recording does not have the call; or one before it.
            ReplayEnded: the step is reached at which the replay ends.
            StoreUnreachable: and other errors of the store.
        """
        claim: Claim = step.recorded
        with self._lock:
            if self._stopped is not None:
                raise self._stopped
            try:
                attempt = self._served(step, claim)
                if attempt is not None:
                    claim.is_served = True
                    assert self._matcher is not None
                    if not claim.is_remote:
                        self._matcher.within(claim)
                return attempt
            except JournalError as error:
                if not isinstance(error, Answered):
                    self._stopped = error
                raise

    def _served(self, step: Begun, claim: Claim) -> Attempt | None:
        rules, what = self.rules, f"{step.kind.lower()} {step.name}"
        if claim.verdict in (AMBIGUOUS, UNREPLAYABLE):
            raise Diverged(claim.verdict, what, claim.why)
        if claim.is_live:
            return self._once(step, claim) if rules.once else None
        if claim.attempt is None:
            if rules.on_new == ANSWER and step.kind == "TOOL":
                raise Answered(f"replay: {what} is not in the recording, and was not called")
            raise Diverged(NEW, what, claim.why)
        if claim.verdict == CHANGED_ARGS:
            raise Diverged(CHANGED_ARGS, what, "it is called with other arguments than were recorded")
        if claim.verdict != SAME and rules.on_drift != "serve":
            if rules.on_drift == "live":
                claim.is_live = True
                return None
            raise Diverged(claim.verdict, what, f"it is asked something else: {', '.join(claim.differs)}")
        return claim.attempt

    def _once(self, step: Begun, claim: Claim) -> Attempt | None:
        """Return what a tool returned that may have changed the world, and is not to do that twice."""
        attempt, matcher = claim.attempt, self._matcher
        assert matcher is not None
        if step.kind != "TOOL" or (attempt is not None and attempt.details_start.get("effects") == READ):
            return None
        left = [] if attempt is not None else matcher.left_of_tool(step.name, self.rules.since or 0)
        if claim.verdict == CHANGED_ARGS or any(one.details_start.get("effects") != READ for one in left):
            raise Diverged(CHANGED_ARGS, f"tool {step.name}", "it was called with other arguments, and is called once")
        return attempt if attempt is not None and attempt.outcome == "ok" else None

    def runs(self, step: Begun) -> bool:
        """Tell whether a tool is run, and what it calls is served: it is declared to read, and has steps in it."""
        claim: Claim = step.recorded
        if claim.attempt is None or claim.attempt.details_start.get("effects") != READ:
            return False
        return self._stopped is None and bool(self.recording.beneath(claim.attempt))

    def error(self, attempt: Attempt) -> Exception:
        """Return what a recorded call raised."""
        return recorded_error(attempt.error)

    def is_called_within(self, step: Begun | None) -> bool:
        """Tell whether what is no step by itself may call: within a call that is made live, or where all is."""
        if self._stopped is not None:
            return False
        while step is not None:
            if step.recorded is not None and step.recorded.is_live:
                return True
            step = step.parent
        return self._past

    def refused(self, what: str, why: str = "the program connects to what is not on this machine") -> Diverged:
        """Return the error of something that the program does and the recording does not have; nothing is served on."""
        return self._stop(Diverged(NEW, what, why))

    def lost(self, what: str) -> Diverged:
        """Return the error of a call of which nobody knows which it is: nothing is called any more."""
        return self._stop(Diverged(NEW, what, "it could not be told which of the recorded ones it is"))

    def read_on(self, what: str) -> Diverged:
        """Return the error of a stream that is read on from where the recorded program had left it."""
        return self._stop(Diverged(UNREPLAYABLE, what, "the recorded program read no further"))

    def _stop(self, found: Diverged) -> Diverged:
        with self._lock:
            self._stopped = self._stopped or found
            return found
