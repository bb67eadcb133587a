"""The stores that are on servers, for tests that hold over each of them: fresh places, and ways to them.

`Backend.fresh` makes an empty store and returns its URL; `through` leads the same URL through a proxy.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Generator
from typing import Any, Final, cast

from otel_agent_journal.store.protocol import JournalStore, StoreAdmin
from otel_agent_journal.store.registry import open_store
from tests.real.fault_proxy import FaultProxy, Plan, nothing
from tests.real.fault_proxy_http import DynamoDBProxy, S3Proxy
from tests.real.fault_proxy_postgresql import PostgreSQLProxy
from tests.real.servers import AWS, DynamoDB, Minio, PostgreSQL, Server

NAMES: Final = ("dynamodb", "s3", "postgresql")
SERVERS: Final = {"dynamodb": "dynamodb_server", "s3": "minio_server", "postgresql": "postgresql_server"}
PROXIES: Final[dict[str, type[FaultProxy]]] = {
    "dynamodb": DynamoDBProxy,
    "s3": S3Proxy,
    "postgresql": PostgreSQLProxy,
}


class Backend:
    """One kind of store on its running server."""

    def __init__(self, name: str, server: Server) -> None:
        self.name = name
        self.server = server
        self._shared: str | None = None

    def fresh(self, **options: str) -> str:
        """Make an empty store, prepared as `store init` does it, and return its URL."""
        url = self._place() + "".join(f"&{key}={value}" for key, value in options.items())
        store = open_store(url)
        assert isinstance(store, StoreAdmin)
        store.init()
        store.close()
        return url

    def through(self, url: str, proxy: FaultProxy) -> str:
        """Return a URL of `fresh` that leads through a proxy."""
        return url.replace(f"127.0.0.1:{self.server.port}", f"127.0.0.1:{proxy.port}")

    def proxy(self, plan: Plan = nothing, **options: Any) -> FaultProxy:
        """Return a proxy in front of the server, to be started by `with`."""
        return PROXIES[self.name](self.server.port, plan, **options)

    @contextlib.contextmanager
    def opened(self, url: str) -> Generator[JournalStore]:
        """Open a store, and close it."""
        store = open_store(url)
        try:
            yield store
        finally:
            store.close()

    def _place(self) -> str:
        """Return the URL of a place that nobody has: a table, a prefix of one bucket, a schema of one database."""
        name = f"t{uuid.uuid4().hex}"
        match self.server:
            case DynamoDB():
                return self.server.url(name)
            case Minio():
                self._shared = self._shared or self._bucket()
                return self.server.url(self._shared, name)
            case PostgreSQL():
                self._shared = self._shared or self.server.database()
                return f"{self._shared}?schema={name}"
            case _:
                raise TypeError(self.server)

    def _bucket(self) -> str:
        import boto3

        name = f"test-{uuid.uuid4().hex}"
        client: Any = cast("Any", boto3).client(
            "s3",
            endpoint_url=self.server.endpoint,
            aws_access_key_id=AWS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=AWS["AWS_SECRET_ACCESS_KEY"],
            region_name=AWS["AWS_DEFAULT_REGION"],
        )
        client.create_bucket(Bucket=name)
        return name
