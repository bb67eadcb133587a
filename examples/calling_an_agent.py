"""Who calls an agent journals its invocations, waits for an ending, and is told of an agent id nobody filled in.

python examples/calling_an_agent.py && agent-journal ls
"""

import os
import threading

import otel_agent_journal
from otel_agent_journal import invocation, record_event, wait_for
from otel_agent_journal.errors import ConfigError

otel_agent_journal.configure()


def ask(question: str) -> str:
    """Stand in for the call of a real agent."""
    if "price" in question:
        raise ConnectionError("the agent does not answer")
    return f"{question} Yes."


def backend(ticket: str, question: str) -> None:
    """Serve one request."""
    with invocation(ticket, agent_id=os.environ.get("AGENT_ID", "ABCDE12345"), agent="helper", input=question) as call:
        call.succeed(ask(question))


# A request that is answered: another part of the program waits for it.
threading.Thread(target=backend, args=("ticket-1", "Is it open?")).start()
ending = wait_for("ticket-1", timeout_s=20)
print(ending.session_id, ending.status, ending.output)

# One that fails: the exception passes, the journal keeps it.
try:
    backend("ticket-2", "What is the price?")
except ConnectionError as error:
    print("ticket-2", wait_for("ticket-2", timeout_s=20).status, error)

# One that never begins: the id in the settings is still the template's.
try:
    with invocation("ticket-3", agent_id="YOUR_AGENT_ID", agent="helper"):
        print("never printed")
except ConfigError as error:
    print("ticket-3", error)

# One whose end is heard of elsewhere, such as in the Lambda that a workflow calls last.
record_event("ticket-4", "AGENT_INVOCATION_STARTED", agent="helper")
record_event("ticket-4", "AGENT_INVOCATION_SUCCEEDED", output="It was sold.")
