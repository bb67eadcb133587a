"""What calls cost, for people: the same words in every command; as data it is `reading.amounts`. Pure.

What is not known is never 0: it is `—`, and a sum of which a part is not known is `≥`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from otel_agent_journal.projections.cost import Cost

NOT_KNOWN: Final = "—"
_CENT: Final = Decimal("0.01")
_LEAST: Final = Decimal("0.0001")  # that is shown in figures
_THOUSAND: Final = 1000


def shown(cost: Cost) -> str:
    """Return a cost in a few characters; nothing where nothing was called."""
    if not cost.priced:
        return NOT_KNOWN if cost.unpriced else ""
    return f"≥ {dollars(cost.total_usd)}" if cost.unpriced else dollars(cost.total_usd)


def dollars(amount: Decimal) -> str:
    """Return dollars in the figures that matter: $0, $0.0042, $0.12, $3.40, $1,204."""
    if not amount:
        return "$0"
    if amount < _LEAST:
        return f"<${_LEAST}"
    if amount < _CENT:
        return f"${amount:.4f}"
    if amount < 1:
        return f"${amount:.3f}"
    return f"${amount:,.2f}" if amount < _THOUSAND else f"${amount:,.0f}"


def is_at_least(cost: Cost, usd: float) -> bool:
    """Tell whether calls are known to have cost so much."""
    return bool(cost.priced) and float(cost.total_usd) >= usd
