"""What a replay is to do: what is called live, where it begins and ends, and what is no difference. Read from JSON."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from otel_agent_journal.errors import ConfigError

MODELS: Final = "models"
TOOLS: Final = "tools"
ON_DRIFT: Final = ("serve", "stop", "live")
ON_NEW: Final = ("stop", "error", "live")
_KINDS: Final = {
    "MODEL": (MODELS, "model"),
    "AGENT": (MODELS, "model"),  # one that is remote
    "TOOL": (TOOLS, "tool"),
    "RETRIEVAL": (TOOLS, "tool"),
}


class Rules(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a session is replayed.

    Args:
        session: the recorded session.
        name: the session that the replay is journaled as.
        live: what is called and not served: `models`, `tools`, `model:NAME`, `tool:NAME`.
        on_drift: what becomes of a model call that is asked something else: `serve`, `stop` or `live`.
        on_new: of a call that the recording does not have: `stop`; `error`, which a tool answers; or `live`, where
            `live` names it.
        since: the number of the recorded step from which on everything is live.
        until: the number of the recorded step before which the replay ends.
        change: parameters of models that are called live, in place of their own.
        once: a tool that is called live, and may change the world, is served what it returned after `since`.
        ignore: what is no difference; see `ignoring`.
        recording: a file that the recording is read from, in place of the store.
    """

    session: str
    name: str
    live: tuple[str, ...] = ()
    on_drift: str = "serve"
    on_new: str = "stop"
    since: int | None = None
    until: int | None = None
    change: dict[str, Any] = {}
    once: bool = False
    ignore: tuple[str, ...] = ()
    recording: str | None = None

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            ConfigError: something of it is none of what it can be.
        """
        for name, value, known in (("on-drift", self.on_drift, ON_DRIFT), ("on-new", self.on_new, ON_NEW)):
            if value not in known:
                raise ConfigError(f"{name} is '{value}'; it is one of: {', '.join(known)}")
        for one in self.live:
            kind, _, rest = one.partition(":")
            if one not in (MODELS, TOOLS) and not (kind in ("model", "tool") and rest):
                raise ConfigError(f"live is '{one}'; it is one of: models, tools, model:NAME, tool:NAME")

    def calls(self, kind: str, name: str) -> bool:
        """Tell whether a step of this kind and name is called live, wherever it stands."""
        of_kind = _KINDS.get(kind)
        return of_kind is not None and (of_kind[0] in self.live or f"{of_kind[1]}:{name}" in self.live)

    @property
    def calls_models(self) -> bool:
        """Whether any model is called live: what they ask for is then theirs, and not the recording's."""
        return any(one.startswith("model") for one in self.live)
