"""A LangGraph agent that knows nothing of the journal.

agent-journal run -- python examples/graph_agent.py
"""

import operator
import time
from typing import Annotated, TypedDict

from langgraph.graph import START, StateGraph


class State(TypedDict):
    notes: Annotated[list[str], operator.add]


def plan(state: State) -> dict:
    time.sleep(0.2)
    return {"notes": ["read the sources"]}


def read(state: State) -> dict:
    time.sleep(0.4)
    return {"notes": ["three of them agree"]}


def write(state: State) -> dict:
    time.sleep(0.2)
    return {"notes": ["they agree because they copy"]}


graph = StateGraph(State)
for node in (plan, read, write):
    graph.add_node(node)
graph.add_edge(START, "plan")
graph.add_edge("plan", "read")
graph.add_edge("read", "write")
agent = graph.compile(name="reader")

if __name__ == "__main__":
    result = agent.invoke({"notes": []}, {"configurable": {"thread_id": "reading-1"}})
    print(result["notes"][-1])
