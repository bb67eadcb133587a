"""What calls are billed at: the user's `prices.toml` first, then the list that comes with `genai-prices`. Offline.

That list is an extra, and importing it takes half a second and more: what was looked up is kept in a file of the user's
cache, which is good for as long as the list is the same. Only readers come here, never an agent's process.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.projections.cost import Billed, Rates
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

PACKAGE: Final = "genai_prices"
DISTRIBUTION: Final = "genai-prices"
EXTRA: Final = "otel-agent-journal[cost]"
CACHE: Final = Path("otel-agent-journal") / "prices.json"
_MAX_KNOWN: Final = 2_000  # models that the file holds
_DAY: Final = 48  # half hours

# Providers as the list calls them, by the names of the GenAI conventions; others have the same name there.
_PROVIDERS: Final[Mapping[str, str]] = {
    "aws.bedrock": "aws",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "mistral_ai": "mistral",
    "moonshot_ai": "moonshotai",
    "x_ai": "x-ai",
}
_BEDROCK: Final = re.compile(
    r"arn:aws[\w-]*:bedrock|(?:[a-z]{2,6}\.)?(?:ai21|amazon|anthropic|cohere|deepseek|meta|mistral|openai|qwen)\."
)


class Prices:
    """Returns what a call is billed at. Not thread-safe.

    Args:
        own: the user's entries.
        listed: the public list.
        file: where the user's entries are from, for who asks.
    """

    def __init__(self, own: Sequence[Own], listed: PriceList, file: Path | None = None) -> None:
        self.file = file
        self.listed = listed
        self.own = own
        self._known: dict[Billed, Rates | None] = {}

    def __call__(self, billed: Billed) -> Rates | None:
        """Return it; None where nobody knows."""
        if billed not in self._known:
            self._known[billed] = self._find(billed)
        return self._known[billed]

    def _find(self, billed: Billed) -> Rates | None:
        own = own_of(self.own, billed)
        if own is not None and own.rates is not None:
            return own.rates
        rates = self._of_list(billed)
        return rates if own is None or rates is None else discounted(rates, own.discount)

    def _of_list(self, billed: Billed) -> Rates | None:
        provider = _PROVIDERS.get(billed.provider.lower(), billed.provider.lower())
        if not provider and _BEDROCK.match(billed.asked.lower()):
            provider = "aws"
        # Bedrock answers under a model's plain name, and bills by the region in the one that was asked for.
        names = (billed.asked, billed.answered) if provider == "aws" else (billed.answered, billed.asked)
        for name in names:
            listed = self.listed.find(provider, name) if name else None
            if listed is not None:
                return listed_rates(listed, billed)
        return None


class PriceList:
    """The list of `genai-prices`, where that is installed, and what is known of it without importing it."""

    def __init__(self, cache: Path | None) -> None:
        spec = find_spec(PACKAGE)
        self.is_there = spec is not None
        self._cache = cache
        self._version = (
            "" if spec is None or spec.origin is None else _version_of(Path(spec.origin).resolve().parent / "data.py")
        )
        self._known: dict[str, Listed | None] | None = None
        self._changed = False

    def find(self, provider: str, model: str) -> Listed | None:
        """Return a model as it is listed; None where it is not. `provider` "": found by the model's name."""
        if not self.is_there:
            return None
        if self._known is None:
            self._known = self._read()
        key = f"{provider}/{model}"
        if key not in self._known:
            self._known[key] = looked_up(provider, model)
            self._changed = True
        return self._known[key]

    def keep(self) -> None:
        """Write down what was looked up, for the next reader. That it cannot be written costs it time alone."""
        if not self._changed or self._cache is None or not self._known:
            return
        self._changed = False
        latest = dict(list(self._known.items())[-_MAX_KNOWN:])
        with suppress(OSError):
            self._cache.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            part = self._cache.with_name(f"{self._cache.name}.{os.getpid()}")
            part.write_bytes(msgspec.json.encode(_Kept(self._version, latest)))
            part.replace(self._cache)

    def _read(self) -> dict[str, Listed | None]:
        try:
            kept = msgspec.json.decode(b"" if self._cache is None else self._cache.read_bytes(), type=_Kept)
        except (OSError, msgspec.MsgspecError, UnicodeError):
            return {}
        return kept.models if kept.version == self._version else {}


class _Kept(msgspec.Struct):
    version: str
    models: dict[str, Listed | None]


def _version_of(data: Path) -> str:
    """Return what tells one release of the list from another: its place, size and time."""
    try:
        found = data.stat()
    except OSError:
        return ""
    return f"{data}:{found.st_size}:{found.st_mtime_ns}"


def looked_up(provider: str, model: str) -> Listed | None:
    """Return a model of the list that is installed."""
    from genai_prices.data_snapshot import get_snapshot

    try:
        _, found = get_snapshot().find_provider_model(model, None, provider or None, None)
    except LookupError:
        return None
    prices: Any = found.prices
    periods = cast("list[Any]", prices if isinstance(prices, list) else [prices])
    return Listed(
        tuple(_period(getattr(one, "prices", one), getattr(one, "constraint", None)) for one in periods),
        tuple(Variant(dict(one.when), _period(one.prices, one.constraint)) for one in found.price_variants or ()),
    )


def _period(prices: Any, constraint: Any) -> Period:
    said = cast("dict[str, Any]", vars(prices))
    begins: Any = getattr(constraint, "start_date", None)
    start, end = getattr(constraint, "start_time", None), getattr(constraint, "end_time", None)
    return Period(
        {name: _tiers(price) for name, price in said.items() if price is not None and name[0] != "_"},
        since=None if begins is None else half_hours(begins),
        between=None if start is None or end is None else (_minute(start), _minute(end)),
    )


def _tiers(price: Any) -> Tiers:
    above = getattr(price, "tiers", ())
    return Tiers(getattr(price, "base", price), tuple((tier.start, tier.price) for tier in above))


def _minute(time: Any) -> int:
    moment = datetime.combine(date(2000, 1, 1), time)
    moment = moment if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.hour * 60 + moment.minute


def half_hours(day: date) -> int:
    """Return the half hours from the epoch to the beginning of a day, UTC."""
    return (day - date(1970, 1, 1)).days * _DAY


def cache_file(environ: Mapping[str, str]) -> Path | None:
    """Return where what was looked up is kept; None where there is no home."""
    base = environ.get("XDG_CACHE_HOME") or (f"{environ['HOME']}/.cache" if environ.get("HOME") else "")
    return Path(base) / CACHE if base.startswith("/") else None
