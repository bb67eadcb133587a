"""The agent of `agent-journal demo --framework bedrock-agent`: an on-call agent of Amazon Bedrock, without an account.

`main` is an ordinary boto3 program that knows nothing of the journal: it asks an agent why a shop's checkout fails and
prints the answer as it is streamed. The service is a scripted one on loopback that throttles the first call; behind
its answer are a model, an action group, a knowledge base and a collaborator with a code interpreter.
`python -m otel_agent_journal.testing.demo_bedrock_agent` runs it without us.
"""

from __future__ import annotations

import json
import os
from typing import Final

from otel_agent_journal.testing.bedrock import BedrockServer, Part, Usage, slow, stream, throttle
from otel_agent_journal.testing.bedrock.agent_parts import (
    action_group_input,
    action_group_output,
    by_collaborator,
    chunk,
    citation,
    code_interpreter_input,
    code_interpreter_output,
    collaborator_input,
    collaborator_output,
    final_response,
    knowledge_base_input,
    knowledge_base_output,
    model_input,
    model_output,
    rationale,
    reference,
)

PACE_S: Final = float(os.environ.get("AGENT_JOURNAL_DEMO_PACE", "0.06"))  # seconds between two parts of the stream
AGENT_ID: Final = "ONCALL2026"
SESSION_ID: Final = "incident-4711"
QUESTION: Final = "Checkout fails for some customers since noon. What happened, and what do we do?"
ANSWER: Final = (
    "Since deployment 318 of payments every order over 999 EUR fails: the new rounding drops the thousands. Roll"
    " payments back to 317, as the runbook says; 212 orders are to be charged again."
)

_SYSTEM: Final = "You are on call for a web shop. Find the cause before you advise."
_RUNBOOK: Final = reference(
    "If payments fail after a deployment, roll back first and look for the cause after.",
    uri="s3://runbooks/payments.md",
    metadata={"owner": "payments"},
)


def main() -> None:
    """Ask the agent, and print what it answers as it comes."""
    with BedrockServer() as bedrock:
        bedrock.script(throttle(), slow(stream(_investigation()), first_s=PACE_S * 2, between_s=PACE_S))
        client = bedrock.client("bedrock-agent-runtime")
        response = client.invoke_agent(
            agentId=AGENT_ID,
            agentAliasId="PRODUCTION",
            sessionId=SESSION_ID,
            inputText=QUESTION,
            enableTrace=True,
        )
        for event in response["completion"]:
            if "chunk" in event:
                print(event["chunk"]["bytes"].decode(), end="", flush=True)  # noqa: T201 - the program's own output
        print()  # noqa: T201


# --- what the service answers -------------------------------------------------------------------------------------


def _investigation() -> list[Part]:
    """Return the agent's stream: it looks at deployments, asks the runbooks and an analyst, then answers."""
    said: list[tuple[str, str]] = [("user", QUESTION)]
    parts = _turn(said, "I look at what was deployed around noon.", turn=0)
    deployments = '[{"number": 318, "service": "payments", "at": "11:58"}]'
    parts += [
        action_group_input("Deployments", "list_deployments", {"since": "11:00", "until": "13:00"}),
        action_group_output(deployments, took_ms=180),
    ]
    said.append(("user", deployments))
    parts += _turn(said, "Payments was deployed two minutes earlier. What do the runbooks advise?", turn=1)
    parts += [
        knowledge_base_input("payments fail after a deployment", knowledge_base_id="RUNBOOKS01", turn=1),
        knowledge_base_output(_RUNBOOK, took_ms=90, turn=1),
    ]
    said.append(("user", "roll back first"))
    parts += _turn(said, "Before a rollback I want to know whom it hit: the analyst reads the logs.", turn=2)
    parts += _analysis(turn=2)
    said.append(("user", "212 orders over 999 EUR"))
    parts += _turn(said, "That is enough to answer.", turn=3)
    return [*parts, final_response(ANSWER, turn=3), *_streamed(ANSWER)]


def _analysis(turn: int) -> list[Part]:
    asked, found = "Which orders failed since 11:58?", "212 orders, all of them over 999 EUR"
    code = "orders[(orders.status == 'failed') & (orders.at >= '11:58')].total.describe()"
    return [
        collaborator_input("LogAnalyst", asked, turn=turn),
        *by_collaborator(
            "LogAnalyst",
            _turn([("user", asked)], "I count them by their total.", turn=0, system="You read logs."),
            code_interpreter_input(code, names=["orders.parquet"]),
            code_interpreter_output("count 212, min 1000.00, max 4310.50", took_ms=240),
            final_response(found),
        ),
        collaborator_output("LogAnalyst", found, took_ms=600, turn=turn),
    ]


def _turn(said: list[tuple[str, str]], thought: str, *, turn: int, system: str = _SYSTEM) -> list[Part]:
    """Return one turn of the model on what was said so far; its thought is part of that from then on."""
    messages = [{"role": role, "content": [{"text": text}]} for role, text in said]
    prompt = json.dumps({"system": system, "messages": messages})
    said.append(("assistant", thought))
    usage = Usage(input_tokens=len(prompt) // 4, output_tokens=len(thought) // 4)
    return [
        model_input(prompt, turn=turn),
        model_output(thought, usage=usage, took_ms=350, turn=turn),
        rationale(thought, turn=turn),
    ]


def _streamed(answer: str) -> list[Part]:
    """Return the answer word by word, the last with the source that it rests on."""
    *words, last = answer.split(" ")
    return [*(chunk(f"{word} ") for word in words), chunk(last, [citation(answer, _RUNBOOK)])]


if __name__ == "__main__":
    main()
