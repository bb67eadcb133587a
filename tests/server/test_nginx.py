"""Behind a real nginx, under a path of its own: links, ids with slashes, streams, cookies."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from otel_agent_journal.server.guard import Access
from otel_agent_journal.store.memory import MemoryStore
from tests.projections import told
from tests.real.fixtures import server_program
from tests.server.served import TOKEN, WAIT_S, Served, keep, messages, served

ODD = "team/../42 ü"
pytestmark = pytest.mark.real


@pytest.fixture
def server() -> Iterator[Served]:
    store = MemoryStore()
    for session_id in (told.SESSION, ODD):
        events = [told.start("root", 1), told.end("root", 1, 2)]
        keep(store, [_of(event, session_id) for event in events])
    access = Access(tokens=(TOKEN,), root_path="/journal", hosts=("journal.example",), proxies=("127.0.0.1",))
    with served(store, access=access) as one:
        yield one


def _of(event, session_id):
    import msgspec

    return msgspec.structs.replace(event, session_id=session_id)


@pytest.fixture
def client(server: Served, tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of nginx, which listens on a socket in a folder: no port is picked."""
    where = tmp_path / "nginx.sock"
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"""
daemon off; master_process off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {tmp_path}/body; proxy_temp_path {tmp_path}/proxy; fastcgi_temp_path {tmp_path}/f;
  uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;
  server {{
    listen unix:{where};
    location /journal/ {{
      proxy_pass http://127.0.0.1:{server.port};
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-Proto https;
      proxy_set_header X-Forwarded-For 192.0.2.1;
      proxy_read_timeout 1h;
    }}
  }}
}}
"""
    )
    nginx = subprocess.Popen(
        [str(server_program("nginx")), "-p", str(tmp_path), "-c", str(config)], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + WAIT_S
    while not where.exists():
        assert nginx.poll() is None, (tmp_path / "error.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    transport = httpx.HTTPTransport(uds=str(where))
    with httpx.Client(transport=transport, base_url="http://journal.example", timeout=WAIT_S) as one:
        yield one
    nginx.terminate()
    nginx.wait(WAIT_S)


BEARER = {"Authorization": f"Bearer {TOKEN}"}


def test_a_link_leads_to_a_cookie_for_this_path_and_for_https(client: httpx.Client) -> None:
    """The cookie is for the path that the proxy gives us, and for https where the proxy says that it is."""
    answer = client.get(f"/journal/sessions/a%2Fb?token={TOKEN}&tab=events")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/journal/sessions/a%2Fb?tab=events"
    cookie = answer.headers["set-cookie"]
    assert "Path=/journal/" in cookie
    assert "Secure" in cookie


def test_ids_with_slashes_pass_the_proxy(client: httpx.Client) -> None:
    """An id with slashes and dots is the same id behind the proxy."""
    from urllib.parse import quote

    answer = client.get(f"/journal/api/sessions/{quote(ODD, safe='')}/tree", headers=BEARER)
    assert answer.status_code == 200
    assert answer.json()["session"]["session_id"] == ODD


def test_events_pass_the_proxy_as_they_come(client: httpx.Client) -> None:
    """A stream is not held back by the proxy, though it has not ended."""
    headers = {**BEARER, "Accept": "text/event-stream"}
    with client.stream("GET", f"/journal/api/sessions/{told.SESSION}/events", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "id" in next(messages(answer.iter_lines()))


def test_pages_name_their_files_by_the_path(client: httpx.Client) -> None:
    """The document names its files by the path that the proxy gives us."""
    answer = client.get("/journal/", headers=BEARER)
    assert answer.status_code == 200
    assert "/journal/" in answer.text


def test_a_name_that_is_not_ours_is_refused_behind_the_proxy_too(client: httpx.Client) -> None:
    """The proxy hands on the name that it was asked by, and a foreign one is refused."""
    answer = client.get("/journal/api/sessions", headers={**BEARER, "Host": "evil.example"})
    assert answer.status_code == 421
