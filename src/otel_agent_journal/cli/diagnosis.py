"""What `doctor` looks at, one generator a part: versions, variables, store, spool, OTLP, frameworks."""

from __future__ import annotations

import os
import platform
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, entry_points, version
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

from otel_agent_journal.cli import readable
from otel_agent_journal.config import (
    MARKER_NONCE,
    OTLP,
    SERVE_TOKEN,
    SINKS,
    SPOOL_CAP,
    STORE,
    VARIABLES,
    WEBHOOK_SECRET,
    settings_with,
)
from otel_agent_journal.errors import ConfigError, JournalError, StoreUnreachable
from otel_agent_journal.masking import HIDDEN, masked, masked_within

if TYPE_CHECKING:
    from pathlib import Path

    from otel_agent_journal.config import Settings

State = Literal["ok", "warning", "red", "absent"]

_SECRETS: Final = frozenset((MARKER_NONCE, SERVE_TOKEN, WEBHOOK_SECRET))
OWN_VARIABLES: Final = frozenset(VARIABLES) | {"AGENT_JOURNAL_OUTPUT", "AGENT_JOURNAL_PAGER"}
_PREFIX: Final = "AGENT_JOURNAL_"
_PACKAGES: Final = ("opentelemetry-api", "opentelemetry-sdk", "msgspec", "click", "rich")
# Distribution of a framework, and the instrumentor of ours that journals it.
_FRAMEWORKS: Final[Mapping[str, str]] = {  # by distribution
    "langgraph": "agent_journal_langgraph",
    "strands-agents": "agent_journal_strands",
    "boto3": "agent_journal_bedrock_agents",
    "bedrock-agentcore": "agent_journal_agentcore",
}
_CONNECT_S: Final = 2.0
_MAX_REASONS_OF: Final = 100  # files that are read for why
_OTLP_ADVICE: Final = "start the backend or correct the URL; journaling goes on without it"
_OTLP_PORTS: Final = {"http": 80, "https": 443, "grpc": 4317}


class Check(NamedTuple):
    """One thing looked at. `advice`: what to do about it, where there is anything to do."""

    check: str
    state: State
    detail: str
    advice: str | None = None


def diagnose(store: str | None) -> Iterator[Check]:
    """Yield what is found, in the order one would look, as it is found; no URL in it tells a secret.

    Args:
        store: of the command line, before the environment's.
    """
    for check in _checks(store):
        yield check._replace(detail=masked_within(check.detail))


def _checks(store: str | None) -> Iterator[Check]:
    yield from _versions()
    yield from _variables()
    try:
        settings = settings_with(store=store)
    except ConfigError as error:
        yield Check("settings", "red", str(error), "correct it, then run agent-journal doctor again")
        return
    yield from _store(settings)
    yield from _spool(settings)
    yield from _other_spools(settings)
    yield from _otlp(settings)
    yield from _sinks(settings)
    yield from _prices(settings)
    yield from _frameworks()


def _versions() -> Iterator[Check]:
    ours = _version("otel-agent-journal")
    yield Check("otel-agent-journal", "ok", f"{ours or 'from source'}, Python {platform.python_version()}")
    found = [f"{name} {_version(name) or 'missing'}" for name in _PACKAGES]
    missing = [name for name in _PACKAGES if _version(name) is None]
    advice = f"pip install {' '.join(missing)}" if missing else None
    yield Check("packages", "red" if missing else "ok", ", ".join(found), advice)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _variables() -> Iterator[Check]:
    """Say which variables are set, and which look like ours and are not."""
    mine = sorted(name for name in os.environ if name.startswith(_PREFIX))
    unknown = [name for name in mine if name not in OWN_VARIABLES]
    known = [f"{name}={_shown(name)}" for name in mine if name in OWN_VARIABLES]
    yield Check("variables", "ok", ", ".join(known) or "none of AGENT_JOURNAL_* set, all defaults")
    for name in unknown:
        near = get_close_matches(name, OWN_VARIABLES, n=1)
        meant = f"did you mean {near[0]}?" if near else "docs/cli.md lists those there are"
        yield Check("variables", "warning", f"{name} is none of ours and changes nothing", meant)


def _shown(name: str) -> str:
    value = os.environ[name]
    if name in _SECRETS:
        return HIDDEN
    return masked_within(value) if name == SINKS else masked(value) if name in (STORE, OTLP) else value


