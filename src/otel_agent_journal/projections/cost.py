"""What model calls cost: what a price depends on, the price of tokens, and sums of which a part is not known. Pure.

Nothing here knows a price. A reader has them (`reading/prices.py`) and hands in a `Price`; what a provider said that a
call cost is a fact of the journal and comes before it. Amounts are US dollars.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple, cast

import msgspec

from otel_agent_journal.event import JournalEvent, Usage, kind_of

# The names of attributes, as `mapping.genai` has them: a test holds them equal.
PROVIDER: Final = "gen_ai.provider.name"
ASKED: Final = "gen_ai.request.model"
ANSWERED: Final = "gen_ai.response.model"
REPORTED: Final = "gen_ai.usage.cost"
TIERS: Final = (
    "openai.response.service_tier",
    "gen_ai.openai.response.service_tier",
    "gen_ai.response.service_tier",
    "openai.request.service_tier",
    "gen_ai.openai.request.service_tier",
)
TOLD: Final = frozenset((PROVIDER, ASKED, ANSWERED, REPORTED, *TIERS))

# Tokens of input over which one price or another goes up: calls are summed up by what their price goes by.
SIZES: Final = (32_000, 100_000, 128_000, 199_999, 200_000, 256_000, 272_000, 512_000, 524_288)
HALF_HOUR_NS: Final = 1_800 * 1_000_000_000
DAY: Final = 48  # half hours
BY_THE_HOUR: Final = "deepseek"  # in the names of models whose price goes by the time of day
_USUAL_TIERS: Final = frozenset(("", "auto", "default", "standard", "standard_only", "on_demand"))
_MAX_NAME: Final = 200  # characters of a provider's or a model's name
_MILLION: Final = Decimal(1_000_000)
_PRECISE: Final = Decimal("1e-12")
_MAX_USD: Final = 1e9  # of one call; what is more is no cost
NOTHING: Final = Decimal(0)


class Billed(NamedTuple):
    """What the price of a call depends on, "" where that is not told.

    `since`: half hours from the epoch to the call's day, or to the call where prices go by the time of day. `size`: how
    many of `SIZES` its input is over.
    """

    since: int
    provider: str
    asked: str
    answered: str
    tier: str
    size: int


class Call(NamedTuple):
    """One call of a model as it is billed. `usage`: None where nobody told it; `reported`: what the provider said."""

    billed: Billed
    usage: Usage | None
    reported: Decimal | None = None

    @property
    def is_told(self) -> bool:
        """Whether it is known what it used, or cost."""
        return self.usage is not None or self.reported is not None


Asked = tuple[str, str, str]
NOT_ASKED: Final[Asked] = ("", "", "")


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """US dollars a million tokens; None where there is no price: of `cache_*` and `reasoning` that of what they are in.

    `call`: dollars a call beside its tokens.
    """

    input: Decimal | None = None
    output: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    reasoning: Decimal | None = None
    call: Decimal = NOTHING


Price = Callable[[Billed], Rates | None]
"""Returns what a call is billed at; None where nobody knows."""


class Cost(msgspec.Struct, frozen=True):
    """What calls cost together. `unpriced`: how many there are beside `priced` ones whose cost is not known."""

    total_usd: Decimal = NOTHING
    priced: int = 0
    unpriced: int = 0

    def __add__(self, other: Cost) -> Cost:
        """Return both together."""
        return Cost(self.total_usd + other.total_usd, self.priced + other.priced, self.unpriced + other.unpriced)

    @property
    def usd(self) -> float | None:
        """The dollars that are known of; None where nothing is."""
        return float(self.total_usd) if self.priced else None


NO_CALLS: Final = Cost()


def summed(costs: Iterable[Cost]) -> Cost:
    """Return several costs together."""
    return sum(costs, NO_CALLS)


# --- what was called ----------------------------------------------------------------------------------------------


class Told(NamedTuple):
    """What the ending of a call tells of it: `asked` as `asked_by` returns it, the model that `answered`."""

    kind: str
    name: str
    end_ns: int
    asked: Asked
    answered: str
    usage: Usage | None
    reported: Decimal | None

    @property
    def is_told(self) -> bool:
        """Whether it says what the call used, or cost."""
        return self.usage is not None or self.reported is not None


def told_by_ending(end: JournalEvent, outcome: str) -> Told | None:
    """Return what an ending tells of a call; None where it is of none."""
    return told_of(kind_of(end.type) or "", end.name, end.timestamp_ns, outcome, end.usage, end.details)


def asked_by(details: Mapping[str, Any]) -> Asked:
    """Return provider, model and tier as the details of a START or an ending name them, "" where they do not."""
    attributes = _attributes(details)
    if not attributes:
        return NOT_ASKED
    tier = next((text for name in TIERS if (text := _text(attributes.get(name)))), "")
    return _text(attributes.get(PROVIDER)), _text(attributes.get(ASKED)), tier.lower()


def told_of(
    kind: str, name: str | None, end_ns: int, outcome: str, usage: Usage | None, details: Mapping[str, Any]
) -> Told | None:
    """Return what is told of a call that has ended; None of what is none, or failed and used nothing."""
    attributes = _attributes(details)
    reported = NOTHING if details.get("cached") is True else dollars(attributes.get(REPORTED))
    if usage is None and reported is None and (kind != "MODEL" or outcome == "error"):
        return None
    return Told(kind, _text(name), end_ns, asked_by(details), _text(attributes.get(ANSWERED)), usage, reported)


def call_of(told: Told, asked: Asked) -> Call:
    """Return a call of which the ending and the START tell; the ending's word counts. A step has its model's name."""
    said = told.asked
    provider, model, tier = said[0] or asked[0], said[1] or asked[1], said[2] or asked[2]
    if not model and told.kind == "MODEL":
        model = told.name
    half_hours = told.end_ns // HALF_HOUR_NS
    by_the_hour = BY_THE_HOUR in model.lower() or BY_THE_HOUR in told.answered.lower()
    billed = Billed(
        half_hours if by_the_hour else half_hours // DAY * DAY,
        provider,
        model,
        "" if told.answered == model else told.answered,
        "" if tier in _USUAL_TIERS else tier,
        bisect_left(SIZES, told.usage.input_tokens) if told.usage else 0,
    )
    return Call(billed, told.usage, told.reported)


def _attributes(details: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = details.get("attributes")
    return cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else {}


def _text(value: Any) -> str:
    return value[:_MAX_NAME] if isinstance(value, str) else ""


def dollars(value: Any) -> Decimal | None:
    """Return a number of dollars exactly as it is written; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MAX_USD:
        return None
    return Decimal(repr(value)).quantize(_PRECISE)


