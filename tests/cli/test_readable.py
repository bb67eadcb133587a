"""Values as people read them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent_journal.cli import readable
from otel_agent_journal.event import ErrorInfo
from otel_agent_journal.reading import moments

S = readable.NS_PER_S


def _hex(numbers: list[int]) -> list[str]:
    return [f"{number:032x}" for number in numbers]


CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@given(st.text(), st.integers(1, 50))
def test_one_line_is_one_line_and_within_its_limit(text: str, limit: int) -> None:
    """A cell or a remark never breaks a line, and never holds a control character."""
    line = readable.one_line(text, limit)
    assert len(line) <= max(limit, 1) + 5 * text.count("\u200e")
    assert not CONTROL.search(line)
    assert "\n" not in line
    assert "\t" not in line


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (None, ""),
        (850_000, "850 µs"),
        (12_300_000, "12 ms"),
        (3_400_000_000, "3.4 s"),
        (59_999_000_000, "1m 00s"),
        (125 * S, "2m 05s"),
        (4320 * S, "1h 12m"),
        (3 * 86400 * S + 4 * 3600 * S, "3d 04h"),
    ],
)
def test_a_duration_is_said_in_the_units_that_matter(ns: int | None, text: str) -> None:
    """Durations are short enough for a column."""
    assert readable.duration(ns) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "just now"),
        (42, "42 s ago"),
        (119, "1 min ago"),
        (7200, "2 h ago"),
        (200_000, "2 d ago"),
        (-60, "in 1m 00s"),
    ],
)
def test_ago_is_coarse(seconds: int, text: str) -> None:
    """A listing says how long ago in one unit; a clock that is ahead shows as such."""
    assert readable.ago(10**18, 10**18 + seconds * S) == text


@pytest.mark.parametrize(("number", "text"), [(999, "999"), (8_123, "8.1k"), (999_960, "1.0M"), (3_200_000, "3.2M")])
def test_counts_are_short(number: int, text: str) -> None:
    """Token counts fit a column."""
    assert readable.count(number) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0 B"), (65_536, "64.0 KiB"), (5 * 2**40, "5.0 TiB")])
def test_sizes_have_units(number: int, text: str) -> None:
    """Sizes are binary."""
    assert readable.size(number) == text


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("15m", 900), ("2h", 7200), ("1.5h", 5400), ("7d", 604800), ("1w", 604800)]
)
def test_a_span_of_time_is_read(text: str, seconds: int) -> None:
    """`--since 2h` and its like."""
    assert moments.span_of(text) == seconds * S


@pytest.mark.parametrize("text", ["", "h", "2 hours", "-2h", "2026-01-01T00:00:00Z", "٢h"])
def test_what_is_no_span_of_time_is_not_taken_for_one(text: str) -> None:
    """Anything else is left for RFC 3339."""
    assert moments.span_of(text) is None


@given(st.lists(st.integers(0, 2**128 - 1) | st.integers(0, 5000), min_size=1, max_size=20).map(_hex))
def test_short_ids_tell_all_ids_apart(ids: list[str]) -> None:
    """Long hexadecimal ids are cut to a prefix that no other has, eight digits at least."""
    short = readable.short_ids(ids)
    assert len(set(short.values())) == len(set(ids))
    for one, cut in short.items():
        assert one.startswith(cut)
        assert len(cut) >= 8
        assert [other for other in set(ids) if other.startswith(cut)] == [one]


def test_ids_that_people_chose_are_not_cut() -> None:
    """A session id that is no hexadecimal number is shown whole."""
    name = "customer-4711-onboarding-conversation-2026"
    assert readable.short_ids([name, "s1"]) == {name: name, "s1": "s1"}


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ErrorInfo(type="KeyError"), "KeyError"),
        (ErrorInfo(type="OSError", message="broken"), "OSError: broken"),
        (
            ErrorInfo(type="x.ClientError", message="slow down", code="Throttled"),
            "x.ClientError (Throttled): slow down",
        ),
        (
            ErrorInfo(type="x.NoCredentialsError", message="none", code="NoCredentialsError"),
            "x.NoCredentialsError: none",
        ),
        (ErrorInfo(type="__main__.PaymentRefused", message="no"), "PaymentRefused: no"),
    ],
)
def test_failures(error: ErrorInfo, text: str) -> None:
    """What failed is said by type, the service's code where it says more, and message."""
    assert readable.failure(error) == text
