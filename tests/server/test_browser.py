"""Other pages in the same browser, in a real one: they change nothing, read nothing, and frame nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, Error, Page, Playwright

from otel_agent_journal.server.routes import Route
from otel_agent_journal.store.memory import MemoryStore
from tests.projections import told
from tests.real.fixtures import server_program
from tests.server.served import TOKEN, Served, keep, served

EVIL = "evil.example"
pytestmark = pytest.mark.real


class Elsewhere(BaseHTTPRequestHandler):
    """A page of another origin, which may do what it likes."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title><body></body>")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


changes: list[str] = []


def _change(call: object, journal: object) -> bytes:
    changes.append("changed")
    return b"{}"


CHANGE = Route(method="POST", path="/api/change", about="Counts.", does=_change, writes=True)


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    store = MemoryStore()
    keep(store, [told.start("root", 1), told.end("root", 1, 2)])
    with served(store, write=True, routes=(CHANGE,)) as one:
        yield one


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    other = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    yield f"http://localhost:{other.server_port}/"
    other.shutdown()
    other.server_close()


@pytest.fixture(scope="module")
def browser(browsers: Playwright) -> Iterator[Browser]:
    args = ["--no-sandbox", f"--host-resolver-rules=MAP {EVIL} 127.0.0.1"]
    one = browsers.chromium.launch(executable_path=str(server_program("chromium")), args=args)
    yield one
    one.close()


@pytest.fixture
def page(browser: Browser, server: Served) -> Iterator[Page]:
    """A page of a browser that has opened the printed link."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{server.base}/?token={TOKEN}")
    yield page
    context.close()


FETCH = "async ([url, options]) => { try { const a = await fetch(url, options); return [a.status, await a.text()]; }"
FETCH += " catch (error) { return [0, String(error)]; } }"


def test_the_link_opens_the_page_and_its_token_goes_out_of_sight(page: Page, server: Served) -> None:
    """The address has no token once the page is there; the page may ask and change, by its cookie alone."""
    assert page.url == f"{server.base}/"
    assert page.evaluate("document.cookie") == ""
    assert page.evaluate(FETCH, ["/api/sessions", {}])[0] == 200
    changes.clear()
    options = {"method": "POST", "body": "{}", "headers": {"Content-Type": "application/json"}}
    assert page.evaluate(FETCH, ["/api/change", options])[0] == 200
    assert changes == ["changed"]


def test_a_page_of_another_origin_changes_and_reads_nothing(page: Page, server: Served, elsewhere: str) -> None:
    """By fetch, by form, by beacon, by script: nothing is changed, and nothing can be read."""
    changes.clear()
    page.goto(elsewhere)
    target = f"{server.base}/api/change"
    for mode in ("cors", "no-cors"):
        for media in ("application/json", "text/plain"):
            options = {
                "method": "POST",
                "mode": mode,
                "credentials": "include",
                "body": "{}",
                "headers": {"Content-Type": media},
            }
            assert page.evaluate(FETCH, [target, options])[0] == 0
        read = {"mode": mode, "credentials": "include"}
        assert page.evaluate(FETCH, [f"{server.base}/api/sessions", read])[0] == 0
    page.evaluate("url => navigator.sendBeacon(url, new Blob(['{}'], {type: 'text/plain'}))", target)
    loaded = page.evaluate(
        "url => new Promise(done => { const one = document.createElement('script'); one.src = url;"
        " one.onload = () => done('loaded'); one.onerror = () => done('refused'); document.body.append(one); })",
        f"{server.base}/static/app.js",
    )
    assert loaded == "refused"
    page.evaluate(
        'url => { document.body.innerHTML = `<form method=post action="${url}"><input name=a></form>`;'
        " document.forms[0].submit(); }",
        target,
    )
    page.wait_for_load_state()
    assert changes == []


def test_a_page_of_another_origin_cannot_frame_ours(page: Page, server: Served, elsewhere: str) -> None:
    """In a frame of another page there is nothing of ours."""
    page.goto(elsewhere)
    page.evaluate('url => { document.body.innerHTML = `<iframe src="${url}"></iframe>`; }', f"{server.base}/")
    page.wait_for_timeout(500)
    (frame,) = page.frames[1:]
    assert not frame.url.startswith(server.base) or frame.locator("body").inner_text() == ""


def test_a_name_that_was_pointed_at_this_machine_gets_nothing(page: Page, server: Served) -> None:
    """A page by a name of somebody else, which leads here, is refused, and so is all that it asks for."""
    answer = page.goto(f"http://{EVIL}:{server.port}/?token={TOKEN}")
    assert answer is not None
    assert answer.status == 421
    assert page.evaluate(FETCH, ["/api/sessions", {}])[0] == 421


def test_a_value_that_is_html_does_not_run(page: Page, server: Served) -> None:
    """What an agent kept apart is saved, not shown: a document in it never becomes a page of ours."""
    store = server.app.hub._journal.store
    store.put_blob(told.SESSION, "a" * 64, b"<script>document.title='ran'</script>", "text/html")
    for kind in ("", "?type=text/html", "?type=image/svg%2Bxml", "?type=image/png"):
        with pytest.raises(Error, match="Download is starting"):
            page.goto(f"{server.base}/api/sessions/{told.SESSION}/blobs/{'a' * 64}{kind}")
