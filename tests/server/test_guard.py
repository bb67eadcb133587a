"""Who is let in: each rule on every route and every method."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from typing import Any

import pytest

from otel_agent_journal.errors import ConfigError
from otel_agent_journal.server.a2a.routes import a2a_routes
from otel_agent_journal.server.guard import MAX_BODY_BYTES, Access, origins_of
from otel_agent_journal.server.table import EVERY, LANGGRAPH, RUNNING
from otel_agent_journal.store.memory import MemoryStore
from tests.projections import told
from tests.server.served import TOKEN, Served, keep, served

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
OPEN = ("/healthz", "/ping")
NOBODY: Any = None  # who would run agents, which none of these requests gets to
A2A = a2a_routes(NOBODY, {"booking": "Books seats."})


def _named(path: str) -> str:
    named = path.replace("{id}", told.SESSION).replace("{step}", "1").replace("{digest}", "d")
    return named.replace("{agent}", "booking")


PATHS = sorted(
    {_named(route.path) for route in (*EVERY, *A2A)}
    | {"/", "/sessions/x", "/compare", "/static/app.js", "/api/nothing", "/latest", "/api/sessions/%2e%2e%2f"}
)


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    store = MemoryStore()
    keep(store, [told.start("root", 1), told.end("root", 1, 2)])
    with served(store, routes=(*RUNNING, *LANGGRAPH, *A2A)) as one:
        yield one


_connections: dict[int, http.client.HTTPConnection] = {}


def asked(
    server: Served, method: str, path: str, body: bytes | None = None, **headers: str
) -> http.client.HTTPResponse:
    """An answer, on a connection that is kept; the body of a stream, which has no end, is not read."""
    connection = _connections.setdefault(server.port, http.client.HTTPConnection("127.0.0.1", server.port, timeout=20))
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, {"Authorization": f"Bearer {TOKEN}", **named})
    answer = connection.getresponse()
    if "content-length" in answer.headers and answer.status != 413:
        answer.read()
    else:
        connection.close()
    return answer


def every() -> Iterator[tuple[str, str]]:
    for path in PATHS:
        for method in METHODS:
            yield method, path


def test_a_host_that_is_not_ours_gets_nothing(server: Served) -> None:
    """A name that somebody pointed at this machine is refused with 421, whatever is asked, with a token even."""
    for method, path in every():
        for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "a@127.0.0.1", "[::2]"):
            assert asked(server, method, path, Host=host).status == 421, (method, path, host)


def test_our_own_names_are_let_in(server: Served) -> None:
    """Loopback by any of its names, at any port, as through a tunnel, is ours."""
    for host in ("127.0.0.1", f"localhost:{server.port}", "LOCALHOST", "[::1]:9", "localhost."):
        assert asked(server, "GET", "/api/sessions", Host=host).status == 200, host


def test_without_a_token_nothing_is_said(server: Served) -> None:
    """Without a token, or with a wrong one, every route but the signs of life answers 401."""
    for method, path in every():
        for authorization in ("", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN):
            answer = asked(server, method, path, Authorization=authorization)
            if path in OPEN:
                assert answer.status in (200, 403, 405), (method, path)
            else:
                assert answer.status == 401, (method, path, authorization)


def test_a2a_is_behind_the_guard(server: Served) -> None:
    """Its endpoint and its cards are among the routes above, and answer who has a token."""
    cards = ("/.well-known/agent-card.json", "/a2a/booking/.well-known/agent-card.json")
    assert {"/a2a/booking", *cards} <= set(PATHS)
    for card in cards:
        assert asked(server, "GET", card).status == 200
    assert asked(server, "GET", "/a2a/nobody/.well-known/agent-card.json").status == 404


def test_another_origin_changes_nothing(server: Served) -> None:
    """What is not GET, HEAD or OPTIONS is refused with 403 where a page of another origin asks, on every route."""
    for method, path in every():
        if method in ("GET", "HEAD", "OPTIONS"):
            continue
        for headers in (
            {"Sec_Fetch_Site": "cross-site"},
            {"Sec_Fetch_Site": "same-site"},
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Origin": f"http://localhost:{server.port}"},
            {"Sec_Fetch_Site": "cross-site", "Origin": server.base},
        ):
            assert asked(server, method, path, **headers).status == 403, (method, path, headers)


def test_our_own_page_and_no_browser_are_let_through(server: Served) -> None:
    """Our own page, an address typed in, and a program that is no browser meet what the route itself says."""
    for headers in ({"Sec_Fetch_Site": "same-origin"}, {"Sec_Fetch_Site": "none"}, {"Origin": server.base}, {}):
        assert asked(server, "DELETE", "/api/sessions", **headers).status == 405


def test_no_page_of_another_origin_loads_the_api(server: Served) -> None:
    """Reads of the API and of files by another site are refused, too: a script tag is no way in."""
    for path in (path for path in PATHS if path.startswith(("/api/", "/static/", "/a2a/", "/.well-known/"))):
        assert asked(server, "GET", path, Sec_Fetch_Site="cross-site").status == 403


def test_a_body_is_json_and_not_too_large(server: Served) -> None:
    """A body of another type is refused with 415, one over the limit with 413, said or not."""
    for path in PATHS:
        assert asked(server, "POST", path, b"{}", Content_Type="text/plain").status == 415, path
        assert asked(server, "POST", path, b"a=1", Content_Type="application/x-www-form-urlencoded").status == 415
        large = {"Content_Type": "application/json", "Content_Length": str(MAX_BODY_BYTES + 1)}
        assert asked(server, "POST", path, b"", **large).status == 413, path


def test_every_answer_carries_the_headers_of_safety(server: Served) -> None:
    """Whatever is answered, refusals too, may not be framed, sniffed, or run a script that is not ours; nor is CORS."""
    for method, path in every():
        for headers in ({}, {"Host": "evil.example"}, {"Authorization": ""}, {"Origin": "http://evil.example"}):
            answer = asked(server, method, path, **headers)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy, (method, path)
            assert "unsafe" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["cross-origin-resource-policy"] == "same-origin"
            assert not any(name.lower().startswith("access-control-") for name in answer.headers)


def test_the_printed_link_is_exchanged_for_a_cookie(server: Served) -> None:
    """The link gives a cookie that scripts and other sites cannot use, and leads to the same page without the token."""
    answer = asked(server, "GET", f"/sessions/a%2Fb?tab=events&token={TOKEN}", Authorization="")
    assert answer.status == 303
    assert answer.headers["location"] == "/sessions/a%2Fb?tab=events"
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"agent_journal_{server.port}=")
    assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/"))
    assert TOKEN not in cookie
    sent = cookie.partition(";")[0]
    assert asked(server, "GET", "/api/sessions", Authorization="", Cookie=f"other=1; {sent}").status == 200
    assert asked(server, "GET", "/api/sessions", Authorization="", Cookie=sent[:-1] + "0x").status == 401


def test_a_link_never_leads_elsewhere(server: Served) -> None:
    """Where the link leads is a path of ours, whatever path is asked for."""
    for path in ("//evil.example/", "/\\evil.example", "/%2f%2fevil.example", "///evil.example"):
        answer = asked(server, "GET", f"{path}?token={TOKEN}", Authorization="")
        assert answer.status == 303
        assert answer.headers["location"].startswith("/")
        assert not answer.headers["location"].startswith(("//", "/\\")), path


def test_a_token_in_the_address_opens_pages_alone(server: Served) -> None:
    """The API takes no token from its address: addresses are kept in histories and logs."""
    assert asked(server, "GET", f"/api/sessions?token={TOKEN}", Authorization="").status == 401
    assert asked(server, "GET", "/?token=wrong", Authorization="").status == 401


def test_without_tokens_everybody_on_the_machine_is_let_in() -> None:
    """With --no-token the rules of host and origin still hold."""
    with served(access=Access()) as server:
        assert asked(server, "GET", "/api/sessions", Authorization="").status == 200
        assert asked(server, "GET", "/api/sessions", Authorization="", Host="evil.example").status == 421


def test_listening_everywhere_any_address_is_ours_and_no_foreign_name() -> None:
    """Beyond loopback an address will do as Host; of names only those that were given."""
    access = Access(tokens=(TOKEN,), everywhere=True, hosts=("journal.example",))
    assert access.is_ours("192.0.2.7:8321")
    assert access.is_ours("Journal.Example")
    assert not access.is_ours("evil.example")
    assert not Access(tokens=(TOKEN,)).is_ours("192.0.2.7:8321")


def test_it_only_reads_unless_it_may_write(server: Served) -> None:
    """No route that reads takes a method that writes, and those that write are refused without --write.

    LangGraph's clients ask by POST what they search for, and what is not done says so.
    """
    asking = {_named(route.path) for route in EVERY if route.method == "POST" and not route.writes}
    absent = {(route.method, _named(route.path)) for route in EVERY if route.about.startswith("Not done here")}
    for method, path in every():
        if method in ("POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS"):
            answer = asked(server, method, path)
            if (method, path) in absent:
                assert answer.status == 501, (method, path)
            elif method == "POST" and path in asking:
                assert answer.status in (200, 404, 422, 501), (method, path)
            else:
                assert answer.status in (403, 404, 405), (method, path)


def test_a_key_of_langgraphs_clients_is_a_token(server: Served) -> None:
    """What they send as x-api-key admits as a bearer token does, and nothing else does."""
    assert asked(server, "GET", "/ok", Authorization="", X_Api_Key=TOKEN).status == 200
    for key in ("", "wrong", f"Bearer {TOKEN}"):
        assert asked(server, "GET", "/ok", Authorization="", X_Api_Key=key).status == 401


def test_a_page_of_an_allowed_origin_asks_the_api_with_a_token_of_its_own() -> None:
    """Its browser is told that it may; our cookie is nothing there; other origins, other paths get what they got."""
    app = "https://app.example"
    with served(access=Access(tokens=(TOKEN,), origins=(app,))) as server:
        before = asked(server, "OPTIONS", "/threads/search", Authorization="", Origin=app)
        assert before.status == 204
        assert before.headers["access-control-allow-origin"] == app
        assert "access-control-allow-credentials" not in before.headers
        for site in ("cross-site", "same-site"):
            answer = asked(server, "POST", "/threads/search", Origin=app, Sec_Fetch_Site=site, Sec_Fetch_Mode="cors")
            assert answer.status in (200, 422, 501)
            assert answer.headers["access-control-allow-origin"] == app
            assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        sealed = f"{server.app.access.cookie}={server.app.access.sealed(TOKEN)}"
        assert asked(server, "GET", "/ok", Authorization="", Origin=app, Cookie=sealed).status == 401
        assert asked(server, "GET", "/ok", Authorization="", Cookie=sealed).status == 200
        for origin in ("https://evil.example", "http://app.example", "https://app.example.evil.example", "null"):
            answer = asked(server, "POST", "/threads/search", Origin=origin)
            assert answer.status == 403, origin
            assert "access-control-allow-origin" not in answer.headers
            assert asked(server, "OPTIONS", "/threads/search", Origin=origin).status == 405
        page = asked(server, "GET", "/sessions/x", Origin=app)
        assert "access-control-allow-origin" not in page.headers
        assert asked(server, "GET", "/ok", Origin=app, Host="evil.example").status == 421


@pytest.mark.parametrize(
    "origin", ["app.example", "https://app.example/", "https://app.example/a", "*", "null", "ftp://a"]
)
def test_an_origin_is_scheme_name_and_port(origin: str) -> None:
    """Anything else is refused as the server starts."""
    with pytest.raises(ConfigError, match="--allow-origin"):
        origins_of((origin,))
