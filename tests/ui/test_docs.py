"""What docs/viewer.md says is what the page does."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_key_is_on_its_page() -> None:
    """The keys that `?` lists are those of docs/viewer.md, in the same words."""
    source = (ROOT / "ui" / "src" / "state" / "keys.ts").read_text()
    listed = re.findall(r'^  \["([^"]+)", "([^"]+)"\],$', source, re.MULTILINE)
    page = (ROOT / "docs" / "viewer.md").read_text().partition("## Keys")[2]
    assert len(listed) > 20
    for keys, does in listed:
        for key in keys.replace(" or ", " ").split():
            assert f"`{key}`" in page, key
        assert does in page or keys in {"c", "y", "m", "Home End", "PgUp PgDn"}, does  # these share a line there
