"""Commands fetch the values that they show, and nothing else of what a session keeps apart."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from otel_agent_journal.cli import show
from otel_agent_journal.cli.output import Output
from otel_agent_journal.mapping.references import with_messages
from otel_agent_journal.projections.head import SessionHead
from otel_agent_journal.projections.selection import Wanted
from otel_agent_journal.reading import session_records, steps_in_full
from otel_agent_journal.reading.conversation import conversation
from otel_agent_journal.reading.journal import Journal
from otel_agent_journal.testing.builders import JournalBuilder
from tests.reading.counting import CountingStore

CALLS = 30


class Seen:
    """A journal of a node that was tried twice, tools with results kept apart below each try, and its store."""

    def __init__(self) -> None:
        self.store = CountingStore()
        builder = JournalBuilder()
        root = builder.start("AGENT", "helper")
        for attempt in (1, 2):
            node = builder.start("NODE", "tools", parent=root, step_id="node", attempt=attempt)
            for number in range(CALLS):
                call = f"c{attempt}.{number}"
                said = {"role": "tool", "content": f"page {attempt}.{number}", "tool_call_id": call}
                said["digest"] = f"tool:{call}"
                kept = with_messages(self.store.kept_apart(said), said)
                builder.end(builder.start("TOOL", "fetch", parent=node), details={"output": kept})
            last = {"$message": f"tool:c{attempt}.{CALLS - 1}"}
            builder.end(node, "error" if attempt == 1 else "ok", details={"output": {"messages": [last]}})
        state = self.store.kept_apart({"state": "x" * 1000}, messages=[])
        builder.end(builder.start("NODE", "state", parent=root), details={"output": state})
        builder.end(root)
        self.store.append(builder.events)
        self.journal = Journal(self.store, Path("no-spool"))
        self.output = Output("jsonl", io.BytesIO())

    @property
    def head(self) -> SessionHead:
        return self.journal.session("s1")


@pytest.fixture
def seen() -> Seen:
    return Seen()


def test_a_step_is_shown_with_what_it_refers_to_alone(seen: Seen) -> None:
    """Each attempt of a step has the one result that it refers to: of sixty that are kept apart two are fetched."""
    tree, step = show.step_with_content(seen.journal, seen.head, "node")
    record = steps_in_full.record(seen.journal, seen.head, tree, step, {})
    found = [attempt["details"]["output"]["messages"][0]["content"] for attempt in record["attempts"]]
    assert found == [f"page 1.{CALLS - 1}", f"page 2.{CALLS - 1}"]
    assert record["output"]["messages"][0]["content"] == f"page 2.{CALLS - 1}"
    assert list(seen.store.fetched.values()) == [1, 1]


def test_a_step_without_references_reads_the_session_once(seen: Seen) -> None:
    """A step named by its id is shown by reading its session one time, and one value."""
    head = seen.head
    (state,) = [step for step in seen.journal.tree(head).steps if step.name == "state"]
    seen.store.read_sessions.clear()
    tree, found = show.step_with_content(seen.journal, head, state.step_id)
    assert steps_in_full.record(seen.journal, head, tree, found, {})["output"] == {"state": "x" * 1000}
    assert (seen.store.read_sessions.total(), seen.store.fetched.total()) == (1, 1)


def test_a_conversation_fetches_its_messages_once(seen: Seen) -> None:
    """Every result is fetched once, and no value in which there is no message."""
    said = list(conversation(lambda: seen.journal.events("s1"), seen.journal.resolved))
    assert len(said) == 2 * CALLS
    assert seen.store.fetched.total() == 2 * CALLS


def test_a_list_fetches_nothing(seen: Seen) -> None:
    """Trees, rows, states and listings show no content that is kept apart."""
    show.print_tree(seen.output, seen.journal, seen.head)
    show.print_tree(Output("table", io.BytesIO()), seen.journal, seen.head, Wanted(failed=True))
    session_records.stood(seen.journal, seen.head)
    session_records.record(seen.head, seen.journal.cost(seen.head))
    assert not seen.store.fetched
