"""Messages that stand by reference are found where the journal has them, and little is fetched for that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from otel_agent_journal.event import JournalEvent
from otel_agent_journal.mapping.references import with_messages
from otel_agent_journal.reading.blobs import Blobs
from otel_agent_journal.reading.references import Referred, keys_in, replaced, whole
from otel_agent_journal.testing.builders import JournalBuilder
from tests.reading.counting import CountingStore

CALLS = 20


def message(number: int) -> dict[str, Any]:
    return {"role": "tool", "content": f"page {number}", "tool_call_id": f"c{number}", "digest": f"tool:c{number}"}


def calls(kept: Callable[[dict[str, Any]], Any]) -> list[JournalEvent]:
    """Tell of tools called one after the other, the result of each kept in a way."""
    journal = JournalBuilder()
    for number in range(CALLS):
        journal.end(journal.start("TOOL", "fetch"), details={"output": kept(message(number))})
    return journal.events


def named(store: CountingStore) -> Callable[[dict[str, Any]], Any]:
    return lambda one: with_messages(store.kept_apart(one), one)


def test_a_reference_that_names_its_messages_is_fetched_for_these() -> None:
    """Of values kept apart that say which messages they have, those with a wanted one are fetched, and no other."""
    store = CountingStore()
    events = calls(named(store))
    found = Referred(events, ["tool:c3", "tool:c17", "nowhere"], Blobs(store).resolved).by(
        ["tool:c3", "tool:c17", "nowhere"], None
    )
    assert found == {"tool:c3": message(3), "tool:c17": message(17)}
    assert store.fetched.total() == 2


def test_values_that_do_not_are_looked_into_from_the_nearest_back() -> None:
    """Where a reference does not say what it has, the nearest before is fetched first, and no more than is needed."""
    store = CountingStore()
    events = calls(store.kept_apart)
    referred = Referred(events, ["tool:c7", "tool:c9"], Blobs(store).resolved)
    at_ns = events[2 * 10 + 1].timestamp_ns  # the ending of the eleventh
    assert referred.by(["tool:c9"], at_ns) == {"tool:c9": message(9)}
    assert store.fetched.total() == 2
    assert referred.by(["tool:c9", "tool:c7"], at_ns) == {"tool:c9": message(9), "tool:c7": message(7)}
    assert store.fetched.total() == 4


def test_one_that_seems_to_come_later_is_better_than_none() -> None:
    """Where no message of a key was there by then, the first one afterwards is taken."""
    store = CountingStore()
    events = calls(named(store))
    referred = Referred(events, ["tool:c5"], Blobs(store).resolved)
    assert referred.by(["tool:c5"], 0) == {"tool:c5": message(5)}
    unnamed = Referred(calls(store.kept_apart), ["tool:c5"], Blobs(store).resolved)
    assert unnamed.by(["tool:c5"], 0) == {"tool:c5": message(5)}


def test_the_last_message_of_a_key_by_then_is_meant() -> None:
    """Of several messages with one key the last up to the time of the reference counts, kept apart or not."""
    store = CountingStore()
    journal = JournalBuilder()
    said = [{"role": "assistant", "content": str(number), "digest": "m1"} for number in range(4)]
    for number, one in enumerate(said):
        output = with_messages(store.kept_apart(one), one) if number % 2 else one
        journal.end(journal.start("MODEL", "m"), details={"output": output})
    times = [event.timestamp_ns for event in journal.events if event.type == "MODEL_END"]
    referred = Referred(journal.events, ["m1"], Blobs(store).resolved)
    assert [referred.by(["m1"], at_ns)["m1"] for at_ns in times] == said


def test_references_are_found_and_replaced_wherever_they_stand() -> None:
    """References are replaced in their places; those that are not known stay."""
    value = {"a": [{"$message": "m1"}, {"$messages": 3}], "b": {"$message": "m2"}, "c": {"$message": "m1", "x": 1}}
    assert keys_in(value) == {"m1", "m2"}
    one = {"role": "user", "content": "?"}
    assert replaced(value, {"m1": one}) == {**value, "a": [one, {"$messages": 3}]}
    assert list(whole({"x": [one, {"y": {**one, "content": {"role": "a", "content": 1}}}]})) == [
        one,
        {**one, "content": {"role": "a", "content": 1}},
    ]
