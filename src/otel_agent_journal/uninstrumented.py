"""Our own requests, out of sight of instrumentation.

A program that has urllib, gRPC, botocore or a database driver instrumented sees no spans of ours, and journaling all
spans does not journal itself. Around whatever sends: as a context manager, or as a decorator of the function that a
thread of ours runs. Never around a generator's `yield` or anything else that hands control back to the program: what is
set here would be set there.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

# What instrumentations ask for: the plain key is the older one, the others are made unique by the API.
_PLAIN_KEY: Final = "suppress_instrumentation"
_API_KEYS: Final = ("_SUPPRESS_INSTRUMENTATION_KEY", "_SUPPRESS_HTTP_INSTRUMENTATION_KEY")


@contextmanager
def uninstrumented() -> Generator[None]:
    """Suppress instrumentation in this thread, or task, for as long as this is entered."""
    from opentelemetry import context

    api: Any = context
    keys = [_PLAIN_KEY, *(key for name in _API_KEYS if (key := getattr(api, name, None)))]
    token = context.attach(context.Context({**context.get_current(), **dict.fromkeys(keys, True)}))
    try:
        yield
    finally:
        context.detach(token)
