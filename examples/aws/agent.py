"""The agent of the workflow, as a Lambda function.

It is invoked with InvocationType Event: nobody waits for its response. Its caller reads the journal instead, where
AGENT_BACKGROUND_TASK_COMPLETED or _FAILED is the last that it says.
"""

from typing import Any

import otel_agent_journal
from otel_agent_journal import invocation, lambda_handler, step

otel_agent_journal.configure()  # AGENT_JOURNAL_DURABILITY=store: each event is in the table before its step goes on


def search(query: str) -> list[str]:
    """Stand in for a tool."""
    if "price" in query:
        raise ConnectionError("the price list does not answer")
    return [f"a page about {query}"]


def answer(question: str) -> str:
    """Stand in for the agent: one of any framework goes here, journaled as it is anywhere else."""
    with step("agent", "helper", input=question):
        with step("tool", "search", input=question) as tool:
            pages = search(question)
            tool.complete(pages)
        return f"{question} Yes, says {len(pages)} page."


@lambda_handler
def handle(event: dict[str, Any], context: object) -> str:
    """Answer one question; `event` is the Payload that `workflow.asl.json` makes."""
    with invocation(event["session_id"], agent="helper", input=event["input"]) as call:
        call.record("AGENT_BACKGROUND_TASK_STARTED")
        try:
            reply = answer(event["input"]["question"])
        except Exception as error:
            call.fail(error)
            otel_agent_journal.record_event(call.session_id, "AGENT_BACKGROUND_TASK_FAILED", error)
            raise
        call.succeed(reply)
        call.record("AGENT_BACKGROUND_TASK_COMPLETED", {"output": reply})
    return reply
