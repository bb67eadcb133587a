"""An agent of `create_agent` with a tool, on a scripted model: no key is needed. It knows nothing of the journal.

    agent-journal run -- python examples/tool_agent.py && agent-journal show tools-1

Needs langchain beside langgraph. With a real model, only the line that makes it changes.
"""

from langchain.agents import create_agent
from langchain_core.tools import tool

from otel_agent_journal.testing.scripted import ScriptedModel, reply


@tool
def search(topic: str) -> str:
    """Look a topic up."""
    return f"three pages about {topic}"


model = ScriptedModel(
    script=[
        reply(calls=[("search", {"topic": "journals"})], input_tokens=30, output_tokens=8),
        reply("Journals remember.", input_tokens=52, output_tokens=4, cache_read=30),
    ],
    by_turn=True,
)
agent = create_agent(model, [search], name="researcher")

if __name__ == "__main__":
    asked = {"messages": [("user", "What are journals for?")]}
    answered = agent.invoke(asked, {"configurable": {"thread_id": "tools-1"}})
    print(answered["messages"][-1].content)