def _store(settings: Settings) -> Iterator[Check]:
    from otel_agent_journal.bootstrap import open_store
    from otel_agent_journal.store.protocol import StoreAdmin

    name = masked(settings.store)
    began_s = time.monotonic()
    try:
        store = open_store(settings)
        try:
            info = store.info() if isinstance(store, StoreAdmin) else None
            if store.capabilities.heads:
                next(store.sessions(), None)
        finally:
            store.close()
    except StoreUnreachable as error:
        if not settings.store_given and "no journal" in str(error):
            yield Check("store", "warning", f"{name}: not made yet", "agent-journal run -- python my_agent.py")
            return
        yield Check("store", "red", f"{name}: {error}", "check that it is there and that you may read and write it")
        return
    except JournalError as error:
        yield Check("store", "red", f"{name}: {error}")
        return
    took = readable.duration(int((time.monotonic() - began_s) * readable.NS_PER_S))
    held: list[str] = []
    if info is not None:
        counts = ((info.sessions, "session"), (info.events, "event"))
        held = [readable.plural(number, noun) for number, noun in counts if number is not None]
        if info.size_bytes is not None:
            held.append(readable.size(info.size_bytes))
    yield Check("store", "ok", f"{name}: reachable in {took}" + (f", {', '.join(held)}" if held else ""))


def _spool(settings: Settings) -> Iterator[Check]:
    from otel_agent_journal.spool.home import SET_ASIDE
    from otel_agent_journal.spool.survey import survey

    found = survey(settings.spool)
    alive = sum(folder.alive for folder in found.folders)
    held = f"{readable.size(found.pending_bytes)} not delivered yet, {readable.size(found.disk_bytes)} on the disk"
    yield Check("spool", "ok", f"{settings.spool}: {readable.plural(alive, 'live writer')}, {held}")
    problem = _unwritable(settings)
    if problem:
        yield Check("spool", "red", problem, "agents can record nothing there: free it, or set AGENT_JOURNAL_SPOOL")
    dead = [folder for folder in found.folders if folder.is_left]
    if dead:
        left = readable.size(sum(folder.pending_bytes for folder in dead))
        what = f"{readable.plural(len(dead), 'dead writer')} left {left}"
        yield Check("spool", "warning", what, "agent-journal drain")
    if found.refused:
        what = f"{readable.plural(found.refused, 'event')} found no room: the disk or the cap was full"
        advice = f"free disk, or raise {SPOOL_CAP} (MiB); agent-journal drain makes room"
        yield Check("spool", "red", what, advice)
    if found.set_aside:
        what = f"{found.set_aside} in {settings.spool / SET_ASIDE} that the store refuses, or nobody can read: "
        yield Check(
            "set aside",
            "red",
            what + _reasons(settings.spool),
            "once the cause is gone: agent-journal drain --set-aside",
        )


def _other_spools(settings: Settings) -> Iterator[Check]:
    """Say which other spools hold what nobody delivers: those of other stores, or of agents that ran elsewhere."""
    from otel_agent_journal.spool.known import others
    from otel_agent_journal.spool.survey import survey

    for root in others(settings.spool):
        found = survey(root)
        left = sum(folder.pending_bytes for folder in found.folders if not folder.drained_now)
        if left or found.set_aside:
            what = f"{root}: {readable.size(left)} not delivered, {found.set_aside} set aside"
            advice = f"name the store that it is for: AGENT_JOURNAL_SPOOL={root} agent-journal drain --store URL"
            yield Check("other spools", "warning", what, advice)


def _reasons(root: Path) -> str:
    """Return why the first things were set aside, the most frequent reason first."""
    from otel_agent_journal.spool.set_aside import kept

    whys = Counter("cannot be read" if item is None else item.why for _, item in islice(kept(root), _MAX_REASONS_OF))
    return "; ".join(f"{number} × {readable.one_line(why)[:200]}" for why, number in whys.most_common(3))


def _unwritable(settings: Settings) -> str | None:
    """Return why an agent could not make its spool, None where it could."""
    place = settings.spool
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        return f"{place} is a file, the spool {settings.spool} cannot be made"
    if not os.access(place, os.W_OK | os.X_OK):
        return f"{place} may not be written"
    return None


