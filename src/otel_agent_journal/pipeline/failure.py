"""An exception as the journal keeps it, and whether it is one at all."""

from __future__ import annotations

import contextlib
import sys
from types import FunctionType
from typing import Any, Final

from otel_agent_journal.event import ErrorInfo
from otel_agent_journal.foreign import bases_of, is_a, names_in, own, type_of
from otel_agent_journal.plain import light, text_of
from otel_agent_journal.readers import fields_of

MAX_MESSAGE_CHARACTERS: Final = 4096
_ARGUMENTS: Final[Any] = BaseException.__dict__["args"]

# Errors of botocore's own whose name says as much as a service's code: nothing was called at all.
_NO_CREDENTIALS: Final = frozenset(("NoCredentialsError", "PartialCredentialsError"))


def is_cancel(error: BaseException) -> bool:
    """Tell whether an exception ends a step as cancelled, never as an error."""
    if is_a(error, KeyboardInterrupt, GeneratorExit, SystemExit):
        return True
    asyncio: Any = sys.modules.get("asyncio")  # which costs more to import than all of us, and no error is its before
    return asyncio is not None and is_a(error, asyncio.CancelledError)


def error_info(error: BaseException) -> ErrorInfo:
    """Return type, message and, where AWS gave one, the code of an exception.

    botocore's ClientError is known by its shape: code and message are the service's own, as `response["Error"]` has
    them. Its errors for want of credentials have their name for a code. All others have type and message.
    """
    kind = type(error)
    code, message = _said_by_service(error)
    if code is None and kind.__name__ in _NO_CREDENTIALS and kind.__module__.startswith("botocore."):
        code = kind.__name__
    return ErrorInfo(type=type_name(error), message=(message or message_of(error))[:MAX_MESSAGE_CHARACTERS], code=code)


def type_name(error: BaseException) -> str:
    """Return the name of an exception's class, with its module where that is not Python's own."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def message_of(error: BaseException) -> str:
    """Return what an exception says, as a traceback would: by its class's own words, where it has some.

    Else it is what it was made with: a text or number as it is, another object by its class as everywhere.
    """
    made_with: tuple[Any, ...] = _ARGUMENTS.__get__(error)
    if _has_words(error) or is_a(error, BaseExceptionGroup) or all(map(_is_builtin, made_with)):
        with contextlib.suppress(Exception):  # a class of the user's
            return text_of(str(error))
    return text_of(made_with[0] if len(made_with) == 1 else made_with)


def _is_builtin(value: Any) -> bool:
    return type_of(value) is bytes or light([value], MAX_MESSAGE_CHARACTERS * 16)


def _has_words(error: BaseException) -> bool:
    found = next(names["__str__"] for base in bases_of(type_of(error)) if "__str__" in (names := names_in(base)))
    return type(found) is FunctionType


def _said_by_service(error: BaseException) -> tuple[str | None, str | None]:
    said = _in_dict(_in_dict(own(error, "response")).get("Error"))
    code, message = said.get("Code"), said.get("Message")
    return text_of(code) if _says(code) else None, text_of(message) if _says(message) else None


def _says(value: Any) -> bool:
    return is_a(value, str, int) and bool(value)


def _in_dict(value: Any) -> dict[str, Any]:
    return fields_of(value) if is_a(value, dict) else {}
