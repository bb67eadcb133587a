"""`Sessions`: agents run for callers, on the store of this process or one that is named."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from otel_agent_journal.bootstrap.openers import late_redactor, open_prices, take_in
from otel_agent_journal.bootstrap.settings import settings_of_process
from otel_agent_journal.config import AGENTS, RUN, SPOOL, STORE, WEBHOOK_SECRET, Settings, absolute_store, spool_of
from otel_agent_journal.errors import ConfigError, SessionNotFound
from otel_agent_journal.pipeline.content import ContentEncoder
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.sessions.agents import Agent, Order, Runs, agents_from, agents_of
from otel_agent_journal.sessions.dispatcher import DEFAULT_MAX_RUNS, Dispatcher, Launch
from otel_agent_journal.sessions.notices import Notices
from otel_agent_journal.sessions.runs import Run
from otel_agent_journal.sessions.service import Fork, SessionService
from otel_agent_journal.store import registry
from otel_agent_journal.store.protocol import JournalStore

_MEMORY: Final = "memory:"


class Sessions(SessionService):
    """Runs agents for callers; see `SessionService` for what it does. A block, or closed by `close()`.

    Runs are processes of their own, which outlive this one; what was submitted and not started is started by the next
    `Sessions` on the store.

    Args:
        store: a URL, an open store, or None: the store that this process records to, else the environment's.
        agents: by name `module:callable`, a command, or a function; by default those of AGENT_JOURNAL_AGENTS.
        max_runs: how many run at once; others wait.
        webhook_secret: what webhooks are signed with; by default AGENT_JOURNAL_WEBHOOK_SECRET.
        settings: in the place of this process's own, for who has read them already.

    Raises:
        ConfigError: an agent, the URL or a variable is malformed, or the store is in memory: no run reaches it.
        UnsupportedByStore: the store cannot be read, or keeps no documents.
    """

    def __init__(
        self,
        store: str | JournalStore | None = None,
        agents: Mapping[str, Runs] | None = None,
        *,
        max_runs: int = DEFAULT_MAX_RUNS,
        webhook_secret: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        settings = settings_for(store) if settings is None else settings
        known = agents_from(os.environ.get(AGENTS, "")) if agents is None and os.environ.get(AGENTS) else agents or {}
        journal = open_journal_of(settings, store if isinstance(store, JournalStore) else None)
        super().__init__(journal, agents_of(known), encoder=encoder_of(settings), fork=_forks(journal))
        self._owns_store = not isinstance(store, JournalStore)
        secret = webhook_secret or os.environ.get(WEBHOOK_SECRET) or None
        launch = launcher(settings, self.agents, secret)
        self.dispatcher = Dispatcher(self, launch, Notices(self, secret=secret), max_runs=max_runs)
        self.submitted = self.dispatcher.submitted

    def start(self) -> Self:
        """Look after the store's runs from now on, those that were submitted elsewhere, too."""
        self.dispatcher.start()
        return self

    def close(self) -> None:
        """Look after nothing more; what runs goes on."""
        self.dispatcher.stop()
        if self._owns_store:
            self.journal.close()

    def __enter__(self) -> Self:
        """Look after the store's runs within the block."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


def settings_for(store: str | JournalStore | None) -> Settings:
    """Return this process's settings, with a store that is named in the place of its own.

    Raises:
        ConfigError: the store is in memory, or its URL malformed.
    """
    settings, _ = settings_of_process()
    url = store if isinstance(store, str) else settings.store if store is None else store.url
    if url.startswith(_MEMORY):
        raise ConfigError(f"store {url}: each run is a process of its own and does not reach it; name a file or server")
    url = absolute_store(url)
    if url != settings.store:
        spool = settings.spool if os.environ.get(SPOOL) else spool_of(url).absolute()
        settings = msgspec.structs.replace(settings, store=url, store_given=True, spool=spool)
    return settings


def open_service(settings: Settings, agents: Mapping[str, Agent]) -> SessionService:
    """Return the service alone, which starts nothing by itself."""
    journal = open_journal_of(settings, None)
    return SessionService(journal, agents, encoder=encoder_of(settings), fork=_forks(journal))


def open_journal_of(settings: Settings, store: JournalStore | None) -> Journal:
    """Return the journal of these settings for reading and writing; it is made where it is not there yet."""
    opened = registry.open_store(settings.store) if store is None else store
    return Journal(
        opened,
        settings.spool,
        take_in=lambda: take_in(settings, opened, lambda line: None),
        prices=lambda: open_prices(settings),
    )


def encoder_of(settings: Settings) -> ContentEncoder:
    """Return what decides what of a submission is journaled."""
    return ContentEncoder(
        content=settings.content,
        redactor=None if settings.redactor is None else late_redactor(settings.redactor),
        field_limit_bytes=settings.field_limit_bytes,
    )


def _forks(journal: Journal) -> Fork:
    def fork(session_id: str, at: int | str | None, state: Mapping[str, Any] | None, new: str | None) -> str:
        from otel_agent_journal.bootstrap.going_back import fork_at, point_of

        head = journal.exact(session_id)
        if head is None:
            raise SessionNotFound(session_id, "nothing was forked: agent-journal ls lists what there is")
        return fork_at(journal, point_of(journal, head, at), new, state)

    return fork


def launcher(settings: Settings, agents: Mapping[str, Agent], secret: str | None) -> Launch:
    """Return what starts a run as a process of its own, in its own group and session."""

    def launch(session_id: str, run: Run, claim: str) -> subprocess.Popen[bytes]:
        order = Order(session_id=session_id, run=run.run, agent=agents[run.agent], claim=claim)
        environ = {
            **os.environ,
            STORE: settings.store,
            SPOOL: str(settings.spool),
            RUN: msgspec.json.encode(order).decode(),
        }
        if secret is not None:
            environ[WEBHOOK_SECRET] = secret
        path = [str(Path.cwd()), *filter(None, environ.get("PYTHONPATH", "").split(os.pathsep))]
        environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path))
        return subprocess.Popen(
            [sys.executable, "-m", "otel_agent_journal.bootstrap.session_run"],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    return launch
