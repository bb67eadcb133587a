"""`useStream` of LangGraph's JavaScript client, in a page of another origin, in a real Chromium, against `serve`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Playwright, expect

from tests.real.fixtures import server_program
from tests.server.clients.conftest import LONG_S, TOKEN, Serve
from tests.server.clients.page import built

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and says nothing."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def page_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the page is: another origin than the server's."""
    folder: Path = tmp_path_factory.mktemp("page")
    built(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser(browsers: Playwright) -> Iterator[Browser]:
    one = browsers.chromium.launch(executable_path=str(server_program("chromium")), args=["--no-sandbox"])
    yield one
    one.close()


def test_a_page_asks_is_asked_and_answers(browser: Browser, serve: Serve, page_url: str) -> None:
    """Words, the graph's question and its answer are shown, and where its origin is not let in it has nothing."""
    open_to_it, closed = serve("--allow-origin", page_url), serve()
    page = browser.new_page()
    page.set_default_timeout(LONG_S * 1000)
    expect.set_options(timeout=LONG_S * 1000)
    page.goto(f"{page_url}/index.html#{urlencode({'url': open_to_it.url, 'key': TOKEN})}")
    page.click("#ask")
    expect(page.locator("#asks")).to_have_text("Book it?")
    expect(page.locator("li")).to_have_text(["human: Is it free?", "ai: The seat is free."])
    expect(page.locator("#busy")).to_have_text("false")
    page.click("#answer")
    expect(page.locator("#agreed")).to_have_text("yes")
    expect(page.locator("#asks")).to_have_text("")
    expect(page.locator("#error")).to_have_text("")
    shut = browser.new_page()
    shut.goto(f"{page_url}/index.html#{urlencode({'url': closed.url, 'key': TOKEN})}")
    shut.click("#ask")
    expect(shut.locator("#error")).not_to_have_text("")
