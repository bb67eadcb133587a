"""Agents and flows of Bedrock are served from a recording: no request goes out, and the program gets what it got."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.replays.errors import Diverged
from otel_agent_journal.store.memory import MemoryStore
from otel_agent_journal.testing.bedrock import stream
from tests.frameworks.bedrock_agents import asking
from tests.frameworks.bedrock_agents.asking import ask, read
from tests.replay import bedrock_programs as programs
from tests.replay.bedrock_programs import Scenario, bedrock_played, nowhere, service
from tests.replay.played import Played

# What a program does not close it leaves to the collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed.*socket:ResourceWarning")


def recorded(root: Path, scenario: Scenario, **options: Any) -> Played:
    """Record a scenario over the wire; the service is gone afterwards."""
    replies, program = scenario
    played = bedrock_played(root)
    played.with_options(**options)
    with service(replies) as (_, client):
        played.record(lambda calls: program(client))
    return played


@pytest.mark.parametrize("name", programs.SCENARIOS)
def test_every_scenario_is_served(name: str, tmp_path: Path) -> None:
    """Nothing is sent, nothing differs, and the program gets the very parts and errors that it got."""
    replies, program = programs.SCENARIOS[name]
    played = recorded(tmp_path, (replies, program))
    report, gave, _ = played.replay(lambda calls: program(nowhere()))
    assert [(one.verdict, one.kind, one.name, one.differs, one.at, one.why) for one in report.divergences] == []
    if isinstance(played.gave, Exception):
        assert (type(gave), str(gave)) == (type(played.gave), str(played.gave))
    else:
        assert gave == played.gave
    assert report.live == 0
    assert report.served == sum(event.details.get("served") is not None for event in played.events)
    assert report.served == (0 if name == "malformed" else len(played.recording().calls()))
    assert not [event for event in played.events if event.usage is not None]
    assert [played.recording().why_not(one) for one in played.recording().calls() if name != "malformed"] == [
        None
    ] * report.served


def trip(text: str = "To Rome, please.", *, times: int = 1, **more: Any) -> Any:
    """A program that asks for a trip."""
    return lambda client: [read(ask(client, text, **more)) for _ in range(times)]


def test_what_is_asked_otherwise_is_drift_and_its_place_is_named(tmp_path: Path) -> None:
    """Another text, another parameter: served all the same, and said."""
    played = recorded(tmp_path, ([stream(asking.TRIP)], trip()))
    report, gave, _ = played.replay(lambda _: trip("To Paris, please.")(nowhere()))
    (one,) = report.divergences
    assert (one.verdict, one.kind, one.differs, one.recorded, one.replayed) == (
        "DRIFT",
        "AGENT",
        ("input",),
        "To Rome, please.",
        "To Paris, please.",
    )
    assert (gave, report.cause) == (played.gave, "what agent TRAVEL1234 is asked")
    assert (report.diverged(), report.diverged(strict=True)) == (False, True)
    state = {"sessionAttributes": {"class": "first"}}
    report, _, _ = played.replay(lambda _: trip(sessionState=state)(nowhere()))
    (one,) = report.divergences
    assert (one.verdict, one.differs, one.at, one.replayed) == ("DRIFT", ("parameters",), "/sessionState", state)
    report, _, _ = played.replay(
        lambda _: trip(agentAliasId="OTHER12345")(nowhere()), ignore=("parameters.agentAliasId",)
    )
    assert (report.divergences, report.hidden) == ([], 1)
    report, gave, _ = played.replay(lambda _: trip("To Paris, please.")(nowhere()), on_drift="stop")
    assert (type(gave), [one.verdict for one in report.divergences]) == (Diverged, ["DRIFT"])


def test_a_call_that_was_not_recorded_is_new(tmp_path: Path) -> None:
    """It is not made."""
    played = recorded(tmp_path, ([stream(asking.TRIP)], trip()))
    report, gave, _ = played.replay(lambda _: trip(times=2)(nowhere()))
    assert isinstance(gave, Diverged)
    assert [(one.verdict, one.kind) for one in report.divergences] == [("NEW", "AGENT")]
    assert report.cause == "code in the program, and not a served answer"


def test_a_call_that_is_not_made_is_missing(tmp_path: Path) -> None:
    """With all that was below it."""
    played = recorded(tmp_path, ([stream(asking.TRIP), stream(asking.LAST)], trip(times=2)))
    report, _, _ = played.replay(lambda _: trip()(nowhere()))
    assert [(one.verdict, one.kind, one.below) for one in report.divergences] == [("MISSING", "AGENT", 0)]


def test_a_stream_that_is_read_on_cannot_be_served(tmp_path: Path) -> None:
    """Nobody knows what would have come."""
    played = recorded(tmp_path, ([stream(asking.TRIP)], programs.left))
    assert [played.recording().why_not(one) for one in played.recording().calls()] == [None]
    report, gave, _ = played.replay(lambda _: trip()(nowhere()))
    assert isinstance(gave, Diverged)
    assert report.first is not None
    assert (report.first.verdict, report.first.kind) == ("UNREPLAYABLE", "AGENT")
    assert "the recorded program read no further" in (report.first.why or "")


UNABLE: dict[str, tuple[dict[str, Any], str]] = {
    "content": (
        {"content": False},
        "what it answered is not in the journal: content is off, or it was too much to be kept",
    ),
    "output": (
        {"redactor": lambda field, value: "***" if field == "output" else value},
        "a redactor has changed its output",
    ),
    "raw": ({"redactor": lambda field, value: {} if field == "raw" else value}, "a redactor has changed its raw"),
}


@pytest.mark.parametrize("name", UNABLE)
def test_what_the_journal_does_not_hold_cannot_be_served(name: str, tmp_path: Path) -> None:
    """It is said before anything runs, and nothing is sent."""
    options, why = UNABLE[name]
    played = recorded(tmp_path, ([stream(asking.TRIP)], trip()), **options)
    recording = played.recording()
    assert [(one.name, recording.why_not(one)) for one in recording.calls()] == [("TRAVEL1234", why)]
    report, gave, _ = played.replay(lambda _: trip()(nowhere()))
    assert isinstance(gave, Diverged)
    assert [(one.verdict, one.kind, one.why) for one in report.divergences] == [("UNREPLAYABLE", "AGENT", why)]
    assert report.cause == "the recording, and not the code"


def test_an_answer_of_megabytes_is_served(tmp_path: Path) -> None:
    """Of an answer nothing is cut."""
    parts = [asking.thinks("x" * 300_000, turn=turn) for turn in range(8)]
    played = recorded(tmp_path, ([stream(*parts, asking.LAST)], trip()))
    report, gave, _ = played.replay(lambda _: trip()(nowhere()))
    assert (report.divergences, gave) == ([], played.gave)
    played = recorded(tmp_path / "redacted", ([stream(*parts, asking.LAST)], trip()), redactor=lambda _, value: value)
    report, gave, _ = played.replay(lambda _: trip()(nowhere()))
    assert (report.divergences, gave) == ([], played.gave)


def test_a_recording_that_was_killed_is_served_to_where_it_died(tmp_path: Path) -> None:
    """The call that was running cannot be served."""
    played = recorded(tmp_path, ([stream(asking.TRIP), stream(asking.TRIP)], trip(times=2)))
    events = played.recording().tree
    last = events.roots[-1]
    kept = [one for one in played.journal.store.read(played.session) if one.timestamp_ns <= last.last.start_ns]
    store = MemoryStore()
    store.append(kept)
    played.journal = Journal(store, tmp_path / "recorded")
    report, gave, _ = played.replay(lambda _: trip(times=2)(nowhere()))
    assert isinstance(gave, Diverged)
    assert [(one.verdict, one.why) for one in report.divergences] == [
        ("UNREPLAYABLE", "it was running when the recording ended")
    ]


def test_other_calls_of_bedrock_are_refused(tmp_path: Path) -> None:
    """They are no steps, so nothing is served to them, and nothing is sent: whatever the program makes of that."""

    def program(client: Any) -> Any:
        found = read(ask(client))
        with contextlib.suppress(Exception):
            client.retrieve(knowledgeBaseId="KBTRAVEL01", retrievalQuery={"text": "visa"})
        return found

    with service([stream(asking.TRIP)]) as (_, client):
        played = bedrock_played(tmp_path).record(lambda _: program(client))
    report, _, _ = played.replay(lambda _: program(nowhere()))
    assert [(one.verdict, one.kind, one.name) for one in report.divergences] == [
        ("NEW", "STEP", "bedrock-agent-runtime.Retrieve")
    ]
    assert (report.stopped, report.cause) == (True, "code in the program, and not a served answer")


def test_live_agents_are_called(tmp_path: Path) -> None:
    """With `--live models` the service is asked, and what it answers is compared."""
    played = recorded(tmp_path, ([stream(asking.TRIP)], trip()))
    with service([stream(asking.TRIP)]) as (server, client):
        report, _, _ = played.replay(lambda _: trip()(client), live=("models",))
        assert len(server.requests) == 1
    assert (report.served, report.live, [one.verdict for one in report.divergences]) == (0, 1, [])
    with service([stream(asking.LAST)]) as (server, client):
        report, _, _ = played.replay(lambda _: trip()(client), live=("model:TRAVEL1234",))
        assert len(server.requests) == 1
    assert "MISSING" in [one.verdict for one in report.divergences]
