"""What content becomes before it reaches the spool: plain, redacted, and cut out into blobs when large.

A fact is encoded in one pass when everything in it is plain and light, which is the rule; all care is spent only where
something is not, see `plain`. Nothing here raises.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, Final, TypeVar, cast

import msgspec

from otel_agent_journal.codec import DIGEST_BYTES, encode_value
from otel_agent_journal.event import AGENT_INVOCATION_SUCCEEDED, EMPTY, PROCESS, STREAM_PART, ErrorInfo
from otel_agent_journal.mapping.facts import BlobKept, Fact, encode_fact
from otel_agent_journal.mapping.harmless import CUT, METADATA, REDACTED, SAID, harmless_details, harmless_fact
from otel_agent_journal.mapping.media import BLOB, WITHIN, Medium, hints_at_media, media_within, without_media
from otel_agent_journal.mapping.processes import OF_PROCESS, harmless_process
from otel_agent_journal.mapping.references import MESSAGE_FIELDS, with_messages
from otel_agent_journal.plain import MESSAGES, Budget, light
from otel_agent_journal.replays.words import REMOTE

_log = logging.getLogger(__name__)

FIELD_LIMIT_BYTES: Final = 64 * 1024  # an event with six such fields stays below DynamoDB's 400 KiB
MAX_BLOB_BYTES: Final = 64 * 1024 * 1024  # a value over this is not kept; its reference says so
PREVIEW_CHARACTERS: Final = 256
_LOOKED_AT: Final = 2_000  # values of details that are searched for media
_LOOKED_AT_EXACTLY: Final = 1_000_000  # the same of what is kept whole
WHOLE: Final = frozenset((STREAM_PART, AGENT_INVOCATION_SUCCEEDED))  # events that are kept whole as a model call is

_FIELDS: Final[Mapping[str, str]] = {"stack": "error.stack"}  # what a redactor knows a detail as, where by another name

Said = TypeVar("Said")

Redactor = Callable[[str, Any], Any]
"""Called as `redactor(field, value)` for every content field of an event before it is written anywhere.