# --- what it cost -------------------------------------------------------------------------------------------------


def cost_of(call: Call, price: Price) -> Cost:
    """Return what a call cost: what the provider said, else its tokens at their price, where that is known."""
    if call.reported is not None:
        return Cost(call.reported, 1)
    rates = None if call.usage is None else price(call.billed)
    amount = None if rates is None or call.usage is None else amount_of(call.usage, rates)
    return Cost(unpriced=1) if amount is None else Cost(amount, 1)


def amount_of(usage: Usage, rates: Rates, calls: int = 1) -> Decimal | None:
    """Return what the tokens of some calls cost at a price; None where some of them have none."""
    read, written = usage.cache_read_tokens, usage.cache_write_tokens
    thought = min(usage.reasoning_tokens, usage.output_tokens)
    parts = (
        (max(0, usage.input_tokens - read - written), rates.input),
        (read, rates.input if rates.cache_read is None else rates.cache_read),
        (written, rates.input if rates.cache_write is None else rates.cache_write),
        (usage.output_tokens - thought, rates.output),
        (thought, rates.output if rates.reasoning is None else rates.reasoning),
    )
    total = NOTHING
    for tokens, rate in parts:
        if tokens:
            if rate is None:
                return None
            total += tokens * rate
    return total / _MILLION + calls * rates.call
