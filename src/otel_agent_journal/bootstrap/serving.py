"""`agent-journal serve`, and `run --ui`: the server over the journal that the settings name, with its token."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

from otel_agent_journal.bootstrap.alerts import open_rules, open_watch
from otel_agent_journal.bootstrap.clients import open_a2a, open_clients
from otel_agent_journal.bootstrap.openers import open_journal, open_store
from otel_agent_journal.config import SERVE_TOKEN, Settings
from otel_agent_journal.errors import ConfigError, MissingExtra, UnsupportedByStore
from otel_agent_journal.terminal import say

if TYPE_CHECKING:
    from otel_agent_journal.alerts.rules import Rules
    from otel_agent_journal.alerts.watch import Watch
    from otel_agent_journal.bootstrap.sessions import Sessions
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.reading.journal import Journal
    from otel_agent_journal.server.app import App
    from otel_agent_journal.server.guard import Access
    from otel_agent_journal.server.serving import Server

_LAST_MESSAGES_S: Final = 35.0  # for what is on its way to receivers, each of which may take 30 s
_LEAST_TOKEN: Final = 16  # characters of one that others may try from afar


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how the server listens; see the options of `agent-journal serve`."""

    host: str = "127.0.0.1"
    port: int = 0
    root_path: str = ""
    hosts: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    token_file: Path | None = None
    no_token: bool = False
    write: bool = False
    a2a: bool = False
    agents: Path | None = None
    alerts: bool = False
    rules: str | None = None


class Served(msgspec.Struct, frozen=True):
    """A server that listens. `url` has the token in it, where there is one; `base` has not."""

    server: Any
    app: Any
    url: str
    base: str
    runs: Any = None
    watched: tuple[Watch, Journal] | None = None

    def link(self, session_id: str) -> str:
        """Return the link to a session."""
        return self._page(f"sessions/{quote(session_id, safe='')}")

    @property
    def latest(self) -> str:
        """The link to the first session that begins after the server has."""
        return self._page("latest")

    def _page(self, path: str) -> str:
        page, mark, token = self.url.partition("?")
        return f"{page}{path}{mark}{token}"


def open_server(settings: Settings, door: Door, *, create: bool = False) -> Served:
    """Listen, and return the server; nothing is answered before `serve_all`.

    Args:
        settings: name the journal.
        door: where to listen.
        create: make an embedded journal that is not there yet.

    Raises:
        ConfigError: the address, or the token, will not do.
        MissingExtra: the packages of the extra `ui` are not installed.
        StoreUnreachable: there is no journal.
    """
    try:
        from otel_agent_journal.server.guard import Access, names_of, origins_of
        from otel_agent_journal.server.serving import Server, listening
    except ModuleNotFoundError as error:
        raise MissingExtra(f"the viewer; {error.name}", "otel-agent-journal[ui]") from error
    from otel_agent_journal.receiver.security import is_loopback

    root_path = checked_root(door.root_path)
    local = is_loopback(door.host)
    tokens = _tokens(door, os.environ, local=local)
    rules = open_rules(settings, door.rules) if door.alerts or door.rules else None
    opened = _opener(settings, create=create or door.write)  # who submits begins the journal
    watched = None if rules is None else _watched(rules, opened())
    origins = origins_of(door.origins)
    sockets = listening(door.host, door.port)
    port = sockets[0].getsockname()[1]
    access = Access(
        tokens=tokens,
        port=port,
        root_path=root_path,
        hosts=names_of((*door.hosts, *(() if local else (door.host,)))),
        everywhere=not local,
        proxies=door.proxies,
        origins=origins,
    )
    runs = None
    try:
        runs = _runs(settings, door.agents) if door.write else None
        app = _app(settings, door, opened, access, runs)
        app.start()
    except BaseException:
        if runs is not None:
            runs.close()
        for one in sockets:
            one.close()
        raise
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(door.host, f"[{door.host}]" if ":" in door.host else door.host)  # noqa: S104 - a name for the link
    base = f"http://{name}:{port}{root_path}/"
    server = Server(app, sockets, proxies=door.proxies)
    return Served(server, app, f"{base}?token={tokens[0]}" if tokens else base, base, runs, watched)


def _app(settings: Settings, door: Door, opened: Callable[[], Journal], access: Access, runs: Sessions | None) -> App:
    """Return what answers: the viewer, the routes of clients, and where runs are made, theirs."""
    from otel_agent_journal.server.app import App
    from otel_agent_journal.server.running import nothing, running_routes
    from otel_agent_journal.sessions.http import SessionRoutes

    answers = nothing if runs is None else SessionRoutes(runs).answer
    threads, of_clients = open_clients(settings, opened, runs)
    described = {} if runs is None else {name: one.description or "" for name, one in runs.agents.items()}
    return App(
        opened,
        access,
        write=door.write,
        routes=(*running_routes(answers), *of_clients, *(open_a2a(runs, described) if door.a2a else ())),
        contexts=_contexts,
        agents=described,
        closes=(threads.close,),
    )