def _otlp(settings: Settings) -> Iterator[Check]:
    if not settings.otlp:
        yield Check("otlp", "absent", "no endpoint: spans are not forwarded (--otlp URL, or AGENT_JOURNAL_OTLP)")
        return
    name = masked(settings.otlp)
    try:
        parts = urlsplit(settings.otlp if "://" in settings.otlp else f"grpc://{settings.otlp}")
        port = parts.port or _OTLP_PORTS.get(parts.scheme, 4317)
    except ValueError:  # what it says may repeat a password that stands where the port should
        yield Check("otlp", "red", f"{name} is not a URL, or its port no number", _OTLP_ADVICE)
        return
    try:
        socket.create_connection((parts.hostname or "localhost", port), timeout=_CONNECT_S).close()
    except (OSError, ValueError) as error:
        yield Check("otlp", "red", f"{name}: {getattr(error, 'strerror', None) or 'no answer'}", _OTLP_ADVICE)
        return
    yield Check("otlp", "ok", f"{name}: accepts connections")


def _sinks(settings: Settings) -> Iterator[Check]:
    """Say of each sink how far it is behind, and why; whether it can be opened, where it was sent nothing yet."""
    if not settings.sinks:
        yield Check("sinks", "absent", f"none: events are not sent on to streams ({SINKS})")
        return
    from otel_agent_journal.bootstrap import open_store
    from otel_agent_journal.bootstrap.sinks import open_sinks
    from otel_agent_journal.cli.sinks import said
    from otel_agent_journal.sinks.lag import lags

    try:
        open_sinks(settings).close(0)
        store = open_store(settings)
        try:
            now_ns = time.time_ns()
            found = lags(store, settings.sinks, now_ns, of_others=False)
        finally:
            store.close()
    except JournalError as error:
        yield Check("sinks", "red", str(error), "correct it; docs/streams.md says how sinks are named")
        return
    for lag in found:
        what = f"{lag.sink}: {said(lag, now_ns)}"
        if lag.error is not None:
            yield Check("sinks", "red", f"{what}: {readable.one_line(lag.error)}", "the store keeps what it lacks")
        elif lag.behind and lag.held_by is None:
            yield Check("sinks", "warning", f"{what}, and nobody sends", "agent-journal drain")
        else:
            yield Check("sinks", "ok", what)


def _prices(settings: Settings) -> Iterator[Check]:
    """Say what calls are priced by: the user's own file, and the list that is installed."""
    from otel_agent_journal.bootstrap.openers import open_prices
    from otel_agent_journal.reading.prices import DISTRIBUTION, EXTRA

    try:
        prices = open_prices(settings)
    except ConfigError as error:
        yield Check("prices", "red", str(error), "correct it; docs/cost.md has the format")
        return
    own = [] if prices.file is None else [f"{prices.file} ({readable.plural(len(prices.own), 'price')})"]
    listed = [f"{DISTRIBUTION} {_version(DISTRIBUTION)}"] if prices.listed.is_there else []
    known = ", ".join([*own, *listed])
    advice = None if listed else f"pip install '{EXTRA}'"
    yield Check("prices", "ok" if known else "absent", known or "no prices.toml, no list of prices", advice)


def _frameworks() -> Iterator[Check]:
    instrumentors = {point.name: point for point in entry_points(group="opentelemetry_instrumentor")}
    for framework, name in _FRAMEWORKS.items():
        found = _version(framework)
        if found is None:
            yield Check(framework, "absent", "not installed")
            continue
        point = instrumentors.get(name)
        if point is None:
            yield Check(
                framework,
                "red",
                f"{framework} {found}: its instrumentor '{name}' is not registered",
                "pip install --force-reinstall otel-agent-journal",
            )
            continue
        yield _usable(framework, found, point)


def _usable(framework: str, found: str, point: Any) -> Check:
    advice = f"pip install --upgrade otel-agent-journal {framework}"
    try:
        missing: str | None = point.load()().missing()
    except Exception as error:  # noqa: BLE001 - a framework's import may raise anything
        return Check(framework, "red", f"{framework} {found}: the instrumentor cannot be loaded: {error}", advice)
    if missing:
        return Check(framework, "red", f"{framework} {found}: {missing}", advice)
    return Check(framework, "ok", f"{framework} {found}: journaled by '{point.name}'")
