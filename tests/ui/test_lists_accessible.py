"""The pages about many sessions for those who do not see them, or use no mouse: axe finds nothing in any."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from scripts import build_ui
from tests.server.served import TOKEN, Served, served
from tests.ui.conftest import OpenPage
from tests.ui.journals import a_dozen

AXE = build_ui.UI / "node_modules" / "axe-core" / "axe.min.js"
PAGES = {
    "/": ".big",
    "/?view=events": ".timeline table",
    "/?q=nothing+has+this": ".nothing",
    "/agents": ".tables table",
    "/tools": ".tables table",
    "/compare?a=reading-2&b=reading-3": ".pair",
}


@pytest.fixture(scope="module")
def server(viewer: None) -> Iterator[Served]:
    with served(a_dozen()) as one:
        yield one


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [720, 1024, 1440])
def test_axe_finds_nothing(server: Served, open_page: OpenPage, theme: Any, width: int) -> None:
    """Contrast, names, roles and focus are right on each page, in both themes, at three widths."""
    page = open_page(f"/?token={TOKEN}", url=server.base, color_scheme=theme, viewport={"width": width, "height": 800})
    page.wait_for_selector(".big")
    found: list[str] = []
    for path, shown in PAGES.items():
        page.goto(server.base + path)
        page.wait_for_selector(shown)
        page.evaluate(AXE.read_text(encoding="utf-8"))
        result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        found += [
            f"{path}: {one['id']}: {one['nodes'][0]['html'][:200]} ({len(one['nodes'])})"
            for one in result["violations"]
        ]
        wider = page.evaluate("document.documentElement.scrollWidth > innerWidth")
        assert not wider, path
    assert found == []
