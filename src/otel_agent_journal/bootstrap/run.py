"""`agent-journal run`: starts a program journaled, drains its spool beside it, and notes at once when it is killed.

The child's stdin, stdout, stderr and exit code are its own; what we say goes to stderr.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from otel_agent_journal import terminal
from otel_agent_journal.bootstrap.instrumenting import modules_of_others
from otel_agent_journal.bootstrap.openers import open_drain, open_forwarder, open_store
from otel_agent_journal.bootstrap.process import ANNOUNCE, ELSEWHERE
from otel_agent_journal.bootstrap.signals import held_signals, wait_for_child
from otel_agent_journal.bootstrap.sinks import Sinks, left_over, open_sinks
from otel_agent_journal.config import DRAIN, OTLP, SESSION, SPOOL, STORE, Settings
from otel_agent_journal.errors import JournalError, StoreError
from otel_agent_journal.masking import masked
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.projections.id_set import MASK, IdSet
from otel_agent_journal.spool.home import check_home

if TYPE_CHECKING:
    from otel_agent_journal.delivery.drain import Drain
    from otel_agent_journal.event import JournalEvent
    from otel_agent_journal.forwarding.forwarder import Forwarder
    from otel_agent_journal.store.protocol import JournalStore

_NOT_FOUND: Final = 127  # as shells have it
_NOT_EXECUTABLE: Final = 126
_SIGNAL: Final = 128
_DELIVER_S: Final = 30.0  # once the program has ended, while the store takes what is left; one that does not, less
_FORWARD_S: Final = 10.0
_SINK_S: Final = 10.0  # for sinks that take what is left; one that does not, less
_MAX_SESSIONS: Final = 1_000_000
_SHOWN_SESSIONS: Final = 5
WATCH: Final = "AGENT_JOURNAL_WATCH"  # names to `autoload` what starts the journal, beside the frameworks it knows
REACHED: Final = "reached"  # what `autoload` makes in the folder that ANNOUNCE names
_NOT_REACHED: Final = (
    "no Python of the program could be reached (python -I, -E and -S ignore us, and so do programs that are not Python)"
)


def run_agent(
    settings: Settings,
    command: Sequence[str],
    *,
    say: Callable[[str], None] | None = None,
    watch: Callable[[Sequence[JournalEvent]], None] | None = None,
    started: Callable[[int], None] | None = None,
    **popen: Any,
) -> int:
    """Run a program journaled and return its exit code; 128 and the signal's number where a signal ended it.

    Args:
        settings: where to journal and forward to.
        command: the program and its arguments.
        say: takes each line for the user; default stderr.
        watch: called with events as they are delivered.
        started: called with the program's process id once it runs.
        popen: further arguments of the child.

    Raises:
        ConfigError: a setting is malformed; nothing was started.
    """
    with _word_of_the_program() as word:
        return _Run(settings, say or terminal.say, watch, word, started).run(command, popen)


class _Run:
    """One call of `run`."""

    def __init__(
        self,
        settings: Settings,
        say: Callable[[str], None],
        watch: Callable[[Sequence[JournalEvent]], None] | None,
        word: Path,
        started: Callable[[int], None] | None = None,
    ) -> None:
        self._settings = settings
        self._say = say
        self._watch = watch
        self._word = word
        self._started = started
        self._sessions = IdSet()  # hashes of their ids: nine bytes each, where there are many
        self._latest: deque[str] = deque(maxlen=_SHOWN_SESSIONS)
        self._forwarder: Forwarder | None = None
        self._sinks = Sinks([])

    def run(self, command: Sequence[str], popen: dict[str, Any]) -> int:
        started_ns = time.time_ns()
        with held_signals() as unheld, _log_lines(self._warn):  # the threads that are started within hold them too
            store, drain = self._open_all()
            child = self._start(command, {**unheld, **popen})
            if isinstance(child, int):
                if store is not None:
                    store.close()
                return child
            if self._started is not None:
                self._started(child.pid)
            if drain is not None:
                drain.start()
                self._sinks.start()
            code, ended_ns = wait_for_child(child), time.time_ns()
        if drain is not None and store is not None:
            for writer in _writers_of(child.pid, self._settings.spool, started_ns):
                drain.writer_died(writer, at_ns=ended_ns)
            with _log_lines(self._warn):
                self._finish(drain, store, child.pid, code, started_ns)
        return code if code >= 0 else _SIGNAL - code

    def _open_all(self) -> tuple[JournalStore | None, Drain | None]:
        settings = self._settings
        here = f"sqlite:///{quote(str(Path.cwd()))}/"
        shown = masked(settings.store).replace(here, "sqlite:///", 1)
        store = self._open(settings)
        self._sinks = open_sinks(settings)
        if settings.otlp is not None:
            self._forwarder = open_forwarder(settings, store, warn=self._warn)
        target = self._forwarder.stats.target if self._forwarder is not None else "off (--otlp http://localhost:4318)"
        self._say(f"agent-journal: store {shown}   otlp {target}")
        for sink in settings.sinks:
            self._say(f"agent-journal: sink {masked(sink)}")
        if store is None:
            return None, None
        return store, open_drain(settings, store, forward=self._take, spans_pending=self._spans_pending)

    def _start(self, command: Sequence[str], popen: dict[str, Any]) -> subprocess.Popen[Any] | int:
        """Start the program; return the exit code where it cannot be."""
        environ = environment_for_child(self._settings, popen.pop("env", os.environ))
        environ[ANNOUNCE] = str(self._word)
        try:
            # Descriptors that the caller hands on stay the program's, as without us; ours are closed on exec.
            return subprocess.Popen(list(command), env=environ, close_fds=False, **popen)
        except OSError as error:
            self._say(f"agent-journal: cannot run {command[0]}: {error.strerror}")
            return _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE

    def _open(self, settings: Settings) -> JournalStore | None:
        """Open the store; without one the program runs all the same, and its events wait in the spool.

        Raises:
            ConfigError: what names the store is malformed.
        """
        try:
            return open_store(settings, create=True)
        except StoreError as error:
            self._say(f"agent-journal: {error}")
            self._say("agent-journal: events wait in the spool; deliver them with: agent-journal drain")
            return None

    def _take(self, events: Sequence[JournalEvent], writer: Any) -> None:
        for event in events:
            if len(self._sessions) < _MAX_SESSIONS and self._sessions.add(hash(event.session_id) & MASK):
                self._latest.append(event.session_id)
        if self._watch is not None:
            self._watch(events)
        if self._forwarder is not None:
            self._forwarder(events, writer)
        self._sinks.poke()

    def _spans_pending(self) -> int:
        if self._forwarder is None:
            return 0
        stats = self._forwarder.stats
        return stats.pending + stats.dropped

    def _warn(self, text: str, *args: Any) -> None:
        self._say(f"agent-journal: {text % args if args else text}")

    def _finish(self, drain: Drain, store: JournalStore, pid: int, code: int, started_ns: int) -> None:
        """Deliver what is left, say how it went, close. Ctrl-C here gives up waiting; the spool keeps the rest."""
        try:
            delivered = drain.stop(_DELIVER_S)
            stats = drain.stats
            if self._forwarder is not None:
                sent = self._forwarder.close(_FORWARD_S)
                if sent.pending or sent.dropped:
                    self._say(
                        f"agent-journal: {sent.pending + sent.dropped} spans did not reach {sent.target}"
                        f" ({sent.last_error}); the journal has them: agent-journal export SESSION --otlp URL"
                    )
            for line in map(left_over, self._sinks.close(_SINK_S)):
                if line is not None:
                    self._say(f"agent-journal: {line}")
            if code < 0:
                self._say(f"agent-journal: process {pid} was killed by {_signal_name(-code)}")
            if delivered:
                self._summary(store, started_ns)
            if stats.refused:
                self._say(f"agent-journal: {stats.refused} events were refused by the spool; see agent-journal doctor")
            if not delivered:
                self._say(
                    f"agent-journal: {stats.pending_bytes:,} bytes are still in the spool;"
                    " deliver them with: agent-journal drain"
                )
        except KeyboardInterrupt:
            self._say("agent-journal: not everything was delivered; the rest is in the spool: agent-journal drain")
        finally:
            if not drain.is_running:  # else it is in the store's hands, and closing would wait for it
                with contextlib.suppress(Exception):
                    store.close()

    def _summary(self, store: JournalStore, started_ns: int) -> None:
        elsewhere = _read(self._word / ELSEWHERE)
        if elsewhere:
            self._say(f"agent-journal: the program has configured a journal of its own: {elsewhere}")
        if not self._sessions:
            if not elsewhere:
                self._say(f"agent-journal: nothing was journaled: {self._why_nothing()}")
        elif not store.capabilities.heads:
            self._say(f"agent-journal: {_count(len(self._sessions), 'session')} shipped to {store.url}")
        else:
            self._say_heads(store, started_ns)

    def _why_nothing(self) -> str:
        try:
            check_home(self._settings.spool)
        except OSError as error:
            return f"the spool {self._settings.spool} cannot be written: {error.strerror}: {error.filename}"
        reached = (self._word / REACHED).exists() or not self._word.is_dir()
        return "the program ran no agent that is instrumented" if reached else _NOT_REACHED

    def _say_heads(self, store: JournalStore, started_ns: int) -> None:
        heads: list[SessionHead] = []
        try:
            found = (store.head(session_id) for session_id in self._latest)
            heads = [head for head in found if head is not None and head.updated_ns >= started_ns]
        except JournalError as error:
            self._say(f"agent-journal: {error}")
        for head in heads:
            self._say(f"agent-journal: {describe(head)}")
        if len(self._sessions) > len(heads) and heads:
            more = " or more" if len(self._sessions) == _MAX_SESSIONS else ""
            self._say(f"agent-journal: {len(self._sessions):,}{more} sessions in all: agent-journal ls")


def describe(head: SessionHead) -> str:
    """Return one line on a session: its id, status, steps, errors, duration and tokens."""
    status = head.status + (f" ({head.reason.replace('_', ' ')})" if head.reason else "")
    parts = [f"session {head.session_id}  {status}", _count(head.steps, "step")]
    if head.errors:
        parts.append(_count(head.errors, "error"))
    if head.started_ns and head.updated_ns:
        parts.append(f"{(head.updated_ns - head.started_ns) / 1e9:.1f} s")
    tokens = head.input_tokens + head.output_tokens
    if tokens:
        parts.append(f"{tokens:,} tokens")
    return "  ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def environment_for_child(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which a program and all that it starts is journaled to a parent's spool."""
    child = dict(environ)
    folder = str(Path(__file__).parent.parent / "autoload")
    path = [part for part in child.get("PYTHONPATH", "").split(os.pathsep) if part and part != folder]
    child["PYTHONPATH"] = os.pathsep.join([folder, *path])
    child |= {STORE: settings.store, SPOOL: str(settings.spool.absolute()), DRAIN: "parent"}
    if settings.session is not None:
        child[SESSION] = settings.session
    if settings.otlp is not None:
        child[OTLP] = settings.otlp
    if others := modules_of_others():
        child[WATCH] = ",".join(others)
    return child


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


@contextlib.contextmanager
def _word_of_the_program() -> Generator[Path]:
    """Name a folder in which the program tells that it was reached, and where its journal is if not here."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="agent-journal-", ignore_cleanup_errors=True)
    except OSError:
        yield Path(os.devnull)  # no room for a word
        return
    with folder as name:
        yield Path(name)


def _writers_of(pid: int, spool: Path, since_ns: int) -> list[str]:
    """Return the writers in a spool that are this process of ours."""
    from otel_agent_journal.spool.home import info_of
    from otel_agent_journal.spool.survey import writer_folders

    known = map(info_of, writer_folders(spool))
    here = socket.gethostname()
    return [info.writer for info in known if (info.pid, info.host) == (pid, here) and info.started_ns >= since_ns]


@contextlib.contextmanager
def _log_lines(warn: Callable[[str], None]) -> Generator[None]:
    """Say the warnings of the package as lines of ours, where nobody has set up logging."""
    if logging.getLogger().handlers:
        yield
        return
    ours, handler = logging.getLogger("otel_agent_journal"), terminal.log_handler(told=warn)
    handler.setLevel(logging.WARNING)
    ours.addHandler(handler)
    try:
        yield
    finally:
        ours.removeHandler(handler)
