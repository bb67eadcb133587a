"""The statements for engines that no test can run are those of the schema."""

from __future__ import annotations

import pytest

from otel_agent_journal.lake.schema import TABLES
from tests.docs.pages import ROOT, blocks
from tests.lake.ddl import athena, trino


@pytest.mark.parametrize("table", TABLES)
def test_the_page_has_every_column_of_every_table(table: str) -> None:
    """Each table's statement of docs/lakes_ddl.md names every column in its order and type."""
    found = [block.text for block in blocks((ROOT / "docs" / "lakes_ddl.md").read_text())]
    assert athena(table) in found
    assert trino(table) in found
