"""What calls are billed at: the user's file first, then the list of genai-prices, offline and remembered."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from otel_agent_journal.errors import ConfigError
from otel_agent_journal.projections.cost import Billed, Rates
from otel_agent_journal.projections.price_list import Listed, Own, Period, Tiers
from otel_agent_journal.reading import prices
from otel_agent_journal.reading.own_prices import found_file, read_own
from otel_agent_journal.reading.prices import PriceList, Prices, cache_file, half_hours, looked_up

DAY = half_hours(date(2026, 11, 1))
FLAT = Listed((Period({"input_mtok": Tiers(Decimal(2)), "output_mtok": Tiers(Decimal(8))}),))


class Known(PriceList):
    """A list of a few models, which notes what it is asked for."""

    def __init__(self, **models: Listed) -> None:
        self.is_there = True
        self.models = models
        self.asked: list[tuple[str, str]] = []

    def find(self, provider: str, model: str) -> Listed | None:
        self.asked.append((provider, model))
        return self.models.get(model)


def billed(asked: str = "m", answered: str = "", provider: str = "openai", since: int = DAY, tier: str = "") -> Billed:
    return Billed(since, provider, asked, answered, tier, 0)


def test_the_users_own_come_first() -> None:
    """An entry of the user's own counts, a discount is taken off the list, and what neither knows nobody knows."""
    own = (
        Own(models="mine", rates=Rates(input=Decimal(1))),
        Own(models="m", discount=Decimal(25)),
        Own(models="absent", discount=Decimal(25)),
    )
    known = Known(m=FLAT, mine=FLAT, other=FLAT)
    found = Prices(own, known)
    assert found(billed("mine")) == Rates(input=Decimal(1))
    assert found(billed("m")) == Rates(input=Decimal("1.5"), output=Decimal(6))
    assert found(billed("other")) == Rates(input=Decimal(2), output=Decimal(8))
    assert found(billed("absent")) is None
    asked = len(known.asked)
    assert found(billed("absent")) is None
    assert len(known.asked) == asked


def test_which_name_is_looked_up_where() -> None:
    """What answered counts before what was asked for; of Bedrock what was asked for, which names the region."""
    known = Known()
    for one in (
        billed("alias", "alias-2026-01-01"),
        billed("eu.anthropic.claude", "claude", "aws.bedrock"),
        billed("eu.anthropic.claude", provider=""),
        billed("", "gpt", "Azure.AI.OpenAI"),
        billed("", ""),
    ):
        assert Prices((), known)(one) is None
    assert known.asked == [
        ("openai", "alias-2026-01-01"),
        ("openai", "alias"),
        ("aws", "eu.anthropic.claude"),
        ("aws", "claude"),
        ("aws", "eu.anthropic.claude"),
        ("azure", "gpt"),
    ]


def test_nobody_knows_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where genai-prices is not installed nothing is known, and nothing fails."""
    monkeypatch.setattr(prices, "PACKAGE", "no_such_package")
    listed = PriceList(None)
    assert not listed.is_there
    assert listed.find("openai", "gpt-4o") is None
    listed.keep()


# --- the list -----------------------------------------------------------------------------------------------------

pytest.importorskip("genai_prices")


@pytest.mark.parametrize(
    ("provider", "model", "day", "expected"),
    [
        ("openai", "gpt-4o", date(2026, 11, 1), ("2.5", "10", "1.25")),
        ("aws.bedrock", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0", date(2026, 11, 1), ("3.3", "16.5", "0.33")),
        ("aws.bedrock", "global.anthropic.claude-sonnet-4-5-20250929-v1:0", date(2026, 11, 1), ("3", "15", "0.3")),
        ("", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", date(2026, 11, 1), ("3.3", "16.5", "0.33")),
        ("gcp.gen_ai", "gemini-2.5-pro", date(2026, 11, 1), ("1.25", "10", "0.125")),
    ],
)
def test_the_list_knows_providers_by_the_names_of_the_conventions(
    provider: str, model: str, day: date, expected: tuple[str, str, str]
) -> None:
    """Bedrock's regional ids have their own prices; input, output, and what is read from a cache."""
    found = Prices((), PriceList(None))(billed(model, provider=provider, since=half_hours(day)))
    assert found is not None
    assert (found.input, found.output, found.cache_read) == tuple(map(Decimal, expected))