`field` is `input`, `output`, `messages`, `sources`, `metadata`, `text`, `error.message`, `error.stack`, ...; `value` is
plain data (dicts, lists, texts, numbers). What it returns is journaled. It runs in the agent's thread, so it should be
quick; if it raises, the field is left out and the failure counted.
"""


class ContentEncoder:
    """Turns facts into the bytes of the spool.

    Args:
        content: journal content; off, only what is none is journaled: see `mapping.harmless`.
        redactor: see `Redactor`.
        field_limit_bytes: a field whose JSON is longer becomes a blob.
    """

    _NOT_REDACTED: Final = METADATA - {"attributes", "tags", "tenant", "user"}

    def __init__(
        self, *, content: bool = True, redactor: Redactor | None = None, field_limit_bytes: int = FIELD_LIMIT_BYTES
    ) -> None:
        self.content = content
        self.redactor = redactor
        self.field_limit_bytes = field_limit_bytes
        self.failures = 0
        self._encode = msgspec.msgpack.Encoder().encode

    def encode(self, fact: Fact) -> tuple[bytes, tuple[bytes, ...]]:
        """Return the fact's bytes, and those of the blobs that must be written before it."""
        if not self.content:
            fact = harmless_fact(fact)
        details: Mapping[str, Any] = getattr(fact, "details", EMPTY)
        try:
            if not details or light(details, self.field_limit_bytes):
                data = self._encode(fact)
                if not details or (len(data) <= self.field_limit_bytes and not hints_at_media(data)):
                    return data, ()
        except Exception:  # noqa: BLE001 - what content holds is not ours to know
            pass
        return self._with_care(fact, details)

    def _with_care(self, fact: Fact, details: Mapping[str, Any]) -> tuple[bytes, tuple[bytes, ...]]:
        if not details:
            return encode_fact(fact), ()
        exact = getattr(fact, "kind", None) == "MODEL" or getattr(fact, "type", None) in WHOLE or REMOTE in details
        session_id = cast("str", fact.session_id)  # type: ignore[union-attr]
        details, found = without_media(details, _LOOKED_AT_EXACTLY if exact else _LOOKED_AT)
        media = _kept(session_id, found)
        fitting = fitted(details, exact=exact)
        fact = msgspec.structs.replace(fact, details=fitting)
        data = encode_fact(fact)
        if len(data) <= self.field_limit_bytes:
            return data, tuple(map(encode_fact, media))
        kept, blobs = self._cut_out(session_id, fitting)
        return encode_fact(msgspec.structs.replace(fact, details=kept)), tuple(map(encode_fact, (*media, *blobs)))

    def details(self, details: Mapping[str, Any], *, exact: bool = False) -> Mapping[str, Any]:
        """Return the details as they may be journaled: without content where it is off, redacted where asked."""
        whole = exact or REMOTE in details
        return self._allowed(details if self.redactor is None else fitted(details, exact=whole))

    def redacted(self, field: str, value: Any) -> Any:
        """Return what the redactor makes of a field; a field that it fails on is left out."""
        return value if self.redactor is None else self._redacted(field, fitted({field: value})[field])

    def told(self, said: Said) -> Said:
        """Return a fact or an event of somebody else's span or process as it may be journaled. Its details are plain.

        Itself, where nothing is to be changed.
        """
        if not self.content:
            said = harmless_fact(said)
        if self.redactor is None:
            return said
        changed: dict[str, Any] = {"details": self._allowed(cast("Any", said).details)}
        error: ErrorInfo | None = getattr(said, "error", None)
        if error is not None and self.content:
            changed["error"] = self.error(error)
        return msgspec.structs.replace(cast("Any", said), **changed)

    def fitting(self, said: Said) -> tuple[Said, tuple[BlobKept, ...]]:
        """Return a fact or an event whose details are plain, without the media in them and what is over the limit."""
        one = cast("Any", said)
        details: Mapping[str, Any] = one.details
        if not details:
            return said, ()
        encoded = encode_value(details)
        media: list[BlobKept] = []
        if hints_at_media(encoded):
            details, found = without_media(details, _LOOKED_AT_EXACTLY)
            media = _kept(one.session_id, found)
            encoded = encode_value(details) if media else encoded
        if len(encoded) <= self.field_limit_bytes:
            return (msgspec.structs.replace(one, details=details), tuple(media)) if media else (said, ())
        kept, blobs = self._cut_out(one.session_id, details)
        return msgspec.structs.replace(one, details=kept), (*media, *blobs)

    def error(self, error: ErrorInfo) -> ErrorInfo:
        """Return an error with its message redacted."""
        return ErrorInfo(type=error.type, message=str(self.redacted("error.message", error.message)), code=error.code)

    def process(self, told: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what a process says of itself as it may be journaled: without its arguments where content is off."""
        kept = told if self.content else harmless_process(told)
        if self.redactor is None:
            return kept
        return {
            key: value if key in OF_PROCESS else self._redacted(key, fitted({key: value})[key])
            for key, value in kept.items()
        }

    def _allowed(self, details: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self.content:
            details = harmless_details(details)
        theirs: Any = details.get(SAID, ())
        if PROCESS in details and PROCESS not in theirs:
            told: Any = details[PROCESS]
            details = {**details, PROCESS: self.process(cast("Mapping[str, Any]", told if type(told) is dict else {}))}
        if self.redactor is None:
            return details
        allowed = {
            key: value
            if key in self._NOT_REDACTED and key not in theirs
            else self._redacted(_FIELDS.get(key, key), value)
            for key, value in details.items()
        }
        changed = [key for key, value in allowed.items() if value is not details[key] and _differ(value, details[key])]
        return {**allowed, REDACTED: changed} if changed else allowed

    def _redacted(self, field: str, value: Any) -> Any:
        try:
            return self.redactor(field, value)  # type: ignore[misc]
        except Exception:  # noqa: BLE001 - the user's code; the agent must not feel it
            self.failures += 1
            if self.failures == 1:
                _log.warning("redactor failed on field <%s> | the field was left out", field, exc_info=True)
            return "[left out: the redactor failed]"

    def _cut_out(self, session_id: str, details: Mapping[str, Any]) -> tuple[dict[str, Any], list[BlobKept]]:
        """Return details with a reference in the place of each field over the limit, and what they refer to."""
        blobs: list[BlobKept] = []
        kept: dict[str, Any] = {}
        for key, value in details.items():
            text = encode_value(value)
            if len(text) <= self.field_limit_bytes:
                kept[key] = value
                continue
            digest = blake2b(text, digest_size=DIGEST_BYTES).hexdigest()
            reference: dict[str, Any] = {BLOB: digest, "bytes": len(text), "preview": _preview(text)}
            within = list(dict.fromkeys(media_within(value)))
            if within:
                reference[WITHIN] = within
            kept[key] = with_messages(reference, value) if key in MESSAGE_FIELDS else reference
            if len(text) > MAX_BLOB_BYTES:
                kept[key]["lost"] = f"over {MAX_BLOB_BYTES:,} bytes"
            else:
                blobs.append(BlobKept(session_id, digest, text))
        return kept, blobs


def _differ(one: Any, other: Any) -> bool:
    try:
        return bool(one != other)
    except Exception:  # noqa: BLE001 - what a redactor returns is not ours to know
        return True


def fitted(details: Mapping[str, Any], *, exact: bool = False) -> dict[str, Any]:
    """Return details as plain data that is not too heavy; `$cut` names the fields of which something is missing.

    Args:
        details: of an event.
        exact: of the call of a model or a remote agent, a part of a stream, a result: all of it is kept as whole as a
            message.
    """
    budget = Budget(whole=MESSAGES) if exact else Budget()
    kept, cut = budget.fit_all(details)
    return {**kept, CUT: cut} if cut else kept


def as_json(value: Any) -> str:
    """Return JSON text of any value, for an attribute of a span, as far as an event would hold it."""
    held = {"": value}
    return encode_value(value if light(held, FIELD_LIMIT_BYTES) else fitted(held)[""]).decode()


def _kept(session_id: str, found: Mapping[str, Medium]) -> list[BlobKept]:
    return [BlobKept(session_id, digest, one.data, one.media_type) for digest, one in found.items()]


def _preview(text: bytes) -> str:
    return text[: PREVIEW_CHARACTERS * 4].decode("utf-8", "ignore")[:PREVIEW_CHARACTERS]
