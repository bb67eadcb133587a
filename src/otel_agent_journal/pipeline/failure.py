"""An exception as the journal keeps it, and whether it is one at all."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final, cast

from otel_agent_journal.event import ErrorInfo

MAX_MESSAGE_CHARACTERS: Final = 4096

# Errors of botocore's own whose name says as much as a service's code: nothing was called at all.
_NO_CREDENTIALS: Final = frozenset(("NoCredentialsError", "PartialCredentialsError"))


def is_cancel(error: BaseException) -> bool:
    """Tell whether an exception ends a step as cancelled, never as an error."""
    if isinstance(error, KeyboardInterrupt | GeneratorExit | SystemExit):
        return True
    asyncio: Any = sys.modules.get("asyncio")  # which costs more to import than all of us, and no error is its before
    return asyncio is not None and isinstance(error, asyncio.CancelledError)


def error_info(error: BaseException) -> ErrorInfo:
    """Return type, message and, where AWS gave one, the code of an exception.

    botocore's ClientError is known by its shape: code and message are the service's own, as `response["Error"]` has
    them. Its errors for want of credentials have their name for a code. All others have type and message.
    """
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    code, message = _said_by_service(error)
    if code is None and kind.__name__ in _NO_CREDENTIALS and kind.__module__.startswith("botocore."):
        code = kind.__name__
    return ErrorInfo(type=name, message=(message or str(error))[:MAX_MESSAGE_CHARACTERS], code=code)


def _said_by_service(error: BaseException) -> tuple[str | None, str | None]:
    response: Any = getattr(error, "response", None)
    inner: Any = cast("Any", response).get("Error") if isinstance(response, Mapping) else None
    if not isinstance(inner, Mapping):
        return None, None
    said = cast("Mapping[str, Any]", inner)
    code, message = said.get("Code"), said.get("Message")
    return str(code) if code else None, str(message) if message else None
