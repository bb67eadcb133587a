"""An exception as the journal keeps it, and whether it is one at all."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final, cast

from otel_agent_journal.event import ErrorInfo

MAX_MESSAGE_CHARACTERS: Final = 4096


def is_cancel(error: BaseException) -> bool:
    """Tell whether an exception ends a step as cancelled, never as an error."""
    if isinstance(error, KeyboardInterrupt | GeneratorExit | SystemExit):
        return True
    asyncio: Any = sys.modules.get("asyncio")  # which costs more to import than all of us, and no error is its before
    return asyncio is not None and isinstance(error, asyncio.CancelledError)


def error_info(error: BaseException) -> ErrorInfo:
    """Return type, message and, of AWS's client errors, the service's code of an exception."""
    code: str | None = None
    response: Any = getattr(error, "response", None)
    inner: Any = cast("Any", response).get("Error") if isinstance(response, Mapping) else None
    if isinstance(inner, Mapping):  # botocore.exceptions.ClientError
        said = cast("Mapping[str, Any]", inner).get("Code")
        code = str(said) if said else None
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return ErrorInfo(type=name, message=str(error)[:MAX_MESSAGE_CHARACTERS], code=code)
