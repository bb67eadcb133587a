"""The calls of a span of time, in groups: what `spend`, `error_rate` and `slow` judge.

What a session amounts to is kept as long as nothing arrives in it, so that a watcher reads again what is active alone.
A session is read whole or not at all. Memory is bounded by `MAX_KEPT` calls.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from otel_agent_journal.alerts.rules import NS_PER_S, Rule
from otel_agent_journal.event import derived_id
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.projections.stats import Group, Measured, Stats, measured
from otel_agent_journal.projections.steps import StepTree
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.reading.stats import USER
from otel_agent_journal.store.protocol import Document, DocumentStore, SessionFilter

MAX_KEPT: Final = 200_000
SESSION: Final = "session"
USUAL_DAYS: Final = 7
_HOUR_NS: Final = 3600 * NS_PER_S
_DAY_NS: Final = 24 * _HOUR_NS
_SCOPE: Final = "alerts/usual"
_MAX_GROUPS: Final = 1_000  # of which is kept what is usual


class _Kept(NamedTuple):
    stamp: tuple[int, int, int]
    calls: tuple[Measured, ...]


class Usual(msgspec.Struct, frozen=True):
    """What is usual: by group, how long 95 of 100 calls took at most, in nanoseconds, and how many calls that is of.

    Of the seven days before `until_ns`.
    """

    until_ns: int
    groups: dict[str, tuple[int, int]]


class Calls:
    """The calls of a journal. Not thread-safe."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        self._size = 0

    def since(self, rule: Rule, since_ns: int) -> dict[str, Group]:
        """Return the groups of the calls that began since, by the rule's grouping and of its agent."""
        return _grouped(self._of(rule, self._heads(rule, since_ns), keep=True), since_ns, 2**63 - 1)

    def usual(self, rule: Rule, now_ns: int) -> Usual:
        """Return what is usual for a rule: of the seven days before its time, counted anew once a day, and kept."""
        kept = self._usual_kept(rule)
        version = 0
        if kept is not None:
            known, version = kept
            enough = any(count >= rule.at_least for _, count in known.groups.values())
            if now_ns - known.until_ns < rule.within_ns + (_DAY_NS if enough else 2 * _HOUR_NS):
                return known
        until_ns = (now_ns - rule.within_ns) // _HOUR_NS * _HOUR_NS
        since_ns = until_ns - USUAL_DAYS * _DAY_NS
        groups = _grouped(self._of(rule, self._heads(rule, since_ns), keep=False), since_ns, until_ns)
        most = sorted(groups.items(), key=lambda item: -item[1].took.count)[:_MAX_GROUPS]
        said = {name: (group.took.at(0.95) or 0, group.took.count) for name, group in most}
        usual = Usual(until_ns, said)
        document = Document(scope=_SCOPE, name=_name(rule), data=msgspec.json.encode(usual), version=version)
        if isinstance(self._journal.store, DocumentStore):
            self._journal.store.put_document(document)  # where another was first, it has counted the same
        return usual

    def _usual_kept(self, rule: Rule) -> tuple[Usual, int] | None:
        store = self._journal.store
        document = store.get_document(_SCOPE, _name(rule)) if isinstance(store, DocumentStore) else None
        if document is None:
            return None
        return msgspec.json.decode(document.data, type=Usual), document.version

    def _heads(self, rule: Rule, since_ns: int) -> Iterable[SessionHead]:
        """Return the sessions that may have a call since. An agent may be within a session that is another's."""
        agent = None if rule.by == "agent" else rule.agent
        return self._journal.heads(SessionFilter(agent=agent, since_ns=since_ns))

    def _of(self, rule: Rule, heads: Iterable[SessionHead], *, keep: bool) -> Iterable[Measured]:
        def read(head: SessionHead) -> tuple[SessionHead, _Kept | StepTree]:
            kept = self._kept.get((head.session_id, rule.by))
            return head, kept if kept is not None and kept.stamp == _stamp(head) else self._journal.tree(head)

        for head, found in self._journal.each(read, heads):
            kept = found if isinstance(found, _Kept) else _Kept(_stamp(head), self._measured(rule, head, found))
            if keep:
                self._keep((head.session_id, rule.by), kept)
            if rule.by == "agent" and rule.agent is not None:
                yield from (one for one in kept.calls if one.group == rule.agent)
            else:
                yield from kept.calls

    def _measured(self, rule: Rule, head: SessionHead, tree: StepTree) -> tuple[Measured, ...]:
        by_session = rule.by == SESSION
        user = head.about.labels.get(USER)
        found = measured(tree, "user" if by_session else rule.by, self._journal.price, user=user)
        return tuple(one._replace(group=head.session_id) if by_session else one for one in found)

    def _keep(self, key: tuple[str, str], kept: _Kept) -> None:
        before = self._kept.pop(key, None)
        self._size += len(kept.calls) - (0 if before is None else len(before.calls))
        self._kept[key] = kept
        while self._size > MAX_KEPT and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._size -= len(oldest.calls)


def _grouped(calls: Iterable[Measured], since_ns: int, until_ns: int) -> dict[str, Group]:
    stats = Stats()
    for one in calls:
        if since_ns <= one.start_ns < until_ns:
            stats.add(one)
    return {"(none)" if name is None else name: group for name, group in stats.groups.items()}


def _stamp(head: SessionHead) -> tuple[int, int, int]:
    """Return what is another once anything has arrived in a session, or its process has gone silent."""
    return head.events, head.updated_ns, head.ended_ns or 0


def _name(rule: Rule) -> str:
    return derived_id(f"usual:{rule.by}:{rule.agent}:{rule.within_ns}")
