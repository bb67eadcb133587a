"""A session that is gone on with: which context an agent goes on from, and which tool calls need not be made again.

`bootstrap` says that this process resumes one (`AGENT_JOURNAL_RESUME`, or `resume()` in a program); the frameworks ask.
What was called is read once, when the first tool is about to run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from otel_agent_journal.errors import JournalError
from otel_agent_journal.pipeline.digests import encoded
from otel_agent_journal.plain import plain
from otel_agent_journal.reading.tool_calls import ToolCall
from otel_agent_journal.replays.current import replaying
from otel_agent_journal.threads import Lock


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """The recorded result of a tool call, served instead of calling again.

    `output` and `raw` are as the journal has them: what the framework's `rebuilding` makes its own objects of.
    `step_id` is the step that recorded it.
    """

    step_id: str
    output: Any
    raw: Any = None


class Agents(msgspec.Struct, frozen=True, kw_only=True):
    """The agent instances of the resumed session: `(framework, name) -> instance`, names as the program has them.

    Where names are unique in something only, as an agent's in a session of Strands, `within` has all of them:
    `(framework, where, name) -> instance`. `by_name` then has those that are unique in the whole session.
    """

    by_name: Mapping[tuple[str, str], str]
    within: Mapping[tuple[str, str, str], str] = {}


class AlreadyHappened(JournalError):
    """A tool that changed the world is about to be called again, with other arguments than it was."""

    def __init__(self, tool: str, arguments: Any, recorded: Iterable[ToolCall]) -> None:
        was = "; ".join(f"{call.session_id}@{call.number} with {_shown(call.arguments)}" for call in recorded)
        super().__init__(
            f"tool {tool} is about to be called with {_shown(arguments)}, and was called after this point: {was}."
            " --once serves what was recorded and calls nothing twice: declare the tool's effects as read, or resume"
            " without --once"
        )
        self.tool = tool


class Receipts:
    """What tools have returned. Each recorded call stands for one call at most, but by its own id for any number.

    Args:
        by_id: calls whose results are served to calls of the same id, the last of each id where that has a result:
            those of which the context that is gone on from knows nothing yet. Where a model has given one id to calls
            with several arguments, these decide.
        once: calls that are served by tool and arguments, too, and not made again with others.
    """

    def __init__(self, by_id: Iterable[ToolCall], once: Iterable[ToolCall] = ()) -> None:
        self._lock = Lock()
        self._by_id: dict[tuple[str, str], dict[bytes, ToolCall]] = {}
        for call in by_id:
            if call.call_id is not None:
                self._by_id.setdefault((call.name, call.call_id), {})[_key(call.arguments)] = call
        self._once: dict[str, deque[ToolCall]] = {}
        for call in once:
            if _usable(call):
                self._once.setdefault(call.name, deque()).append(call)

    def find(self, tool: str, call_id: str | None, arguments: Any) -> Receipt | None:
        """Return the recorded result of a call, or None where it is to be made.

        Raises:
            AlreadyHappened: the tool was called with other arguments, and calls are made once.
        """
        of_id = {} if call_id is None else self._by_id.get((tool, call_id), {})
        known = next(iter(of_id.values())) if len(of_id) == 1 else of_id.get(_key(arguments))
        if known is not None and _usable(known):
            return _receipt(known)
        with self._lock:
            left = self._once.get(tool)
            if not left:
                return None
            said = _key(arguments)
            for call in left:
                if _key(call.arguments) == said:
                    left.remove(call)
                    return _receipt(call)
            changed = [call for call in left if call.may_have_changed_the_world]
        if changed:
            raise AlreadyHappened(tool, arguments, changed)
        return None


class Resumption:
    """The session that this process goes on with. Thread-safe.

    Args:
        session_id: the session.
        agents: loads its agent instances, when they are first asked for.
        receipts: loads what its tools returned, when a tool is first called.
        bases: the sessions that it was forked from: a program that names one of these means it.
        cut_off: its last run was killed: what the program asks first was asked already, also where it was answered.
    """

    def __init__(
        self,
        session_id: str,
        agents: Callable[[], Agents],
        receipts: Callable[[], Receipts],
        *,
        bases: Iterable[str] = (),
        cut_off: bool = False,
    ) -> None:
        self.session_id = session_id
        self.cut_off = cut_off
        self.bases = frozenset(bases)
        self._load_agents = agents
        self._load_receipts = receipts
        self._agents: Agents | None = None
        self._receipts: Receipts | None = None
        self._stand_ins: dict[tuple[str, str], str] = {}  # of a name of the program, the one that it had then
        self._claimed: dict[str, str | None] = {}  # by an instance, what it was found within
        self._lock = Lock()

    def instance_for(self, framework: str, name: str, *, within: str | None = None, or_only: bool = True) -> str | None:
        """Return the agent instance that the session has for a thread or agent that the program names.

        Args:
            framework: of the agent.
            name: what the program knows it by.
            within: what the name is unique in, as the program knows that; where it is not known, the name decides.
            or_only: a name that the session does not know stands for the only one of its framework that nobody has
                named yet: for programs that make their thread's id anew in each run.

        Raises:
            StoreUnreachable: and other errors of the store.
        """
        with self._lock:
            if self._agents is None:
                self._agents = self._load_agents()
            known = self._agents.by_name
            exact = None if within is None else self._agents.within.get((framework, within, name))
            if exact is not None:
                self._claimed[exact] = within
                return exact
            if within is not None and self._claimed.get(known.get((framework, name), ""), within) != within:
                return None  # it is the other's
            if (framework, name) in known:
                self._stand_ins.setdefault((framework, name), name)
                return known[framework, name]
            stood_in = self._stand_ins.get((framework, name))
            if stood_in is None:
                if not or_only:
                    return None
                taken = {one for (of, _), one in self._stand_ins.items() if of == framework}
                free = [one for of, one in known if of == framework and one not in taken]
                if len(free) != 1:
                    return None
                stood_in = self._stand_ins[framework, name] = free[0]
            return known[framework, stood_in]

    def receipt(self, *, tool: str, call_id: str | None, arguments: Any) -> Receipt | None:
        """Return the recorded result of a tool call that need not be made again, or None.

        Raises:
            AlreadyHappened: see `Receipts.find`.
            StoreUnreachable: and other errors of the store: nobody knows then whether it was made.
        """
        with self._lock:
            if self._receipts is None:
                self._receipts = self._load_receipts()
        return self._receipts.find(tool, call_id, arguments)


_current: list[Resumption] = []


def resumption() -> Resumption | None:
    """Return the session that this process goes on with, if it does."""
    return _current[-1] if _current else None


def meant(session_id: str) -> str:
    """Return the session that a program means by an id.

    Of one that the resumed session was forked from, it is the fork; of one that is replayed, the replay.
    """
    replay = replaying()
    if replay is not None:
        return replay.session_of(session_id)
    one = resumption()
    return one.session_id if one is not None and session_id in one.bases else session_id


def begin_resumption(one: Resumption) -> None:
    """Have this process go on with a session."""
    _current.append(one)


def end_resumption(one: Resumption) -> None:
    """Be done with it."""
    if one in _current:
        _current.remove(one)


def _usable(call: ToolCall) -> bool:
    return call.outcome == "ok" and call.whole


def _receipt(call: ToolCall) -> Receipt:
    return Receipt(step_id=call.step_id, output=call.output, raw=call.raw)


def _key(arguments: Any) -> bytes:
    return encoded(plain(arguments))


def _shown(arguments: Any) -> str:
    text = _key(arguments).decode("utf-8", "replace")
    return text if len(text) <= 200 else f"{text[:200]}…"
