"""`record_event()` and `invocation()`: what the caller of an agent says of it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import re
import threading
from collections.abc import Callable, Iterator

import pytest
from botocore.exceptions import ClientError
from hypothesis import assume, given
from hypothesis import strategies as st
from opentelemetry import baggage, context

from otel_agent_journal import ErrorInfo, JournalError, current_session, session, step
from otel_agent_journal.errors import ConfigError
from otel_agent_journal.event import JournalEvent
from otel_agent_journal.mapping.facts import Heartbeat
from otel_agent_journal.pipeline.agent_ids import is_placeholder
from otel_agent_journal.pipeline.content import ContentEncoder
from otel_agent_journal.pipeline.current import set_recorder
from otel_agent_journal.pipeline.lifecycle import CONFIGURATION_ERROR, Invocation, invocation, record_event
from otel_agent_journal.pipeline.recorder import Recorder
from otel_agent_journal.projections.status import fold
from otel_agent_journal.projections.verdict import head_of
from tests.pipeline.conftest import Written

INITIATED, STARTED = "SESSION_INITIATED", "AGENT_INVOCATION_STARTED"
SUCCEEDED, FAILED = "AGENT_INVOCATION_SUCCEEDED", "AGENT_INVOCATION_FAILED"
THROTTLED = ClientError({"Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"}}, "InvokeAgent")


def status(written: Written) -> str:
    """The status that what was written amounts to."""
    return head_of(fold(written.events), "s1").status


def given_up(event: JournalEvent) -> bool:
    """Whether an event says, in every way there is, that an invocation was cancelled."""
    return (event.type, event.level, event.details["reason"]) == (FAILED, "WARNING", "cancelled")


# --- record_event -------------------------------------------------------------------------------------------------


def test_an_event_by_its_name(recorder: Recorder, written: Written) -> None:
    """An event has the session, the type and the details that it is given."""
    record_event("s1", STARTED, agent="helper", ticket=7)
    (event,) = written.events
    assert (event.session_id, event.type, event.level, event.name) == ("s1", STARTED, "INFO", "helper")
    assert event.details == {"agent": "helper", "ticket": 7}
    assert (event.error, event.step_id) == (None, None)


@pytest.mark.parametrize(
    ("error", "info"),
    [
        (
            THROTTLED,
            ErrorInfo(type="botocore.exceptions.ClientError", message="Rate exceeded", code="ThrottlingException"),
        ),
        (ValueError("no"), ErrorInfo(type="ValueError", message="no")),
        ("out of paper", ErrorInfo(type="Error", message="out of paper")),
        (ErrorInfo(type="Refused", code="R1"), ErrorInfo(type="Refused", code="R1")),
    ],
)
def test_an_error_by_its_kind(
    recorder: Recorder, written: Written, error: BaseException | ErrorInfo | str, info: ErrorInfo
) -> None:
    """An error is the event's own, by its kind: an exception, one of AWS's, a text, or what is known of it."""
    record_event("s1", FAILED, error)
    record_event("s1", "JOB_ENDED", error)
    assert [(event.error, event.level) for event in written.events] == [(info, "ERROR")] * 2
    assert status(written) == "ERROR"


def test_a_failure_without_an_error(recorder: Recorder, written: Written) -> None:
    """What ends in _FAILED is of level ERROR also where nothing says why."""
    record_event("s1", FAILED)
    assert [(event.error, event.level) for event in written.events] == [(None, "ERROR")]


@pytest.mark.parametrize("event_type", ["failed", "Agent_Failed", "", "A B", "1A", "A\n"])
def test_a_type_that_can_never_be(recorder: Recorder, written: Written, event_type: str) -> None:
    """A type that is not upper snake case is refused, and nothing is written."""
    with pytest.raises(ValueError, match="not upper snake case"):
        record_event("s1", event_type)
    with invocation("s1") as call, pytest.raises(ValueError, match="not upper snake case"):
        call.record(event_type)
    assert written.types() == [INITIATED, STARTED, SUCCEEDED]


@pytest.mark.parametrize("session_id", ["", "  ", None, 7])
def test_a_session_that_can_never_be(recorder: Recorder, written: Written, session_id: object) -> None:
    """A session id that is empty or no text is refused, and nothing is written."""
    with pytest.raises(ValueError, match="session id is"):
        record_event(session_id, STARTED)  # type: ignore[arg-type]
    if session_id is not None:
        with pytest.raises(ValueError, match="session id is"):
            invocation(session_id)  # type: ignore[arg-type]
    assert written.payloads == []


def test_nothing_else_raises(recorder: Recorder, written: Written) -> None:
    """Details and errors that cannot be read cost themselves, not the caller."""

    class Evil(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

        __repr__ = __str__

    record_event("s1", FAILED, Evil(), what=Evil(), text="\udc80")
    with invocation("\udc80", input=Evil()) as call:
        call.succeed(Evil())
    assert written.types() == [FAILED, INITIATED, STARTED, SUCCEEDED]
    assert written.events[0].error is not None
    assert written.events[0].error.type.endswith("Evil")
    written.refuse = True
    record_event("s1", STARTED)
    assert recorder.dropped == 1


def test_without_a_journal(caplog: pytest.LogCaptureFixture) -> None:
    """In a program without a journal the calls do nothing; that is said at most once."""
    set_recorder(None)
    record_event("s1", STARTED)
    with invocation("s1") as call:
        record_event("s1", FAILED, "no")
    assert call.session_id == "s1"
    assert sum("nothing is journaled" in record.message for record in caplog.records) <= 1


def test_an_event_within_a_step(recorder: Recorder, written: Written) -> None:
    """An event of the session whose step runs belongs to that step; of another session it does not."""
    with session("s1", agent="a"), step("tool", "t"):
        record_event("s1", "NOTED")
        record_event("s2", "NOTED")
    (tool,) = [event.step_id for event in written.events if event.type == "TOOL_START"]
    assert [event.step_id for event in written.events if event.type == "NOTED"] == [tool, None]


# --- invocation ---------------------------------------------------------------------------------------------------


def test_a_block(recorder: Recorder, written: Written) -> None:
    """A block says that the session began, that the agent was called, and how that ended."""
    with invocation("s1", agent_id="ABCDE12345", agent="helper", input="hi") as call:
        assert isinstance(call, Invocation)
        assert call.session_id == "s1"
        assert status(written) == "PROCESSING"
        call.record("TICKET_OPENED", {"ticket": 7}, level="WARNING")
        call.succeed("hello", tokens=3)
    assert written.types() == [INITIATED, STARTED, "TICKET_OPENED", SUCCEEDED]
    initiated, started, opened, succeeded = written.events
    who = {"agent": "helper", "agent_id": "ABCDE12345"}
    assert initiated.details == who
    assert started.details == {**who, "invocation": call.invocation_id, "input": "hi"}
    assert (opened.details, opened.level) == ({"ticket": 7}, "WARNING")
    assert succeeded.details == {**who, "invocation": call.invocation_id, "output": "hello", "tokens": 3}
    assert {event.name for event in (initiated, started, succeeded)} == {"helper"}
    assert {event.session_id for event in written.events} == {"s1"}
    assert (status(written), head_of(fold(written.events), "s1").agent) == ("COMPLETED", "helper")


async def test_an_async_block(recorder: Recorder, written: Written) -> None:
    """The same reads async; concurrent invocations keep their sessions apart."""

    async def call(session_id: str) -> str | None:
        async with invocation(session_id):
            await asyncio.sleep(0)
            return current_session()

    assert await asyncio.gather(call("s1"), call("s2")) == ["s1", "s2"]
    for session_id in ("s1", "s2"):
        own = [event.type for event in written.events if event.session_id == session_id]
        assert own == [INITIATED, STARTED, SUCCEEDED]


def test_an_exception_fails_it_and_passes(recorder: Recorder, written: Written) -> None:
    """The block's exception is the failure's error, and passes untouched."""
    with pytest.raises(ClientError) as caught, invocation("s1"):
        raise THROTTLED
    assert caught.value is THROTTLED
    assert written.types() == [INITIATED, STARTED, FAILED]
    error = written.events[-1].error
    assert error is not None
    assert (error.code, error.message) == ("ThrottlingException", "Rate exceeded")
    assert status(written) == "ERROR"


@pytest.mark.parametrize("leave", [KeyboardInterrupt, asyncio.CancelledError, SystemExit, GeneratorExit])
def test_a_caller_that_gives_up(recorder: Recorder, written: Written, leave: type[BaseException]) -> None:
    """What cancels fails the invocation, as a warning whose reason is `cancelled`, and the session is INTERRUPTED."""
    with pytest.raises(leave), invocation("s1") as call:
        raise leave
    assert written.types() == [INITIATED, STARTED, FAILED]
    ended = written.events[-1]
    assert given_up(ended)
    assert ended.details == {"invocation": call.invocation_id, "reason": "cancelled"}
    assert ended.error is not None
    assert ended.error.type.endswith(leave.__name__)
    head = head_of(fold(written.events), "s1")
    assert (head.status, head.reason) == ("INTERRUPTED", "cancelled")


def fail(error: BaseException | str, **details: object) -> None:
    """Fail an invocation."""
    with invocation("s1") as call:
        call.fail(error, **details)


class NotComparable:
    """A value such as an array, which cannot be asked whether it is equal to a text."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("the truth value of an array is ambiguous")

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("say", [functools.partial(record_event, "s1", FAILED), fail], ids=["record_event", "fail"])
def test_giving_up_said_by_hand(recorder: Recorder, written: Written, say: Callable[..., None]) -> None:
    """Giving up is also told by an error that cancels, or by the reason alone; another reason fails as an error."""
    say(KeyboardInterrupt())
    say("nobody waits", reason="cancelled")
    assert [given_up(event) for event in written.events if event.type == FAILED] == [True, True]
    say(KeyboardInterrupt(), reason="pressed twice")
    say("no", reason=NotComparable())
    last = [event for event in written.events if event.type == FAILED][2:]
    assert [event.level for event in last] == ["ERROR", "ERROR"]
    assert last[0].details["reason"] == "pressed twice"
    assert status(written) == "ERROR"


