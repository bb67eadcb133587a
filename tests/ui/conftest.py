"""A real Chromium on the built viewer, and pages in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

from scripts import build_ui
from tests.real.fixtures import server_program
from tests.ui import stage as stages

OpenPage = Callable[..., Page]


@pytest.fixture(scope="session")
def viewer() -> None:
    """The viewer, built of the sources as they are."""
    assert build_ui.main() == 0


@pytest.fixture(scope="session")
def browser(viewer: None, browsers: Playwright) -> Iterator[Browser]:
    """A Chromium."""
    expect.set_options(timeout=30_000)  # the machine is shared, and a slow page is not a wrong one
    program = server_program("chromium")
    chromium = browsers.chromium.launch(executable_path=str(program), args=["--no-sandbox"])
    yield chromium
    chromium.close()


@pytest.fixture
def stage() -> Iterator[stages.Stage]:
    """A server of sessions that a test makes up."""
    with stages.raised() as raised:
        yield raised


@pytest.fixture
def open_page(browser: Browser, stage: stages.Stage) -> Iterator[OpenPage]:
    """Opens a path in a profile of its own; at the end nothing may have gone wrong in any of the pages."""
    complaints: list[str] = []
    contexts = []

    def opened(path: str, url: str | None = None, **settings: Any) -> Page:
        settings = {"viewport": {"width": 1440, "height": 860}, "reduced_motion": "reduce"} | settings
        context = browser.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: said.type == "error" and complaints.append(said.text))
        page.goto((url or stage.url) + path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [one for one in complaints if "status of 404" not in one and "ERR_INCOMPLETE" not in one] == []
