"""A hand-written agent that keeps its context in the journal and pays a bill; run by tests of going back.

python paying_agent.py SESSION [AMOUNT] [die]
"""

from __future__ import annotations

import os
import signal
import sys

from otel_agent_journal import ContextService, session


def main(session_id: str, amount: str = "5", end: str = "") -> None:
    """Take one turn: a model's call, a tool's, and an answer."""
    call = {"id": f"pay-{amount}", "type": "function", "function": {"name": "pay", "arguments": f'{{"n": {amount}}}'}}
    with session(session_id, agent="payer") as turn:
        context = ContextService(instance_id=session_id, name="payer")
        context.append_message("user", f"pay {amount}")
        with turn.step("model", "scripted"):
            context.append_message("assistant", None, tool_calls=[call])
        with turn.step("tool", "look", input={"n": amount}, effects="read") as step:
            step.complete("there is a bill")
        with turn.step("tool", "pay", input={"n": amount}) as step:
            if end == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            step.complete(f"paid {amount}")
        context.append_message("tool", f"paid {amount}", tool_call_id=call["id"])
        context.set_state({"paid": amount})
        with turn.step("model", "scripted"):
            context.append_message("assistant", "done")


if __name__ == "__main__":
    main(*sys.argv[1:])
