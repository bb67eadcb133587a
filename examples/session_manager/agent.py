"""The agent of the assessment service: one of Amazon Bedrock, whose action groups are the stages of an assessment.

An action group that is called is a stage by itself; here documents are told, as an action group returns where they are.
The journal has all else by itself: the reasoning, each call and its answer, the text as it is streamed.
"""

import json
import os
from typing import Any

STAGES = {
    "RequirementsAnalyzer": 30,
    "CostCalculator": 50,
    "TemplateRetriever": 60,
    "PowerPointGenerator": 80,
    "SOWGenerator": 95,
}
AGENT_ID = "ASSESSMENT_AGENT_ID"
AGENT_ALIAS_ID = "ASSESSMENT_AGENT_ALIAS_ID"


def assess(given: dict[str, Any], run: Any) -> str:
    """Have the agent assess what was submitted; return what it says."""
    agent_id, alias_id = configured(AGENT_ID), configured(AGENT_ALIAS_ID)
    import boto3

    response = boto3.client("bedrock-agent-runtime").invoke_agent(
        agentId=agent_id,
        agentAliasId=alias_id,
        sessionId=run.session_id,
        inputText=json.dumps(given),
        enableTrace=True,
    )
    said = []
    for event in response["completion"]:
        if "chunk" in event:
            said.append(event["chunk"]["bytes"].decode())
        elif "trace" in event:
            follow(event["trace"].get("trace", {}).get("orchestrationTrace", {}), run)
    return "".join(said)


def follow(trace: dict[str, Any], run: Any) -> None:
    """Tell the document that an action group comes back with; of a collaborator also the stage that it is."""
    asked = trace.get("invocationInput", {})
    name = asked.get("agentCollaboratorInvocationInput", {}).get("agentCollaboratorName")
    if name in STAGES:
        run.stage(name, progress=STAGES[name])
    answered = trace.get("observation", {}).get("actionGroupInvocationOutput", {}).get("text", "")
    try:
        document = json.loads(answered)["document"]
        run.artefact(document["name"], document["url"], media_type=document.get("media_type"))
    except (ValueError, KeyError, TypeError):
        pass  # what it returned is no document


def configured(variable: str) -> str:
    """Return an id from the environment, or say that it was never filled in."""
    value = os.environ.get(variable, "").strip()
    if not value or value.upper().startswith(("PLACEHOLDER", "YOUR_", "CHANGE")):
        raise ConfigurationError(f"{variable} is '{value}': set it to the agent that you have made")
    return value


class ConfigurationError(Exception):
    """A setting is missing: nothing that the agent could do about it."""
