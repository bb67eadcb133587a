"""OpenAPI: what is checked in is what is served, and every answer is as it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from otel_agent_journal.server.openapi import document
from otel_agent_journal.server.table import EVERY
from otel_agent_journal.store.memory import MemoryStore
from tests.projections import told
from tests.server.served import Served, keep, served

CHECKED_IN = Path(__file__).parents[2] / "docs" / "openapi.json"


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    store = MemoryStore()
    keep(
        store,
        [
            told.start("root", 1, details={"input": {"question": "?"}}),
            told.start("call", 2, under="root", kind="MODEL", details={"messages": [{"role": "user", "content": "?"}]}),
            told.end("call", 2, 3, under="root", kind="MODEL", usage={"input_tokens": 3}, details={"output": "!"}),
            told.end("root", 1, 4, "error"),
        ],
    )
    with served(store) as one:
        yield one


def test_the_document_that_is_checked_in_is_the_one_that_is_served(server: Served) -> None:
    """docs/openapi.json is what the routes say. To renew it: python -m otel_agent_journal.server > FILE."""
    assert CHECKED_IN.read_bytes() == document(EVERY)
    assert server.client.get("/openapi.json").content == document(EVERY)


def _paths() -> list[tuple[str, str]]:
    names = {"{id}": told.SESSION, "{step}": "2", "{digest}": "0" * 64}
    found: list[tuple[str, str]] = []
    for route in (one for one in EVERY if one.method == "GET"):
        path = route.path
        for name, value in names.items():
            path = path.replace(name, value)
        found.append((route.path, path))
    return found


@pytest.mark.parametrize(("path", "asked"), _paths())
def test_every_answer_is_as_the_document_says(server: Served, path: str, asked: str) -> None:
    """What a route answers, and what it answers for a session that is not there, fits its schema."""
    told_of = json.loads(document(EVERY))
    for address in (asked, asked.replace(told.SESSION, "no-such-session")):
        query = f"?session={told.SESSION}x" if path == "/api/stream" else ""
        answer = server.client.get(address + query)
        responses = told_of["paths"][path]["get"]["responses"]
        known = responses.get(str(answer.status_code), responses["default"])["content"]
        media = answer.headers["content-type"].partition(";")[0]
        assert media in known, (address, answer.status_code, answer.text[:200])
        if media.endswith("json") and "ndjson" not in media:
            schema: dict[str, Any] = {**known[media]["schema"], "components": told_of["components"]}
            jsonschema.Draft202012Validator(schema).validate(answer.json())
        if answer.status_code >= 400:
            assert answer.status_code in (404, 400, 501), answer.text
            problem = answer.json()
            assert problem["detail"]
            assert problem["status"] == answer.status_code


@pytest.mark.parametrize("query", ["limit=x", "limit=0", "limit=99999", "status=odd", "since=gestern", "until=-"])
def test_a_malformed_parameter_is_named(server: Served, query: str) -> None:
    """A parameter that cannot be read is answered by 400, with its name, its value and what is expected."""
    answer = server.client.get(f"/api/sessions?{query}")
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["detail"]