async def test_a_cancelled_task(recorder: Recorder, written: Written) -> None:
    """A task that is cancelled, or that runs out of its time, gives up on the agent or fails."""

    async def call() -> None:
        async with invocation("s1"):
            await asyncio.sleep(60)

    async def hurried() -> None:
        async with invocation("s1"), asyncio.timeout(0.01):
            await asyncio.sleep(60)

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert given_up(written.events[-1])
    with pytest.raises(TimeoutError):
        await hurried()
    assert (written.types()[-1], written.events[-1].level) == (FAILED, "ERROR")


def test_the_first_ending_counts(recorder: Recorder, written: Written) -> None:
    """fail() and succeed() end at once, and only the first ending is written, whatever leaves the block after it."""
    with invocation("s1") as call:
        call.fail("out of stock", shelf=4)
        assert written.types()[-1] == FAILED
        call.succeed("never")
    with contextlib.suppress(ValueError), invocation("s1") as call:
        call.succeed()
        raise ValueError
    assert written.types() == [INITIATED, STARTED, FAILED, INITIATED, STARTED, SUCCEEDED]
    failed = written.events[2]
    assert (failed.error, failed.details["shelf"]) == (ErrorInfo(type="Error", message="out of stock"), 4)
    assert "output" not in written.events[-1].details


