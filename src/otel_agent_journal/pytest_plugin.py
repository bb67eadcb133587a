"""The pytest plugin `agent_journal`: recorded sessions as tests, and assertions on what an agent did.

    def test_reading(replay_session):
        with replay_session("tests/recordings/reading.jsonl") as replayed:
            my_agent.run("what?")
        replayed.assert_same()

Where the file is not there yet, the test runs live once and writes it: `--journal-record=once`, the default but in CI.
Nothing of the package is imported before a fixture is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from otel_agent_journal.bootstrap.recording_here import Recorded
    from otel_agent_journal.bootstrap.replay_here import Replayed

MODES: Final = ("once", "none", "all")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --journal-record."""
    group = parser.getgroup("agent-journal")
    group.addoption(
        "--journal-record",
        choices=MODES,
        default="none" if os.environ.get("CI") else "once",
        help="Of replay_session: record where there is no file (once), never (none), always (all). In CI: none.",
    )


@pytest.fixture
def replay_session(request: pytest.FixtureRequest) -> Iterator[Callable[..., Replayed | Recorded]]:
    """Return what replays a session, or a file of one; where the file is to be made, what records it.

    Called as `replay_session(source, **options)`, with the options of `otel_agent_journal.replay`. What it returns is a
    context manager with `divergences`, `journal` and `assert_same()`. A replay that went another way, and that the test
    did not look at, fails it.
    """
    mode = request.config.getoption("--journal-record")
    begun: list[Any] = []

    def replayed(source: str | Path, **options: Any) -> Replayed | Recorded:
        from otel_agent_journal.bootstrap.recording_here import Recorded
        from otel_agent_journal.bootstrap.replay_here import replay

        file = Path(source)
        is_file = file.suffix == ".jsonl"
        if is_file and not file.is_absolute() and not file.exists():
            beside = request.path.parent / file
            file = beside if beside.exists() or not file.parent.exists() else file
        if is_file and (mode == "all" or (mode == "once" and not file.exists())):
            one: Any = Recorded(file)
        elif is_file and not file.exists():
            pytest.fail(f"there is no recording {file}, and --journal-record=none makes none", pytrace=False)
        else:
            one = replay(file if is_file else str(source), **options)
        begun.append(one)
        return one

    yield replayed
    for one in begun:
        if one.looked_at:
            one.divergences  # noqa: B018 - it may not be over yet
            continue
        try:
            one.assert_same()
        except AssertionError as error:
            pytest.fail(str(error), pytrace=False)


@pytest.fixture
def agent_journal() -> Iterator[Recorded]:
    """Journal what the test runs, live, and let it look: `agent_journal.tools`, `.model("plan").prompt`, `.cost`."""
    from otel_agent_journal.bootstrap.recording_here import Recorded

    recorded = Recorded(None)
    yield recorded
    recorded.close()
