"""A server on loopback that speaks Amazon Bedrock's wire format, so that real clients run without an account.

It serves Converse and ConverseStream of bedrock-runtime, InvokeAgent, InvokeInlineAgent and InvokeFlow of
bedrock-agent-runtime. What it answers is a script, or a function of the request:

    with BedrockServer() as server:
        server.script(call_tool("search", {"q": "x"}), throttle(), say("Found."))
        agent = Agent(BedrockModel(boto_session=..., endpoint_url=server.url))

It checks no signature and no schema, and keeps no conversation. boto3 is imported by `client` alone.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from otel_agent_journal.testing.bedrock.replies import Reply, fail, say
from otel_agent_journal.testing.bedrock.requests import Request
from otel_agent_journal.testing.bedrock.wire import Connections

Answer = Callable[[Request], Reply | str]
Entry = Reply | str | Answer
"""One entry of a script: a reply, a text to say, or a function of the request that gives one of these."""

_KEPT_REQUESTS: Final = 10_000
_REGION: Final = "us-east-1"
_CREDENTIALS: Final = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}


class BedrockServer:
    """Bedrock on 127.0.0.1, at a free port, from `start` (or `with`) until `close`.

    Thread-safe: requests are answered on one thread for each connection, entries of the script taken in the order of
    arrival.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._script: deque[Entry] = deque()
        self._answer: Answer | None = None
        self._requests: deque[Request] = deque(maxlen=_KEPT_REQUESTS)
        self._arrived = 0
        self._connections: Connections | None = None
        self._accepting: threading.Thread | None = None
        self._clients: list[Any] = []

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> Self:
        """Listen; started twice it goes on as it is."""
        if self._connections is None:
            self._connections = Connections(self._respond)
            self._accepting = threading.Thread(
                target=self._connections.serve_forever, args=(0.05,), name="bedrock-server", daemon=True
            )
            self._accepting.start()
        return self

    def close(self, timeout_s: float = 5.0) -> None:
        """Close every connection, also one in the middle of a reply, and wait for the threads.

        Clients made by `client` are closed too; a stream that was not read to its end is for its reader to close.
        """
        clients, self._clients = self._clients, []
        for client in clients:
            client.close()
        connections, accepting = self._connections, self._accepting
        self._connections = self._accepting = None
        if connections is not None and accepting is not None:
            connections.end(timeout_s)
            accepting.join(timeout_s)

    @property
    def url(self) -> str:
        """The `endpoint_url` for both services."""
        if self._connections is None:
            raise RuntimeError("the server is not started: use `with BedrockServer() as server`, or `start()`")
        return f"http://127.0.0.1:{self._connections.server_address[1]}"

    def script(self, *entries: Entry) -> Self:
        """Answer the next requests with these, in order, after what is scripted already."""
        with self._changed:
            for entry in entries:
                times = entry.times if isinstance(entry, Reply) else 1
                self._script.extend([entry] * times)
        return self

    def answer(self, answer: Answer) -> Self:
        """Answer whatever the script does not with a function of the request; it runs on many threads at once."""
        with self._changed:
            self._answer = answer
        return self

    @property
    def requests(self) -> tuple[Request, ...]:
        """What has arrived, the last 10,000."""
        with self._changed:
            return tuple(self._requests)

    @property
    def unused(self) -> int:
        """How many entries of the script are left."""
        with self._changed:
            return len(self._script)

    def wait_for_requests(self, count: int, timeout_s: float = 10.0) -> tuple[Request, ...]:
        """Wait until so many have arrived since the start, and return them; TimeoutError if they do not come."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._arrived >= count, timeout_s):
                raise TimeoutError(f"{self._arrived} of {count} requests arrived within {timeout_s} s")
            return tuple(self._requests)

    def client(self, service: str = "bedrock-runtime", **options: Any) -> Any:
        """Return a boto3 client of this server; the options are those of `Session.client`, such as `config`."""
        client = self.session().client(service, **{"endpoint_url": self.url, **options})
        self._clients.append(client)
        return client

    def session(self) -> Any:
        """Return a boto3 session with made-up credentials; give frameworks the `url` beside it."""
        import boto3

        return boto3.Session(**_CREDENTIALS, region_name=_REGION)

    def environ(self) -> dict[str, str]:
        """Return the variables by which an untouched process reaches this server, and never an account."""
        return {
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": self.url,
            "AWS_ENDPOINT_URL_BEDROCK_AGENT_RUNTIME": self.url,
            "AWS_ACCESS_KEY_ID": _CREDENTIALS["aws_access_key_id"],
            "AWS_SECRET_ACCESS_KEY": _CREDENTIALS["aws_secret_access_key"],
            "AWS_REGION": _REGION,
            "AWS_DEFAULT_REGION": _REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def _respond(self, request: Request) -> Reply:
        with self._changed:
            self._requests.append(request)
            self._arrived += 1
            entry = self._script.popleft() if self._script else self._answer
            self._changed.notify_all()
        try:
            given = entry(request) if callable(entry) else entry
        except Exception as error:  # noqa: BLE001 - a mistake in a script shows where the client reads it, not in a log
            return _mistake(f"the script's function raised {error!r} for request {request.number}")
        if given is None:
            return _mistake(f"the script has no entry for request {request.number}, {request.operation}")
        return say(given) if isinstance(given, str) else given


def _mistake(text: str) -> Reply:
    """A mistake in a script, as an error that no client retries."""
    return fail("ValidationException", f"BedrockServer: {text}")