def test_we_bill_as_the_list_itself_does() -> None:
    """For every model of some providers, tiers included, our amount is that of genai-prices' own calculation."""
    from datetime import UTC, datetime

    from genai_prices import Usage as TheirUsage
    from genai_prices.data_snapshot import get_snapshot

    from otel_agent_journal.event import Usage
    from otel_agent_journal.projections.cost import SIZES, amount_of

    at, compared = datetime(2026, 11, 1, 12, tzinfo=UTC), 0
    snapshot = get_snapshot()
    chosen = [
        one for one in snapshot.providers if one.id in ("anthropic", "aws", "google", "mistral", "openai", "x-ai")
    ]
    for provider, model in ((one, model) for one in chosen for model in one.models):
        if provider.find_model(model.id) is not model:  # its name is another's here
            continue
        found = looked_up(provider.id, model.id)
        assert found is not None
        for tokens in (1_000, 250_000):
            used = {"input_tokens": tokens, "output_tokens": 500, "cache_read_tokens": 100, "cache_write_tokens": 50}
            size = sum(tokens > one for one in SIZES)
            rates = Prices((), Known(**{model.id: found}))(Billed(DAY + 24, provider.id, model.id, "", "", size))
            if rates is None or rates.output is None or rates.input is None:
                continue
            theirs = model.calc_price(TheirUsage(**used), provider, genai_request_timestamp=at).total_price
            assert amount_of(Usage(**used), rates) == theirs, model.id
            compared += 1
    assert compared > 100


def test_what_was_looked_up_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next reader needs no import: a file has what was found, and what was not, of this release of the list."""
    file = tmp_path / "cache" / "prices.json"
    first = PriceList(file)
    found = first.find("openai", "gpt-4o")
    assert found is not None
    assert first.find("openai", "no-such-model") is None
    first.keep()
    first.keep()
    monkeypatch.setattr(prices, "looked_up", pytest.fail)
    again = PriceList(file)
    assert again.find("openai", "gpt-4o") == found
    assert again.find("openai", "no-such-model") is None
    again.keep()
    monkeypatch.undo()
    for spoiled in (b"{}", b"\xff", file.read_bytes().replace(b"data.py:", b"data.py:9")):
        file.write_bytes(spoiled)
        other = PriceList(file)
        assert other.find("openai", "gpt-4o") == found


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    """It costs time alone."""
    (tmp_path / "taken").write_text("")
    listed = PriceList(tmp_path / "taken" / "prices.json")
    assert listed.find("openai", "gpt-4o") is not None
    listed.keep()


def test_where_the_cache_is() -> None:
    """In the user's cache; nowhere, without a home."""
    assert cache_file({"XDG_CACHE_HOME": "/c", "HOME": "/h"}) == Path("/c/otel-agent-journal/prices.json")
    assert cache_file({"HOME": "/h"}) == Path("/h/.cache/otel-agent-journal/prices.json")
    assert cache_file({}) is None
    assert cache_file({"XDG_CACHE_HOME": "here"}) is None


def test_times_of_day_are_of_utc() -> None:
    """A list may name times in any zone."""
    zone = timezone(timedelta(hours=2))
    assert prices._minute(time(1, 30, tzinfo=zone)) == 23 * 60 + 30
    assert prices._minute(time(1, 30)) == 90


