"""Whose a session is and which processes wrote it: folded from events, and kept in its head. Pure.

What a program says of a run (tags, metadata, user, tenant) stands on the START of its outermost step; what the spans of
others say stands on their endings, too. The fold is the same in any order: of too many names the first in their order
stay, of processes those that began last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.codec import valid_text
from otel_agent_journal.event import PROCESS, REPLAY, START_TYPES, WRITTEN_BY, JournalEvent
from otel_agent_journal.projections.spent import NONE_SPENT, Spent

# What a head names of them; it is read with others in a listing.
MAX_TAGS: Final = 24
MAX_LABELS: Final = 24
MAX_PROCESSES: Final = 6
MAX_NAME: Final = 64  # characters
MAX_TEXT: Final = 128

REPLAY_OF: Final = "replay_of"  # the label of a replay's session: the session that it is a replay of

_SAID: Final = frozenset(("metadata", REPLAY, "tags", "tenant", "user"))


class Process(msgspec.Struct, frozen=True, omit_defaults=True):
    """A process that wrote to a session, or the resource of spans that were received."""

    writer: str
    host: str | None = None
    pid: int | None = None
    service: str | None = None
    version: str | None = None


class About(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a head says of a session beside its state. `labels`: of metadata what is one text or number.

    `spent`: what its calls used, which a reader prices.
    """

    tags: tuple[str, ...] = ()
    labels: Mapping[str, str] = {}
    processes: tuple[Process, ...] = ()
    spent: Spent = NONE_SPENT

    def has(self, tag: str) -> bool:
        """Tell whether a session has a tag, or a label of that name, or with `NAME=VALUE` of that name and value."""
        name, equals, value = tag.partition("=")
        return tag in self.tags or (self.labels.get(name) == value if equals else tag in self.labels)

    def says(self, name: str, value: str) -> bool:
        """Tell whether what was said of a session has this value under this name."""
        return self.labels.get(name) == valid_text(value[:MAX_TEXT])


NOTHING: Final = About()
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(About).decode


def encode_about(about: About) -> str:
    """Return it as JSON text, for a store's column."""
    return _encode(about).decode()


def decode_about(text: str | bytes | None) -> About:
    """Return what a store's column holds; nothing, where that is something else."""
    try:
        return _decode(text) if text else NOTHING
    except (msgspec.MsgspecError, UnicodeError):
        return NOTHING


class AboutState(msgspec.Struct):
    """The fold's own part of what is known: when each was said, so that the latest word counts."""

    tags: list[str] = []
    labels: dict[str, tuple[int, str, str]] = {}
    processes: dict[str, tuple[int, str, Process]] = {}

    def about(self, spent: Spent = NONE_SPENT) -> About:
        """Return what is known, with what was spent."""
        if not (self.tags or self.labels or self.processes or spent != NONE_SPENT):
            return NOTHING
        began = sorted(self.processes.values(), key=lambda one: one[:2])
        return About(
            tags=tuple(self.tags),
            labels={name: self.labels[name][2] for name in sorted(self.labels)},
            processes=tuple(process for _, _, process in began),
            spent=spent,
        )

    def take(self, event: JournalEvent) -> None:
        """Take in an event. What an agent wrote itself says nothing of who and what the session is."""
        if WRITTEN_BY in event.details:
            return
        told = told_of_process(event)
        if told is not None:
            self._take_process(event, told)
        if not _SAID.isdisjoint(event.details) and (event.type in START_TYPES or event.parent_step_id is None):
            self._take_said(event)

    def _take_process(self, event: JournalEvent, told: Mapping[str, Any]) -> None:
        writer = event.writer or ""
        found = (event.timestamp_ns, event.event_id, process_of(writer, told))
        if found[:2] > self.processes.get(writer, (-1, ""))[:2]:
            self.processes[writer] = found
        if len(self.processes) > MAX_PROCESSES:
            self.processes.pop(min(self.processes, key=lambda one: self.processes[one][:2]))

    def _take_said(self, event: JournalEvent) -> None:
        for tag in _texts(event.details.get("tags")):
            if tag not in self.tags:
                self.tags.append(tag)
        self.tags = sorted(self.tags)[:MAX_TAGS]
        for name, value in labels_of(event.details):
            found = (event.timestamp_ns, event.event_id, value)
            self.labels[name] = max(found, self.labels.get(name, found))
        for name in sorted(self.labels)[MAX_LABELS:]:
            del self.labels[name]


def told_of_process(event: JournalEvent) -> Mapping[str, Any] | None:
    """Return what an event says of the process that wrote it; None where it says nothing of it."""
    told: Any = event.details.get(PROCESS)
    return cast("Mapping[str, Any]", told) if isinstance(told, Mapping) else None


def process_of(writer: str, told: Mapping[str, Any]) -> Process:
    """Return what a process says of itself as a head has it."""
    pid = told.get("pid")
    return Process(
        writer=writer,
        host=_text(told.get("host")),
        pid=pid if type(pid) is int and abs(pid) < 2**63 else None,
        service=_text(told.get("service")),
        version=_text(told.get("service_version")),
    )


def labels_of(details: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield of what was said of a run the names with one text, number or truth value each; what a replay is of."""
    metadata: Any = details.get("metadata")
    said = cast("Mapping[Any, Any]", metadata if isinstance(metadata, Mapping) else {})
    for source in (said, {name: details[name] for name in ("user", "tenant") if name in details}):
        for name, value in source.items():
            text = _text(value)
            if text is not None and isinstance(name, str) and 0 < len(name) <= MAX_NAME:
                yield valid_text(name), text
    replay: Any = details.get(REPLAY)
    replayed = _text(cast("Mapping[str, Any]", replay).get("session")) if isinstance(replay, Mapping) else None
    if replayed is not None:
        yield REPLAY_OF, replayed


def _texts(value: Any) -> list[str]:
    ones = cast("list[Any]", value) if isinstance(value, list | tuple) else []
    return [text for one in ones if isinstance(one, str) and (text := _text(one))]


def _text(value: Any) -> str | None:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return valid_text(value[:MAX_TEXT])
        case int() if value.bit_length() > 256:
            return None
        case int() | float():
            return str(value)
        case _:
            return None
