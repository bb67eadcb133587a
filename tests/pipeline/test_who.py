"""Whose a run is, and what its tools do: as a program, a framework or MCP says it."""

from __future__ import annotations

import pytest

from otel_agent_journal.pipeline.effects import Effects, effects_hinted, known_effects
from otel_agent_journal.pipeline.who import said_of_run


def test_metadata_tags_user_and_tenant() -> None:
    """Metadata stay as they are; of settings scalars alone are told; user and tenant are found under their names."""
    said = said_of_run(
        {"release": "r1", "nested": {"a": 1}, "tenant_id": "acme"},
        ["canary", 3],
        {"user_id": "anna", "client": object(), "n": 1},
    )
    assert said == {
        "metadata": {"user_id": "anna", "n": 1, "release": "r1", "nested": {"a": 1}, "tenant_id": "acme"},
        "tags": ["canary"],
        "user": "anna",
        "tenant": "acme",
    }
    assert said_of_run({}) == {}


@pytest.mark.parametrize(
    "name", ["openai_api_key", "X-API-Key", "password", "auth_token", "Authorization", "privateKey"]
)
def test_secrets_are_hidden(name: str) -> None:
    """A text under a name like a secret's is hidden; a number is none."""
    assert said_of_run({name: "s3cret"})["metadata"] == {name: "***"}
    assert said_of_run({}, (), {name: "s3cret"})["metadata"] == {name: "***"}
    assert said_of_run({"max_tokens": 100})["metadata"] == {"max_tokens": 100}


def test_hints_of_mcp() -> None:
    """Annotations say what a tool does, where they say anything."""
    assert effects_hinted({"readOnlyHint": True, "destructiveHint": True}) == "read"
    assert effects_hinted({"readOnlyHint": False, "destructiveHint": True}) == "irreversible"
    assert effects_hinted({"destructiveHint": False}) == "write"
    assert effects_hinted({"readOnlyHint": False}) == "write"
    assert effects_hinted({"readOnlyHint": "yes", "title": "x"}) is None


def test_declared_effects() -> None:
    """A name counts before patterns, the first pattern before others; what nobody declared is not known."""
    effects = Effects({"delete_*": "irreversible", "*_page": "read", "delete_draft": "write"})
    assert [effects.of(name) for name in ("delete_draft", "delete_page", "read_page", "other")] == [
        "write",
        "irreversible",
        "read",
        None,
    ]
    assert Effects().of("x") is None
    assert (Effects().of("read_journal"), Effects({"*": "write"}).of("read_journal")) == ("read", "write")
    assert (known_effects("read"), known_effects("reads"), known_effects(None)) == ("read", None, None)
