"""An agent without a framework: sessions and steps are recorded by hand.

python examples/hand_written_agent.py && agent-journal show research-1
"""

import otel_agent_journal
from otel_agent_journal import session


def search(query: str) -> list[str]:
    return [f"a page about {query}", f"another page about {query}"]


otel_agent_journal.configure()

with session("research-1", agent="researcher") as s:
    s.record("TRAINING_JOB_STARTED", {"job": "a7"})
    s.stage("Searching", progress=10)
    with s.step("tool", "search", input="journals") as step:
        pages = search("journals")
        step.progress(f"{len(pages)} pages")
        step.complete(pages, sources=["https://example.org"])
    s.stage("Writing", progress=80)
    with s.step("model", "scripted-1", input=pages) as step:
        step.complete("Journals remember.", usage={"input_tokens": 42, "output_tokens": 7})
    s.respond("Journals remember.")
