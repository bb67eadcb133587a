"""An assessment agent of Bedrock, scripted, on this machine: it goes through all stages."""

import json
import os

from agent import STAGES

from otel_agent_journal.testing.bedrock import BedrockServer, Part, Reply, Request, slow, stream
from otel_agent_journal.testing.bedrock import agent_parts as part

PACE_S = float(os.environ.get("ASSESSMENT_PACE_S", "0.05"))  # between two parts of the answer
DOCUMENTS = {
    "PowerPointGenerator": ("proposal.pptx", "vnd.openxmlformats-officedocument.presentationml.presentation"),
    "SOWGenerator": ("statement-of-work.docx", "vnd.openxmlformats-officedocument.wordprocessingml.document"),
}
ANSWER = ("Three availability zones will do. ", "Proposal and statement of work are ready.")


def bedrock() -> BedrockServer:
    """Return the server, not yet started."""
    return BedrockServer().answer(assessed)


def assessed(request: Request) -> Reply:
    """Return the agent's whole answer, part by part."""
    parts: list[Part] = []
    for turn, stage in enumerate(STAGES):
        parts += [
            part.rationale(f"Next is {stage}.", turn=turn),
            part.action_group_input(stage, "run", {"step": turn + 1}, turn=turn),
            part.action_group_output(json.dumps(returned(stage)), turn=turn),
        ]
    parts += [part.final_response("".join(ANSWER), turn=len(STAGES)), *(part.chunk(text) for text in ANSWER)]
    return slow(stream(parts), first_s=PACE_S, between_s=PACE_S)


def returned(stage: str) -> dict[str, object]:
    """Return what the action group of a stage gives back."""
    if stage not in DOCUMENTS:
        return {"done": stage}
    name, media_type = DOCUMENTS[stage]
    url = f"https://documents.example.com/{name}"
    return {"document": {"name": name, "url": url, "media_type": f"application/{media_type}"}}
