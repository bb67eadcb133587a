"""An agent that asks a human before it goes on, and takes its answer as another attempt at the same step.

agent-journal run -- python examples/interrupted_agent.py && agent-journal show letter-1
"""

from typing import TypedDict

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt


class State(TypedDict, total=False):
    letter: str
    sent: bool


def write(state: State) -> State:
    return {"letter": "Dear journal"}


def send(state: State) -> State:
    answer = interrupt({"question": "May I send it?", "letter": state["letter"]})
    return {"sent": answer == "yes"}


graph = StateGraph(State)
graph.add_node(write)
graph.add_node(send)
graph.add_edge(START, "write")
graph.add_edge("write", "send")
agent = graph.compile(checkpointer=InMemorySaver(), name="correspondent")

if __name__ == "__main__":
    on_thread = {"configurable": {"thread_id": "letter-1"}}
    agent.invoke({}, on_thread)  # pauses in send
    print(agent.invoke(Command(resume="yes"), on_thread))
