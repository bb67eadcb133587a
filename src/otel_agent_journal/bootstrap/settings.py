"""The settings that this process goes by."""

from __future__ import annotations

from otel_agent_journal.config import Settings, settings_from_env
from otel_agent_journal.pipeline.current import STATE


def settings_of_process() -> tuple[Settings, bool]:
    """Return the settings that this process records by, else the environment's, and whether it drains by itself.

    Raises:
        ConfigError: a variable is malformed.
    """
    if STATE.agent is None:
        return settings_from_env(), False
    settings: Settings = STATE.agent.settings
    return settings, not settings.drained_by_parent
