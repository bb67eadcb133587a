"""A bucket in memory under a clock that only tests move, for what real servers and clocks show once in ten minutes."""

# ruff: noqa: N803 - the names of boto3's arguments
from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from io import BytesIO
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from otel_agent_journal_s3.place import Place
from otel_agent_journal_s3.store import S3Store


class _Object(NamedTuple):
    data: bytes
    etag: str
    at_s: float
    metadata: dict[str, str]


class Server:
    """Objects by name, and the time. `before` is called before each write is done, by the name that is written.

    `replaced`: where it is versioned, what each name was before, the latest last; None for a deletion's marker.
    """

    def __init__(self, *, versioned: bool = False) -> None:
        self.now_s = 1.8e9
        self.versioned = versioned
        self.objects: dict[str, _Object] = {}
        self.replaced: dict[str, list[_Object | None]] = {}
        self.before: Callable[[str], None] = lambda name: None
        self.asked = 0
        self._versions = 0

    def put_object(
        self, Bucket: str, Key: str, Body: bytes, Metadata: dict[str, str], **condition: str
    ) -> dict[str, Any]:
        """Write under a condition."""
        self.before(Key)
        there = self.objects.get(Key)
        if ("IfNoneMatch" in condition and there) or condition.get("IfMatch", there and there.etag) != (
            there and there.etag
        ):
            raise self._error("PreconditionFailed")
        self._versions += 1
        self._keep(Key)
        self.objects[Key] = _Object(bytes(Body), str(self._versions), self.now_s, Metadata)
        version = {"VersionId": str(self._versions)} if self.versioned else {}
        return {"ETag": str(self._versions), **version, **self._dated()}

    def get_object(self, Bucket: str, Key: str, **of: str) -> dict[str, Any]:
        """Read, always the whole."""
        self.asked += 1
        found = self._found(Key)
        return {**self._head(found), "Body": BytesIO(found.data)}

    def head_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        """Read no body."""
        return self._head(self._found(Key))

    def list_objects_v2(self, Bucket: str, Prefix: str, StartAfter: str, MaxKeys: int) -> dict[str, Any]:
        """List in order of names."""
        names = sorted(name for name in self.objects if name.startswith(Prefix) and name > StartAfter)
        found = [(name, self.objects[name]) for name in names[:MaxKeys]]
        contents = [{"Key": name, "Size": len(one.data), "LastModified": self._at(one.at_s)} for name, one in found]
        return {"Contents": contents, "IsTruncated": len(names) > MaxKeys, **self._dated()}

    def delete_objects(self, Bucket: str, Delete: dict[str, Any]) -> dict[str, Any]:
        """Delete what is there, or one version for good: what was there before it is back then."""
        for one in Delete["Objects"]:
            name, version = one["Key"], one.get("VersionId")
            if version is None:
                self._keep(name, deleted=True)
                self.objects.pop(name, None)
                continue
            there, older = self.objects.get(name), self.replaced.get(name, [])
            if there is not None and there.etag == version:
                back = older.pop() if older else None
                self.objects.pop(name) if back is None else self.objects.update({name: back})
            else:
                self.replaced[name] = [kept for kept in older if kept is None or kept.etag != version]
        return self._dated()

    def left(self, prefix: str) -> list[str]:
        """Return the names below a prefix that have older versions or markers."""
        return [name for name, kept in self.replaced.items() if kept and name.startswith(prefix)]

    def _keep(self, name: str, *, deleted: bool = False) -> None:
        if self.versioned:
            kept = self.replaced.setdefault(name, [])
            there = self.objects.get(name)
            kept += [there] if there is not None else []
            kept += [None] if deleted else []

    def close(self) -> None:
        """Do nothing: as a client it has no connections."""

    def _found(self, name: str) -> _Object:
        if name not in self.objects:
            raise self._error("NoSuchKey")
        return self.objects[name]

    def _head(self, one: _Object) -> dict[str, Any]:
        metadata = {"ETag": one.etag, "LastModified": self._at(one.at_s), "Metadata": one.metadata}
        return {**metadata, **self._dated()}

    def _at(self, at_s: float) -> datetime:
        return datetime.fromtimestamp(int(at_s), UTC)  # whole seconds, as S3 has them

    def _dated(self) -> dict[str, Any]:
        date = format_datetime(self._at(self.now_s), usegmt=True)
        return {"ResponseMetadata": {"HTTPStatusCode": 200, "HTTPHeaders": {"date": date}}}

    def _error(self, code: str) -> ClientError:
        return ClientError({"Error": {"Code": code, "Message": code}, **self._dated()}, "simulated")


def store_at(server: Server) -> S3Store:
    """Return a store that talks to a simulated server, which is its own client."""
    store = S3Store(Place(url="s3://b", bucket="b"))
    store._bucket._client = server
    return store
