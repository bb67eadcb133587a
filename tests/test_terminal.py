"""What reaches a terminal: text that cannot drive it, on lines of its own, and no secret of a URL."""

from __future__ import annotations

import io
import json
import logging
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent_journal.terminal import log_handler, neutral, neutral_json, neutral_line, say

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u206f]")


@given(st.text())
def test_neutral_text_has_no_control_character_but_line_ends_and_tabs(text: str) -> None:
    """Whatever a model wrote, nothing in it reaches the terminal as a command."""
    assert not CONTROL.search(neutral(text))


@given(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"])))
def test_text_of_any_script_is_left_as_it_is(text: str) -> None:
    """Only control characters are replaced."""
    assert neutral(text) == text


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8))
def test_escaped_json_is_the_same_value(value: object) -> None:
    """JSON for a terminal has no raw control character and decodes to the same."""
    plain = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    try:
        plain.decode("utf-8")
    except UnicodeDecodeError:
        return
    escaped = neutral_json(plain)
    assert json.loads(escaped) == value
    assert not re.search("[\x7f-\x9f\u202a-\u202e]", escaped.decode())


@given(st.text())
def test_a_line_is_one_line(text: str) -> None:
    """What is printed as a line can be no second one."""
    assert "\n" not in neutral_line(text)


def test_a_line_on_stderr_is_neutral_and_tells_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is said, by whichever command."""
    say("store s3://K:secret@bucket\x1b[31m is \x9b1m\u202eaway\nerror: forged")
    assert capsys.readouterr().err == "store s3://***@bucket␛[31m is \\u009b1m\\u202eaway␊error: forged\n"


def test_a_closed_stderr_hurts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is there to be told."""
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    say("anything")


def test_a_log_is_told_line_by_line() -> None:
    """Each line by itself, so that a line of a traceback is one of ours; without a form the message alone."""
    told: list[str] = []
    error = ValueError("two\nlines")
    record = logging.LogRecord("x", logging.ERROR, "", 0, "it <%s>", ("failed",), (ValueError, error, None))
    log_handler("%(levelname)s %(message)s", told.append).emit(record)
    assert told == ["ERROR it <failed>", "ValueError: two", "lines"]
    told.clear()
    log_handler(told=told.append).emit(record)
    assert told == ["it <failed>"]
