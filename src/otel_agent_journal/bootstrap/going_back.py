"""Going back: `resume` within a program."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from opentelemetry import context as context_api

from otel_agent_journal.bootstrap.process import settings_of_process
from otel_agent_journal.bootstrap.resuming import Resume, resumption_of
from otel_agent_journal.pipeline.resuming import Resumption, begin_resumption, end_resumption
from otel_agent_journal.pipeline.session import checked_session
from otel_agent_journal.pipeline.session_writer import SESSION_KEY


@contextmanager
def resume(session_id: str, *, once: bool = False) -> Generator[Resumption]:
    """Go on with a session: agents that run in this block go on from where it stands.

    A LangGraph graph with our saver, or a Strands agent with our session manager, that had not finished goes on with
    what was left, whatever input it is given; one that had finished takes its input as the next turn. Tool calls that
    had been completed are not made again.

    Args:
        session_id: the session, or a fork of it.
        once: serve what tools returned after the point that it was rewound to or forked at, by tool and arguments,
            and refuse to call those with others that may have changed the world.

    Raises:
        ValueError: the session id is empty.
        ConfigError: the settings are malformed.
    """
    session_id = checked_session(session_id)
    settings, _ = settings_of_process()
    one = resumption_of(settings, Resume(session=session_id, once=once))
    token = context_api.attach(context_api.set_value(SESSION_KEY, session_id))
    begin_resumption(one)
    try:
        yield one
    finally:
        end_resumption(one)
        context_api.detach(token)