def test_a_session_of_its_own(recorder: Recorder, written: Written) -> None:
    """Without a session id it is that of the code around, then `--session`, then a fresh one."""
    with invocation() as fresh, invocation() as inner:
        assert inner.session_id == fresh.session_id
        assert len(fresh.session_id) == 32
    with session("s1", agent="a"), invocation() as call:
        assert call.session_id == "s1"
    recorder.session_id = "run"
    with invocation() as call, invocation("mine") as named:
        assert (call.session_id, named.session_id) == ("run", "mine")


def test_the_session_is_current_within(recorder: Recorder, written: Written) -> None:
    """Within the block the session is current: for roots of any library, by baggage, and no longer after it."""
    recorder.session_id = "run"
    with invocation("s1"):
        assert current_session() == "s1"
        assert baggage.get_baggage("gen_ai.conversation.id") == "s1"
        with step("agent", "own"):
            pass
        recorder.start_step("AGENT", "other", session_id="thread-1").end()
    assert current_session() is None
    assert baggage.get_baggage("gen_ai.conversation.id") is None
    assert {event.session_id for event in written.events} == {"s1"}


def test_an_invocation_within_a_step(recorder: Recorder, written: Written) -> None:
    """Within a step of its session the agent's root is that step's child; a session of another name has its own."""
    with session("s1", agent="outer"):
        with invocation("s1"), step("agent", "same"):
            pass
        with invocation("s2"), step("agent", "another"):
            pass
        assert current_session() == "s1"
    starts = {event.name: event for event in written.events if event.type == "AGENT_START"}
    assert starts["same"].parent_step_id == starts["outer"].step_id
    assert (starts["another"].parent_step_id, starts["another"].session_id) == (None, "s2")
    assert [event.step_id for event in written.events if event.session_id == "s2" and event.type == STARTED] == [None]


def test_threads(recorder: Recorder, written: Written) -> None:
    """A thread that runs in a copy of the context is in the session, and may end the invocation."""

    def work(call: Invocation) -> None:
        seen.append(current_session())
        call.succeed("done")

    seen: list[str | None] = []
    with invocation("s1") as call:
        for target in (contextvars.copy_context().run, lambda function, *arguments: function(*arguments)):
            thread = threading.Thread(target=target, args=(work, call))
            thread.start()
            thread.join(5)
    assert seen == ["s1", None]
    assert written.types() == [INITIATED, STARTED, SUCCEEDED]


def test_left_in_another_context(recorder: Recorder, written: Written) -> None:
    """A block that is left in another context than it was entered in ends all the same."""

    def stream() -> Iterator[int]:
        with invocation("s1"):
            yield 1

    chunks = stream()
    contextvars.copy_context().run(next, chunks)
    chunks.close()
    assert written.types() == [INITIATED, STARTED, FAILED]
    assert given_up(written.events[-1])
    assert context.get_current() == {} or current_session() is None


