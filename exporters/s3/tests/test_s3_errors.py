"""Bad input, and buckets that cannot be used: a correct write, or an error that says what to do next."""

from __future__ import annotations

import os
from typing import Any

import pytest

from exporters.s3.tests.wire import Wire, answer, said
from otel_agent_journal.errors import (
    ConfigError,
    EventTooLarge,
    JournalError,
    NewerSchema,
    StoreError,
    StoreUnreachable,
    StoreUnusable,
)
from otel_agent_journal.pasting import pasted
from otel_agent_journal.store.registry import open_store as open_by_url
from otel_agent_journal.testing.builders import an_event, events
from otel_agent_journal_s3 import S3Store, open_store
from otel_agent_journal_s3 import store as store_module
from scripts.ports import reserved_port
from tests.real.servers import Minio

ODD = [
    "a/b",
    "..",
    ".",
    "a#b",
    "line\nbreak",
    "x" * 2_048,
    "😀",
    "é" * 60,
    " ",
    "%",
    "~",
    "a\\b",
    '*?|<>:"',
    "a//b",
    "/",
]


@pytest.mark.parametrize("session_id", ODD)
def test_session_ids(store: S3Store, session_id: str) -> None:
    """Whatever a session is called, its events, blobs and instances are its own."""
    store.append([an_event(session_id=session_id), an_event(session_id="s1")])
    store.put_blob(session_id, "d" * 32, b"1")
    assert [event.session_id for event in store.read(session_id)] == [session_id]
    assert store.get_blob(session_id, "d" * 32) == b"1"
    assert store.get_blob("s1", "d" * 32) is None
    assert len(store.follow(None, session_id=session_id).events) == 1


def test_large_detail(store: S3Store) -> None:
    """A detail of 5 MB is kept whole, and a flush of several in more than one segment."""
    made = [an_event(number, details={"output": "x" * 5_000_000}) for number in range(3)]
    store.append(made)
    assert list(store.read("s1")) == made
    assert len(list(store._bucket.list(store._layout.segments("s1")))) == 3


def test_too_large(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event over the limit is refused with its size and the limit, and nothing of it is written."""
    monkeypatch.setattr(store_module, "MAX_EVENT_BYTES", 10_000)
    with pytest.raises(EventTooLarge, match="limit 10,000") as refused:
        store.append([an_event(details={"output": "x" * 10_001})])
    assert refused.value.limit_bytes == 10_000
    assert list(store.read("s1")) == []


def expect(store: S3Store, *parts: str) -> None:
    """Reading and writing are both refused as unreachable, with these words."""
    for work in (lambda: store.append(events(1)), lambda: list(store.read("s1")), lambda: store.head("s1")):
        with pytest.raises(StoreUnreachable) as refused:
            work()
        for part in parts:
            assert part in str(refused.value)


def test_no_bucket(minio_server: Minio, aws: None) -> None:
    """A bucket that is not there: how it is made."""
    url = minio_server.url("nobody-made-this")
    expect(open_store(url), "the bucket is not there", f"agent-journal store init {pasted(url)}")


def test_wrong_region(minio_server: Minio, bucket: str) -> None:
    """A wrong region that the server corrects is no obstacle."""
    store = open_store(minio_server.url(bucket).replace("us-east-1", "eu-central-1"))
    store.append(events(2))
    assert list(store.read("s1")) == events(2)


def test_wrong_key(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that nobody knows, and a secret that is not its."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not this one")
    expect(open_store(url), "credentials", "SignatureDoesNotMatch")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    expect(open_store(url), "credentials", "InvalidAccessKeyId")


def test_no_credentials(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials at all: how they are given."""
    for name in [name for name in os.environ if name.startswith("AWS_") and "KEY" in name]:
        monkeypatch.delenv(name)
    expect(open_store(url), "no AWS credentials", "AWS_PROFILE")


@pytest.mark.parametrize(
    ("status", "code", "parts"),
    [
        (400, "ExpiredToken", ("expired", "renew")),
        (403, "AccessDenied", ("not permitted", "agent-journal store iam-policy", "--role writer")),
        (403, "RequestTimeTooSkewed", ("clock",)),
        (301, "PermanentRedirect", ("the bucket is in eu-south-2", "put region=eu-south-2")),
    ],
)
def test_refused(store: S3Store, wire: Wire, status: int, code: str, parts: tuple[str, ...]) -> None:
    """What a test server does not refuse itself is answered in its place: nothing is tried twice, each says why."""
    wire.fault = lambda request, send: answer(request, status, code)
    expect(store, code, *parts)
    wire.fault = None
    store.append(events(1))


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (507, "XMinioStorageFull"),
        (520, "Unknown"),
        (501, "NotImplemented"),
        (400, "KMS.DisabledException"),
        (400, "KMS.KMSInvalidStateException"),
        (400, "BadDigest"),
        (400, "RequestExpired"),
        (400, "XMinioAdminBucketQuotaExceeded"),
        (401, "Unauthorized"),
        (407, "ProxyAuthenticationRequired"),
        (400, "CodeOfNextYear"),
    ],
)
def test_no_fault_of_the_event(store: S3Store, wire: Wire, status: int, code: str) -> None:
    """What a server says of itself, of the bucket or of whoever asks is waited for: it is said of no event."""
    wire.fault = lambda request, send: answer(request, status, code)
    with pytest.raises(StoreUnreachable, match=code):
        store.append(events(1))
    wire.fault = None
    store.append(events(1))
    assert list(store.read("s1")) == events(1)


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "EntityTooLarge"), (400, "KeyTooLongError"), (400, "MetadataTooLarge"), (413, "Payload Too Large")],
)
def test_value_refused(store: S3Store, wire: Wire, status: int, code: str) -> None:
    """What is refused for its name or size is no matter of waiting."""
    store.tip()
    wire.fault = lambda request, send: answer(request, status, code) if request.method == "PUT" else send(request)
    with pytest.raises(StoreError, match=code) as refused:
        store.append(events(1))
    assert not isinstance(refused.value, StoreUnreachable)


