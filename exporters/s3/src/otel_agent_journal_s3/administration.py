"""What an operator does to a bucket: prepare it, look at it, and say who needs which rights."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

import msgspec

from otel_agent_journal.errors import NewerSchema
from otel_agent_journal.store.protocol import StoreInfo
from otel_agent_journal_aws import Refusal
from otel_agent_journal_aws.policies import KEY_OF_OBJECTS, Note, Policy, key_of_bucket
from otel_agent_journal_s3.failures import error_of
from otel_agent_journal_s3.layout import LAYOUT_VERSION, Layout
from otel_agent_journal_s3.listing import keys_of
from otel_agent_journal_s3.objects import Bucket

KEPT_DAYS: Final = 30  # how long versions that were replaced or deleted can be had back
# Of names that come and go with each session, and say nothing by themselves: what is deleted slows a listing down.
_PASSING_DAYS: Final = 1
_PAGES: Final = 50  # pages of a listing that counting may cost: 50,000 objects
_ABSENT: Final = frozenset(
    (
        "NoSuchLifecycleConfiguration",
        "NoSuchPublicAccessBlockConfiguration",
        "ServerSideEncryptionConfigurationNotFoundError",
    )
)
_NOT_DONE: Final = frozenset(("501", "MalformedXML", "MethodNotAllowed", "NotImplemented"))
_ACCESS: Final = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")

_log: Final = logging.getLogger(__name__)


class _Mark(msgspec.Struct, omit_defaults=True):
    """`layout.json`: the version of the layout, and which settings the server refused as the bucket was prepared."""

    layout: int = LAYOUT_VERSION
    refused: list[str] = []


class _Step(NamedTuple):
    name: str
    line: str
    do: Callable[[Any], object]


class Administration:
    """An operator's view of a bucket."""

    def __init__(self, bucket: Bucket, layout: Layout) -> None:
        self._bucket = bucket
        self._layout = layout
        self._name = bucket.place.bucket

    def check(self) -> None:
        """See that this version understands what is there.

        Raises:
            NewerSchema: a newer version made it.
        """
        mark = self._mark()
        if mark is not None and mark.layout > LAYOUT_VERSION:
            raise NewerSchema(f"store {self._bucket.place.url}", mark.layout, LAYOUT_VERSION)

    def plan(self) -> list[str]:
        """Return what `init` would do, a line each."""
        return [step.line for step in self._steps()]

    def init(self) -> None:
        """Make the bucket and set what is not set; what the server does not know is said once and left."""
        if self._ask("look for the bucket", lambda client: client.get_bucket_versioning(Bucket=self._name)) is not None:
            self.check()
        refused: list[str] = []
        for step in self._steps():
            if step.name == "mark":
                mark = _Mark(refused=refused)
                self._bucket.put_new(self._layout.version, msgspec.json.encode(mark))
            elif not self._done(step):
                refused.append(step.name)

    def info(self) -> StoreInfo:
        """Return what the bucket holds below the prefix; no counts where it is more than 50,000 objects."""
        after, size_bytes = "", 0
        heads, listed = set[str](), set[str]()  # a place may be left over, and so may a head that says that it is gone
        for _ in range(_PAGES):
            items, more, _ = self._bucket.page(self._layout.root, after)
            size_bytes += sum(item.size_bytes for item in items)
            heads.update(item.name for item in items if item.name.endswith("/head.json"))
            listed.update(keys_of((item.name for item in items), self._layout.listing))
            if not more:
                break
            after = items[-1].name
        else:
            return self._info(None, None)
        return self._info(sum(self._layout.head(key) in heads for key in listed), size_bytes)

    def policy(self, role: str, note: Note | None) -> dict[str, Any]:
        """Return what a role needs, as an AWS policy document."""
        made, root = Policy(self._bucket.place, role), self._layout.root
        made.allow_objects("Objects", _OBJECTS[role], self._name, root)
        if role in _PASSING:
            passing = (self._layout.listing, self._layout.unsettled)
            made.allow("Passing", _PASSING[role], [made.bucket(self._name, f"{prefix}*") for prefix in passing])
        if role == "admin":
            made.allow("Prepare", _PREPARE, [made.bucket(self._name)])
        key = self._bucket.place.kms or key_of_bucket(self._bucket, self._name, note, "kms")
        made.allow_key("Key", KEY_OF_OBJECTS[role], key, "s3")
        return made.document(note)

    # --- preparing ----------------------------------------------------------------------------------------------------

    def _steps(self) -> list[_Step]:
        """Return what is missing, in the order in which it is done."""
        there = self._ask("look for the bucket", lambda client: client.get_bucket_versioning(Bucket=self._name))
        mark = self._mark() if there is not None else None
        steps: list[_Step] = []
        if there is None:
            steps.append(_Step("bucket", f"create bucket {self._name}", self._create))
        if not (there or {}).get("Status"):
            steps.append(_Step("versioning", f"enable versioning of bucket {self._name}", self._set_versioning))
        steps += [
            step
            for step, missing in (
                (
                    _Step(
                        "lifecycle",
                        f"delete versions that were replaced or deleted after {KEPT_DAYS} days",
                        self._set_lifecycle,
                    ),
                    lambda: bool(self._missing_rules(self._rules())),
                ),
                (_Step("public access block", "block all public access", self._set_access), self._lacks_access_block),
                (
                    _Step("encryption", "encrypt by default (SSE-S3, AES256)", self._set_encryption),
                    self._lacks_encryption,
                ),
            )
            if step.name not in (mark.refused if mark else ()) and (there is None or missing())
        ]
        if mark is None:
            steps.append(_Step("mark", f"write {self._layout.version}, the layout's version", _nothing))
        return steps

    def _done(self, step: _Step) -> bool:
        """Do a step; tell whether the server knows such a thing."""
        try:
            self._bucket.ask(step.line, step.do)
        except Refusal as refusal:
            if refusal.code == "BucketAlreadyOwnedByYou":  # another one creates it at this moment
                return True
            if refusal.code not in _NOT_DONE:
                raise error_of(refusal, self._bucket.place.url) from refusal
            _log.warning(
                "bucket=<%s>, setting=<%s>, error=<%s> | the server refuses it, left as it is",
                self._name,
                step.name,
                refusal,
            )
            return False
        return True

    def _create(self, client: Any) -> None:
        region = client.meta.region_name
        where = {} if region in (None, "us-east-1", "aws-global") else {"LocationConstraint": region}
        more: dict[str, Any] = {"CreateBucketConfiguration": where} if where else {}
        client.create_bucket(Bucket=self._name, **more)

    def _set_versioning(self, client: Any) -> None:
        client.put_bucket_versioning(Bucket=self._name, VersioningConfiguration={"Status": "Enabled"})

    def _set_lifecycle(self, client: Any) -> None:
        there = self._rules()
        rules = [*there, *self._missing_rules(there)]
        client.put_bucket_lifecycle_configuration(Bucket=self._name, LifecycleConfiguration={"Rules": rules})

    def _set_access(self, client: Any) -> None:
        client.put_public_access_block(Bucket=self._name, PublicAccessBlockConfiguration=dict.fromkeys(_ACCESS, True))

    def _set_encryption(self, client: Any) -> None:
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
        client.put_bucket_encryption(Bucket=self._name, ServerSideEncryptionConfiguration={"Rules": [rule]})

    def _missing_rules(self, there: list[dict[str, Any]]) -> list[dict[str, Any]]:
        root, known = self._layout.root, [rule.get("ID") for rule in there]
        passing = ((prefix, _PASSING_DAYS) for prefix in (self._layout.listing, self._layout.unsettled))
        rules = [
            {
                "ID": f"agent-journal {prefix or '/'}"[-255:],
                "Status": "Enabled",
                "Filter": {"Prefix": prefix},
                "NoncurrentVersionExpiration": {"NoncurrentDays": days},
                "Expiration": {"ExpiredObjectDeleteMarker": True},  # of what has no other version left
            }
            for prefix, days in ((root, KEPT_DAYS), *passing)
        ]
        return [rule for rule in rules if rule["ID"] not in known]

    def _rules(self) -> list[dict[str, Any]]:
        answer = self._ask("look at the lifecycle", lambda c: c.get_bucket_lifecycle_configuration(Bucket=self._name))
        return list((answer or {}).get("Rules", ()))

    def _lacks_access_block(self) -> bool:
        answer = self._ask(
            "look at the public access", lambda client: client.get_public_access_block(Bucket=self._name)
        )
        if answer == {}:  # the server knows no such thing
            return False
        set_ = (answer or {}).get("PublicAccessBlockConfiguration", {})
        return not all(set_.get(name) for name in _ACCESS)

    def _lacks_encryption(self) -> bool:
        return (
            self._ask("look at the encryption", lambda client: client.get_bucket_encryption(Bucket=self._name)) is None
        )

    def _ask(self, what: str, work: Callable[[Any], Any]) -> Mapping[str, Any] | None:
        """Return a setting: None where it or the bucket is not there, empty where the server knows no such setting."""
        try:
            return cast("Mapping[str, Any]", self._bucket.ask(what, work))
        except Refusal as refusal:
            if refusal.code in _ABSENT or refusal.code == "NoSuchBucket":
                return None
            if refusal.code in _NOT_DONE:
                return {}
            raise error_of(refusal, self._bucket.place.url) from refusal

    def _mark(self) -> _Mark | None:
        stored = self._bucket.get(self._layout.version)
        return None if stored is None else msgspec.json.decode(stored.data, type=_Mark)

    def _info(self, sessions: int | None, size_bytes: int | None) -> StoreInfo:
        return StoreInfo(
            url=self._bucket.place.url,
            backend="s3",
            schema_version=LAYOUT_VERSION,
            sessions=sessions,
            size_bytes=size_bytes,
        )


_PREPARE: Final = (
    "s3:CreateBucket", "s3:GetBucketVersioning", "s3:PutBucketVersioning", "s3:GetLifecycleConfiguration",
    "s3:PutLifecycleConfiguration", "s3:GetBucketPublicAccessBlock", "s3:PutBucketPublicAccessBlock",
    "s3:GetEncryptionConfiguration", "s3:PutEncryptionConfiguration",
)  # fmt: skip
_PASSING: Final[Mapping[str, Sequence[str]]] = {  # what comes and goes with each session
    "writer": ("s3:DeleteObject", "s3:DeleteObjectVersion"),
    "admin": ("s3:DeleteObjectVersion",),
}
_OBJECTS: Final[Mapping[str, Sequence[str]]] = {
    "reader": ("s3:GetObject",),
    "writer": ("s3:GetObject", "s3:PutObject"),
    "admin": ("s3:DeleteObject", "s3:GetObject", "s3:PutObject"),
}


def _nothing(client: Any) -> None:
    """Do nothing: what is written instead is known at the end alone."""
