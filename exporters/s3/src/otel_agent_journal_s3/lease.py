"""The lease of an announcement: how long followers look after a session once the log has named it. Pure.

Writers and followers never speak to each other. They meet in a session's segments and in the entries of the log, whose
times are the server's; each process has a clock of its own besides, which others do not see.

An entry announces a session from a number on. It holds for `Lease.holds_s`; in quarters, so that clocks may run apart:

    0           0.4        0.5              0.75            1
    |-- write --|-- renew --|                |               |     the writer (`Promise`)
    |---------- give what was written -------|-- look only --|     the follower (`Watch`)

and it ends before that with the first segment behind it after which the session *rests*: one that says so, or a mark.
Who writes the next number has read that segment, and so knows that the session must be announced once more. Who follows
has read it too, and need not look for a next number before the log names the session again.

So of what was ever written each segment is behind an entry that a follower reads, and is given once. docs/adr/0029 has
the reasoning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

HOLDS_S: Final = 600.0
_KNOWN: Final = 0.25  # how old the knowledge of a session's end may be that an entry states
_RENEWED: Final = 0.4
_WRITTEN: Final = 0.5
_GIVEN: Final = 0.75


class Promise(NamedTuple):
    """What a writer has announced of a session.

    `began_s` is before it was put, by the writer's own clock, `at_s` when it was there, by the server's; `since` is the
    number from which on it holds.
    """

    began_s: float
    at_s: float
    since: int


class Lease(NamedTuple):
    """The terms. A writer asks before it writes and after, a follower before it gives and before it leaves."""

    holds_s: float = HOLDS_S

    @property
    def known_s(self) -> float:
        """How old the knowledge of a session's end may be that an entry states, in seconds of the writer's clock."""
        return self.holds_s * _KNOWN

    def may_write(self, promise: Promise | None, now_s: float, rested: int) -> bool:
        """Tell whether a writer may write under what it announced, now by its own clock.

        `rested` is the number behind the last segment after which the session rests, 0 where there is none.
        """
        return promise is not None and rested <= promise.since and now_s - promise.began_s <= self.holds_s * _RENEWED

    def is_open(self, promise: Promise | None, now_s: float) -> bool:
        """Tell whether followers may be looking still for what a writer has announced."""
        return promise is not None and now_s - promise.began_s <= self.holds_s

    def held(self, at_s: float, written_s: float) -> bool:
        """Tell whether what was written under an entry was in time, by the server's clock; else it is announced."""
        return written_s - at_s <= self.holds_s * _WRITTEN

    def is_late(self, at_s: float, written_s: float, now_s: float) -> bool:
        """Tell whether another's segment, read now, is given under no entry unless it is announced again.

        Whoever announces the session next does so from there on. One that is older is left to followers, who give it.
        """
        return written_s - at_s > self.holds_s * _GIVEN >= now_s - written_s

    def is_given(self, at_s: float, written_s: float, log_s: float) -> bool:
        """Tell whether what was written at a time is given under an entry of another time, or waits for a later one.

        Where none has come in a log that was read up to `log_s`, its writer is gone. All by the server's clock.
        """
        return written_s - at_s <= self.holds_s * _GIVEN or log_s - written_s > self.holds_s

    def is_over(self, at_s: float, now_s: float) -> bool:
        """Tell whether an entry is over at a time, both by the server's clock."""
        return now_s - at_s > self.holds_s


@dataclass
class Watch:
    """A session that a follower looks after: the last entry that names it, and the next place in it.

    It is left when its last entry is over: until then its place is known, so that an entry by somebody who knew less
    than was given already repeats nothing.
    """

    at_s: float  # of the last entry that names it, by the server's clock
    since: int  # the highest number from which on it is announced
    segment: int
    offset: int = 0
    rests: bool = False  # there is nothing to look for
    nothing_s: float = 0.0  # when nothing more was there, by the server's clock

    def announced(self, at_s: float, since: int) -> None:
        """Look for it again, as a later entry names it, unless by who did not know after which segment it rests."""
        self.at_s, self.since = at_s, max(self.since, since)
        self.rests = self.rests and self.since < self.segment

    def passed(self, rests: bool) -> None:
        """Go on behind a segment that was given, after which the session rests unless it is announced from there on."""
        self.segment, self.offset = self.segment + 1, 0
        self.rests = rests and self.since < self.segment

    def nothing(self, now_s: float) -> None:
        """Remember that nothing more was there at a time by the server's clock."""
        self.nothing_s = now_s

    def is_left(self, lease: Lease, now_s: float) -> bool:
        """Tell whether nothing more can come, now by the server's clock: its entry is over and all of it was given."""
        return lease.is_over(self.at_s, now_s) and (self.rests or lease.is_over(self.at_s, self.nothing_s))
