"""A service of AWS as a store calls it: its client, few retries, errors of ours.

botocore resolves credentials, endpoint and connections, signs and sends. It tries nothing again itself: here that is
done with full jitter, within a bound, and the drain goes on from there. Knows nothing of events.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from functools import cache
from threading import RLock
from typing import Any, Final, Generic, TypeVar, cast

from otel_agent_journal import forks
from otel_agent_journal.errors import JournalError, StoreUnusable
from otel_agent_journal.uninstrumented import uninstrumented
from otel_agent_journal_aws.failures import (
    error_without_answer,
    is_of_credentials,
    passes_unanswered,
    refusal_of,
)
from otel_agent_journal_aws.place import Place

ATTEMPTS: Final = 6  # of one request; what still fails then is for the drain to repeat
PATIENCE: Final = 1.5  # times the time for one answer, after which no attempt is begun
FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 1.0
CONNECT_S: Final = 3.0
POOL: Final = 16  # connections kept open, for threads that share a store

Where = TypeVar("Where", bound=Place)
Result = TypeVar("Result")


class Service(Generic[Where]):
    """A service at a place. Thread-safe; a child process has a client of its own.

    Args:
        place: how it is reached.
        name: botocore's, as `s3`.
        endpoint_url: of this service, where it is not Amazon's own.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        place: Where,
        name: str,
        endpoint_url: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.place = place
        self.name = name
        self.endpoint_url = endpoint_url
        self.sleep = sleep
        self._lock = RLock()
        self._client: Any = None
        self._closed = False
        forks.join(self, forks.Place.STORES)

    @uninstrumented()
    def ask(self, what: str, work: Callable[[Any], Result], *, attempts: int = ATTEMPTS) -> Result:
        """Return what `work` makes of the client; what may pass is repeated a few times.

        Args:
            what: is asked, in words of errors.
            work: calls the client, and may do so more than once.
            attempts: at most so many.

        Raises:
            Refusal: the service understood and said no, or went on being in trouble.
            StoreUnreachable: it cannot be reached, or there are no credentials.
            ConfigError: the URL or a profile is wrong.
            StoreUnusable: it is closed.
        """
        until = time.monotonic() + PATIENCE * self.place.timeout_s
        for attempt in range(1, attempts + 1):
            client: Any = None
            try:
                client = self.client
                return work(client)
            except (JournalError, UnicodeEncodeError):
                raise
            except Exception as error:
                if client is not None and is_of_credentials(error):
                    self._drop(client)
                refusal = refusal_of(what, error)
                passes = passes_unanswered(error) if refusal is None else refusal.may_pass
                if attempt == attempts or not passes or time.monotonic() >= until:
                    if refusal is error:
                        raise
                    raise (refusal or error_without_answer(error, what, self.place)) from error
            self.pause(attempt)
        raise AssertionError  # the last attempt returns or raises

    def pause(self, attempt: int) -> None:
        """Wait before attempt `attempt + 1`: full jitter below a bound that doubles."""
        self.sleep(random.uniform(0, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**attempt)))  # noqa: S311 - no secret

    @property
    def client(self) -> Any:
        """This process's client, made when it is first needed."""
        self.require_open()
        client = self._client
        if client is None:
            with self._lock:
                client = self._client
                if client is None:
                    client = self._client = self.made()
        return client

    def require_open(self) -> None:
        """Raise StoreUnusable once it was closed."""
        if self._closed:
            raise StoreUnusable(f"store {self.place.url} is closed")

    def close(self) -> None:
        """Close the connections; every later request is refused. May be called twice."""
        self._closed = True
        forks.leave(self)
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def after_fork(self) -> None:
        """Begin again in a child process: connections must not cross a fork, and nobody there lets go of the lock."""
        self._lock, self._client = RLock(), None

    def made(self, **options: Any) -> Any:
        """Return a new client; `options` are of botocore's `Config`."""
        from botocore.config import Config
        from botocore.session import Session

        place = self.place
        if self.name == "s3" and self.endpoint_url:  # names like those of MinIO's hosts have no subdomain for a bucket
            options["s3"] = {"addressing_style": "path"}
        session = Session(profile=place.profile)
        config = Config(
            connect_timeout=min(CONNECT_S, place.timeout_s),
            read_timeout=place.timeout_s,
            retries={"total_max_attempts": 1},
            max_pool_connections=POOL,
            user_agent=session.user_agent(),  # made once: botocore puts it together twice for each request
            **options,
        )
        session.register_component("data_loader", loader())
        region = place.region or os.environ.get("AWS_REGION") or None  # botocore itself knows AWS_DEFAULT_REGION alone
        make = cast("Callable[..., Any]", session.create_client)
        return make(self.name, region_name=region, endpoint_url=self.endpoint_url, config=config)

    def _drop(self, client: Any) -> None:
        """Make the next request by a new client, with the credentials that there are then: each keeps its first.

        It is not closed, other threads may be using it.
        """
        with self._lock:
            if self._client is client:
                self._client = None


@cache
def loader() -> Any:
    """Return the one loader of botocore's models: reading them is most of what a client costs."""
    from botocore.loaders import Loader

    return Loader(extra_search_paths=None, include_default_search_paths=True)
