"""What kind of failure an error is, for callers that have to decide what to do about it. Pure."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from otel_agent_journal.event import ErrorInfo

CONFIGURATION: Final = "configuration"
THROTTLING: Final = "throttling"
TIMEOUT: Final = "timeout"
AGENT: Final = "agent"
KINDS: Final = (CONFIGURATION, THROTTLING, TIMEOUT, AGENT)

_THROTTLED: Final = re.compile(
    r"throttl|too_?many_?requests|rate_?limit|quota|servicequotaexceeded|limitexceeded|slow_?down|overloaded|\b429\b",
    re.IGNORECASE,
)
_LATE: Final = re.compile(r"time_?out|timed_?out|deadline", re.IGNORECASE)
_UNFIT: Final = re.compile(
    r"config|credential|access_?denied|unauthori[sz]ed|forbidden|permission|authentication|invalid_?signature"
    r"|unrecognizedclient|expiredtoken|resource_?not_?found|module_?not_?found|import_?error",
    re.IGNORECASE,
)


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a run failed. `kind`: configuration, throttling, timeout, or agent for all else."""

    kind: str
    type: str
    message: str = ""
    code: str | None = None


def kind_of_error(error: ErrorInfo) -> str:
    """Return the kind of an error, by its code and by the name of its class: what it says is not looked at."""
    names = f"{error.code or ''} {error.type.rpartition('.')[2]}"
    if _THROTTLED.search(names):
        return THROTTLING
    if _LATE.search(names):
        return TIMEOUT
    return CONFIGURATION if _UNFIT.search(names) else AGENT


def failure_of(error: ErrorInfo) -> Failure:
    """Return an error with its kind."""
    return Failure(kind=kind_of_error(error), type=error.type, message=error.message, code=error.code)
