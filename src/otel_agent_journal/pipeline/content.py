"""What content becomes before it reaches the spool: redacted, made encodable, and cut out into blobs when large.

A fact is encoded in one pass when everything in it is plain, which is the rule; all care is spent only where the
encoder objects or the result is over the field limit. Nothing here raises.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from hashlib import blake2b
from typing import Any, Final, cast

import msgspec

from otel_agent_journal.codec import DIGEST_BYTES, valid_text
from otel_agent_journal.event import ErrorInfo
from otel_agent_journal.mapping.facts import BlobKept, Fact
from otel_agent_journal.mapping.references import MESSAGE_FIELDS, with_messages

_log = logging.getLogger(__name__)

FIELD_LIMIT_BYTES: Final = 64 * 1024  # an event with six such fields stays below DynamoDB's 400 KiB
MAX_BLOB_BYTES: Final = 64 * 1024 * 1024  # a value over this is not kept; its reference says so
PREVIEW_CHARACTERS: Final = 256
_MAX_REPR: Final = 2000
_MAX_NODES: Final = 200_000  # of one value; cyclic and pathological structures end here
_MAX_DEPTH: Final = 32
_TRIES: Final = 8  # at reading what another thread changes

Redactor = Callable[[str, Any], Any]
"""Called as `redactor(field, value)` for every content field of an event before it is written anywhere.

`field` is `input`, `output`, `messages`, `sources`, `metadata`, `text`, `error.message`, ...; `value` is plain data
(dicts, lists, texts, numbers). What it returns is journaled. It runs in the agent's thread, so it should be quick; if
it raises, the field is left out and the failure counted.
"""


def plain_object(value: Any) -> Any:
    """Return plain data for an object that the encoder does not know. Never raises."""
    try:
        if isinstance(value, Mapping):
            return dict(cast("Mapping[Any, Any]", value))
        if isinstance(value, BaseException):
            return {"type": type(value).__qualname__, "message": str(value)}
        if not isinstance(value, type):
            for method in ("model_dump", "dict", "to_dict"):
                dump = getattr(value, method, None)
                if callable(dump):
                    with contextlib.suppress(Exception):  # a foreign object's own method; the next way is tried
                        return dump()
            if is_dataclass(value):
                return {field.name: getattr(value, field.name, None) for field in fields(value)}
    except Exception:  # noqa: BLE001 - an object that raises whatever it is asked
        pass
    return short_repr(value)


def short_repr(value: Any) -> str:
    """Return an object's `repr`, or its type's name where that raises."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a foreign object's own method
        text = f"<{type(value).__module__}.{type(value).__qualname__}>"
    return text if len(text) <= _MAX_REPR else text[:_MAX_REPR] + "..."


def to_plain(value: Any) -> Any:
    """Return plain JSON data for anything: cycles cut, unknown objects by what they say of themselves."""
    budget = [_MAX_NODES]
    return _walk(value, budget, 0, set())


def _walk(value: Any, budget: list[int], depth: int, above: set[int]) -> Any:
    budget[0] -= 1
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else str(value)
    if isinstance(value, str):
        return valid_text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return short_repr(bytes(cast("bytes", value)))
    if budget[0] <= 0 or depth > _MAX_DEPTH or id(value) in above:
        return "..."
    above = above | {id(value)}
    if isinstance(value, Mapping):
        items = _items(cast("Mapping[Any, Any]", value))
        return {str(_walk(key, budget, depth + 1, above)): _walk(item, budget, depth + 1, above) for key, item in items}
    if isinstance(value, list | tuple | set | frozenset):
        return [_walk(item, budget, depth + 1, above) for item in list(cast("list[Any]", value))]
    return _walk(plain_object(value), budget, depth + 1, above)


