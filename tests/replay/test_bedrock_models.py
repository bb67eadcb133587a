"""Models that a program asks by `bedrock-runtime` itself are served from a recording: no request goes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from otel_agent_journal import session
from otel_agent_journal.replays.errors import Diverged
from otel_agent_journal.testing.bedrock import BedrockServer, say
from tests.frameworks.bedrock_agents.asking import patient
from tests.replay import bedrock_models as programs
from tests.replay.bedrock_models import HELLO, MODEL, Scenario, asks, converse, streamed
from tests.replay.bedrock_programs import bedrock_played, nowhere
from tests.replay.played import Played

pytestmark = pytest.mark.filterwarnings("ignore:unclosed.*socket:ResourceWarning")


def recorded(root: Path, scenario: Scenario, **options: Any) -> Played:
    """Record a scenario over the wire; the service is gone afterwards."""
    replies, program = scenario
    played = bedrock_played(root)
    played.with_options(**options)
    with BedrockServer() as server:
        server.script(*replies)
        client = server.client("bedrock-runtime", config=patient())
        return played.record(lambda _: program(client))


def gone() -> Any:
    """A client of a service that is not there, without a key."""
    return nowhere("bedrock-runtime")


@pytest.mark.parametrize("name", programs.SCENARIOS)
def test_every_scenario_is_served(name: str, tmp_path: Path) -> None:
    """Nothing is sent, nothing differs, and the program gets what it got: words, bytes, errors, where they came."""
    replies, program = programs.SCENARIOS[name]
    played = recorded(tmp_path, (replies, program))
    assert not isinstance(played.gave, Exception), played.gave
    report, gave, _ = played.replay(lambda _: program(gone()))
    assert [(one.verdict, one.name, one.differs, one.why) for one in report.divergences] == []
    assert gave == played.gave
    calls = played.recording().calls()
    assert {one.kind for one in calls} == {"MODEL"}
    assert (report.live, report.served) == (0, len(calls))
    assert not [one for one in played.events if one.usage is not None]


def test_without_a_key_and_with_random_timing_it_is_the_same(tmp_path: Path) -> None:
    """A loop of calls, twenty times."""
    replies, program = programs.SCENARIOS["a loop"]
    played = recorded(tmp_path, (replies, program))
    for _ in range(20):
        report, gave, _ = played.replay(lambda _: program(gone()))
        assert (gave, report.divergences, report.served) == (played.gave, [], 3)


@pytest.mark.parametrize(
    ("more", "differs"),
    [
        ({"messages": [{"role": "user", "content": [{"text": "And where to?"}]}]}, ["messages"]),
        ({"system": [{"text": "Be brief."}]}, ["messages"]),
        ({"modelId": "another"}, ["model"]),
        ({"inferenceConfig": {"temperature": 0.5}}, ["params"]),
        ({"toolConfig": programs.TOOLS}, ["tools"]),
    ],
)
def test_what_is_asked_otherwise_is_drift(more: dict[str, Any], differs: list[str], tmp_path: Path) -> None:
    """The part that differs is named; served all the same where that is asked for, refused where it is not."""
    played = recorded(tmp_path, ([say("To Rome.")], asks(converse)))
    report, gave, _ = played.replay(lambda _: asks(lambda client: converse(client, **more))(gone()))
    assert gave == played.gave
    (one,) = report.divergences
    assert (one.verdict, one.kind, list(one.differs)) == ("DRIFT", "MODEL", differs)
    _, gave, _ = played.replay(lambda _: asks(lambda client: converse(client, **more))(gone()), on_drift="stop")
    assert isinstance(gave, Diverged)


def test_a_call_that_was_not_made_is_refused(tmp_path: Path) -> None:
    """A second call is new, and not sent; a call that is made no more is missing."""
    played = recorded(tmp_path, ([say("To Rome.")], asks(converse)))
    report, gave, _ = played.replay(lambda _: asks(lambda client: [converse(client), converse(client)])(gone()))
    assert isinstance(gave, Diverged)
    assert [(one.verdict, one.kind) for one in report.divergences] == [("NEW", "MODEL")]
    report, _, _ = played.replay(lambda _: asks(lambda client: None)(gone()))
    assert [(one.verdict, one.kind) for one in report.divergences] == [("MISSING", "MODEL")]


@pytest.mark.parametrize(
    ("change", "asked"),
    [
        ({"model": "another"}, ("another", None)),
        ({"temperature": 0.25}, (MODEL, {"temperature": 0.25})),
        ({"max_tokens": 9, "top_p": 0.5}, (MODEL, {"maxTokens": 9, "topP": 0.5})),
    ],
)
def test_live_models_are_asked_with_what_is_set(change: dict[str, Any], asked: tuple[str, Any], tmp_path: Path) -> None:
    """With `--live models` the service is asked, as `--set` has it."""
    played = recorded(tmp_path, ([say("To Rome.")], asks(converse)))
    with BedrockServer() as server:
        server.script(say("To Paris."))
        client = server.client("bedrock-runtime")
        report, gave, _ = played.replay(lambda _: asks(converse)(client), live=("models",), change=change)
        (request,) = server.requests
    assert (request.model_id, request.body.get("inferenceConfig")) == asked
    assert gave["output"]["message"]["content"] == [{"text": "To Paris."}]
    assert (report.served, report.live) == (0, 1)


def test_what_a_redactor_changed_is_not_served(tmp_path: Path) -> None:
    """A secret that a stream cuts in two is seen whole, and is in no event; who would be served stars is told so."""

    def redactor(_: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: redactor("", one) for name, one in value.items()}
        if isinstance(value, list):
            return [redactor("", one) for one in value]
        return value.replace("s3 cr3t", "***") if isinstance(value, str) else value

    scenario = ([say("The password is s3 cr3t indeed.")], asks(streamed))
    played = recorded(tmp_path, scenario, redactor=redactor)
    assert [one["contentBlockDelta"]["delta"]["text"] for one in played.gave if "contentBlockDelta" in one][3:5] == [
        "s3 ",
        "cr3t ",
    ]
    said = repr([event.details for event in played.journal.store.read(played.session)])
    assert "s3 cr3t" not in said
    (call,) = played.recording().calls()
    assert "a redactor has changed its output" in str(played.recording().why_not(call))


def test_a_stream_is_read_no_further_than_it_was(tmp_path: Path) -> None:
    """The parts that the recorded program read are served; one that reads on is stopped."""
    replies, _ = programs.SCENARIOS["left"]
    played = recorded(tmp_path, (replies, programs.SCENARIOS["left"][1]))
    report, gave, _ = played.replay(lambda _: asks(streamed)(gone()))
    assert isinstance(gave, Diverged)
    assert "read no further" in str(gave)
    assert report.served == 1


def test_calls_that_are_no_steps_are_refused(tmp_path: Path) -> None:
    """What nothing is recorded of is not sent: other operations, and calls outside of any step."""
    played = recorded(tmp_path, ([say("To Rome.")], asks(converse)))
    counted = {"converse": {"messages": HELLO}}
    others = (
        (asks(lambda client: client.count_tokens(modelId=MODEL, input=counted)), "bedrock-runtime.CountTokens"),
        (converse, f"model {MODEL}"),
    )
    for call, name in others:
        _, gave, _ = played.replay(lambda _, call=call: call(gone()))
        assert isinstance(gave, Diverged)
        assert name in str(gave)


def test_roots_of_a_session_with_a_name_are_served(tmp_path: Path) -> None:
    """A program that says nothing of a session, recorded with `--session`, is replayed without it."""
    program = programs.loop
    replies, _ = programs.SCENARIOS["a loop"]
    played = recorded(tmp_path, (replies, program), session_id="trip-3")
    assert played.session == "trip-3"
    report, gave, _ = played.replay(lambda _: program(gone()))
    assert (gave, report.divergences, report.served) == (played.gave, [], 3)


def test_steps_that_are_served_by_hand_keep_their_calls(tmp_path: Path) -> None:
    """A step by hand whose function asks a model is served as a whole: that call is not one beside it."""

    def program(client: Any) -> Any:
        found: list[Any] = []
        with session("by-hand-1") as run:
            for kind in ("tool", "retrieval", "model"):
                with run.step(kind, "ask") as step:
                    found.append(step.served(lambda: converse(client)))
        return found

    played = recorded(tmp_path, ([say("To Rome."), say("To Paris."), say("Home.")], program))
    kinds = sorted(one.kind for one in played.recording().tree.attempts)
    assert kinds == ["AGENT", "MODEL", "MODEL", "MODEL", "RETRIEVAL", "TOOL"]  # within the model by hand there is none
    assert sorted(one.name for one in played.recording().calls()) == ["ask", "ask", "ask"]
    report, gave, _ = played.replay(lambda _: program(gone()))
    assert (gave, report.divergences, report.served) == (played.gave, [], 3)
