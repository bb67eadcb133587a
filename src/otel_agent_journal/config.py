"""Settings: read once from the environment, checked, and handed down as one frozen value.

Only `bootstrap` and the command line read them; everything below takes plain arguments. A malformed variable is a
`ConfigError` that names the variable, its value and what is expected.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

import msgspec

from otel_agent_journal.errors import ConfigError
from otel_agent_journal.event import EFFECTS, EMPTY
from otel_agent_journal.masking import masked, named_place, no_url
from otel_agent_journal.places import HOME, found_from
from otel_agent_journal.store.identity import identity_of

DEFAULT_STORE: Final = f"sqlite:///{HOME}/journal.db"

STORE: Final = "AGENT_JOURNAL_STORE"
SPOOL: Final = "AGENT_JOURNAL_SPOOL"
SPOOL_CAP: Final = "AGENT_JOURNAL_SPOOL_CAP"
SESSION: Final = "AGENT_JOURNAL_SESSION"
BAGGAGE: Final = "AGENT_JOURNAL_BAGGAGE"
OTLP: Final = "AGENT_JOURNAL_OTLP"
SINKS: Final = "AGENT_JOURNAL_SINKS"
CONTENT: Final = "AGENT_JOURNAL_CONTENT"
FIELD_LIMIT: Final = "AGENT_JOURNAL_FIELD_LIMIT"
REDACTOR: Final = "AGENT_JOURNAL_REDACTOR"
SPANS: Final = "AGENT_JOURNAL_SPANS"
STAGES: Final = "AGENT_JOURNAL_STAGES"
TOOL_EFFECTS: Final = "AGENT_JOURNAL_TOOL_EFFECTS"
STRANDS_SPANS: Final = "AGENT_JOURNAL_STRANDS_SPANS"  # read by the instrumentor, checked here
FSYNC: Final = "AGENT_JOURNAL_FSYNC"
DURABILITY: Final = "AGENT_JOURNAL_DURABILITY"
STORE_TIMEOUT: Final = "AGENT_JOURNAL_STORE_TIMEOUT"
FLUSH_TIMEOUT: Final = "AGENT_JOURNAL_FLUSH_TIMEOUT"
DRAIN: Final = "AGENT_JOURNAL_DRAIN"
CONTEXT: Final = "AGENT_JOURNAL_CONTEXT"
CHECKPOINT: Final = "AGENT_JOURNAL_CHECKPOINT"
NO_NETWORK: Final = "AGENT_JOURNAL_REPLAY_NO_NETWORK"
REPLAY: Final = "AGENT_JOURNAL_REPLAY"  # the same, set by `agent-journal replay`
RESUME: Final = "AGENT_JOURNAL_RESUME"  # read where a process begins to journal, set by `agent-journal resume`
TOOLS_ALLOW: Final = "AGENT_JOURNAL_TOOLS_ALLOW"  # read where the tools are wired
PRICES: Final = "AGENT_JOURNAL_PRICES"  # read where calls are priced, by readers alone
ALERTS: Final = "AGENT_JOURNAL_ALERTS"  # read where alerts are watched
MARKER_NONCE: Final = "AGENT_JOURNAL_MARKER_NONCE"  # these two are read where sandboxes are listened to
SANDBOX_TOOLS: Final = "AGENT_JOURNAL_SANDBOX_TOOLS"
SEAL_KEY: Final = "AGENT_JOURNAL_SEAL_KEY"  # read where sessions are sealed
AGENTS: Final = "AGENT_JOURNAL_AGENTS"  # these are read where sessions are run for callers
WEBHOOK_SECRET: Final = "AGENT_JOURNAL_WEBHOOK_SECRET"
RUN: Final = "AGENT_JOURNAL_RUN"  # these two are set for an agent that is run for a caller
RESULT: Final = "AGENT_JOURNAL_RESULT"
SERVE_TOKEN: Final = "AGENT_JOURNAL_SERVE_TOKEN"  # read where the server is wired
SPAN_CONTENT: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"

MIB: Final = 1024 * 1024
MAX_NAMED: Final = 60  # characters of a place in its spool's name, for people
DEFAULT_SPOOL_CAP_BYTES: Final = 1024 * MIB
DEFAULT_FIELD_LIMIT_BYTES: Final = 64 * 1024
DEFAULT_STORE_TIMEOUT_S: Final = 2.0
DEFAULT_FLUSH_TIMEOUT_S: Final = 2.0

_BETWEEN_URLS: Final = re.compile(r",(?=\s*(?:[A-Za-z][A-Za-z0-9+.-]*://|,|$))")

VARIABLES: Final[Mapping[str, str]] = {
    STORE: f"the journal's store, as a URL; default {DEFAULT_STORE}",
    SPOOL: "the folder of the spool; default: beside an SQLite journal, else in .agent-journal",
    SPOOL_CAP: "what the spool may take of the disk, in MiB; default 1024",
    SESSION: "the session of everything that names none, as `run --session`",
    BAGGAGE: "`ignore` (default) or `trust`: whether baggage, which any client may send, names a session",
    OTLP: "the OTLP endpoint that spans are forwarded to, as `run --otlp`",
    SINKS: "the streams that events are sent on to, as URLs with commas between, as `kinesis://STREAM?region=REGION`",
    CONTENT: "`full` (default) or `metadata`: whether messages, inputs and outputs are journaled",
    FIELD_LIMIT: "bytes over which one field of an event is kept as a blob; default 65536",
    REDACTOR: "`module:function`, called as function(field, value) before anything is written",
    STAGES: 'JSON of a stage\'s name to percent done, as in `{"search": 30}`: the progress of stages that name none',
    TOOL_EFFECTS: "JSON of a tool's name, or a pattern of names, to `read`, `write` or `irreversible`, as in"
    ' `{"delete_*": "irreversible"}`',
    STRANDS_SPANS: "`adopt` (default) or `replace`: whether the spans that Strands opens itself are kept",
    SPANS: "`genai` (default) or `all`: which spans of others are journaled",
    FSYNC: "`always`: an event survives power loss too; default `never`",
    DURABILITY: "`spool` (default) or `store`: what an event has reached before its step runs",
    STORE_TIMEOUT: "seconds that `AGENT_JOURNAL_DURABILITY=store` waits for the store; default 2",
    FLUSH_TIMEOUT: "seconds that a response waits for the journal and spans to be flushed; default 2",
    DRAIN: "`self` (default): this process drains its spool; `parent`: another does, set by `agent-journal run`",
    CHECKPOINT: "`on`: graphs without a checkpointer get ours; set by `agent-journal run --checkpoint`",
    CONTEXT: "`on` (default) or `off`: whether `ContextService` writes and reads anything",
    NO_NETWORK: "`on`: a program that is replayed connects to this machine alone; set by `replay --no-network`",
    REPLAY: "the session that is replayed and how, as JSON; set by `agent-journal replay`",
    RESUME: "the session that agents go on with, as JSON; set by `agent-journal resume`",
    TOOLS_ALLOW: "sessions that agents' journal tools may use beside their own and its lineage, as in `team-*,shared`",
    PRICES: "the file of your own prices of models; default: `prices.toml` beside the journal",
    ALERTS: "the file of rules of `agent-journal alerts`; default: the nearest `alerts.toml`",
    MARKER_NONCE: "what entries that a sandbox prints have to show to count; default none",
    SANDBOX_TOOLS: "names or patterns of the tools that run code in a sandbox; default code interpreters",
    SEAL_KEY: "the secret key of `agent-journal seal`: a file, or `kms:ARN`",
    AGENTS: "agents that are run for callers: a TOML file, or JSON of names to `module:function` or a command",
    WEBHOOK_SECRET: "what webhooks of sessions are signed with, as `whsec_...`; default: they are not signed",
    RUN: "the run that an agent was started for, as JSON; set for agents that are run for callers",
    RESULT: "the file that an agent may write its result to, as JSON; set for agents that are run for callers",
    SERVE_TOKEN: "the token that admits to `agent-journal serve`; default: one is made at each start, and printed",
    SPAN_CONTENT: "SPAN_ONLY or SPAN_AND_EVENT put message content on spans; default NO_CONTENT",
}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set. What is read from the environment has absolute paths, whoever calls `chdir` later.

    `home` is the folder of the journal that nobody has named: its store, spools, and the states of copies.
    """

    store: str = DEFAULT_STORE
    store_given: bool = False
    home: Path = Path(HOME)
    spool: Path = Path(HOME) / "spool"
    spool_cap_bytes: int = DEFAULT_SPOOL_CAP_BYTES
    session: str | None = None
    trusts_baggage: bool = False
    otlp: str | None = None
    sinks: tuple[str, ...] = ()
    content: bool = True
    field_limit_bytes: int = DEFAULT_FIELD_LIMIT_BYTES
    redactor: str | None = None
    all_spans: bool = False
    stages: Mapping[str, float] = EMPTY
    tool_effects: Mapping[str, str] = EMPTY
    fsync: bool = False
    store_durable: bool = False
    store_timeout_s: float = DEFAULT_STORE_TIMEOUT_S
    adopts_strands_spans: bool = True
    flush_timeout_s: float = DEFAULT_FLUSH_TIMEOUT_S
    drained_by_parent: bool = False
    span_content: bool = False
    context: bool = True
    checkpoint: bool = False
    prices: str | None = None
    alerts: str | None = None


