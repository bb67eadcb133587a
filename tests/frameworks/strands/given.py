"""What the models of Strands gave its event loop, beside any recording: copies, as they were when given."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from strands.types._events import ModelStopReason


class Given:
    """How model calls ended while `watching`: reason, message, usage and metrics of each."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.looking = True

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note every event that ends the stream of a model call."""
        make = ModelStopReason.__init__

        def made(event: Any, *args: Any, **kwargs: Any) -> None:
            make(event, *args, **kwargs)
            if self.looking:
                self.answers.append(copy.deepcopy(event["stop"]))

        ModelStopReason.__init__ = made  # type: ignore[method-assign]
        try:
            yield
        finally:
            ModelStopReason.__init__ = make  # type: ignore[method-assign]
