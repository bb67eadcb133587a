"""A replay in this process: what runs within the block is served from a recording, and compared with it.

with replay("reading-7") as replayed:
graph.invoke(...)
replayed.assert_same()
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from otel_agent_journal.bootstrap.openers import open_journal
from otel_agent_journal.bootstrap.process import configure, flush, shutdown
from otel_agent_journal.bootstrap.replaying import free_name, recording_in, report_in
from otel_agent_journal.bootstrap.settings import settings_of_process
from otel_agent_journal.pipeline.current import STATE
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.reading.session_view import SessionView
from otel_agent_journal.replays.current import begin_replay, end_replay
from otel_agent_journal.replays.errors import Diverged, ReplayEnded
from otel_agent_journal.replays.files import read_recording
from otel_agent_journal.replays.matching import UNREPLAYABLE
from otel_agent_journal.replays.recording import Recording
from otel_agent_journal.replays.replaying import Replay
from otel_agent_journal.replays.report import Divergence, Report
from otel_agent_journal.replays.rules import Rules
from otel_agent_journal.replays.told import lines_of


class Replayed:
    """A replay in this process, and once it is over what became of it. Made by `replay`."""

    def __init__(self, source: str | Path, store: str | None = None, **rules: Any) -> None:
        self._folder: Path | None = None
        self._report: Report | None = None
        self._view: SessionView | None = None
        self.looked_at = False  # by the test: else what it did not look at fails it
        self._settings, _ = settings_of_process()
        file = Path(source)
        if file.is_file():
            recorded, session_id = read_recording(file)
            self._recorded = Journal(recorded, self._settings.spool)
        else:
            self._recorded = _opened(store)
            session_id = self._recorded.session(str(source)).session_id
        self.recording: Recording = recording_in(self._recorded, session_id)
        if (why := self.recording.refusal) is not None:
            self._recorded.close()
            raise Diverged(UNREPLAYABLE, session_id, why)
        if STATE.agent is None:
            self._folder = Path(tempfile.mkdtemp(prefix="agent-journal-replay-"))
            configure(store=f"sqlite:///{self._folder}/journal.db", spool=self._folder / "spool")
        self.rules = Rules(session=session_id, name=_name_of(session_id), **rules)
        self._replay = Replay(self.rules, lambda: self.recording)
        begin_replay(self._replay)

    @property
    def report(self) -> Report:
        """What became of it; asking for it ends the replay."""
        if self._report is None:
            end_replay(self._replay)
            flush()
            replays = _opened(None, create=True)
            try:
                self._report = report_in(self._recorded, self.recording, self.rules, replays)
                if replays.exact(self.rules.name) is not None:
                    self._view = SessionView(replays, self.rules.name)
            finally:
                replays.close()
                self._recorded.close()
                if self._folder is not None:
                    shutdown()
                    shutil.rmtree(self._folder, ignore_errors=True)
        return self._report

    @property
    def divergences(self) -> list[Divergence]:
        """The steps that went another way, in order."""
        self.looked_at = True
        return self.report.divergences

    @property
    def journal(self) -> SessionView:
        """The replay's own journal: which tools it asked for, what its models were asked.

        Raises:
            LookupError: no agent ran in the replay.
        """
        _ = self.report
        if self._view is None:
            raise LookupError(
                f"no agent ran in this replay of {self.recording.session_id}; run it inside the with block"
            )
        return self._view

    def assert_same(self, *, strict: bool = True) -> None:
        """Raise where anything went another way. Without `strict`, a model may have been asked something else.

        Raises:
            AssertionError: says at which step, and why.
        """
        self.looked_at = True
        if self.report.diverged(strict=strict):
            raise AssertionError("\n".join(("the program went another way than was recorded", *lines_of(self.report))))

    def __enter__(self) -> Self:
        """Return it; it has begun."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """End the replay. That it diverged, or came to its end, is in its report, and is not raised."""
        _ = self.report
        return isinstance(error, Diverged | ReplayEnded)


def replay(
    source: str | Path,
    *,
    store: str | None = None,
    live: tuple[str, ...] = (),
    on_drift: str = "serve",
    on_new: str = "stop",
    ignore: tuple[str, ...] = (),
) -> Replayed:
    """Serve all that runs in this process from a recording, until the block ends or the report is asked for.

    Models, tools and retrievers answer from the recording, and nothing is called. Where this process is not journaled
    yet it is, to a folder that goes with the replay.

    Args:
        source: a file that `agent-journal export SESSION --recording FILE` wrote, or a session.
        store: where the session is, as a URL; by default this process's store, or the environment's.
        live: what is called all the same: `models`, `tools`, `model:NAME`, `tool:NAME`.
        on_drift: a model is asked something else: `serve`, `stop` or `live`.
        on_new: a call that was not recorded: `stop`, `error` or `live`.
        ignore: what is no difference: `time`, `uuid`, or a path such as `messages[0].content`.

    Raises:
        SessionNotFound: there is neither such a file nor such a session.
        Diverged: the session cannot be replayed: it is a fork.
        ConfigError: one of the arguments is none of what it can be.
        StoreUnreachable: and other errors of the store.
    """
    return Replayed(source, store, live=live, on_drift=on_drift, on_new=on_new, ignore=ignore)


def _opened(store: str | None, *, create: bool = False) -> Journal:
    import msgspec

    from otel_agent_journal.config import absolute_store, spool_of

    settings, _ = settings_of_process()
    if store is not None:
        url = absolute_store(store)
        settings = msgspec.structs.replace(settings, store=url, spool=spool_of(url).absolute())
    return open_journal(settings, create=create, note=lambda line: None)


def _name_of(session_id: str) -> str:
    """Return a name that no replay in this process's store has, also one of which nothing is delivered yet."""
    flush()
    journal = _opened(None, create=True)
    try:
        return free_name(session_id, lambda name: journal.exact(name) is not None)
    finally:
        journal.close()