def test_the_list_asks_no_network() -> None:
    """Looking a price up opens no socket, and a journal's other readers import none of it."""
    code = """
import sys
def refuse(event, args):
    if event.startswith("socket.connect") or event in ("socket.getaddrinfo", "urllib.Request"):
        raise AssertionError(event)
sys.addaudithook(refuse)
from otel_agent_journal.reading import journal
assert "genai_prices" not in sys.modules
from otel_agent_journal.reading.prices import PriceList
assert PriceList(None).find("openai", "gpt-4o") is not None
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)


# --- the user's file ----------------------------------------------------------------------------------------------


def written(path: Path, text: str) -> Path:
    file = path / "prices.toml"
    file.write_text(text)
    return file


def test_entries_of_a_file(tmp_path: Path) -> None:
    """Models, providers and tiers in any case; days of UTC; amounts exactly as they are written."""
    file = written(
        tmp_path,
        """
        [[price]]
        model = "Llama-*"
        provider = "Groq"
        tier = "flex"
        from = 2026-07-01
        input = 0.1
        output = 3
        cache_read = 0.01
        cache_write = 0.2
        reasoning = 4
        call = 0.001

        [[price]]
        model = "gpt-5*"
        discount = 12.5
        """,
    )
    first, second = read_own(file)
    assert first == Own(
        models="llama-*",
        provider="groq",
        tier="flex",
        since=half_hours(date(2026, 7, 1)),
        rates=Rates(
            input=Decimal("0.1"),
            output=Decimal(3),
            cache_read=Decimal("0.01"),
            cache_write=Decimal("0.2"),
            reasoning=Decimal(4),
            call=Decimal("0.001"),
        ),
    )
    assert (second.models, second.discount, second.rates) == ("gpt-5*", Decimal("12.5"), None)
    assert second.matches(billed("gpt-5", since=0))
    assert read_own(written(tmp_path, "")) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("price = [", "is not TOML"),
        ("[prices]", "'prices'; it holds entries"),
        ("price = 1", "'price'; it holds entries"),
        ("price = [1]", "price 1 is no table"),
        ('[[price]]\nmodel = "m"\nincome = 1', "price 1 has 'income'"),
        ('[[price]]\nmodel = "m"', "needs prices"),
        ('[[price]]\nmodel = "m"\ninput = 1\ndiscount = 1', "one of the two"),
        ("[[price]]\ninput = 1", "model is ''"),
        ("[[price]]\nmodel = 1\ninput = 1", "model is 1"),
        ('[[price]]\nmodel = "m"\ninput = -1', "input is -1; dollars a million tokens from 0"),
        ('[[price]]\nmodel = "m"\ninput = "1"', "input is '1'"),
        ('[[price]]\nmodel = "m"\ninput = true', "input is True"),
        ('[[price]]\nmodel = "m"\ninput = nan', "input is NaN"),
        ('[[price]]\nmodel = "m"\ncall = 2000000', "dollars a call from 0 to 1,000,000"),
        ('[[price]]\nmodel = "m"\ndiscount = 101', "percent from 0 to 100"),
        ('[[price]]\nmodel = "m"\nfrom = "2026-07-01"\ninput = 1', "from is '2026-07-01'; a day is expected"),
        ('[[price]]\nmodel = "m"\nfrom = 2026-07-01T10:00:00\ninput = 1', "a day is expected"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(tmp_path: Path, text: str, said: str) -> None:
    """An error names the file, the entry and the key, the value, and what is expected."""
    file = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_own(file)
    assert str(file) in str(caught.value)
    assert said in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """It is an error, not a file without entries."""
    (tmp_path / "prices.toml").write_bytes(b"\xff")
    for file in (tmp_path / "prices.toml", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_own(file)


def test_which_file_counts(tmp_path: Path) -> None:
    """The one given, which must be there; the one beside the journal; the one of the user's configuration."""
    beside, config = tmp_path / "journal", tmp_path / "config"
    environ = {"XDG_CONFIG_HOME": str(config), "HOME": str(tmp_path)}
    assert found_file(None, beside, environ) is None
    assert found_file(None, beside, {}) is None
    for folder in (config / "otel-agent-journal", beside):
        folder.mkdir(parents=True)
        file = written(folder, "")
        assert found_file(None, beside, environ) == file
    assert found_file(None, beside, {"HOME": str(tmp_path)}) == beside / "prices.toml"
    given = written(tmp_path, "")
    assert found_file(str(given), beside, environ) == given
    with pytest.raises(ConfigError, match="AGENT_JOURNAL_PRICES is 'no'; there is no such file"):
        found_file("no", beside, environ)
