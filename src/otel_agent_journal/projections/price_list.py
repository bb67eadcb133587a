"""Price lists: what each model cost when, and which of its prices a call is billed at. Pure.

`Listed` is one model of a public list, `Own` an entry of the user's own, which comes first and may be a discount.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec

from otel_agent_journal.projections.cost import BY_THE_HOUR, DAY, NOTHING, SIZES, Billed, Rates

# Units of a list's prices, and the fields of `Rates`; all other units are of what nobody counts, as pictures.
_UNITS: Final[Mapping[str, str]] = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "output_reasoning_mtok": "reasoning",
}
_CALLS: Final = "requests_kcount"
_BATCH: Final = "batch"
_PERCENT: Final = Decimal(100)


class Tiers(msgspec.Struct, frozen=True, array_like=True):
    """A price, and in rising order those of calls whose input is over so many tokens: they are for all the tokens."""

    base: Decimal
    above: tuple[tuple[int, Decimal], ...] = ()


class Period(msgspec.Struct, frozen=True, omit_defaults=True):
    """Prices by unit. `since`: half hours from the epoch to the day they begin; `between`: minutes of each day."""

    prices: Mapping[str, Tiers]
    since: int | None = None
    between: tuple[int, int] | None = None


class Variant(msgspec.Struct, frozen=True):
    """Prices of some calls, as `{"processing": "batch"}`."""

    when: Mapping[str, str]
    period: Period


class Listed(msgspec.Struct, frozen=True):
    """A model as it is listed. Of `periods` the last that a call is in counts; of none, the first."""

    periods: tuple[Period, ...]
    variants: tuple[Variant, ...] = ()


def listed_rates(listed: Listed, billed: Billed) -> Rates | None:
    """Return what a call is billed at by a list; None where the list, or what is known of the call, does not say it."""
    if not listed.periods or not _is_clear(listed, billed):
        return None
    standard = next((one for one in reversed(listed.periods) if _holds(one, billed)), listed.periods[0])
    prices = dict(standard.prices)
    if billed.tier:
        wanted = {"processing": _BATCH} if billed.tier == _BATCH else {"service_tier": billed.tier}
        found = [one for one in listed.variants if one.when == wanted and _holds(one.period, billed)]
        if not found:
            return None  # it has another price than the usual one, and that is not listed
        for one in reversed(found):
            prices |= one.period.prices
    rates: dict[str, Decimal] = {}
    for unit, tiers in prices.items():
        price = _of_size(tiers, billed.size)
        if unit in _UNITS:
            if price is None:
                return None
            rates[_UNITS[unit]] = price
    calls = prices.get(_CALLS)
    return Rates(**rates, call=NOTHING if calls is None else calls.base / 1000)


def _is_clear(listed: Listed, billed: Billed) -> bool:
    """Tell whether the call's time is known as closely as the list's prices go by it."""
    if BY_THE_HOUR in f"{billed.asked} {billed.answered}".lower():
        return all(minute % 30 == 0 for one in listed.periods for minute in one.between or ())
    return all(one.between is None for one in listed.periods)


def _holds(period: Period, billed: Billed) -> bool:
    if period.since is not None and billed.since // DAY < period.since // DAY:
        return False
    if period.between is None:
        return True
    begin, end = period.between
    minute = billed.since % DAY * 30
    return begin <= minute < end if begin <= end else minute >= begin or minute < end


def _of_size(tiers: Tiers, size: int) -> Decimal | None:
    """Return the price of calls of a size of `SIZES`; None where calls of one size have two."""
    least = SIZES[size - 1] + 1 if size else 0
    most = SIZES[size] if size < len(SIZES) else None
    price = tiers.base
    for start, higher in tiers.above:
        if least > start:
            price = higher
        elif most is None or most > start:
            return None
    return price


class Own(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the user's own prices: what some models cost from a day on, or what is taken off the list's price.

    `models`: a name or a pattern, as `gpt-5*`. `since`: as of a `Period`. `discount`: percent.
    """

    models: str
    provider: str = ""
    tier: str = ""
    since: int = 0
    rates: Rates | None = None
    discount: Decimal = NOTHING

    def matches(self, billed: Billed) -> bool:
        """Tell whether it is for a call."""
        if self.provider and self.provider != billed.provider.lower():
            return False
        if self.tier != billed.tier or billed.since // DAY < self.since // DAY:
            return False
        return any(fnmatchcase(name.lower(), self.models) for name in (billed.asked, billed.answered) if name)


def own_of(entries: Iterable[Own], billed: Billed) -> Own | None:
    """Return the entry for a call: a name before a pattern, with a provider before without, the latest, the last."""
    found = [
        ((not _is_pattern(one), bool(one.provider), one.since, place), one)
        for place, one in enumerate(entries)
        if one.matches(billed)
    ]
    return max(found, key=lambda one: one[0])[1] if found else None


def _is_pattern(own: Own) -> bool:
    return any(mark in own.models for mark in "*?[")


def discounted(rates: Rates, discount: Decimal) -> Rates:
    """Return prices with percent taken off."""
    kept = 1 - discount / _PERCENT
    given: dict[str, Any] = {
        name: None if (rate := getattr(rates, name)) is None else rate * kept for name in Rates.__struct_fields__
    }
    return Rates(**given)