def settings_from_env(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of an environment; an empty variable counts as absent.

    Raises:
        ConfigError: a variable is malformed.
    """
    found = {key: value.strip() for key, value in (os.environ if environ is None else environ).items()}
    home = _home()
    store = found.get(STORE) or f"sqlite:///{quote(str(home / 'journal.db'))}"
    if ":" not in store:
        raise ConfigError(no_url(STORE, store))
    spool = found.get(SPOOL)
    return Settings(
        store=absolute_store(store),
        store_given=bool(found.get(STORE)),
        home=home,
        spool=_absolute(Path(spool) if spool else spool_of(store, found, home=home)),
        spool_cap_bytes=_whole(found, SPOOL_CAP, DEFAULT_SPOOL_CAP_BYTES // MIB, least=16) * MIB,
        session=found.get(SESSION) or None,
        trusts_baggage=_choice(found, BAGGAGE, ("ignore", "trust")) == "trust",
        otlp=found.get(OTLP) or _standard_otlp(found),
        sinks=_urls(found, SINKS),
        content=_choice(found, CONTENT, ("full", "metadata")) == "full",
        field_limit_bytes=_whole(found, FIELD_LIMIT, DEFAULT_FIELD_LIMIT_BYTES, least=256),
        redactor=_reference(found, REDACTOR),
        all_spans=_choice(found, SPANS, ("genai", "all")) == "all",
        adopts_strands_spans=_choice(found, STRANDS_SPANS, ("adopt", "replace")) == "adopt",
        stages=_percents(found, STAGES),
        tool_effects=_effects(found, TOOL_EFFECTS),
        fsync=_choice(found, FSYNC, ("never", "always")) == "always",
        store_durable=_choice(found, DURABILITY, ("spool", "store")) == "store",
        store_timeout_s=_seconds(found, STORE_TIMEOUT, DEFAULT_STORE_TIMEOUT_S),
        flush_timeout_s=_seconds(found, FLUSH_TIMEOUT, DEFAULT_FLUSH_TIMEOUT_S),
        drained_by_parent=_choice(found, DRAIN, ("self", "parent")) == "parent",
        span_content=found.get(SPAN_CONTENT, "").upper() in ("SPAN_ONLY", "SPAN_AND_EVENT"),
        context=_choice(found, CONTEXT, ("on", "off")) == "on",
        checkpoint=_choice(found, CHECKPOINT, ("off", "on")) == "on",
        prices=found.get(PRICES) or None,
        alerts=found.get(ALERTS) or None,
    )


def settings_with(**options: str | None) -> Settings:
    """Return the settings of the environment, with the options that are given in place of their variables.

    Args:
        options: by their name in lower case, as `store` for AGENT_JOURNAL_STORE.

    Raises:
        ConfigError: an option or a variable is malformed.
    """
    store = options.get("store")
    if store and ":" not in store:
        raise ConfigError(no_url("--store", store))
    given = {f"AGENT_JOURNAL_{name.upper()}": value for name, value in options.items() if value}
    return settings_from_env({**os.environ, **given})


def absolute_store(url: str) -> str:
    """Return the URL of a store with the path of its file, where it has one, made absolute.

    Raises:
        ConfigError: the path is relative, and the working directory was removed.
    """
    scheme, _, rest = url.partition(":///")
    path, mark, options = rest.partition("?")
    if scheme != "sqlite" or not path or path.startswith((":memory:", "/")) or path.endswith("/"):
        return url
    return f"sqlite:///{quote(str(_absolute(Path())))}/{path}{mark}{options}"


def _home() -> Path:
    """Return the folder of the journal that nobody has named; a relative one where the working directory is gone."""
    try:
        return found_from(Path.cwd())
    except OSError:
        return Path(HOME)


def _absolute(path: Path) -> Path:
    try:
        return path.absolute()
    except FileNotFoundError as error:
        raise ConfigError(f"'{path}' is a relative path, and the working directory was removed") from error


def spool_of(store: str, environ: Mapping[str, str] | None = None, *, home: Path | None = None) -> Path:
    """Return where the spool of a store is: beside a file, else in the journal's folder, by default as it is found.

    URLs of one store have one spool, whatever user, password and options they name; no two stores share one.
    """
    if store.lower().startswith("sqlite:///"):
        file = Path(unquote(store.partition(":///")[2].partition("?")[0]) or "journal.db")
        return file.parent / ("spool" if file.name == "journal.db" else f"{file.name}.spool")
    place = identity_of(store, os.environ if environ is None else environ)
    named = re.sub(r"[^A-Za-z0-9.]+", "-", named_place(store, place))[:MAX_NAMED].strip("-.")
    return (home or _home()) / f"spool-{named}-{blake2b(place.encode(), digest_size=6).hexdigest()}"


def _standard_otlp(found: Mapping[str, str]) -> str | None:
    """Return the endpoint of OpenTelemetry's own variables, where they ask for traces to be exported by OTLP."""
    exporters = [name.strip() for name in found.get("OTEL_TRACES_EXPORTER", "otlp").split(",")]
    if "otlp" not in exporters or found.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    return found.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or found.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None


def _urls(found: Mapping[str, str], variable: str) -> tuple[str, ...]:
    """Return URLs with commas between; one that has a comma in it, not before another URL, keeps it."""
    urls = tuple(url.strip() for url in _BETWEEN_URLS.split(found.get(variable, "")) if url.strip())
    for url in urls:
        if "://" not in url:
            raise ConfigError(f"{variable} has '{masked(url)}', which is not a URL, as kinesis://STREAM?region=REGION")
    return urls


def _choice(found: Mapping[str, str], variable: str, choices: tuple[str, ...]) -> str:
    value = found.get(variable, "").lower() or choices[0]
    if value not in choices:
        raise ConfigError(f"{variable} is '{found[variable]}'; it is one of: {', '.join(choices)}")
    return value


def _whole(found: Mapping[str, str], variable: str, default: int, *, least: int) -> int:
    text = found.get(variable)
    if not text:
        return default
    if not text.isdecimal() or int(text) < least:
        raise ConfigError(f"{variable} is '{text}'; a whole number of at least {least} is expected")
    return int(text)


def _seconds(found: Mapping[str, str], variable: str, default: float) -> float:
    text = found.get(variable)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 < value <= 3600:
        raise ConfigError(f"{variable} is '{text}'; seconds over 0 and up to 3600 are expected, as in 2 or 0.5")
    return value


def _percents(found: Mapping[str, str], variable: str) -> Mapping[str, float]:
    text = found.get(variable)
    if not text:
        return EMPTY
    try:
        percents = msgspec.json.decode(text, type=dict[str, float])
    except msgspec.DecodeError:
        percents = {"": -1.0}
    if not all(0 <= percent <= 100 for percent in percents.values()):
        raise ConfigError(f"{variable} is '{text}'; JSON of names to percent is expected, as in {{\"search\": 30}}")
    return percents


def _effects(found: Mapping[str, str], variable: str) -> Mapping[str, str]:
    text = found.get(variable)
    if not text:
        return EMPTY
    try:
        effects = msgspec.json.decode(text, type=dict[str, str])
    except msgspec.DecodeError:
        effects = {"": ""}
    if not all(one in EFFECTS for one in effects.values()):
        raise ConfigError(
            f'{variable} is \'{text}\'; JSON of tools to {", ".join(EFFECTS)} is expected, as in {{"search": "read"}}'
        )
    return effects


def _reference(found: Mapping[str, str], variable: str) -> str | None:
    text = found.get(variable)
    if not text:
        return None
    module, _, function = text.partition(":")
    if not module or not function:
        raise ConfigError(f"{variable} is '{text}'; it names a function as module:function")
    return text
