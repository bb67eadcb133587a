"""A store in a file, and the session API over it: real runs, in real processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_agent_journal import Sessions

ROOT = Path(__file__).resolve().parents[2]
AGENTS: dict[str, Any] = {
    name: f"tests.sessions.scripted:{name}" for name in ("echo", "failing", "throttled", "counted", "suicidal")
} | {
    "staged": {"call": "tests.sessions.scripted:staged", "stages": {"plan": 30}},
    "sleeping": "tests.sessions.scripted:sleeping",
    "late": {"call": "tests.sessions.scripted:sleeping", "timeout_s": 0.5},
    "cat": ["sh", "-c", "cat; echo !"],
    "broken": ["sh", "-c", "echo it is broken >&2; exit 3"],
    "missing": "no_such_module:agent",
    "booking": "tests.sessions.asking:booking",
}
LONG_S = 110.0  # the machine is shared; none of it takes a tenth of that alone


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    """A store that is not there yet."""
    return f"sqlite:///{tmp_path}/journal.db"


@pytest.fixture
def opened(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Sessions]]:
    """Opens `Sessions` on the store, as often as asked; all are closed at the end."""
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.chdir(ROOT)
    made: list[Sessions] = []

    def open_sessions(**options: Any) -> Sessions:
        made.append(Sessions(store_url, AGENTS, **options))
        return made[-1]

    yield open_sessions
    for sessions in made:
        sessions.close()


@pytest.fixture
def sessions(opened: Callable[..., Sessions]) -> Sessions:
    """`Sessions` that looks after its store."""
    return opened().start()
