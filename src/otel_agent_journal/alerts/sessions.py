"""Rules that look at one session at a time: that it stands still, and that it goes in a circle.

Content stays out of what is found: a loop's arguments are named by a digest.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Final, NamedTuple

from otel_agent_journal.alerts.rules import NS_PER_S, Rule
from otel_agent_journal.alerts.state import Found
from otel_agent_journal.alerts.unjudged import Unjudged
from otel_agent_journal.codec import encode_value
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.projections.head import INTERRUPTED, KILLED, LOST, SessionHead
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.store.protocol import SessionFilter

_AFTER_ANY_ID: Final = "~"
_UNKNOWN: Final = "(no agent)"


def stuck(journal: Journal, rule: Rule, now_ns: int) -> list[Found]:
    """Return the sessions that are under way and of whose processes nobody is heard, and those lost or killed lately.

    Costs the heads of what is running, and of what was updated within the rule's time.
    """
    return [
        Found(
            labels={"session_id": head.session_id, "agent": head.agent or _UNKNOWN},
            values={"how": how, "silent_s": round((now_ns - seen_ns) / NS_PER_S)},
            summary=f"{head.agent or _UNKNOWN}: session {head.session_id} {_HOW[how]} {_ago(now_ns - seen_ns)} ago",
        )
        for head, how, seen_ns in _still(journal, rule, now_ns)
    ]


_HOW: Final = {"silent": "runs, and was last heard of", "lost": "was lost", "killed": "was killed"}


def _still(journal: Journal, rule: Rule, now_ns: int) -> Iterator[tuple[SessionHead, str, int]]:
    waiting = journal.waiting()
    since_ns = now_ns - rule.within_ns
    for head in journal.running(rule.agent):
        silent = [
            writer
            for writer in head.open_writers
            if writer not in waiting and now_ns - head.writers.get(writer, head.updated_ns) >= rule.after_ns
        ]
        if head.open_writers and len(silent) == len(head.open_writers):
            yield head, "silent", max(head.writers.get(writer, head.updated_ns) for writer in silent)
    ended = SessionFilter(statuses=(INTERRUPTED,), agent=rule.agent, since_ns=since_ns)
    for head in journal.heads(ended):
        if head.reason in (LOST, KILLED) and not head.open_writers and (head.ended_ns or head.updated_ns) >= since_ns:
            yield head, head.reason, head.ended_ns or head.updated_ns


class _Looked(NamedTuple):
    """What was seen of a session: its loops, and how many calls there were with and without their arguments."""

    loops: list[Found]
    told: int
    untold: int


def looping(journal: Journal, rule: Rule, now_ns: int) -> list[Found]:
    """Return the sessions in which one tool was called with the same arguments so often within the rule's time.

    An attempt again at one step is no call of its own. Costs the events within that time.

    Raises:
        Unjudged: no call tells its arguments.
    """
    since_ns = now_ns - rule.within_ns
    heads = journal.heads(SessionFilter(agent=rule.agent, since_ns=since_ns))
    found = list(journal.each(lambda head: _looked(journal, rule, head, since_ns), heads))
    if not any(one.told for one in found) and any(one.untold >= rule.times for one in found):
        raise Unjudged("no tool call of the journal tells its arguments: content is off (AGENT_JOURNAL_CONTENT)")
    return [loop for one in found for loop in one.loops]


def _looked(journal: Journal, rule: Rule, head: SessionHead, since_ns: int) -> _Looked:
    calls: dict[tuple[str, str], set[str]] = {}
    untold: set[str] = set()
    for event in journal.events(head.session_id, head, after=(since_ns - 1, _AFTER_ANY_ID)):
        if event.type != "TOOL_START" or event.step_id is None:
            continue
        if "input" in event.details:
            calls.setdefault((event.name or "", _arguments(event)), set()).add(event.step_id)
        else:
            untold.add(event.step_id)
    agent = head.agent or _UNKNOWN
    loops = [
        Found(
            labels={"session_id": head.session_id, "agent": agent, "tool": tool, "arguments": arguments},
            values={"times": len(steps)},
            summary=f"{agent}: {tool} was called {len(steps)} times with the same arguments in session"
            f" {head.session_id}",
        )
        for (tool, arguments), steps in calls.items()
        if len(steps) >= rule.times
    ]
    return _Looked(loops, len(calls), len(untold))


def _arguments(event: JournalEvent) -> str:
    """Return what stands for a call's arguments."""
    return blake2b(encode_value(event.details["input"]), digest_size=4).hexdigest()


def _ago(span_ns: int) -> str:
    seconds = max(0, span_ns) // NS_PER_S
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