def serve(served: Served) -> None:
    """Serve until SIGTERM or Ctrl-C; open streams end then."""
    try:
        with _watching(served.watched), _ended_by_signals(served.server):
            served.server.serve_all()
    finally:
        if served.runs is not None:
            served.runs.close()


@contextlib.contextmanager
def serving(served: Served) -> Generator[None]:
    """Serve in a thread of its own within this block."""
    thread = threading.Thread(target=served.server.serve_all, name="agent-journal-serve", daemon=True)
    thread.start()
    try:
        yield
    finally:
        served.server.end()
        thread.join(10)


def _watched(rules: Rules, journal: Journal) -> tuple[Watch, Journal]:
    try:
        return open_watch(rules, journal, note=lambda line: say(f"agent-journal: {line}")), journal
    except BaseException:
        journal.close()
        raise


@contextlib.contextmanager
def _watching(watched: tuple[Watch, Journal] | None) -> Generator[None]:
    """Judge alerts in a thread of its own within this block."""
    if watched is None:
        yield
        return
    watch, journal = watched
    thread = threading.Thread(target=_watch, args=(watch,), name="agent-journal-alerts", daemon=True)
    thread.start()
    try:
        yield
    finally:
        watch.stop()
        thread.join(_LAST_MESSAGES_S)
        journal.close()


def _watch(watch: Watch) -> None:
    try:
        watch.run()
    except Exception as error:  # noqa: BLE001 - a server goes on; what it does not do any more, it says
        say(f"agent-journal: alerts are watched no more: {error}")


@contextlib.contextmanager
def _ended_by_signals(server: Server) -> Generator[None]:
    def end(_number: int, _frame: object) -> None:
        server.should_exit = True
        threading.Thread(target=server.end, daemon=True).start()  # streams wait for locks, a signal must not

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _runs(settings: Settings, agents: Path | None) -> Sessions | None:
    """Return what runs agents for callers, looking after the store's runs; None where the store cannot have any."""
    from otel_agent_journal.bootstrap.sessions import Sessions
    from otel_agent_journal.sessions.agents import agents_in

    named = None if agents is None else agents_in(agents)
    try:
        return Sessions(None, named, settings=settings).start()
    except UnsupportedByStore:
        return None


def _opener(settings: Settings, *, create: bool) -> Callable[[], Journal]:
    """Return what opens a journal for one thread, once it is known that there is one.

    Raises:
        StoreUnreachable: there is none.
        UnsupportedByStore: it can only be written to.
    """
    store = open_store(settings, create=create)
    try:
        if not store.capabilities.read:
            raise UnsupportedByStore(store.url, "read", "serve the store that its events are shipped to")
        store.tip()
    finally:
        store.close()

    def opened() -> Journal:
        return open_journal(settings, adopt=False, note=lambda _line: None)

    return opened


def checked_root(root_path: str) -> str:
    """Return a root path without a slash at its end.

    Raises:
        ConfigError: it does not begin with a slash.
    """
    root = root_path.rstrip("/")
    if root and (not root.startswith("/") or "//" in root or any(letter in root for letter in "?#\"'<> ")):
        raise ConfigError(f"--root-path is '{root_path}'; a path is expected, as /journal")
    return root


def _tokens(door: Door, environ: Mapping[str, str], *, local: bool) -> tuple[str, ...]:
    if door.no_token:
        if not local:
            raise ConfigError(f"--no-token goes with loopback alone, and --host is {door.host}; give it a token")
        return ()
    if door.token_file is not None:
        from otel_agent_journal.receiver.security import read_tokens

        found = read_tokens(door.token_file)
    elif environ.get(SERVE_TOKEN, "").strip():
        found = (environ[SERVE_TOKEN].strip(),)
    elif local:
        return (secrets.token_urlsafe(24),)
    else:
        raise ConfigError(
            f"--host {door.host} can be reached from other machines: give a token in {SERVE_TOKEN} or --token-file;"
            " one is made with: openssl rand -hex 32"
        )
    short = [token for token in found if len(token) < _LEAST_TOKEN]
    if short and not local:
        raise ConfigError(f"a token is shorter than {_LEAST_TOKEN} characters; one is made with: openssl rand -hex 32")
    if any(not token.isascii() or not token.isprintable() or " " in token for token in found):
        raise ConfigError("a token has letters that do not go into a header; one is made with: openssl rand -hex 32")
    return found


def _contexts(journal: Journal, head: SessionHead, number: int | None) -> Iterator[Mapping[str, Any]]:
    """Yield what a session's agents have in their contexts, as `agent-journal context` prints it."""
    from otel_agent_journal.bootstrap.contexts import said_by
    from otel_agent_journal.bootstrap.going_back import point_of

    point = point_of(journal, head, None if number is None else str(number))
    for cut in point.cuts:
        said = said_by(journal.store, cut.agent, cut.count, cut.checkpoints)
        yield {
            "session_id": head.session_id,
            "instance_id": cut.agent.instance_id,
            "agent": cut.agent.name,
            "framework": cut.agent.framework or None,
            "seq": cut.count - 1,
            "messages": said.messages,
            "state": said.state,
        }
