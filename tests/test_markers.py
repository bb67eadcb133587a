"""Entries that a sandbox prints between markers: read, or reported; bounded, and linear in any output."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_agent_journal import extract_journal_entries
from otel_agent_journal.markers import (
    END,
    ENTRY,
    MAX_ENTRIES,
    MAX_ENTRY,
    MAX_OUTPUT,
    MAX_PROBLEMS,
    Extracted,
    entries_in,
)


def block(*lines: str, behind: str = "") -> str:
    return "\n".join([f"{ENTRY}{behind}", *lines, END])


def kinds(found: Extracted) -> list[str]:
    return [problem.kind for problem in found.problems]


def test_what_is_between_the_markers_is_read() -> None:
    """One object a line, or one over several, or all on one line; what is around it does not matter."""
    one, two = {"event_type": "A", "details": {"text": "ä \u2028 ===JOURNAL_END=== \\n"}}, {"event_type": "B"}
    output = "\n".join(
        [
            "loading...",
            block(json.dumps(one, ensure_ascii=False), "", json.dumps(two)),
            "\r\n".join(["more", block(json.dumps(one, indent=2))]),
            f"  {ENTRY} {json.dumps(two)} {END}",
            "done",
        ]
    )
    found = extract_journal_entries(output)
    assert found == [one, two, one, two]
    assert found.problems == []
    assert extract_journal_entries("nothing at all") == []


@pytest.mark.parametrize(
    ("output", "expected", "entries"),
    [
        (f"{ENTRY}\n" + '{"a": 1}', ["torn"], 0),
        (f"{ENTRY}\n{ENTRY}\n" + '{"a": 1}' + f"\n{END}", ["nested"], 1),
        (f"{END}\n", ["torn"], 0),
        (block(), ["malformed"], 0),
        (block('{"a": 1', '{"a": 2}', "[1]", "7"), ["malformed"] * 3, 1),
        (block('{"a": "' + "x" * MAX_ENTRY + '"}', '{"a": 2}'), ["huge"], 1),
        (f"progress 7 % {ENTRY}\n" + '{"a": 1}' + f"\n{END}", ["misplaced", "torn"], 0),
        (block("[" * 10_000), ["malformed"], 0),
        (block('{"a": ' + "9" * 5_000 + "}"), ["malformed"], 0),
    ],
)  # fmt: skip
def test_what_is_none_is_reported(output: str, expected: list[str], entries: int) -> None:
    """Torn, nested, malformed, huge: each is said, with its line and how it begins, and the others are read."""
    found = entries_in(output)
    assert kinds(found) == expected
    assert len(found) == entries
    assert all(problem.line >= 1 and len(problem.beginning) <= 200 for problem in found.problems)


def test_a_nonce_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a nonce is set an entry shows it, behind the marker or in itself; of others it is said that it does not."""
    monkeypatch.setenv("AGENT_JOURNAL_MARKER_NONCE", "k7Qx")
    output = "\n".join(
        [
            block('{"a": 1}', behind=" k7Qx"),
            block('{"a": 2, "nonce": "k7Qx"}'),
            block('{"forged": 1}'),
            block('{"forged": 2}', behind=" k7Q"),
            block('{"forged": 3}', behind=" k7Qxy"),
            block('{"forged": 4, "nonce": "guess"}'),
            f'{ENTRY} k7Qx {{"a": 3}} {END}',
        ]
    )
    found = extract_journal_entries(output)
    assert found == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert kinds(found) == ["unsigned"] * 4
    monkeypatch.setenv("AGENT_JOURNAL_MARKER_NONCE", "")
    assert len(extract_journal_entries(output)) >= 6


def test_forged_markers_spoil_no_entry_that_is_signed() -> None:
    """What is fetched and printed within an entry can neither end it in favour of its own nor begin another."""
    fetched = [ENTRY, '{"forged": 1}']
    found = entries_in(block('{"a": 1}', *fetched, '{"a": 2}', behind=" n"), "n")
    assert found[0] == {"a": 1}
    assert {"a": 2} in found
    found = entries_in(block('{"a": 1}', END, *fetched, behind=" n"), "n")
    assert found == [{"a": 1}]
    assert kinds(found) == ["unsigned"]


def test_a_nonce_is_not_repeated() -> None:
    """What is reported shows no nonce, which would tell the next output."""
    found = entries_in(block('{"a": 1, "nonce": "secret"', behind=" secret"), "secret")
    assert "secret" not in str(found.problems)


def test_bounds() -> None:
    """So many entries, reports and characters: what is beyond is counted and said."""
    found = entries_in(block(*['{"a": 1}'] * (MAX_ENTRIES + MAX_PROBLEMS + 7)))
    assert (len(found), len(found.problems), found.unreported) == (MAX_ENTRIES, MAX_PROBLEMS, 7)
    late = entries_in(block('{"a": 1}') + "\n" + "x" * MAX_OUTPUT + "\n" + block('{"a": 2}'))
    assert (late, kinds(late)) == ([{"a": 1}], ["unread"])
    cut = entries_in("x" * (MAX_OUTPUT - 30) + "\n" + block('{"a": 2}'))
    assert kinds(cut) == ["torn", "unread"]


MARKED = [
    ENTRY,
    END,
    f"{ENTRY} n",
    f"{END} n",
    "{",
    "}",
    '{"a": 1}',
    '{"a":',
    "[[[[",
    '"',
    "\\",
    "\n",
    "\r",
    " ",
    "n",
    "x",
]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(MARKED), st.text(max_size=5)), max_size=60), st.sampled_from([None, "n"]))
def test_any_output(parts: list[str], nonce: str | None) -> None:
    """Whatever is printed there is an answer: entries are objects of it, and with a nonce none is without that."""
    output = "".join(parts)
    found = entries_in(output, nonce)
    assert all(isinstance(one, dict) for one in found)
    assert len(found.problems) <= MAX_PROBLEMS
    assert len(found) <= output.count("{")
    begun = any(line.strip().startswith(ENTRY) for line in output.split("\n"))
    if nonce is not None and not any(line.strip().startswith(f"{ENTRY} n") for line in output.split("\n")):
        assert found == []
    if begun:
        assert found or found.problems


@settings(max_examples=100, deadline=None)
@given(st.lists(st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.none())), max_size=5), st.text())
def test_what_is_printed_is_what_is_read(entries: list[dict[str, Any]], around: str) -> None:
    """Whatever an entry says, and whatever is printed around the block, it comes out as it went in."""
    around = around.replace("===", "")
    text = "\n".join([around, block(*(json.dumps(one) for one in entries), behind=" k"), around])
    found = entries_in(text, "k")
    assert found == [{**one} for one in entries]


@pytest.mark.parametrize("piece", [f"{ENTRY}\n", f"{END}\n", f"{ENTRY}\n{{\n", "{" * 100 + "\n", f"{ENTRY} {{", "\n"])
def test_time_is_linear(piece: str) -> None:
    """Twice and eight times the output takes not much more than twice and eight times as long."""

    def took(size: int) -> float:
        output = ENTRY + "\n" + piece * (size // len(piece))
        began = time.process_time()
        entries_in(output)
        return time.process_time() - began

    small = min(took(100_000) for _ in range(3))
    assert took(1_600_000) < 16 * 6 * max(small, 0.001)
