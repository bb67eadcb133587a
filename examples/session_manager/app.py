"""The assessment service, on this machine and in AWS Lambda.

On this machine, with an agent of Bedrock that is a scripted one, so that no account is needed:

    python examples/session_manager/app.py            # prints where it listens; --port 8000 chooses

In Lambda its handler is `app.handler`, as template.yaml has it; the agent is the one that the variables name.
"""

import argparse
import os
import socket
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))

from agent import STAGES  # noqa: E402
from assessments import AGENT, AssessmentRoutes  # noqa: E402 - beside this file

from otel_agent_journal import LambdaSessions, Sessions  # noqa: E402
from otel_agent_journal.sessions.asgi import SessionApp  # noqa: E402

AGENTS = {AGENT: {"call": f"{FOLDER / 'agent.py'}:assess", "stages": STAGES, "timeout_s": 840}}
_of_lambda: list[LambdaSessions] = []


def handler(event: Any, context: Any) -> Any:
    """Serve the service in Lambda."""
    if not _of_lambda:
        _of_lambda.append(LambdaSessions(AGENTS, routes=AssessmentRoutes))
    return _of_lambda[0](event, context)


def main() -> None:
    """Serve it on this machine."""
    import uvicorn
    from scripted import bedrock

    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--store", default=os.environ.get("AGENT_JOURNAL_STORE"))
    asked = parser.parse_args()
    with bedrock() as server:
        os.environ |= {**server.environ(), "ASSESSMENT_AGENT_ID": "ASSESS2026", "ASSESSMENT_AGENT_ALIAS_ID": "LIVE"}
        with Sessions(asked.store, AGENTS) as sessions:
            app = SessionApp(AssessmentRoutes(sessions))
            listening = socket.create_server(("127.0.0.1", asked.port))
            print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
            uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main()
