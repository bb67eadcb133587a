"""axe-core finds nothing on a session's page, in both themes, from 720 pixels on."""

from __future__ import annotations

import pytest

from scripts import build_ui
from tests.ui import scenes
from tests.ui.conftest import OpenPage
from tests.ui.stage import Stage
from tests.ui.test_session_page import line

RUN = """async () => (await axe.run(document, {resultTypes: ['violations']})).violations.map(one =>
    `${one.id}: ${one.help}: ` + one.nodes.slice(0, 3).map(node =>
        node.html.slice(0, 200) + ' ' + node.any.map(a => a.message).join()).join(' | '))"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(stage: Stage, open_page: OpenPage, scheme: str) -> None:
    """Tree, details, conversation, events, state and the help are clean at 720, 1,024 and 3,840 pixels."""
    axe = (build_ui.UI / "node_modules" / "axe-core" / "axe.min.js").read_text()
    session, rows, tree = scenes.research()
    played = stage.play(session, rows, **tree)
    played.messages = [
        {"role": "user", "content": "Hello", "step_id": f"{3:032x}", "timestamp": "2026-12-02T00:00:00Z"}
    ]
    played.events = [{"event_type": "TOOL_ERROR", "level": "ERROR", "timestamp": "2026-12-02T00:00:00Z", "name": "x"}]
    page = open_page(f"/sessions/reading-7?step={49:032x}", color_scheme=scheme, bypass_csp=True)
    line(page, 49).wait_for()
    page.evaluate(axe)
    found: list[str] = []
    for width in (720, 1024, 3840):
        page.set_viewport_size({"width": width, "height": 1000})
        found += [f"{width}: {one}" for one in page.evaluate(RUN)]
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{width} is scrolled sideways"
    for key in ("2", "3", "4", "?"):
        page.keyboard.press(key)
        page.wait_for_timeout(300)
        found += [f"after {key}: {one}" for one in page.evaluate(RUN)]
    assert found == []
