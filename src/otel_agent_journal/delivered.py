"""What a flush knows: how much is not there yet, how much was set aside, and what nobody can tell."""

from __future__ import annotations

from typing import Final, Self

import msgspec


class Delivered(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of everything that was recorded before a flush; None is not known. Any combination may be.

    True only where all is known to be there: nothing is pending, set aside or unknown. Printed as True or False.

    Attributes:
        pending: records of the journal that the store has not confirmed.
        set_aside: events that the store refused for good; they are kept, and `agent-journal doctor` names them.
        spans_pending: spans that the OTLP backend has not confirmed; 0 where none are forwarded.
    """

    pending: int | None = 0
    set_aside: int | None = 0
    spans_pending: int | None = 0

    def __bool__(self) -> bool:
        """Tell whether all is known to be there."""
        return (self.pending, self.set_aside, self.spans_pending) == (0, 0, 0)

    def __str__(self) -> str:
        """Return True or False as text."""
        return str(bool(self))

    def __and__(self, other: Self) -> Delivered:
        """Return what is known of both together."""
        return Delivered(
            pending=_sum(self.pending, other.pending),
            set_aside=_sum(self.set_aside, other.set_aside),
            spans_pending=_sum(self.spans_pending, other.spans_pending),
        )


ALL: Final = Delivered()
UNKNOWN: Final = Delivered(pending=None, set_aside=None, spans_pending=None)


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other
