"""Makes a model's or retriever's step current while it works, for the spans of HTTP clients and the like within.

LangChain tells of the step by a callback, and then calls the code that a class of the user's may have overridden: there
is no place between the two. So its own methods around both are patched. Where one gets the run's manager the step is
known; in the others the callback fills in the `Bound` that it finds in its context. A generator is entered anew each
time that it goes on, so that its consumer's own spans are none of the model's.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final, cast

from opentelemetry import context as context_api
from opentelemetry.context import Context

from otel_agent_journal.frameworks.langgraph.replaying import (
    chat_model_served,
    retriever_served,
    text_model_served,
    text_stream_served,
)
from otel_agent_journal.pipeline.step import Step

_BOUND_KEY: Final = context_api.create_key("agent-journal-call")
_Replace = Callable[[Any, str, Any, Any], None]
_Find = Callable[[Any], "Step | None"]


class Bound:
    """The step of a call, once its callback has told of it."""

    __slots__ = ("step",)

    def __init__(self, step: Step | None = None) -> None:
        self.step = step


def bind(step: Step) -> None:
    """Let the call that this callback is of go on within its step."""
    current = context_api.get_current()
    bound = current.get(_BOUND_KEY)
    if isinstance(bound, Bound) and bound.step is None:
        bound.step = step
        context_api.attach(step.context(current))  # what is around the call takes it back


class Calls:
    """The patches.

    Args:
        replace: puts a function in the place of another.
        find: returns the step of a run's manager.
    """

    def __init__(self, replace: _Replace, find: _Find) -> None:
        self._replace = replace
        self._find = find

    def patches(self) -> Mapping[str, Callable[[Any], None]]:
        """Return what patches a module once it is imported, by the module's name."""
        return {
            "langchain_core.language_models.chat_models": self._patch_chat_models,
            "langchain_core.language_models.llms": self._patch_text_models,
            "langchain_core.retrievers": self._patch_retrievers,
        }

    def _patch_chat_models(self, module: Any) -> None:
        model = module.BaseChatModel
        self._put(model, "_generate_with_cache", _called, chat_model_served)
        self._put(model, "_agenerate_with_cache", _awaited, chat_model_served)
        self._put(model, "_iter_v2_events", _iterated, chat_model_served)
        self._put(model, "_aiter_v2_events", _async_iterated, chat_model_served)
        self._put(model, "stream", _iterated, chat_model_served)
        self._put(model, "astream", _async_iterated, chat_model_served)

    def _patch_text_models(self, module: Any) -> None:
        model = module.BaseLLM
        served = text_model_served(self._find)
        self._put(model, "_generate_helper", _called, served)
        self._put(model, "_agenerate_helper", _awaited, served)
        self._put(model, "stream", _iterated, text_stream_served)
        self._put(model, "astream", _async_iterated, text_stream_served)

    def _patch_retrievers(self, module: Any) -> None:
        self._put(module.BaseRetriever, "invoke", _called, retriever_served)
        self._put(module.BaseRetriever, "ainvoke", _awaited, retriever_served)

    def _put(
        self,
        owner: Any,
        name: str,
        wrap: Callable[[Any, Callable[..., Bound]], Any],
        served: Callable[[Any], Any],
    ) -> None:
        """Put a method within its step, and have what is served stand in for what it is of in a replay."""
        original = owner.__dict__.get(name)
        if original is not None:  # else a version without it
            self._replace(owner, name, original, wrap(served(original), self._bound))

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound:
        managers: Any = (
            kwargs.get("run_manager") or kwargs.get("run_managers") or args[3:4]
        )  # a text model's, by position
        while isinstance(managers, list | tuple):
            managers = cast("list[Any]", managers)[0] if managers else None
        return Bound(None if managers is None else self._find(managers))


@contextmanager
def _within(bound: Bound) -> Generator[None]:
    """Enter a call, and leave it as it was entered, whatever the callback has attached."""
    around = Context({**context_api.get_current(), _BOUND_KEY: bound})
    token: Any = context_api.attach(around if bound.step is None else bound.step.context(around))
    try:
        yield
    finally:
        try:
            token.var.reset(token)
        except ValueError:  # it is left in another context than it was entered in; that one is gone
            pass


def _called(original: Any, find: Callable[..., Bound]) -> Any:
    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        with _within(find(args, kwargs)):
            return original(*args, **kwargs)

    return call


def _awaited(original: Any, find: Callable[..., Bound]) -> Any:
    @functools.wraps(original)
    async def call(*args: Any, **kwargs: Any) -> Any:
        with _within(find(args, kwargs)):
            return await original(*args, **kwargs)

    return call


def _iterated(original: Any, find: Callable[..., Bound]) -> Any:
    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        bound, inner = find(args, kwargs), original(*args, **kwargs)
        go_on: Callable[[], Any] = inner.__next__
        while True:
            with _within(bound):
                try:
                    item = go_on()
                except StopIteration as end:
                    return end.value
            try:
                yield item
                go_on = inner.__next__
            except GeneratorExit:
                with _within(bound):
                    inner.close()
                raise
            except BaseException as error:  # noqa: BLE001 - thrown in by the consumer, for the inner one to see
                go_on = functools.partial(inner.throw, error)

    return call


def _async_iterated(original: Any, find: Callable[..., Bound]) -> Any:
    @functools.wraps(original)
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        bound, inner = find(args, kwargs), original(*args, **kwargs)
        go_on: Callable[[], Any] = inner.__anext__
        while True:
            with _within(bound):
                try:
                    item = await go_on()
                except StopAsyncIteration:
                    return
            try:
                yield item
                go_on = inner.__anext__
            except GeneratorExit:
                with _within(bound):
                    await inner.aclose()
                raise
            except BaseException as error:  # noqa: BLE001 - as above
                go_on = functools.partial(inner.athrow, error)

    return call
