"""Objects of one bucket: read, written under a condition, listed, deleted.

Knows nothing of events. Every call answers or raises an error of the journal's.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from itertools import count
from typing import Any, Final, NamedTuple, TypeVar

from otel_agent_journal.codec import JSON
from otel_agent_journal_aws import Refusal, Service
from otel_agent_journal_s3.answers import Item, page_of, read_ourselves
from otel_agent_journal_s3.failures import EMPTY, FORBIDDEN, LOST, MISSING, error_of
from otel_agent_journal_s3.place import Place

PAGE: Final = 1000  # keys in a page of a listing, and in a call that deletes

BY: Final = "by"  # metadata of an object that is written once: which attempt wrote it
AT_ONCE: Final = 8  # requests of one call; each costs most of its time waiting

Result = TypeVar("Result")
Given = TypeVar("Given")


class Stored(NamedTuple):
    """An object as it is in the bucket. `modified_s` is when the server wrote it, by its clock."""

    data: bytes
    etag: str
    modified_s: float
    metadata: Mapping[str, str]
    media_type: str
    size_bytes: int  # of all of it, where a part was asked for


class Written(NamedTuple):
    """What a write was answered with. `at_s` is when, by the server's clock."""

    etag: str
    at_s: float
    version: str | None = None  # where the bucket has versions, and this is the only one that the call can have made


class Version(NamedTuple):
    """An object to be deleted: one version of it for good, or the object, of which its versions stay."""

    name: str
    id: str | None = None


