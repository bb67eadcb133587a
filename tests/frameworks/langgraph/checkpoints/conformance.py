"""LangGraph's own conformance suite over a saver, through its async and, by an adapter, its sync methods.

The suite skips in silence what it does not detect: here all of it has to be detected. The history of delta channels, of
which the released suite knows nothing, is looked at by `DELTA_TESTS`.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.test_utils import generate_checkpoint, generate_config, generate_metadata

from otel_agent_journal.bootstrap.checkpoints import JournalSaver

CAPABILITIES = {
    "put": 17,
    "put_writes": 10,
    "get_tuple": 10,
    "list": 16,
    "delete_thread": 5,
    "delete_for_runs": 7,
    "copy_thread": 8,
    "prune": 8,
}


class BySyncMethods(JournalSaver):
    """A saver whose async methods are its sync ones, so that the suite looks at those."""

    async def aget_tuple(self, *given: Any, **more: Any) -> Any:
        return self.get_tuple(*given, **more)

    async def alist(self, *given: Any, **more: Any) -> AsyncIterator[Any]:
        for one in self.list(*given, **more):
            yield one

    async def aput(self, *given: Any, **more: Any) -> Any:
        return self.put(*given, **more)

    async def aput_writes(self, *given: Any, **more: Any) -> None:
        self.put_writes(*given, **more)

    async def adelete_thread(self, *given: Any, **more: Any) -> None:
        self.delete_thread(*given, **more)

    async def adelete_for_runs(self, *given: Any, **more: Any) -> None:
        self.delete_for_runs(*given, **more)

    async def acopy_thread(self, *given: Any, **more: Any) -> None:
        self.copy_thread(*given, **more)

    async def aprune(self, *given: Any, **more: Any) -> None:
        self.prune(*given, **more)

    async def aget_delta_channel_history(self, **given: Any) -> Any:
        return self.get_delta_channel_history(**given)


async def conforms(make: Callable[[], JournalSaver]) -> None:
    """Have all of the suite look at savers, one for each capability."""

    @checkpointer_test(name=f"saver-{uuid.uuid4().hex}")
    async def savers() -> AsyncIterator[BaseCheckpointSaver[str]]:
        saver = make()
        try:
            yield saver
        finally:
            saver.close()

    report = await validate(savers)
    failures = [failure for result in report.results.values() for failure in result.failures]
    assert not failures
    assert {name: result.tests_passed for name, result in report.results.items() if result.detected} == CAPABILITIES
    saver = make()
    try:
        assert type(saver).aget_delta_channel_history is not BaseCheckpointSaver.aget_delta_channel_history
        assert type(saver).get_delta_channel_history is not BaseCheckpointSaver.get_delta_channel_history
        for test in DELTA_TESTS:
            await test(saver)
    finally:
        saver.close()


# --- the history of delta channels --------------------------------------------------------------------------------


async def chain(saver: Any, *values: Any, thread: str | None = None) -> list[Any]:
    """Put checkpoints, each the parent of the next; a value is what channel `c` then has, None for none."""
    configs: list[Any] = []
    config = generate_config(thread)
    for step, value in enumerate(values):
        checkpoint = generate_checkpoint(channel_values={} if value is None else {"c": value})
        checkpoint["channel_versions"] = {"c": f"{step + 1:04}"}
        config = await saver.aput(
            config, checkpoint, generate_metadata(step=step), dict(checkpoint["channel_versions"])
        )
        configs.append(config)
    return configs


async def written(saver: Any, config: Any, *values: Any, path: str = "", task: str | None = None) -> None:
    await saver.aput_writes(config, [("c", value) for value in values], task or str(uuid6()), path)


async def history(saver: Any, config: Any, channels: Sequence[str] = ("c",)) -> Any:
    return await saver.aget_delta_channel_history(config=config, channels=channels)


async def nothing_asked_is_nothing(saver: Any) -> None:
    (config,) = await chain(saver, None)
    assert await history(saver, config, ()) == {}


async def a_root_starts_empty(saver: Any) -> None:
    (config,) = await chain(saver, None)
    await written(saver, config, "waiting")
    assert await history(saver, config) == {"c": {"writes": []}}
    assert await history(saver, generate_config("nowhere"), ["a", "b"]) == {"a": {"writes": []}, "b": {"writes": []}}


async def writes_come_oldest_first(saver: Any) -> None:
    first, second, third = await chain(saver, None, None, None)
    await written(saver, second, 3)
    await written(saver, first, 1, 2)
    await written(saver, third, "waiting")
    found = (await history(saver, third))["c"]
    assert [write[1:] for write in found["writes"]] == [("c", 1), ("c", 2), ("c", 3)]
    assert "seed" not in found


async def the_nearest_value_is_the_seed(saver: Any) -> None:
    first, second, third, last = await chain(saver, ["old"], ["seed"], None, None)
    for number, config in enumerate((first, second, third)):
        await written(saver, config, number)
    found = (await history(saver, last))["c"]
    assert found["seed"] == ["seed"]
    assert [write[2] for write in found["writes"]] == [1, 2]


async def tasks_are_ordered_by_their_paths(saver: Any) -> None:
    first, second = await chain(saver, None, None)
    await written(saver, first, *range(12), path="~b", task="1")
    await written(saver, first, "a", path="~a", task="2")
    await written(saver, first, "input", task="3")
    found = (await history(saver, second))["c"]["writes"]
    assert [write[2] for write in found] == ["input", "a", *range(12)]


async def each_channel_has_its_own_seed(saver: Any) -> None:
    first, second, third = await chain(saver, None, ["seed"], None)
    await saver.aput_writes(first, [("c", 1), ("d", 2)], "t")
    await saver.aput_writes(second, [("c", 3), ("d", 4)], "t")
    found = await history(saver, third, ["c", "d", "none"])
    assert [write[2] for write in found["c"]["writes"]] == [3]
    assert found["c"]["seed"] == ["seed"]
    assert [write[2] for write in found["d"]["writes"]] == [2, 4]
    assert found["none"] == {"writes": []}


async def another_branch_adds_nothing(saver: Any) -> None:
    first, second = await chain(saver, None, None)
    await written(saver, first, "both")
    other = generate_checkpoint(channel_versions={"c": "0009"})
    branch = await saver.aput(first, other, generate_metadata(step=9), {"c": "0009"})
    await written(saver, second, "the other branch's")
    last = await saver.aput(branch, generate_checkpoint(), generate_metadata(step=10), {})
    await written(saver, branch, "its own")
    assert [write[2] for write in (await history(saver, last))["c"]["writes"]] == ["both", "its own"]


async def what_is_deleted_is_rebuilt_from_still(saver: Any) -> None:
    first, second, third = await chain(saver, ["seed"], None, None)
    await written(saver, first, 1)
    await written(saver, second, 2)
    await saver.aprune([third["configurable"]["thread_id"]])
    assert await saver.aget_tuple(second) is None
    found = (await history(saver, third))["c"]
    assert (found["seed"], [write[2] for write in found["writes"]]) == (["seed"], [1, 2])


async def a_copy_has_all_of_it(saver: Any) -> None:
    *_, second, last = await chain(saver, ["seed"], None, None)
    await written(saver, second, 2)
    thread = f"copy-{uuid.uuid4()}"
    await saver.acopy_thread(last["configurable"]["thread_id"], thread)
    found = (await history(saver, generate_config(thread)))["c"]
    assert (found["seed"], [write[2] for write in found["writes"]]) == (["seed"], [2])


DELTA_TESTS = (
    nothing_asked_is_nothing,
    a_root_starts_empty,
    writes_come_oldest_first,
    the_nearest_value_is_the_seed,
    tasks_are_ordered_by_their_paths,
    each_channel_has_its_own_seed,
    another_branch_adds_nothing,
    what_is_deleted_is_rebuilt_from_still,
    a_copy_has_all_of_it,
)
