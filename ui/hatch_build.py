"""No distribution without the viewer: a wheel that lacks it would show every user an empty page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUILT = ("index.html", "app.js", "shared.js", "lists.js", "app.css", "file.js")


class ViewerIsThere(BuildHookInterface):
    """Looks for the built viewer before anything is packed."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Refuse to go on without it; an editable install is a developer's, and only hears of it."""
        static = Path(self.root, "src", "otel_agent_journal", "server", "static")
        missing = [name for name in BUILT if not (static / name).is_file()]
        if not missing:
            return
        said = f"the viewer is not built: {', '.join(missing)} missing in {static}; run: make ui"
        if version != "editable":
            raise RuntimeError(said)
        self.app.display_warning(said)
