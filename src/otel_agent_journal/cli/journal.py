"""A journal as commands read it: opened by its URL, the spools of dead writers taken in first, sessions by prefix.

The only module of the command line that opens stores. Heads come out judged: a session whose process has gone silent
is INTERRUPTED here, whatever its stored head still says.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final, cast

import click
import msgspec

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.invocation import CliError
from otel_agent_journal.cli.readable import NS_PER_S
from otel_agent_journal.codec import decode_value
from otel_agent_journal.config import Settings, settings_from_env
from otel_agent_journal.errors import ConfigError, JournalError, SessionNotFound
from otel_agent_journal.event import END_TYPES, START_TYPES, ErrorInfo, JournalEvent, kind_of
from otel_agent_journal.projections.head import ERROR, INTERRUPTED, PROCESSING, SessionHead
from otel_agent_journal.projections.status import head_of, judged, silent_writers
from otel_agent_journal.projections.steps import Step, StepTree, fold_steps
from otel_agent_journal.spool.survey import survey
from otel_agent_journal.store.endings import deciding_event
from otel_agent_journal.store.linked import fold_whole, parts_in, read_whole, whole_of
from otel_agent_journal.store.protocol import BlobStore, JournalStore, SessionFilter

ADOPT_S: Final = 2.0  # a reader's patience with a store, or a backend of spans, that does not answer
_MAX_NAMED: Final = 5  # candidates that an error names
_NOT_FOUND: Final = 3
_NO_LIVE_WRITER: Final = "none"
_RECENT_NS: Final = 600 * NS_PER_S  # how far before its last event a running step is looked for in a listing


def settings_with(**options: str | None) -> Settings:
    """Return the settings of the environment, with the options that are given in place of their variables.

    Args:
        options: by their name in lower case, as `store` for AGENT_JOURNAL_STORE.

    Raises:
        ConfigError: an option or a variable is malformed.
    """
    store = options.get("store")
    if store and ":" not in store:
        raise ConfigError(f"--store is '{store}', which is not a URL; a file is named as sqlite:///{store}")
    given = {f"AGENT_JOURNAL_{name.upper()}": value for name, value in options.items() if value}
    return settings_from_env({**os.environ, **given})


class AmbiguousSession(SessionNotFound):
    """Several sessions have an id that begins so."""


class Journal:
    """An open store and its spool. `clock` returns UTC nanoseconds."""

    def __init__(self, store: JournalStore, settings: Settings) -> None:
        self.store = store
        self.settings = settings
        self.clock = time.time_ns

    @classmethod
    def open(cls, settings: Settings, *, adopt: bool = True) -> Journal:
        """Open a journal for reading; with `adopt`, what dead writers left in its spool is delivered first.

        Raises:
            StoreUnreachable: there is none; says how to make one.
        """
        from otel_agent_journal.bootstrap import open_store

        has_dead = _has_dead(settings.spool)
        journal = cls(open_store(settings, create=has_dead), settings)
        if has_dead and adopt:
            journal.adopt()
        return journal

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def has_dead(self) -> bool:
        """Tell whether a writer is gone whose spool nobody has taken in yet."""
        return _has_dead(self.settings.spool)

    def adopt(self) -> None:
        """Deliver what dead writers left; what cannot be delivered now is left for the next reader, and said."""
        from otel_agent_journal.bootstrap import open_drain, open_forwarder

        try:
            forwarder = None if self.settings.otlp is None else open_forwarder(self.settings, self.store)
            try:
                drain = open_drain(self.settings, self.store, forward=forwarder, only_writer=_NO_LIVE_WRITER)
                drain.drain_once(patience_s=ADOPT_S)
            finally:
                if forwarder is not None:
                    forwarder.close(ADOPT_S)
        except (JournalError, OSError) as error:
            note(f"the spool at {self.settings.spool} was not taken in ({error}); to retry: agent-journal drain")

    def heads(self, wanted: SessionFilter) -> Iterator[SessionHead]:
        """Yield the judged heads of sessions, the latest updated first; filters apply to the status as judged."""
        statuses = wanted.statuses
        asked = statuses
        if INTERRUPTED in statuses and PROCESSING not in statuses:
            asked = (*statuses, PROCESSING)
        exact = PROCESSING not in asked
        stored = msgspec.structs.replace(wanted, statuses=asked, limit=wanted.limit if exact or not asked else None)
        now_ns, waiting = self.clock(), self.waiting()
        found = (judged(head, now_ns, waiting_writers=waiting) for head in self.store.sessions(stored))
        yield from islice((head for head in found if not statuses or head.status in statuses), wanted.limit)

    def waiting(self) -> frozenset[str]:
        """Return the writers of whose events some still wait in the spool."""
        return survey(self.settings.spool).waiting_writers

    def silent(self, head: SessionHead) -> tuple[str, ...]:
        """Return the writers of a stored head that have an open step and have gone silent."""
        return silent_writers(head, self.clock(), waiting_writers=self.waiting())

    def newest(self) -> SessionHead | None:
        """Return the session updated last, or None in an empty journal."""
        return next(self.store.sessions(SessionFilter(limit=1)), None)

    def events(self, session_id: str) -> Iterator[JournalEvent]:
        """Yield the events of a session and of its parts, in the session's order."""
        return read_whole(self.store, session_id)

    def tree(self, head: SessionHead) -> StepTree:
        """Return a session's step tree; steps of writers gone silent are interrupted in it."""
        return fold_steps(read_whole(self.store, head.session_id, head=head), lost_writers=self.silent(head))

    def judged(self, head: SessionHead) -> SessionHead:
        """Return a stored head as it should be shown now."""
        return judged(head, self.clock(), waiting_writers=self.waiting())

    def error_of(self, head: SessionHead) -> ErrorInfo | None:
        """Return why a session failed, where that made its status."""
        event = deciding_event(self.store, head) if head.status == ERROR else None
        return None if event is None else event.error

    def session(self, text: str) -> SessionHead:
        """Return the stored head of the session with this id, or of the only one whose id begins so.

        Of a trace that is part of a session it is the session's, and that is said.

        Raises:
            SessionNotFound: none does, or several do: then it names them.
        """
        exact = self.exact(text)
        if exact is not None:
            return self._whole(exact)
        near = self._near(text) if text else []
        if len(near) == 1:
            return near[0]
        if near:
            named = ", ".join(head.session_id for head in near[:_MAX_NAMED])
            more = f"{len(near)} candidates" if len(near) <= _MAX_NAMED else f"more than {_MAX_NAMED} candidates"
            raise AmbiguousSession(
                text, f"{more}: {named}{', …' if len(near) > _MAX_NAMED else ''}; give more of the id"
            )
        newest = self.newest()
        hint = f"the newest is {newest.session_id}; " if newest else "the journal is empty; "
        raise SessionNotFound(text, f"{hint}agent-journal ls lists them all")

    def _near(self, prefix: str) -> list[SessionHead]:
        """Return sessions whose ids begin so; where there are none, those of the parts whose ids do."""
        wanted = SessionFilter(id_prefix=prefix, limit=_MAX_NAMED + 1)
        near = list(self.store.sessions(wanted))
        if near:
            return near
        parts = self.store.sessions(msgspec.structs.replace(wanted, parts=True))
        return list({whole.session_id: whole for whole in map(self._whole, parts)}.values())

    def _whole(self, head: SessionHead) -> SessionHead:
        whole = whole_of(self.store, head)
        if whole is not head:
            note(f"{head.session_id} is part of session {whole.session_id}")
        return whole

    def exact(self, session_id: str) -> SessionHead | None:
        """Return the stored head of the session with this id, made of its events where none is written yet."""
        head = self.store.head(session_id)
        if head is not None:
            return head
        state = fold_whole(self.store, session_id)
        return head_of(state, session_id) if len(state.seen) else None

    def session_and_step(self, text: str) -> tuple[SessionHead, str | None]:
        """Return the session, and what of a step is named after a slash. Session ids may hold slashes themselves.

        Raises:
            SessionNotFound: no reading of `text` names a session.
        """
        try:
            return self.session(text), None
        except SessionNotFound as error:
            first = error
        places = [place for place, letter in enumerate(text) if letter == "/" and place]
        for place in reversed(places):
            try:
                return self.session(text[:place]), text[place + 1 :] or None
            except SessionNotFound as error:
                first = error if place == places[0] else first
        raise first

    def running_step(self, head: SessionHead) -> str | None:
        """Return kind and name of the step that began last of those open, None where none is found.

        Goes back from the session's last event only as far as it must, so that a listing stays quick.
        """
        reach_ns = NS_PER_S
        while True:
            open_steps: dict[str | None, JournalEvent] = {}
            after = max(0, head.updated_ns - reach_ns), ""
            for event in read_whole(self.store, head.session_id, after, head=head):
                if event.type in START_TYPES:
                    open_steps[event.step_id] = event
                elif event.type in END_TYPES:
                    open_steps.pop(event.step_id, None)
            last = next(reversed(open_steps.values()), None)
            if last is not None:
                return f"{(kind_of(last.type) or '').lower()} {last.name or ''}".strip()
            if head.updated_ns - reach_ns < head.started_ns or reach_ns > _RECENT_NS:
                return None
            reach_ns *= 8

    def resolved(self, session_id: str, value: Any) -> Any:
        """Return a value with every blob reference in it replaced by what it refers to, where that is kept."""
        if isinstance(value, dict):
            mapping = cast("dict[str, Any]", value)
            digest = mapping.get("$blob")
            if isinstance(digest, str):
                data = self.blob(session_id, digest)
                return mapping if data is None else decode_value(data)
            return {key: self.resolved(session_id, item) for key, item in mapping.items()}
        if isinstance(value, list):
            return [self.resolved(session_id, item) for item in cast("list[Any]", value)]
        return value

    def blob(self, session_id: str, digest: str) -> bytes | None:
        """Return a value that a session or a part of it keeps apart, as JSON text, or None where it is not there."""
        if not isinstance(self.store, BlobStore) or not self.store.capabilities.blobs:
            return None
        own = self.store.get_blob(session_id, digest)
        if own is not None:
            return own
        kept = (self.store.get_blob(part, digest) for part in parts_in(self.store, session_id))
        return next((data for data in kept if data is not None), None)


