"""A session that asks is INTERRUPTED, awaiting input; an answer goes on from where it stands."""

from __future__ import annotations

import pytest

from otel_agent_journal import Sessions
from otel_agent_journal.errors import SessionNotFound
from tests.sessions.test_runs import wait_until

pytestmark = pytest.mark.timeout(240)
VERY_LONG_S = 300.0  # two processes import LangGraph on a machine that is shared


@pytest.mark.timeout(3 * VERY_LONG_S)
def test_an_answer_goes_on_from_the_interrupt(sessions: Sessions) -> None:
    """The graph gets it as the value of its interrupt, in a process of its own; a fork is answered by itself."""
    done = sessions.submit("booking", {"to": "Rome"}, session_id="trip")
    state = sessions.wait(done.session_id, VERY_LONG_S)
    assert (state.status, state.reason) == ("INTERRUPTED", "awaiting_input")
    fork = sessions.fork("trip")
    sessions.answer("trip", "yes")
    wait_until(lambda: sessions.state("trip").ended, VERY_LONG_S)
    assert sessions.state("trip").status == "COMPLETED"
    assert sessions.result("trip")[1] == {"to": "Rome", "agreed": "yes"}
    assert sessions.state(fork).status == "PENDING"
    sessions.answer(fork, "no")
    wait_until(lambda: sessions.state(fork).ended, VERY_LONG_S)
    assert sessions.result(fork)[1] == {"to": "Rome", "agreed": "no"}
    assert sessions.result("trip")[1]["agreed"] == "yes"


def test_only_what_is_there_is_forked(sessions: Sessions) -> None:
    """The beginning of an id is no id here: a caller gets what it has named, or nothing."""
    sessions.submitted = lambda session_id, run: None
    sessions.submit("echo", session_id="ticket-7")
    with pytest.raises(SessionNotFound):
        sessions.fork("ticket")
