"""The stream of a response, listened to as the program reads it.

To the program it is its client's own: it has its class, its attributes and its behaviour. Whoever listens is told of
each part, and of the end: read to its end, dead, closed, or let go of.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Protocol, cast


class Listener(Protocol):
    """Who is told of a stream. None of this raises; the end may be told several times."""

    def part(self, event: Any) -> None:
        """Take a part, before the program has it."""

    def ended(self) -> None:
        """Be told that it was read to its end."""

    def died(self, error: BaseException) -> None:
        """Be told that it raised: nothing more will come."""

    def left(self) -> None:
        """Be told that the program reads no further: it closed the stream, or let go of it."""


class JournaledStream:
    """Stands for a stream, and tells its listener of each part before the program has it."""

    __slots__ = ("__weakref__", "_agent_journal_listener", "_agent_journal_stream")

    _agent_journal_listener: Listener
    _agent_journal_stream: Any

    def __init__(self, stream: Any, listener: Listener) -> None:
        object.__setattr__(self, "_agent_journal_stream", stream)
        object.__setattr__(self, "_agent_journal_listener", listener)
        let_go = weakref.finalize(self, listener.left)
        let_go.atexit = False  # the recorder ends what is open as the process leaves

    def __iter__(self) -> Iterator[Any]:
        return _journaled(self, iter(self._agent_journal_stream))

    def close(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._agent_journal_stream.close(*args, **kwargs)
        finally:
            self._agent_journal_listener.left()

    # --- all else is the stream's own ---

    __class__: Any = property(lambda self: self._agent_journal_stream.__class__)  # what `isinstance` asks

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_agent_journal_stream"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._agent_journal_stream, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._agent_journal_stream, name)

    def __dir__(self) -> list[str]:
        return dir(self._agent_journal_stream)

    def __repr__(self) -> str:
        return repr(self._agent_journal_stream)


def _journaled(stream: Any, parts: Iterator[Any]) -> Iterator[Any]:
    """Yield the parts of a stream; `stream` stays alive as long as they are read."""
    listener: Listener = stream._agent_journal_listener  # noqa: SLF001 - our own
    try:
        for part in parts:
            listener.part(part)
            yield part
    except GeneratorExit:  # this reading is over; another may go on
        raise
    except BaseException as error:
        listener.died(error)
        raise
    listener.ended()


class _Block(JournaledStream):
    """Of a stream that is a context manager."""

    __slots__ = ()

    def __enter__(self) -> Any:
        entered = self._agent_journal_stream.__enter__()
        return self if entered is self._agent_journal_stream else entered

    def __exit__(self, *raised: object) -> Any:
        try:
            return self._agent_journal_stream.__exit__(*raised)
        finally:
            self._agent_journal_listener.left()


class _Iterator(JournaledStream):
    """Of a stream that is its own iterator."""

    __slots__ = ()

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        listener: Listener = self._agent_journal_listener
        try:
            part = next(self._agent_journal_stream)
        except StopIteration:
            listener.ended()
            raise
        except BaseException as error:
            listener.died(error)
            raise
        listener.part(part)
        return part


class _IteratorBlock(_Iterator, _Block):
    """Of a stream that is both."""

    __slots__ = ()


@lru_cache(maxsize=32)
def _kind_of(stream: type[Any]) -> type[JournaledStream]:
    """Return the class of what stands for a stream of a class: by its name, which errors of Python's own tell."""
    bases: dict[tuple[bool, bool], type[JournaledStream]] = {
        (False, False): JournaledStream,
        (False, True): _Block,
        (True, False): _Iterator,
        (True, True): _IteratorBlock,
    }
    base = bases[hasattr(stream, "__next__"), hasattr(stream, "__exit__")]
    return cast("type[JournaledStream]", type(stream.__name__, (base,), {"__slots__": ()}))


def journaled(stream: Any, listener: Listener) -> Any:
    """Return what stands for a stream: a context manager or an iterator where the stream is one."""
    return _kind_of(cast("type[Any]", type(stream)))(stream, listener)
