"""Text by the cells of a terminal: cut, padded, told apart, and never within what is one character to a person."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent_journal.cli.cells import cell_len, clusters, cut_middle, fit, padded, told_apart, within, wrapped

FAMILY = "👩‍👩‍👧"
FLAG = "🇩🇪"
LETTERS = ["a", "漢", "é", "e\u0301", FAMILY, FLAG, "👍🏽", "ש", " ", "❤️"]
PRINTABLE = st.text(max_size=30).map(lambda text: "".join(filter(str.isprintable, text)))
TEXTS = st.lists(st.sampled_from(LETTERS), max_size=30).map("".join) | PRINTABLE


def test_what_is_one_character_stays_together() -> None:
    """A letter with its marks, a joined emoji, one with a skin, and a flag."""
    assert list(clusters(f"ae\u0301{FAMILY}👍🏽{FLAG}{FLAG}ש")) == ["a", "e\u0301", FAMILY, "👍🏽", FLAG, FLAG, "ש"]


@given(TEXTS, st.integers(0, 40))
def test_a_text_has_as_many_cells_as_there_are(text: str, width: int) -> None:
    """However it is cut it is within the width, and where there is room it is whole."""
    for cut in (within(text, width), cut_middle(text, width)):
        assert cell_len(cut) <= width
        assert cell_len(text) > width or cut == text
    assert cell_len(fit(text, width)) == width
    assert cell_len(padded(text, width)) == max(width, cell_len(text))
    assert width < 2 or all(cell_len(line) <= width for line in wrapped(text, width))


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abc…fg"),
        ("漢字漢字漢字", 8, "漢字…字"),
        ("漢字漢字漢字", 9, "漢字…漢字"),
        (FAMILY * 5, 5, f"{FAMILY}…{FAMILY}"),
        ("abcdef", 2, "a…"),
        ("abcdef", 0, ""),
    ],
)
def test_an_id_is_cut_in_its_middle(text: str, width: int, shown: str) -> None:
    """Both ends stay."""
    assert cut_middle(text, width) == shown


@pytest.mark.parametrize(
    "ids",
    [
        ["arn:aws:x/session/0001", "arn:aws:x/session/0002", "arn:aws:y/session/0001"],
        [f"{'x' * 40}{number:02}{'y' * 40}" for number in range(20)],
        ["a" * 100, "a" * 99],
        ["same", "same"],
        [f"{'会议' * 20}{number}" for number in range(3)],
    ],
)
def test_ids_can_be_told_apart(ids: list[str]) -> None:
    """Whether they differ at an end or within, of so many none looks like another."""
    for width in (12, 20, 40):
        shown = told_apart(ids, width)
        assert len(set(shown.values())) == len(set(ids))
        assert all(cell_len(one) <= width for one in shown.values())


def test_a_long_text_goes_on_below() -> None:
    """Broken at a space where there is one in the second half of a line, else within the word."""
    assert list(wrapped("the quick brown fox", 10)) == ["the quick", "brown fox"]
    assert list(wrapped("abcdefghijkl mn", 5)) == ["abcde", "fghij", "kl mn"]
    assert list(wrapped("", 5)) == [""]
