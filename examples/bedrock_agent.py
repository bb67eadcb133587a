"""An agent of Amazon Bedrock that hands control back: the program takes the payment, then the agent goes on.

The service is a scripted one on this machine. For your own agent make the client with boto3, and read the action's
result from what it really returned.

agent-journal run -- python examples/bedrock_agent.py && agent-journal show booking-1
"""

from typing import Any

from otel_agent_journal.testing.bedrock import BedrockServer, stream
from otel_agent_journal.testing.bedrock import agent_parts as part

ASKS = stream(
    part.rationale("The seat is free, so it can be paid."),
    part.action_group_input(
        "Payments", "charge", {"eur": 90}, execution_type="RETURN_CONTROL", invocation_id="charge-1"
    ),
    part.return_control(part.function_input("Payments", "charge", {"eur": 90}), invocation_id="charge-1"),
)
GOES_ON = stream(
    part.action_group_output("paid"),
    part.final_response("Seat 12C is yours."),
    part.chunk("Seat 12C is yours."),
)


def ask(client: Any, **request: Any) -> tuple[str, dict[str, Any] | None]:
    """Invoke the agent; return what it says, and what it asks the program to do."""
    said, control = "", None
    response = client.invoke_agent(
        agentId="BOOKING001", agentAliasId="LIVE", sessionId="booking-1", enableTrace=True, **request
    )
    for event in response["completion"]:
        said += event.get("chunk", {}).get("bytes", b"").decode()
        control = event.get("returnControl", control)
    return said, control


def charge(control: dict[str, Any]) -> dict[str, Any]:
    """Do what the agent asks for, and return the state that tells it."""
    asked = control["invocationInputs"][0]["functionInvocationInput"]
    result = {"actionGroup": asked["actionGroup"], "function": asked["function"]}
    result["responseBody"] = {"TEXT": {"body": "paid"}}
    return {
        "invocationId": control["invocationId"],
        "returnControlInvocationResults": [{"functionResult": result}],
    }


if __name__ == "__main__":
    with BedrockServer() as server:
        server.script(ASKS, GOES_ON)
        bedrock = server.client("bedrock-agent-runtime")
        said, control = ask(bedrock, inputText="Book a seat to Rome.")
        if control is not None:
            said, _ = ask(bedrock, sessionState=charge(control))
        print(said)
