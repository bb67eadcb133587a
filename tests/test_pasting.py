"""Words that can be pasted into a shell: whatever an id holds, the shell gets that very id."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_agent_journal.pasting import pasted
from otel_agent_journal.terminal import neutral_line

ODD = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("reading-7", "reading-7"),
        ("it's", "'it'\"'\"'s'"),
        ("a b", "'a b'"),
        ("$HOME", "'$HOME'"),
        ("a  b", r"$'a\x20\x20b'"),
        ("a\nb", r"$'a\x0ab'"),
        ("\x1b[2J", r"$'\x1b[2J'"),
        ("\u202egpj", r"$'\U0000202egpj'"),
        ("a\\'\n", r"$'a\\\'\x0a'"),
        ("-x", "-- -x"),
        ("bytes \udcff", r"$'bytes\x20\xff'"),
        ("漢字", "'漢字'"),
    ],
)
def test_a_word(word: str, shown: str) -> None:
    """What is plain stays plain, what is not is quoted or escaped, and none of it steers a terminal."""
    assert pasted(word) == shown
    assert neutral_line(pasted(word)) == pasted(word)


@settings(max_examples=1, deadline=None)
@given(st.lists(ODD, min_size=200, max_size=200))
def test_a_shell_gets_the_very_word(words: list[str]) -> None:
    """Of bash, in one call; runs of spaces are kept where a line of ours would make one of them."""
    lines = [pasted(word).removeprefix("-- ") for word in words]
    assert all(" ".join(line.split()) == line for line in lines)
    script = "\n".join(f"printf '%s\\0' {line}" for line in lines)
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})
    assert done.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1] == words
