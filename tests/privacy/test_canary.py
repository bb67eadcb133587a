"""A secret in every place there is: with content off it is in nothing that leaves, and in nothing at rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.privacy.by_hand import BY_HAND, EVERY_SPAN
from tests.privacy.finding import forms, found_in, secret
from tests.privacy.of_aws import AGENTCORE, BEDROCK
from tests.privacy.of_langgraph import LANGGRAPH
from tests.privacy.of_strands import STRANDS, STRANDS_ADOPTED
from tests.privacy.places import BESIDE, CONTENT, DEPLOYED, NAME, RUN, WHO, Kind, Said, Scenario
from tests.privacy.recorded import NONE, OWN, Searched, run

SCENARIOS = {
    "by hand": BY_HAND,
    "every span": EVERY_SPAN,
    "langgraph": LANGGRAPH,
    "strands": STRANDS,
    "strands adopted": STRANDS_ADOPTED,
    "bedrock": BEDROCK,
    "agentcore": AGENTCORE,
}
EACH = [(name, provider) for name, scenario in SCENARIOS.items() for provider in scenario.providers]


class Found:
    """In which places' secrets were found, and where."""

    def __init__(
        self,
        scenario: Scenario,
        folder: Path,
        *,
        content: bool,
        span_content: bool,
        provider: str,
        shipped: bool = False,
    ) -> None:
        self._places, said = scenario.places, Said(scenario.places)
        searched: Searched = run(
            lambda: scenario.program(said),
            folder / "process",
            content=content,
            span_content=span_content,
            provider=provider,
            instrumentors=scenario.instrumentors,
            environ=scenario.environ(said),
            shipped=shipped,
        )
        assert said.used == set(scenario.places), "a place that nothing was put into"
        assert searched.dropped == 0
        self.spool = found_in(searched.spool, said.secrets)
        self.rest = found_in(searched.rest, said.secrets)
        self.sent = found_in(searched.sent, said.secrets)
        self.theirs = self.of(RUN, BESIDE) if provider == OWN else set[str]()  # what its own exporter says

    def of(self, *kinds: Kind) -> set[str]:
        """Return the places of these kinds."""
        return {place for place, kind in self._places.items() if kind in kinds}


@pytest.mark.parametrize(("scenario", "provider"), EACH)
def test_with_content_off_nothing_said_leaves(scenario: str, provider: str, tmp_path: Path) -> None:
    """By OTLP go names alone, though the journal has it all. A program's own spans say what the program put there."""
    found = Found(SCENARIOS[scenario], tmp_path, content=True, span_content=False, provider=provider)
    assert found.sent - found.theirs <= found.of(NAME, DEPLOYED)
    assert found.spool == found.rest
    assert found.rest - found.of(RUN) == found.of(CONTENT, NAME, WHO, DEPLOYED)


@pytest.mark.parametrize(("scenario", "provider"), EACH)
def test_a_journal_of_metadata(scenario: str, provider: str, tmp_path: Path) -> None:
    """At rest are names, and whose a run is, alone: in spool and store; and no more leaves."""
    found = Found(SCENARIOS[scenario], tmp_path, content=False, span_content=False, provider=provider)
    assert found.spool | found.rest == found.of(NAME, WHO)
    assert found.sent - found.theirs <= found.of(NAME, DEPLOYED)


@pytest.mark.parametrize(("scenario", "provider"), EACH)
def test_content_on_spans_alone(scenario: str, provider: str, tmp_path: Path) -> None:
    """What spans may say is not in a journal that is of metadata."""
    found = Found(SCENARIOS[scenario], tmp_path, content=False, span_content=True, provider=provider)
    assert found.spool | found.rest == found.of(NAME, WHO)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_with_content_on_it_is_found(scenario: str, tmp_path: Path) -> None:
    """Each place is one that the search looks at: what is recorded there is found, at rest and where spans say it."""
    found = Found(SCENARIOS[scenario], tmp_path, content=True, span_content=True, provider=NONE)
    assert found.rest == found.of(CONTENT, NAME, WHO, RUN, DEPLOYED)
    assert len(found.sent & found.of(CONTENT, RUN, BESIDE)) > 2


@pytest.mark.parametrize("content", [True, False])
def test_a_journal_that_is_shipped(content: bool, tmp_path: Path) -> None:
    """A store that is reached by OTLP is a journal: it has content where the journal has."""
    found = Found(BY_HAND, tmp_path, content=content, span_content=False, provider=NONE, shipped=True)
    expected = found.of(NAME, WHO, *([CONTENT, RUN, DEPLOYED] if content else []))
    assert found.sent - found.of(DEPLOYED) == expected - found.of(DEPLOYED)


def test_every_form_of_a_secret_is_found() -> None:
    """Plain, escaped, percent-encoded, in hex, and base64 wherever it begins."""
    import base64
    import json
    from urllib.parse import quote

    told = secret(7)
    said = {"it": told}
    for before in range(7):
        assert found_in([base64.b64encode(b"p" * before + told.encode() + b"more")], said) == {"it"}
        assert found_in([base64.b64encode(b"p" * before + secret(8).encode() + b"more")], said) == set()
    for text in (json.dumps({"a": told}), quote(f"é {told}"), told.encode().hex()):
        assert found_in([text.encode()], said) == {"it"}
    assert len(forms(told)) > 6
    assert found_in([b"canary"], said) == set()