@pytest.mark.parametrize("page", [b"<!doctype html><p>Welcome<br>", b"<html><p>Welcome</p></html>", b""])
@pytest.mark.parametrize(("method", "part"), [("GET", "layout.json"), ("GET", "list-type"), ("PUT", "/")])
def test_answer_that_is_no_s3(store: S3Store, wire: Wire, method: str, part: str, page: bytes) -> None:
    """A page of a network that wants a login, with 200, is no answer: it is waited for one of S3."""

    def portal(request: Any, send: Any) -> Any:
        if request.method != method or part not in request.url:
            return send(request)
        return said(request, 200, page, {"content-type": "text/html"})

    wire.fault = portal
    with pytest.raises(StoreUnreachable, match=r"is not AWS|500"):
        store.append(events(1))
    wire.fault = None
    store.append(events(1))
    assert list(store.read("s1")) == events(1)


def test_credentials_that_were_renewed(store: S3Store, wire: Wire) -> None:
    """Credentials that expired are looked for anew by the next call, and those that serve are kept."""
    store.append(events(1))
    wire.fault = lambda request, send: answer(request, 400, "ExpiredToken")
    with pytest.raises(StoreUnreachable, match="ExpiredToken"):
        store.append(events(2))
    wire.fault = None
    store.append(events(2))
    store.append(events(3))
    assert wire.clients == 2
    assert list(store.read("s1")) == events(3)


def test_credentials_that_came_later(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store whose first call found no credentials takes those that are there later."""
    store = open_store(url)
    with monkeypatch.context() as without:
        for name in [name for name in os.environ if name.startswith("AWS_") and "KEY" in name]:
            without.delenv(name)
        with pytest.raises(StoreUnreachable, match="no AWS credentials"):
            store.append(events(1))
    store.append(events(1))
    assert list(store.read("s1")) == events(1)


def test_nobody_listens(bucket: str, aws: None) -> None:
    """A connection that is refused: where to look."""
    url = f"s3://{bucket}/p?region=us-east-1&endpoint_url=http://127.0.0.1:{reserved_port()}&timeout=1"
    expect(open_store(url), "nothing answers there", "endpoint_url")


def test_server_that_comes_back(minio_server: Minio, store: S3Store, wire: Wire) -> None:
    """What failed while the server was away is appended once it is back."""

    def away(request: Any, send: Any) -> Any:
        raise ConnectionRefusedError

    store.append(events(2))
    wire.fault = away
    with pytest.raises(StoreUnreachable):
        store.append(events(4))
    wire.fault = None
    store.append(events(4))
    assert list(store.read("s1")) == events(4)


def test_newer_layout(store: S3Store, url: str) -> None:
    """A store of a newer version is refused and left as it is."""
    store._bucket.put(store._layout.version, b'{"layout": 2, "more": true}')
    for work in (lambda: store.append(events(1)), lambda: list(store.read("s1")), store.tip, store.init):
        with pytest.raises(NewerSchema, match="version 2"):
            work()
    assert [item.name for item in store._bucket.list("")] == [store._layout.version]


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("s3://", "names no bucket"),
        ("s3:///prefix", "names no bucket"),
        ("s3://b?colour=red", "'colour' is no option"),
        ("s3://b?timeout=soon", "timeout"),
        ("s3://b?timeout=0", "timeout"),
    ],
)
def test_malformed_url(url: str, part: str) -> None:
    """A URL that names no bucket, or an option that there is not, is refused as it is opened."""
    with pytest.raises(ConfigError, match=part):
        open_by_url(url)


def test_unknown_profile(bucket: str) -> None:
    """A profile that is not configured, and an endpoint that is none, are told at the first call."""
    for url in (f"s3://{bucket}?profile=nobody", f"s3://{bucket}?region=us-east-1&endpoint_url=nonsense"):
        with pytest.raises(JournalError, match=r"profile|endpoint"):
            open_store(url).append(events(1))


def test_name_of_no_bucket(aws: None) -> None:
    """What can be no bucket's name is told at once, not tried again and again."""
    with pytest.raises(ConfigError, match="Invalid bucket name"):
        open_store("s3://not_a$bucket/p?region=us-east-1").append(events(1))


def test_closed(store: S3Store) -> None:
    """A closed store refuses everything, and no event is to blame for it."""
    store.close()
    for work in (
        lambda: store.append(events(1)),
        store.tip,
        store.info,
        store.init,
        store.compact,
        lambda: store.get_blob("s1", "d"),
    ):
        with pytest.raises(StoreUnusable, match="closed"):
            work()
