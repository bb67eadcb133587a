"""Agents that the tests of the session API run, each in a process of its own: this module is imported there."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from otel_agent_journal import step


def echo(given: Any) -> Any:
    """Answer with what was asked."""
    return {"said": given}


def staged(given: Any, run: Any) -> str:
    """Pass stages, one of which claims less than those before it, and make an artefact."""
    run.stage("plan")
    run.stage("work", progress=60)
    run.stage("look back", progress=20)
    run.artefact("report", "https://example.com/report.pdf", media_type="application/pdf")
    return f"done with {given}"


def talker(_given: Any) -> str:
    """Answer word by word, as a model would."""
    with step("MODEL", "m") as model:
        for word in ("The seat ", "is ", "free."):
            model.chunk(word)
            time.sleep(0.4)
    return "The seat is free."


def failing(given: Any) -> None:
    """Raise."""
    raise ValueError(f"cannot do {given}")


class ThrottlingError(Exception):
    """As botocore's ClientError looks."""

    def __init__(self) -> None:
        super().__init__("slow down")
        self.response = {"Error": {"Code": "ThrottlingException", "Message": "slow down"}}


def throttled(given: dict[str, Any]) -> str:
    """Be throttled as many times as asked, counted in a file, then answer."""
    file = Path(given["file"])
    tried = int(file.read_text()) if file.exists() else 0
    file.write_text(str(tried + 1))
    if tried < given["times"]:
        raise ThrottlingError
    return f"answered at try {tried + 1}"


def counted(given: dict[str, Any]) -> str:
    """Leave a line in a file as it begins, so that a test sees how often it was run."""
    with Path(given["file"]).open("a") as file:
        file.write(f"{given['name']}\n")
    time.sleep(given.get("seconds", 0))
    return str(given["name"])


def suicidal(given: Any) -> None:
    """Be killed."""
    os.kill(os.getpid(), 9)


def sleeping(given: float) -> str:
    """Take a while."""
    time.sleep(given)
    return "slept"
