"""Which of a list's prices a call is billed at: by day, time of day, tier and size; the user's own before it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from otel_agent_journal.projections.cost import DAY, SIZES, Billed, Rates
from otel_agent_journal.projections.price_list import (
    Listed,
    Own,
    Period,
    Tiers,
    Variant,
    discounted,
    listed_rates,
    own_of,
)

TODAY = 20_000 * DAY


def billed(since: int = TODAY, asked: str = "m", tier: str = "", size: int = 0, provider: str = "") -> Billed:
    return Billed(since, provider, asked, "", tier, size)


def period(price: int | str, since: int | None = None, between: tuple[int, int] | None = None) -> Period:
    return Period({"input_mtok": Tiers(Decimal(price)), "pictures": Tiers(Decimal(9))}, since, between)


def price(listed: Listed, of: Billed) -> Decimal | None:
    found = listed_rates(listed, of)
    return None if found is None else found.input


def test_the_latest_price_that_had_begun() -> None:
    """A call is billed at the price of its day; before the first of them at the first."""
    listed = Listed((period(1), period(2, TODAY), period(3, TODAY + DAY)))
    assert [price(listed, billed(TODAY + days * DAY)) for days in (-1, 0, 1, 9)] == [1, 2, 3, 3]
    assert price(Listed((period(2, TODAY),)), billed(0)) == 2
    assert listed_rates(Listed(()), billed()) is None


def test_prices_by_the_time_of_day() -> None:
    """Where prices go by the time of day a call's half hour counts; of others that may be, nobody knows."""
    listed = Listed((period(1), period(2, None, (60, 240)), period(3, None, (1380, 30))))
    at = {half: price(listed, billed(TODAY + half, "deepseek-x")) for half in (0, 1, 2, 7, 8, 46)}
    assert at == {0: 3, 1: 1, 2: 2, 7: 2, 8: 1, 46: 3}
    assert price(listed, billed(TODAY, "m")) is None
    assert price(Listed((period(1), period(2, None, (61, 240)))), billed(TODAY, "deepseek-x")) is None


def test_tiers_of_service() -> None:
    """A batch, or a tier of service, has its own prices, each unit's where it is listed; what is not listed is none."""
    both = Period({"input_mtok": Tiers(Decimal(2)), "output_mtok": Tiers(Decimal(8))})
    half = Variant({"processing": "batch"}, period(1))
    new = Variant({"service_tier": "flex"}, period(1, TODAY))
    listed = Listed((both,), (half, new))
    found = listed_rates(listed, billed(tier="batch"))
    assert found is not None
    assert (found.input, found.output) == (1, 8)
    assert [price(listed, billed(tier=tier)) for tier in ("", "flex", "priority")] == [2, 1, None]
    assert price(listed, billed(TODAY - DAY, tier="flex")) is None


def test_prices_that_go_up_with_the_input() -> None:
    """Over a threshold all tokens cost more; where calls of one size have two prices, nobody knows."""
    listed = Listed((Period({"input_mtok": Tiers(Decimal(1), ((200_000, Decimal(2)),))}),))
    below = SIZES.index(200_000)
    assert [price(listed, billed(size=size)) for size in (0, below, below + 1, len(SIZES))] == [1, 1, 2, 2]
    odd = Listed((Period({"input_mtok": Tiers(Decimal(1), ((150_000, Decimal(2)), (10**7, Decimal(3))))}),))
    assert [price(odd, billed(size=size)) for size in (0, 3, 4, len(SIZES))] == [1, None, 2, None]


def test_a_price_a_call() -> None:
    """What is asked for a thousand requests is asked for each, too."""
    found = listed_rates(Listed((Period({"requests_kcount": Tiers(Decimal(14))}),)), billed())
    assert found == Rates(call=Decimal("0.014"))


def test_the_users_own_entry_for_a_call() -> None:
    """A name counts before a pattern, an entry of the provider before one of all, the latest that had begun."""
    entries = [
        Own(models="*", discount=Decimal(10)),
        Own(models="gpt-*", rates=Rates(input=Decimal(1))),
        Own(models="gpt-5", rates=Rates(input=Decimal(2))),
        Own(models="gpt-5", provider="azure", rates=Rates(input=Decimal(3))),
        Own(models="gpt-5", since=TODAY, rates=Rates(input=Decimal(4))),
        Own(models="gpt-5", tier="batch", rates=Rates(input=Decimal(5))),
    ]

    def at(*args: int, **more: str) -> Decimal | None:
        own = own_of(entries, billed(*args, **more))  # type: ignore[arg-type]
        return None if own is None or own.rates is None else own.rates.input

    yesterday = TODAY - DAY
    assert at(yesterday, asked="GPT-5") == 2
    assert at(TODAY, asked="gpt-5") == 4
    assert at(TODAY, asked="gpt-5", provider="Azure") == 3
    assert at(TODAY, asked="gpt-4") == 1
    assert at(TODAY, asked="gpt-5", tier="batch") == 5
    assert at(TODAY, asked="claude") is None
    assert own_of(entries[1:], billed(asked="claude")) is None
    assert own_of(entries[2:3], Billed(TODAY, "", "dep", "gpt-5", "", 0)) == entries[2]


@pytest.mark.parametrize(("percent", "expected"), [(0, "10"), (25, "7.5"), (100, "0")])
def test_a_discount(percent: int, expected: str) -> None:
    """Percent are taken off every price; what has none gets none."""
    found = discounted(Rates(input=Decimal(10), call=Decimal(10)), Decimal(percent))
    assert found == Rates(input=Decimal(expected), call=Decimal(expected))
