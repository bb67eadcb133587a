"""The user's own prices: `prices.toml`, where it is and what it says. What is wrong in it is said, by entry and key."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, cast

from otel_agent_journal.errors import ConfigError
from otel_agent_journal.projections.cost import NOTHING, Rates
from otel_agent_journal.projections.price_list import Own
from otel_agent_journal.reading.prices import half_hours

NAME: Final = "prices.toml"
_RATES: Final = ("input", "output", "cache_read", "cache_write", "reasoning", "call")
_KEYS: Final = frozenset(("model", "provider", "tier", "from", "discount", *_RATES))
_MAX: Final = Decimal(1_000_000)  # dollars a million tokens; a typing mistake is likelier


def found_file(given: str | None, beside: Path, environ: Mapping[str, str]) -> Path | None:
    """Return the one file that counts: the one given, beside the journal, in the user's configuration; None without.

    Raises:
        ConfigError: the one given is not there.
    """
    if given:
        if not Path(given).is_file():
            raise ConfigError(f"AGENT_JOURNAL_PRICES is '{given}'; there is no such file")
        return Path(given)
    config = environ.get("XDG_CONFIG_HOME") or (f"{environ['HOME']}/.config" if environ.get("HOME") else "")
    places = [beside / NAME, *([Path(config) / "otel-agent-journal" / NAME] if config else ())]
    return next((place for place in places if place.is_file()), None)


def read_own(file: Path) -> tuple[Own, ...]:
    """Return the entries of a file.

    Raises:
        ConfigError: it cannot be read, or something in it is not as docs/cost.md has it.
    """
    import tomllib

    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not TOML: {error}") from error
    entries: Any = found.get("price", [])
    others = sorted(found.keys() - {"price"})
    if others or not isinstance(entries, list):
        named = others[0] if others else "price"
        raise ConfigError(f"{file} has '{named}'; it holds entries that begin with [[price]]")
    return tuple(_entry(file, number, one) for number, one in enumerate(cast("list[Any]", entries), start=1))


def _entry(file: Path, number: int, said: Any) -> Own:
    where = f"{file}: price {number}"
    if not isinstance(said, dict):
        raise ConfigError(f"{where} is no table; begin each with [[price]]")
    entry = cast("dict[str, Any]", said)
    unknown = sorted(entry.keys() - _KEYS)
    if unknown:
        raise ConfigError(f"{where} has '{unknown[0]}'; known are {', '.join(sorted(_KEYS))}")
    given = {name: _amount(where, name, entry[name], _MAX) for name in _RATES if name in entry}
    discount = _amount(where, "discount", entry["discount"], Decimal(100)) if "discount" in entry else NOTHING
    if bool(given) == ("discount" in entry):
        raise ConfigError(f"{where} needs prices ({', '.join(_RATES)}), or a discount; one of the two")
    return Own(
        models=_name(where, entry, "model", needed=True),
        provider=_name(where, entry, "provider"),
        tier=_name(where, entry, "tier"),
        since=half_hours(_day(where, entry["from"])) if "from" in entry else -(2**40),
        rates=Rates(**given) if given else None,
        discount=discount,
    )


def _name(where: str, entry: Mapping[str, Any], key: str, *, needed: bool = False) -> str:
    value = entry.get(key, "")
    if not isinstance(value, str) or (needed and not value):
        raise ConfigError(f'{where}: {key} is {value!r}; a name is expected, as in {key} = "gpt-5*"')
    return value.lower()


def _amount(where: str, key: str, value: Any, most: Decimal) -> Decimal:
    number = Decimal(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else Decimal("nan")
    if not 0 <= number <= most if number.is_finite() else True:
        unit = "percent" if key == "discount" else "dollars a call" if key == "call" else "dollars a million tokens"
        shown = value if isinstance(value, Decimal) else repr(value)
        raise ConfigError(f"{where}: {key} is {shown}; {unit} from 0 to {most:,} are expected")
    return number


def _day(where: str, value: Any) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise ConfigError(f"{where}: from is {str(value)!r}; a day is expected, without quotes, as in from = 2026-07-01")
