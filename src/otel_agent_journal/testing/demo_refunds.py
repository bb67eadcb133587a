"""The agent of `agent-journal demo --fail`: the refund desk of a shop, whose third ticket fails.

An ordinary program that knows nothing of the journal, on a scripted model. It is the incident of
docs/first_incident.md: one shop writes its amounts as the others do not.
`python -m otel_agent_journal.testing.demo_refunds [--fixed] [TICKET...]` runs it without us; `--fixed`: once mended.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from typing import Annotated, Any, Final, TypedDict

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages

PACE_S: Final = float(os.environ.get("AGENT_JOURNAL_DEMO_PACE", "0.06"))  # seconds that a tool takes
FIXED: Final = "--fixed" in sys.argv
RULES: Final = "You work at the refund desk. Look the order up, then refund exactly its total."

_ORDERS: Final = {
    "1005": {"shop": "Leeds", "item": "kettle", "total": "39.00"},
    "1006": {"shop": "Leeds", "item": "sewing machine", "total": "1,149.00"},
    "1007": {"shop": "Berlin", "item": "camera", "total": "1.299,00"},
}


class PaymentRefused(Exception):
    """A refund could not be paid."""


def cents(total: str) -> int:
    """Return an amount in cents."""
    whole, _, part = total.rpartition("," if FIXED and total[-3] == "," else ".")
    return int(whole.replace(",", "").replace(".", "")) * 100 + int(part)


@tool
def look_up_order(order: str) -> dict[str, str]:
    """Return an order: its shop, item and total."""
    time.sleep(PACE_S)
    return _ORDERS[order]


@tool
def refund(order: str, total: str) -> str:
    """Pay an order's total back to the customer."""
    time.sleep(PACE_S)
    try:
        amount = cents(total)
    except ValueError as error:
        raise PaymentRefused(f"order {order}: {total!r} is no amount") from error
    return f"{amount / 100:.2f} are on their way"


TOOLS: Final = {one.name: one for one in (look_up_order, refund)}


class ScriptedClerk(BaseChatModel):
    """Calls one tool to look the order up, one to refund the total that it found there, then answers."""

    model: str = "scripted-clerk"

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {"ls_provider": "scripted", "ls_model_name": self.model, "ls_model_type": "chat", "ls_temperature": 0.0}

    def _answer(self, messages: list[BaseMessage]) -> AIMessage:
        order = str(messages[1].content).split()[-1].rstrip(".")
        results = [str(message.content) for message in messages if isinstance(message, ToolMessage)]
        if len(results) > 1:
            return AIMessage(f"Order {order} is refunded: {results[-1]}.")
        if results:
            call = {"name": "refund", "args": {"order": order, "total": json.loads(results[0])["total"]}, "id": "pay"}
        else:
            call = {"name": "look_up_order", "args": {"order": order}, "id": f"look-{order}"}
        return AIMessage("", tool_calls=[call])

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        time.sleep(PACE_S * 3)
        answer = self._answer(messages)
        asked = sum(len(str(message.content)) // 4 + 4 for message in messages)
        said = len(str(answer.content)) // 4 + 12 * len(answer.tool_calls) + 1
        answer.usage_metadata = {"input_tokens": asked, "output_tokens": said, "total_tokens": asked + said}
        answer.response_metadata = {"model_name": self.model, "finish_reason": "stop"}
        return ChatResult(generations=[ChatGeneration(message=answer)])


class Ticket(TypedDict):
    """What the agent knows."""

    messages: Annotated[list[AnyMessage], add_messages]


def build() -> Any:
    """Return the agent: a model and its tools, in turns until it answers."""
    model = ScriptedClerk().bind(tools=[convert_to_openai_tool(one) for one in TOOLS.values()])

    def decide(state: Ticket) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    def act(state: Ticket) -> dict[str, Any]:
        last = state["messages"][-1]
        calls = last.tool_calls if isinstance(last, AIMessage) else []
        return {"messages": [TOOLS[call["name"]].invoke(call) for call in calls]}

    def go_on(state: Ticket) -> str:
        return "act" if getattr(state["messages"][-1], "tool_calls", None) else "__end__"

    graph = StateGraph(Ticket)
    graph.add_node("decide", decide)
    graph.add_node("act", act)
    graph.add_edge(START, "decide")
    graph.add_conditional_edges("decide", go_on, ["act", "__end__"])
    graph.add_edge("act", "decide")
    return graph.compile(name="refund_desk")


def main() -> None:
    """Work through the tickets; one that fails does not keep the next from being served."""
    agent = build()
    for ticket in [word for word in sys.argv[1:] if word.isdigit()] or list(_ORDERS):
        asked = {"messages": [SystemMessage(RULES), HumanMessage(f"The customer sent it back. Refund order {ticket}.")]}
        thread = {"configurable": {"thread_id": f"refund-{ticket}-{uuid.uuid4().hex[:4]}"}}
        try:
            said = str(agent.invoke(asked, thread)["messages"][-1].content)
        except PaymentRefused as error:
            said = f"ticket {ticket} failed: {error}"
        sys.stdout.write(f"{said}\n")


if __name__ == "__main__":
    main()