def _items(mapping: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    """Return a mapping's items, even while another thread changes it."""
    for _ in range(_TRIES):
        try:
            return list(mapping.items())
        except RuntimeError:
            continue
    return []


def _repaired(fact: Fact) -> Fact:
    """Return a fact that can be encoded whatever was in it."""
    changes: dict[str, Any] = {}
    for name in fact.__struct_fields__:
        value: Any = getattr(fact, name)
        if isinstance(value, str):
            changes[name] = valid_text(value)
        elif isinstance(value, ErrorInfo):
            code = None if value.code is None else valid_text(value.code)
            changes[name] = ErrorInfo(type=valid_text(value.type), message=valid_text(value.message), code=code)
        elif name == "details":
            try:
                changes[name] = to_plain(value)
            except Exception:  # noqa: BLE001 - content of the user's: it may cost itself, not its event
                changes[name] = {"lost": "the content could not be read"}
    return msgspec.structs.replace(fact, **changes)


class ContentEncoder:
    """Turns facts into the bytes of the spool.

    Args:
        content: journal content; off, `details` keep only what is not content.
        redactor: see `Redactor`.
        field_limit_bytes: a field whose JSON is longer becomes a blob.
    """

    # What remains of `details` where content is off.
    METADATA: Final = frozenset(
        (
            "agent",
            "agent_id",
            "attempt",
            "attributes",
            "backoff_s",
            "checkpoint_id",
            "code",
            "exported",
            "framework_session_id",
            "invocation",
            "links",
            "max_attempts",
            "messages_before",
            "messages_digest",
            "operation",
            "parent_span_id",
            "phase",
            "progress",
            "reason",
            "request_id",
            "resumes",
            "scope",
            "service",
            "span_kind",
            "span_name",
            "stage",
            "status",
            "task_id",
            "trace_state",
        )
    )
    _NOT_REDACTED: Final = METADATA - {"attributes"}

    def __init__(
        self, *, content: bool = True, redactor: Redactor | None = None, field_limit_bytes: int = FIELD_LIMIT_BYTES
    ) -> None:
        self.content = content
        self.redactor = redactor
        self.field_limit_bytes = field_limit_bytes
        self.failures = 0
        self._encode = msgspec.msgpack.Encoder(enc_hook=plain_object).encode
        self._encode_json = msgspec.json.Encoder(enc_hook=plain_object).encode

    def encode(self, fact: Fact) -> tuple[bytes, tuple[bytes, ...]]:
        """Return the fact's bytes, and those of the blobs that must be written before it."""
        try:
            data = self._encode(fact)
        except Exception:  # noqa: BLE001 - what content holds is not ours to know
            fact = _repaired(fact)
            data = self._encode(fact)
        if len(data) <= self.field_limit_bytes:
            return data, ()
        return self._offload(fact)

    def details(self, details: dict[str, Any]) -> dict[str, Any]:
        """Return the details as they may be journaled: without content where it is off, redacted where asked."""
        if not self.content:
            details = {key: value for key, value in details.items() if key in self.METADATA}
        if self.redactor is None or not details:
            return details
        return {
            key: value if key in self._NOT_REDACTED else self.redacted(key, value) for key, value in details.items()
        }

    def redacted(self, field: str, value: Any) -> Any:
        """Return what the redactor makes of a field; a field that it fails on is left out."""
        if self.redactor is None:
            return value
        try:
            return self.redactor(field, to_plain(value))
        except Exception:  # noqa: BLE001 - the user's code; the agent must not feel it
            self.failures += 1
            if self.failures == 1:
                _log.warning("redactor failed on field <%s> | the field was left out", field, exc_info=True)
            return "[left out: the redactor failed]"

    def journaled(self, session_id: str, details: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[BlobKept, ...]]:
        """Return the details that somebody else's process sent as they may be journaled, and their blobs.

        `details` themselves, where nothing is to be changed.
        """
        if not self.content or self.redactor is not None:
            details = self.details(dict(details))
        if len(self._json(details)) <= self.field_limit_bytes:
            return details, ()
        kept, blobs = self._cut_out(session_id, details)
        return kept, tuple(blobs)

    def _offload(self, fact: Fact) -> tuple[bytes, tuple[bytes, ...]]:
        details = getattr(fact, "details", None)
        if not details:
            return self._encode(fact), ()
        kept, cut_out = self._cut_out(fact.session_id, details)  # type: ignore[union-attr]
        fact = msgspec.structs.replace(fact, details=kept)
        blobs = tuple(map(self._encode, cut_out))
        try:
            return self._encode(fact), blobs
        except Exception:  # noqa: BLE001 - as in `encode`
            return self._encode(_repaired(fact)), blobs

    def _cut_out(self, session_id: str, details: Mapping[str, Any]) -> tuple[dict[str, Any], list[BlobKept]]:
        """Return details with a reference in the place of each field over the limit, and what they refer to."""
        blobs: list[BlobKept] = []
        kept: dict[str, Any] = {}
        for key, value in details.items():
            text = self._json(value)
            if len(text) <= self.field_limit_bytes:
                kept[key] = value
                continue
            digest = blake2b(text, digest_size=DIGEST_BYTES).hexdigest()
            reference: dict[str, Any] = {"$blob": digest, "bytes": len(text), "preview": _preview(text)}
            kept[key] = with_messages(reference, value) if key in MESSAGE_FIELDS else reference
            if len(text) > MAX_BLOB_BYTES:
                kept[key]["lost"] = f"over {MAX_BLOB_BYTES:,} bytes"
            else:
                blobs.append(BlobKept(session_id, digest, text))
        return kept, blobs

    def _json(self, value: Any) -> bytes:
        try:
            return self._encode_json(value)
        except Exception:  # noqa: BLE001 - as in `encode`
            with contextlib.suppress(Exception):
                return self._encode_json(to_plain(value))
            return b'"[could not be read]"'


def _preview(text: bytes) -> str:
    return text[: PREVIEW_CHARACTERS * 4].decode("utf-8", "ignore")[:PREVIEW_CHARACTERS]