def test_it_is_alive_while_it_lasts(recorder: Recorder, written: Written) -> None:
    """Heartbeats name the sessions of invocations under way, and a process that leaves in order ends them."""
    with invocation("s1") as call:
        recorder.heartbeat()
        recorder.close()
        call.succeed("too late")
    recorder.heartbeat()
    beats = [fact.sessions for fact in written.facts if isinstance(fact, Heartbeat)]
    assert beats == [("s1",)]
    assert written.types() == [INITIATED, STARTED, FAILED]
    assert given_up(written.events[-1])


def test_metadata_alone() -> None:
    """With content off, what is asked and answered is left out; who was called is kept."""
    written = Written()
    set_recorder(Recorder(written, encoder=ContentEncoder(content=False)))
    try:
        with invocation("s1", agent_id="ABCDE12345", agent="helper", input="secret") as call:
            call.succeed("secret")
    finally:
        set_recorder(None)
    kept = {"agent": "helper", "agent_id": "ABCDE12345"}
    joined = {**kept, "invocation": call.invocation_id}
    assert [event.details for event in written.events] == [kept, joined, joined]


# --- agent ids that were never filled in --------------------------------------------------------------------------


@pytest.mark.parametrize("agent_id", [None, "", " ", "CHANGEME", "<agent-id>", "YOUR_AGENT_ID"])
def test_an_agent_id_that_was_never_filled_in(recorder: Recorder, written: Written, agent_id: str | None) -> None:
    """The body never runs; the journal and the caller are told what, why and what to do."""
    ran = False
    with pytest.raises(ConfigError, match="no agent was called") as caught, invocation("s1", agent_id=agent_id):
        ran = True
    assert not ran
    assert isinstance(caught.value, JournalError)
    assert written.types() == [INITIATED, FAILED]
    failed = written.events[-1]
    assert failed.error == ErrorInfo(type="ConfigError", message=str(caught.value), code=CONFIGURATION_ERROR)
    assert failed.details["agent_id"] == agent_id
    assert (status(written), current_session(), recorder.open_roots()) == ("ERROR", None, [])


async def test_an_agent_id_that_was_never_filled_in_async(recorder: Recorder, written: Written) -> None:
    """The same holds of an async block."""
    with pytest.raises(ConfigError, match="agent id is None"):
        async with invocation("s1", agent_id=None):
            raise AssertionError
    assert written.types() == [INITIATED, FAILED]


def test_no_agent_id_is_asked_for(recorder: Recorder, written: Written) -> None:
    """Who gives no agent id at all is not asked for one."""
    with invocation("s1"):
        pass
    assert written.types()[-1] == SUCCEEDED


PLACEHOLDERS = """PLACEHOLDER | placeholder_agent | AGENT_ID_PLACEHOLDER | CHANGEME | CHANGE_ME | change-me | changeme
TODO | todo: set it | TBD | FIXME | YOUR_AGENT_ID | your-agent-id | Your Agent Id | your_id | dummy | DUMMY_AGENT | n/a
<agent-id> | <AGENT_ID> | ${AGENT_ID} | {agent_id} | {{ agent_id }} | [agent id] | %AGENT_ID% | $AGENT_ID | __AGENT_ID__
xxx | XXXXXXXXXX | 0000000000 | ... | --- | none | None | null | undefined | agent_id | REPLACE_ME | 'CHANGEME'
REPLACE_WITH_AGENT_ID | insert_agent_id_here"""


@pytest.mark.parametrize("agent_id", re.split(r" \| |\n", PLACEHOLDERS))
def test_placeholders(agent_id: str) -> None:
    """What templates and sample settings put in the place of an id is known for what it is."""
    assert is_placeholder(agent_id)


@pytest.mark.parametrize(
    "agent_id",
    [
        *("ABCDE12345", "TODOLIST01", "XXABCDEFGH", "NULLABLE01", "YOURAGENT1", "CHANGEME12", "helper", "my-agent"),
        *("todo-list-agent", "change-agent", "set-top-box", "replace-parts-agent", "test", "agent-1", "x", "xx"),
        "arn:aws:bedrock-agentcore:eu-west-1:123456789012:runtime/helper-AbCdEf1234",
        "arn:aws:bedrock:us-east-1:123456789012:agent-alias/ABCDE12345/TSTALIASID",
    ],
)
def test_real_ids(agent_id: str) -> None:
    """Ids, ARNs and names that only look a little like one are none."""
    assert not is_placeholder(agent_id)


@given(st.from_regex(r"[A-Z0-9]{10}", fullmatch=True))
def test_no_id_of_bedrocks_is_a_placeholder(agent_id: str) -> None:
    """No ten capital letters and digits are taken for a placeholder, unless they are all the same."""
    assume(len(set(agent_id)) > 1)
    assert not is_placeholder(agent_id)
