"""Objects that come and go with each session, of names that are used once: who made one deletes it for good.

In a bucket with versions a deletion adds a marker, and every listing walks through these until a lifecycle rule has
removed them, a day later. So what was made here is deleted by its versions, the last one last: until then it is what it
was. What another client made is deleted as everybody does it, and so is all where the right to more is missing.
docs/adr/0059 says why this is safe.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from otel_agent_journal_s3.objects import Bucket, Version, Written

_REMEMBERED: Final = 4096  # names, of which a session that runs has two

_log: Final = logging.getLogger(__name__)


class Passing:
    """What a client writes below `listing/` and `unsettled/`. Thread-safe, but for two that write one name."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._versions: dict[str, tuple[str, ...]] = {}  # of what was made here, as they were written
        self._may = True  # delete by version

    def make(self, name: str, data: bytes = b"") -> Written:
        """Write an object of a name that was never used."""
        written = self._bucket.put(name, data)
        self._remember(name, (), written)
        return written

    def replace(self, name: str, data: bytes, etag: str | None = None) -> None:
        """Write over an object; with an ETag, if it still has that."""
        before = self._versions.pop(name, None)
        written = self._bucket.put(name, data) if etag is None else self._bucket.put_over(name, data, etag)
        if before is not None and written is not None:
            self._remember(name, before, written)

    def delete(self, names: Sequence[str]) -> None:
        """Delete objects; those that are not there are no error."""
        known = {name: self._versions.pop(name, ()) for name in names}
        older = [Version(name, one) for name, versions in known.items() for one in versions[:-1]]
        newest = [Version(name, versions[-1] if versions else None) for name, versions in known.items()]
        if all(self._bucket.delete_versions(part) for part in (older, newest)):
            return
        self._may = False
        self._versions.clear()
        self._bucket.delete(names)
        _log.warning(
            "store=<%s> | s3:DeleteObjectVersion is refused below listing/ and unsettled/, so a marker stays of each"
            " object that is deleted there, and listings are slower: see `agent-journal store iam-policy`",
            self._bucket.place.url,
        )

    def _remember(self, name: str, before: tuple[str, ...], written: Written) -> None:
        if written.version is None or not self._may:
            return
        self._versions[name] = (*before, written.version)
        for oldest in list(self._versions)[:-_REMEMBERED] if len(self._versions) > _REMEMBERED else ():
            self._versions.pop(oldest, None)
