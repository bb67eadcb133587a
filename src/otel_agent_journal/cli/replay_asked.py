"""What `replay` is asked to do: which session, or file of one, and by which rules."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from otel_agent_journal.cli.contract import CliError
from otel_agent_journal.pasting import pasted

if TYPE_CHECKING:
    from otel_agent_journal.cli.invocation import Invocation
    from otel_agent_journal.reading.journal import Journal
    from otel_agent_journal.replays.recording import Recording
    from otel_agent_journal.replays.rules import Rules

_USAGE = 2


class Source(NamedTuple):
    """A recorded session. `file`: what it was read from, in place of the store."""

    journal: Journal
    recording: Recording
    names: frozenset[str] | Journal  # where names of replays may be taken
    file: Path | None = None

    @property
    def session_id(self) -> str:
        """The session."""
        return self.recording.session_id


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options of one call."""

    since: str | None = None
    until: str | None = None
    live: tuple[str, ...] = ()
    on_drift: str = "serve"
    on_new: str = "stop"
    changes: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    strict: bool = False
    once: bool = False
    no_network: bool = False
    name: str | None = None
    export: bool = False
    yes: bool = False

    def rules(self, source: Source) -> Rules:
        """Return what is to be done with a session.

        Raises:
            ConfigError: an option is none of what it can be, or goes with another.
            NoSuchStep: one that is named is not there.
        """
        from otel_agent_journal.bootstrap.replaying import free_name
        from otel_agent_journal.errors import ConfigError
        from otel_agent_journal.reading.naming import find_step
        from otel_agent_journal.replays.ignoring import Ignoring
        from otel_agent_journal.replays.rules import Rules

        Ignoring(self.ignore)
        if self.name is not None and _is_taken(source, self.name):
            raise ConfigError(
                f"--as names session {self.name}, which is there already; a replay is a session of its own"
            )
        numbers = {
            option: find_step(source.recording.tree, text, source.session_id).number
            for option, text in (("since", self.since), ("until", self.until))
            if text is not None
        }
        rules = Rules(
            session=source.session_id,
            name=self.name or free_name(source.session_id, lambda name: _is_taken(source, name)),
            live=self.live,
            on_drift=self.on_drift,
            on_new=self.on_new,
            change=dict(map(_changed, self.changes)),
            ignore=self.ignore,
            once=self.once,
            recording=None if source.file is None else str(source.file.absolute()),
            **numbers,
        )
        if rules.change and not (rules.calls_models or rules.since is not None):
            raise ConfigError("--set changes models that are called, and all are served; add --live models")
        if rules.once and rules.since is None:
            raise ConfigError("--once is for what tools did after a step: add --from STEP")
        return rules


@contextmanager
def source_of(invocation: Invocation, text: str | None) -> Generator[Source]:
    """Give the session that is named, or that a file has.

    Raises:
        CliError: none was named.
        SessionNotFound: there is none of that name.
        ConfigError: the file is no recording.
    """
    from otel_agent_journal.bootstrap.replaying import recording_in
    from otel_agent_journal.cli.choosing import need_session
    from otel_agent_journal.reading.journal import Journal
    from otel_agent_journal.replays.files import read_recording

    if text is not None and text.endswith(".jsonl") and Path(text).is_file():
        store, session_id = read_recording(Path(text))
        invocation.log()
        settings = invocation.settings()
        journal = Journal(store, settings.spool)
        yield Source(journal, recording_in(journal, session_id), _names_in(invocation, session_id), Path(text))
        return
    journal = invocation.journal()
    if not text:
        raise need_session(journal, "replay")
    head, step = journal.session_and_step(text)
    if step is not None:
        raise click.UsageError(f"'replay' begins at the beginning; to call all from step {step} on: --from {step}")
    yield Source(journal, recording_in(journal, head.session_id), journal)


def _names_in(invocation: Invocation, session_id: str) -> frozenset[str]:
    """Return the sessions of the store, where there is one already, whose names begin with another's."""
    from otel_agent_journal.bootstrap import open_journal
    from otel_agent_journal.errors import StoreError
    from otel_agent_journal.store.protocol import SessionFilter

    try:
        journal = open_journal(invocation.settings(), note=lambda line: None)
    except StoreError:
        return frozenset()
    try:
        return frozenset(head.session_id for head in journal.heads(SessionFilter(id_prefix=session_id)))
    finally:
        journal.close()


def _is_taken(source: Source, name: str) -> bool:
    if isinstance(source.names, frozenset):
        return name in source.names
    return source.names.exact(name) is not None


def _changed(text: str) -> tuple[str, Any]:
    import json

    from otel_agent_journal.errors import ConfigError

    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ConfigError(f"--set is '{text}'; NAME=VALUE is expected, as in: --set temperature=0")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def recorded_program(source: Source) -> list[str]:
    """Return the program that made the recording, as far as the journal knows it.

    Raises:
        CliError: it does not.
    """
    for event in source.journal.events(source.session_id):
        process: Any = event.details.get("process") or {}
        entry: Any = process.get("entry_point")
        if isinstance(entry, str) and entry:
            arguments = [str(one) for one in process.get("argv", ())]
            if any("***" in one for one in arguments):
                raise CliError(
                    "its arguments hold a secret, which is not in the journal; name the program: -- CMD", _USAGE
                )
            is_file = entry.endswith(".py") or os.sep in entry
            return [sys.executable, *([entry] if is_file else ["-m", entry]), *arguments]
    raise CliError(
        f"which program made {source.session_id} is not in the journal; name it:"
        f" agent-journal replay {pasted(source.session_id)} -- python my_agent.py",
        _USAGE,
    )
