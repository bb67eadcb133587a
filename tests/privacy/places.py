"""Where a program or a framework can put a secret: what becomes of each place, with content on and with it off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Any, NamedTuple

from tests.privacy.finding import secret


class Kind(Enum):
    """What a place holds."""

    CONTENT = auto()  # what somebody said: in the journal with content on, nowhere with it off
    NAME = auto()  # metadata on purpose: in the journal always, and on spans
    WHO = auto()  # what runs are found by: in the journal always, on spans with content alone
    RUN = auto()  # set by the program on the span of a step, or of a model call: content, but to its own exporter
    BESIDE = auto()  # set on a span that is no step: as that, and not in the journal
    DEPLOYED = auto()  # said of the process to the backend: content at rest alone
    NOWHERE = auto()  # never recorded


CONTENT, NAME, WHO, RUN, BESIDE, DEPLOYED, NOWHERE = Kind


class Said:
    """Gives each place of a scenario its secret, and knows which were asked for."""

    def __init__(self, places: Mapping[str, Kind]) -> None:
        self._secrets = {place: secret(number) for number, place in enumerate(places)}
        self.used: set[str] = set()

    def __call__(self, place: str) -> str:
        """Return the secret of a place."""
        self.used.add(place)
        return self._secrets[place]

    @property
    def secrets(self) -> dict[str, str]:
        """The secrets by their places."""
        return self._secrets


class Scenario(NamedTuple):
    """A program that puts a secret into every place there is.

    `environ` is what it is started with; `instrumentors` makes those of its frameworks; `providers` are those it has.
    """

    program: Callable[[Callable[[str], str]], None]
    places: Mapping[str, Kind]
    instrumentors: Callable[[], list[Any]] = list
    providers: tuple[str, ...] = ("no provider", "own provider")
    environ: Callable[[Callable[[str], str]], dict[str, str]] = lambda say: {}
