"""Runs below a run of another tracer are journaled as any other; our handler is copied and pickled with a config."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import uuid
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackManager, BaseCallbackManager, CallbackManager
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import tool
from langsmith import Client, traceable
from langsmith.run_helpers import tracing_context

from otel_agent_journal.testing.scripted import ScriptedModel, reply
from tests.frameworks.langgraph import graphs
from tests.frameworks.langgraph.recording import Recording

AGENT = "AGENT researcher ok\n  NODE model ok\n    MODEL scripted-1 ok\n  NODE tools ok\n    TOOL search ok\n"
AGENT += "  NODE model ok\n    MODEL scripted-1 ok"


class Nowhere(Client):
    """A client of LangSmith that sends nothing."""

    def create_run(self, *args: Any, **kwargs: Any) -> None:
        """Forget a run."""

    def update_run(self, *args: Any, **kwargs: Any) -> None:
        """Forget how it ended."""


def within(kind: type[BaseCallbackManager]) -> Any:
    """Return a manager as another tracer makes them, below a run of its own."""
    return kind(handlers=[], parent_run_id=uuid.uuid4())


@pytest.mark.parametrize("how", ["invoke", "ainvoke", "stream", "batch", "abatch"])
async def test_an_agent_below_a_foreign_run(recording: Recording, how: str) -> None:
    """However an agent is run below a foreign run, it, its nodes, models and tools are journaled."""
    agent = graphs.agent([reply(calls=[("search", {"query": "x"})]), "It is x."])
    kind = AsyncCallbackManager if how.startswith("a") else CallbackManager
    config = graphs.on_thread(callbacks=within(kind))
    match how:
        case "invoke":
            agent.invoke(graphs.question(), config)
        case "ainvoke":
            await agent.ainvoke(graphs.question(), config)
        case "stream":
            list(agent.stream(graphs.question(), config))
        case "batch":
            agent.batch([graphs.question()], config)
        case _:
            await agent.abatch([graphs.question()], config)
    assert recording.tree(details=False) == AGENT


def test_models_tools_and_chains_below_a_foreign_run(recording: Recording) -> None:
    """What runs outside of any graph is a root there, too."""
    config: Any = {"callbacks": within(CallbackManager)}
    ScriptedModel(script=["yes"]).invoke("hi", config)
    graphs.search.invoke({"query": "x"}, config)
    RunnableLambda(lambda value: value, name="same").invoke(1, config)
    kinds = sorted(event.type for events in recording.sessions.values() for event in events if "START" in event.type)
    assert kinds == ["MODEL_START", "STEP_START", "TOOL_START"]


def test_traceable(recording: Recording) -> None:
    """LangSmith's `@traceable` around a graph, within its node and around its tool, leaves the tree as it is."""

    @tool
    @traceable
    def look(query: str) -> str:
        """Look something up."""
        return f"found {query}"

    @traceable
    def asked(state: Any) -> Any:
        look.invoke({"query": "x"})
        return ScriptedModel(script=["yes"]).invoke("hi")

    @traceable
    def program() -> None:
        graphs.chat_node(RunnableLambda(asked)).invoke(graphs.question(), graphs.on_thread())

    with tracing_context(enabled="local", client=Nowhere(api_key="none", auto_batch_tracing=False)):
        program()
    assert recording.tree(details=False) == ("AGENT chat ok\n  NODE ask ok\n    TOOL look ok\n    MODEL scripted-1 ok")


def test_a_foreign_run_within_a_node(recording: Recording) -> None:
    """A foreign run within a node stands for the node: what runs below it hangs below the node."""

    def begin(state: graphs.Notes) -> graphs.Notes:
        config: Any = {"callbacks": within(CallbackManager)}
        ScriptedModel(script=["yes"]).invoke("hi", config)
        RunnableLambda(graphs.search.invoke).invoke({"query": "x"}, config)
        graphs.two_nodes().invoke({"notes": []}, config)
        return {"notes": ["begun"]}

    graphs.nested(begin).invoke({"notes": []}, graphs.on_thread())
    assert recording.tree(details=False) == (
        "AGENT outer ok\n"
        "  NODE sub ok\n"
        "    MODEL scripted-1 ok\n"
        "    TOOL search ok\n"
        "    AGENT two ok\n"
        "      NODE plan ok\n"
        "      NODE write ok"
    )


def test_copies_of_a_configuration(recording: Recording) -> None:
    """A configuration is copied with the one handler there is, so that what runs with the copy is journaled once."""
    made: list[Any] = []

    def step(number: int, config: RunnableConfig) -> int:
        for way in (copy.copy, copy.deepcopy):
            made.append(way(config))
            graphs.search.invoke({"query": way.__name__}, made[-1])
        return number

    RunnableLambda(step).invoke(1)
    (handler,) = {id(one) for config in made for one in config["callbacks"].handlers}
    assert handler == id(recording.instrumentor._handler)
    assert recording.tree(details=False) == "STEP step ok\n  TOOL search ok\n  TOOL search ok"


def test_a_pickled_configuration_names_nothing_of_ours(recording: Recording) -> None:
    """A pickle of a configuration holds nothing of this package, and loads and works where that is not installed."""
    pickled: list[bytes] = []
    RunnableLambda(lambda value, config: pickled.append(pickle.dumps(config["callbacks"]))).invoke(1)
    assert b"otel_agent_journal" not in pickled[0]
    program = (
        "import pickle, sys\n"
        "sys.modules['otel_agent_journal'] = None\n"
        "from langchain_core.runnables import RunnableLambda\n"
        "manager = pickle.loads(bytes.fromhex(sys.argv[1]))\n"
        "print(RunnableLambda(lambda value: value + 1).invoke(1, {'callbacks': manager}))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, pickled[0].hex()], capture_output=True, text=True, check=True
    )
    assert (ran.stdout, ran.stderr) == ("2\n", "")


def test_an_unpickled_manager_is_journaled_again(recording: Recording) -> None:
    """What runs with an unpickled manager in an instrumented process is journaled once."""
    pickled: list[bytes] = []
    RunnableLambda(lambda value, config: pickled.append(pickle.dumps(config["callbacks"]))).invoke(1)
    graphs.search.invoke({"query": "x"}, {"callbacks": pickle.loads(pickled[0])})
    kinds = [event.type for events in recording.sessions.values() for event in events]
    assert kinds.count("TOOL_START") == 1


def test_a_manager_made_before_langgraph_is_imported() -> None:
    """A manager that was made before LangGraph is imported gets its run journaled once, with the handler of then."""
    program = (
        "import tempfile, otel_agent_journal\n"
        "otel_agent_journal.configure(store=f'sqlite:///{tempfile.mkdtemp()}/j.db')\n"
        "from langchain_core.callbacks import CallbackManager\n"
        "manager = CallbackManager(handlers=[])\n"
        "from tests.frameworks.langgraph import graphs\n"
        "from otel_agent_journal.frameworks.langgraph import LangGraphInstrumentor\n"
        "copied = CallbackManager.configure(manager)\n"
        "assert copied.handlers == [LangGraphInstrumentor()._handler], copied.handlers\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
