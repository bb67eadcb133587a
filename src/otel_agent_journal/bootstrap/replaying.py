"""A process that is replayed: the recording that it is served from, and what its report is made of."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from otel_agent_journal.bootstrap.openers import open_store
from otel_agent_journal.config import NO_NETWORK, OTLP, REPLAY, RESUME, Settings, settings_from_env
from otel_agent_journal.errors import ConfigError, SessionNotFound
from otel_agent_journal.projections.steps import fold_steps
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.replays.contents import Comparison, Contents
from otel_agent_journal.replays.current import begin_replay
from otel_agent_journal.replays.files import read_recording
from otel_agent_journal.replays.ignoring import Ignoring
from otel_agent_journal.replays.recording import Recording
from otel_agent_journal.replays.replaying import Replay
from otel_agent_journal.replays.report import Both, Report, report_of
from otel_agent_journal.replays.rules import Rules

# What clients of models want to be made at all. Nothing is called with it.
PLACEHOLDER: Final = "replayed-by-agent-journal"
KEYS: Final = (
    "ANTHROPIC_API_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "COHERE_API_KEY",
    "DEEPSEEK_API_KEY",
    "FIREWORKS_API_KEY",
    "GOOGLE_API_KEY",
    "GROQ_API_KEY",
    "MISTRAL_API_KEY",
    "OPENAI_API_KEY",
    "TAVILY_API_KEY",
    "TOGETHER_API_KEY",
    "XAI_API_KEY",
)


def replay_for_env(rules: Rules) -> str:
    """Return what AGENT_JOURNAL_REPLAY says to a child."""
    return msgspec.json.encode(rules).decode()


def environment_of_replay(
    environ: Mapping[str, str], rules: Rules, *, no_network: bool = False, export: bool = False
) -> dict[str, str]:
    """Return the environment of a program that is replayed: clients can be made without a key, spans are not sent."""
    child = {**dict.fromkeys(KEYS, PLACEHOLDER), "AWS_DEFAULT_REGION": "us-east-1", **environ}
    if any(
        name in environ for name in ("AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
    ):
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            if name not in environ:
                del child[name]
    child.pop(RESUME, None)
    child[REPLAY] = replay_for_env(rules)
    if no_network:
        child[NO_NETWORK] = "on"
    if not export:
        child["OTEL_SDK_DISABLED"] = "true"
        child.pop(OTLP, None)
    return child


def replay_from_env(text: str) -> None:
    """Have this process be replayed as the variable says.

    Raises:
        ConfigError: it is malformed.
    """
    try:
        rules = msgspec.json.decode(text, type=Rules)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{REPLAY} is '{text}'; `agent-journal replay` sets it: {error}") from error
    settings = settings_from_env()
    if os.environ.get(NO_NETWORK) == "on":
        from otel_agent_journal.bootstrap.no_network import forbid_network

        forbid_network()
    begin_replay(Replay(rules, lambda: _loaded(settings, rules)))


def _loaded(settings: Settings, rules: Rules) -> Recording:
    """Return the recording; its store stays open, for values that are kept apart, until the process ends."""
    store = open_store(settings) if rules.recording is None else read_recording(Path(rules.recording))[0]
    journal = Journal(store, settings.spool)
    atexit.register(journal.close)
    return recording_in(journal, rules.session)


def recording_in(journal: Journal, session_id: str) -> Recording:
    """Return a recorded session.

    Raises:
        SessionNotFound: there is none.
        StoreUnreachable: and other errors of the store.
    """
    head = journal.exact(session_id)
    if head is None:
        raise SessionNotFound(session_id, "agent-journal ls lists them all")
    events = journal.events(session_id, head)
    return Recording(session_id, events, journal.resolved, lost_writers=journal.silent(head))


def free_name(session_id: str, is_taken: Callable[[str], bool]) -> str:
    """Return what the next replay of a session is journaled as: `SESSION~replay-1`, or the first that is not taken."""
    number = 1
    while is_taken(f"{session_id}~replay-{number}"):
        number += 1
    return f"{session_id}~replay-{number}"


def report_in(journal: Journal, recording: Recording, rules: Rules, replays: Journal | None = None) -> Report:
    """Return what became of a replay.

    Args:
        journal: where the recording is.
        recording: the recorded session.
        rules: how it was replayed.
        replays: where the replay was journaled, where that is elsewhere.

    Raises:
        StoreUnreachable: and other errors of the store.
    """
    replays = replays or journal
    left = list(journal.events(recording.session_id))
    right = list(replays.events(rules.name))
    tree = fold_steps(right)
    named = {one for step in tree.roots if isinstance(one := step.last.details_start.get("framework_session_id"), str)}
    contents = Comparison(
        Contents(recording.session_id, left, journal.resolved),
        Contents(rules.name, right, replays.resolved, (*named, recording.session_id)),
        Ignoring(rules.ignore),
    )
    return report_of(Both(recording=recording, replay=tree, name=rules.name, contents=contents, until=rules.until))
