"""The example's Lambda function, as Lambda runs it: a process of its own with the template's variables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from tests.examples_aws import stack
from tests.real.servers import AWS

LIMIT_S: Final = 60
_RUNTIME: Final = """
import json, sys
import agent

class Context:
    def get_remaining_time_in_millis(self):
        return 900_000

exec(sys.argv[1])
agent.handle(json.load(sys.stdin), Context())
"""


class Function:
    """The function: an agent of the gateway. `before` is Python that runs in its process before the handler does."""

    def __init__(self, table: str, endpoint: str, folder: Path, before: str = "") -> None:
        self.results: list[subprocess.CompletedProcess[str]] = []
        self._folder = folder
        self._before = before
        variables = stack.properties("Agent", JournalTable=table, JournalBucket="values")["Environment"]["Variables"]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AGENT_JOURNAL_", "AWS_"))}
        self.env = {
            **kept,
            **AWS,
            **variables,
            "AWS_ENDPOINT_URL_DYNAMODB": endpoint,
            "AGENT_JOURNAL_STORE_TIMEOUT": str(LIMIT_S),  # a busy machine is no outage
            "AGENT_JOURNAL_SPOOL": str(folder / "spool"),  # of this test alone; Lambda's is in /tmp as well
            "PYTHONPATH": str(stack.FOLDER),
        }

    def __call__(self, payload: dict[str, Any]) -> None:
        """Run it once."""
        done = subprocess.run(
            [sys.executable, "-c", _RUNTIME, self._before],
            input=json.dumps(payload),
            env=self.env,
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        self.results.append(done)
