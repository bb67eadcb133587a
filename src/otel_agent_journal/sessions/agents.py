"""The agents that a server runs for callers: by name a command, or a function that a process of its own calls."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.errors import ConfigError

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_REFERENCE: Final = re.compile(r"(?:[^\s:]+\.py|[A-Za-z_][\w.]*):[A-Za-z_][\w.]*")
_EXAMPLE: Final = 'agents = {"helper": "my_agent:answer"}, or {"helper": ["python", "my_agent.py"]}'

Runs = str | Sequence[str] | Callable[..., Any] | Mapping[str, Any] | Any
"""What runs an agent: `module:callable`, a command, a function, or a mapping with the fields of `Agent`."""


class Agent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an agent is run.

    `call`: `module:callable`, or `file.py:callable`. `command`: in its place a program, which has the input on stdin.
    `timeout_s`: after it the run is stopped, and has failed. `attempts`: how often it is tried while it is throttled.
    `stages`: percent done as a stage of that name is reached. `env`: variables that it has besides.
    """

    call: str | None = None
    command: tuple[str, ...] = ()
    description: str | None = None
    timeout_s: float | None = None
    attempts: int = 3
    stages: dict[str, float] = {}
    env: dict[str, str] = {}
    cwd: str | None = None


class Order(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a process is started for: a run of a session, under a claim, and how its agent is run."""

    session_id: str
    run: str
    agent: Agent
    claim: str | None = None


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    agents: dict[str, Any] = {}


def agents_of(given: Mapping[str, Runs]) -> dict[str, Agent]:
    """Return agents by name, as a program gives them.

    Raises:
        ConfigError: a name or an agent is not what it should be.
    """
    found: dict[str, Agent] = {}
    for name, runs in given.items():
        if not isinstance(cast("Any", name), str) or not _NAME.fullmatch(name):
            raise ConfigError(f"agent name {name!r}: letters, digits, '.', '_' and '-' are expected, 64 at most")
        found[name] = _agent(name, runs)
    return found


def agents_in(file: Path) -> dict[str, Agent]:
    """Return the agents of a TOML file: of its table `agents` each a text, a list, or a table of `Agent`'s fields.

    Raises:
        ConfigError: it is not there, or malformed.
    """
    try:
        said = msgspec.convert(tomllib.loads(file.read_text()), type=_File)
    except OSError as error:
        raise ConfigError(f"agents file {file}: {error.strerror}; name another in AGENT_JOURNAL_AGENTS") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f'agents file {file}: {error}; as in: [agents]\\nhelper = "my_agent:answer"') from error
    return agents_of(said.agents)


def agents_from(text: str) -> dict[str, Agent]:
    """Return the agents of AGENT_JOURNAL_AGENTS: the path of a TOML file, or JSON of names to what runs them.

    Raises:
        ConfigError: it is malformed.
    """
    if not text.lstrip().startswith("{"):
        return agents_in(Path(text))
    try:
        said = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ConfigError(f"AGENT_JOURNAL_AGENTS is no JSON: {error}; a file's path, or {_EXAMPLE}") from error
    return agents_of(said)


def _agent(name: str, runs: Runs) -> Agent:
    match runs:
        case Agent():
            return _checked(name, runs)
        case str():
            return _checked(name, Agent(call=runs))
        case Mapping():
            try:
                agent = msgspec.convert(dict(cast("Mapping[str, Any]", runs)), type=Agent, strict=True)
            except msgspec.ValidationError as error:
                raise ConfigError(f"agent {name}: {error}; {_EXAMPLE}") from error
            return _checked(name, agent)
        case list() | tuple():
            return _checked(name, Agent(command=tuple(map(str, cast("Sequence[Any]", runs)))))
        case _:
            return Agent(call=_reference_to(name, runs))


def _checked(name: str, agent: Agent) -> Agent:
    if (agent.call is None) == (not agent.command):
        raise ConfigError(f"agent {name}: either a function or a command is expected; {_EXAMPLE}")
    if agent.call is not None and not _REFERENCE.fullmatch(agent.call):
        raise ConfigError(f"agent {name} is '{agent.call}'; it names a function as module:function; {_EXAMPLE}")
    if not 1 <= agent.attempts <= 20:
        raise ConfigError(f"agent {name}: attempts is {agent.attempts}; 1 to 20 are expected")
    if agent.timeout_s is not None and agent.timeout_s <= 0:
        raise ConfigError(f"agent {name}: timeout_s is {agent.timeout_s}; seconds over 0 are expected")
    if not all(0 <= percent <= 100 for percent in agent.stages.values()):
        raise ConfigError(f"agent {name}: stages are percents from 0 to 100")
    return agent


def _reference_to(name: str, function: Any) -> str:
    """Return how a process of its own finds a function, or an object of a module."""
    module, path = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if module is None or path is None or "<" in path or not callable(function):
        raise ConfigError(
            f"agent {name} is {type(function).__name__}; another process is to find it: a function of a module's own,"
            f" or name it, as in {_EXAMPLE}"
        )
    if module == "__main__":
        file = getattr(sys.modules["__main__"], "__file__", None)
        if file is None:
            raise ConfigError(f"agent {name} is a function of an interactive session, which no other process finds")
        module = str(Path(file).absolute())
    return f"{module}:{path}"