class Bucket(Service[Place]):
    """A bucket. Thread-safe; a forked child has connections of its own."""

    def __init__(self, place: Place) -> None:
        super().__init__(place, "s3", place.endpoint_url)

    def made(self, **options: Any) -> Any:
        """Return a new client."""
        client = super().made(parameter_validation=False, **options)
        read_ourselves(client)
        return client

    def look(self, name: str, **more: str) -> tuple[Stored | None, float]:
        """Return an object, or None where it is not there, and when that was by the server's clock."""
        try:
            return self.ask(f"GET {name}", lambda client: self._look(client, name, **more))
        except Refusal as refusal:
            if refusal.code in (LOST | MISSING if "IfMatch" in more else MISSING):
                return None, _date(refusal.answer)
            if refusal.code in EMPTY:
                return self.look(name)
            raise error_of(refusal, self.place.url) from refusal

    def get_first(self, name: str, size_bytes: int) -> Stored | None:
        """Return an object, of its bytes the first so many; or None where it is not there."""
        return self.look(name, Range=f"bytes=0-{size_bytes - 1}")[0]

    def get_last(self, name: str, size_bytes: int) -> Stored | None:
        """Return an object, of its bytes the last so many; or None where it is not there."""
        return self.look(name, Range=f"bytes=-{size_bytes}")[0]

    def get_part(self, name: str, start: int, end: int, etag: str) -> Stored | None:
        """Return the bytes of an object from one on and before another; None where it has not this ETag any more."""
        return self.look(name, Range=f"bytes={start}-{end - 1}", IfMatch=etag)[0]

    def get(self, name: str) -> Stored | None:
        """Return an object, or None where it is not there."""
        return self.look(name)[0]

    def metadata(self, name: str) -> Mapping[str, str] | None:
        """Return an object's metadata, or None where it is not there."""
        found = self._head(name)
        return found["Metadata"] if found else None

    def etag(self, name: str) -> str | None:
        """Return an object's ETag, or None where it is not there."""
        found = self._head(name)
        return found["ETag"] if found else None

    def _head(self, name: str) -> Mapping[str, Any] | None:
        def head(client: Any) -> Mapping[str, Any]:
            return client.head_object(Bucket=self.place.bucket, Key=name)

        return self.call_for(MISSING, f"HEAD {name}", head)

    def get_all(self, names: Sequence[str]) -> list[Stored | None]:
        """Return objects in the order of their names given, several at a time; None where one is not there."""
        return self.each(self.get, names)

    def each(self, work: Callable[[Given], Result], given: Sequence[Given]) -> list[Result]:
        """Do the same for each of several at a time, and return the results in their order."""
        if len(given) < 2:
            return [work(one) for one in given]
        futures: list[Future[Result]] = []
        with ThreadPoolExecutor(min(AT_ONCE, len(given)), "agent-journal-s3") as pool:
            for one in given:
                try:
                    futures.append(pool.submit(work, one))
                except RuntimeError:  # the program is leaving, and what it journaled is delivered by one thread
                    break
        return [future.result() for future in futures] + [work(one) for one in given[len(futures) :]]

    def put_new(
        self, name: str, data: bytes, metadata: Mapping[str, str] | None = None, *, media_type: str = JSON
    ) -> Written | None:
        """Write an object that is not there yet and return its ETag; None where there is one.

        After None the one that is there may be ours: an attempt whose answer was lost.
        """
        return self._put(name, data, metadata, IfNoneMatch="*", ContentType=media_type)

    def put_over(self, name: str, data: bytes, etag: str, metadata: Mapping[str, str] | None = None) -> Written | None:
        """Replace an object that still has this ETag and return the new one; None where another was first."""
        return self._put(name, data, metadata, IfMatch=etag)

    def put_once(self, name: str, data: bytes) -> float | None:
        """Write an object that is not there yet; return when, by the server's clock, None where another's is there."""
        mark = {BY: uuid.uuid4().hex}
        written = self.put_new(name, data, mark)
        if written is not None:
            return written.at_s
        stored = self.get(name)
        if stored is None or stored.metadata.get(BY) != mark[BY]:
            return None
        return stored.modified_s  # it is ours, and its answer was lost

    def put(self, name: str, data: bytes = b"", metadata: Mapping[str, str] | None = None) -> Written:
        """Write an object, whatever is there."""
        written = self._put(name, data, metadata)
        assert written is not None  # there is no condition
        return written

    def page(self, prefix: str, after: str = "", limit: int = PAGE) -> tuple[list[Item], bool, float]:
        """Return objects in order of their names, whether there are more, and when that was by the server's clock."""

        def listed(client: Any) -> tuple[list[Item], bool, float]:
            answer = client.list_objects_v2(
                Bucket=self.place.bucket, Prefix=prefix, StartAfter=after, MaxKeys=min(limit, PAGE)
            )
            items, more = page_of(answer)
            return items, more, _date(answer)

        return self.call(f"LIST {prefix}", listed)

    def list(self, prefix: str, after: str = "", few: int = PAGE) -> Iterator[Item]:
        """Yield the objects below a prefix in order of their names, those behind `after` alone.

        Of whom a `few` may be enough they are asked for first, and then ever more at a time.
        """
        while True:
            items, more, _ = self.page(prefix, after, limit=few)
            yield from items
            if not more or not items:
                return
            after, few = items[-1].name, 4 * few

    def first(self, prefix: str, after: str, number_of: Callable[[str], int | None]) -> int | None:
        """Return the number of the first object below a prefix, and behind `after`, that has one."""
        while True:
            items, more, _ = self.page(prefix, after or prefix, limit=1)
            number = number_of(items[0].name) if items else None
            if number is not None or not items or not more:
                return number
            after = items[0].name

    def delete(self, names: Sequence[str]) -> None:
        """Delete objects; those that are not there are no error."""
        for what, part in _parts([Version(name) for name in names]):
            self.call(what, lambda client, part=part: self._delete(client, part))

    def delete_versions(self, versions: Sequence[Version]) -> bool:
        """Delete versions for good; tell whether that is permitted. Those that are not there are no error."""
        deletions = (
            self.call_for(FORBIDDEN, what, lambda client, part=part: self._delete(client, part))
            for what, part in _parts(versions)
        )
        return all(deleted is not None for deleted in deletions)

    def call(self, what: str, work: Callable[[Any], Result]) -> Result:
        """Do a request; see `Service.ask`.

        Raises:
            StoreUnreachable: it did not pass, or nothing but somebody's act will help.
            StoreError: the server refused the value.
        """
        try:
            return self.ask(what, work)
        except Refusal as refusal:
            raise error_of(refusal, self.place.url) from refusal

    def call_for(self, absent: Collection[str], what: str, work: Callable[[Any], Result]) -> Result | None:
        """Do a request as `call` does; None where it is refused with one of these codes."""
        try:
            return self.ask(what, work)
        except Refusal as refusal:
            if refusal.code in absent:
                return None
            raise error_of(refusal, self.place.url) from refusal

    def _look(self, client: Any, name: str, **more: str) -> tuple[Stored | None, float]:
        answer = client.get_object(Bucket=self.place.bucket, Key=name, **more)
        with answer["Body"] as body:
            data = body.read()
        size_bytes = int(answer.get("ContentRange", "").rpartition("/")[2] or len(data))
        modified_s, media_type = answer["LastModified"].timestamp(), answer.get("ContentType", JSON)
        return Stored(data, answer["ETag"], modified_s, answer["Metadata"], media_type, size_bytes), _date(answer)

    def _put(self, name: str, data: bytes, metadata: Mapping[str, str] | None, **options: str) -> Written | None:
        attempts = count(1)

        def put(client: Any) -> Written:
            attempt = next(attempts)
            answer = client.put_object(
                Bucket=self.place.bucket, Key=name, Body=data, Metadata=dict(metadata or {}), **options
            )
            return Written(answer["ETag"], _date(answer), answer.get("VersionId") if attempt == 1 else None)

        # A condition on an object that was deleted is answered with «no such key».
        lost = LOST | MISSING if "IfMatch" in options else LOST
        return self.call_for(lost, f"PUT {name}", put)

    def _delete(self, client: Any, versions: Sequence[Version]) -> int:
        """Delete up to a page of versions, and return how many."""
        objects = [{"Key": one.name} | ({"VersionId": one.id} if one.id else {}) for one in versions]
        answer = client.delete_objects(Bucket=self.place.bucket, Delete={"Objects": objects, "Quiet": True})
        for failed in answer.get("Errors", ()):
            raise Refusal(f"DELETE {failed.get('Key')}", failed.get("Code", ""), failed.get("Message", ""), 200, failed)
        return len(versions)


def _parts(versions: Sequence[Version]) -> Iterator[tuple[str, Sequence[Version]]]:
    """Yield what can be deleted at once, and how that is called."""
    for start in range(0, len(versions), PAGE):
        part = versions[start : start + PAGE]
        yield f"DELETE of {len(part)} objects, the first {part[0].name}", part


def _date(answer: Mapping[str, Any]) -> float:
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    return parsedate_to_datetime(date).timestamp() if date else time.time()