def find_step(tree: StepTree, text: str) -> Step:
    """Return the step with this id, the only one whose id begins so, or the only one of this name.

    Raises:
        CliError: none or several; exit code 3.
    """
    steps = tree.steps
    exact = [step for step in steps if step.step_id == text]
    near = (
        exact
        or [step for step in steps if step.name == text]
        or [step for step in steps if step.step_id.startswith(text)]
    )
    if len(near) == 1:
        return near[0]
    if not near:
        names = ", ".join(dict.fromkeys(step.name for step in steps[:50] if step.name))
        raise CliError(f"no step matches '{text}'; steps here: {names or 'none'}; their ids: show SESSION", _NOT_FOUND)
    named = ", ".join(f"{step.name} {step.step_id}" for step in near[:_MAX_NAMED])
    more = ", …" if len(near) > _MAX_NAMED else ""
    raise CliError(f"{len(near)} steps match '{text}': {named}{more}; give the id, or the beginning of it", _NOT_FOUND)


def need_session(journal: Journal, command: str) -> CliError:
    """Return the usage error of a command that was given no session; it names the newest."""
    newest = journal.newest()
    if newest is None:
        return CliError(f"'{command}' needs a session, and the journal {journal.store.url} is empty", 2)
    return CliError(
        f"'{command}' needs a session; the newest is {newest.session_id}: agent-journal {command} {newest.session_id}",
        2,
    )


def note(message: str) -> None:
    """Say a line on stderr."""
    click.echo(f"agent-journal: {readable.one_line(message)}", err=True)


def _has_dead(spool: Path) -> bool:
    return any(not folder.alive and not folder.drained_now for folder in survey(spool).folders)
