"""IAM policies of stores on AWS: ARNs in the partition of the region, statements that stores have in common.

What a role calls its store says; the tests of each store hold its policies to that, both ways.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from otel_agent_journal.errors import ConfigError, JournalError
from otel_agent_journal.store.protocol import ROLES
from otel_agent_journal_aws.failures import Refusal
from otel_agent_journal_aws.place import Place
from otel_agent_journal_aws.service import Service, loader

# What needs which use of a key: an object is written under a new data key, and read by having its own decrypted.
KEY_OF_OBJECTS: Final[Mapping[str, Sequence[str]]] = {
    "writer": ("kms:Decrypt", "kms:GenerateDataKey"),
    "reader": ("kms:Decrypt",),
    "admin": ("kms:Decrypt", "kms:GenerateDataKey"),
}
_ACCOUNT: Final = "*"  # the caller's own: nobody has to be asked for it

Note = Callable[[str], object]
Answer = Mapping[str, Any]


class Policy:
    """A policy document in the making, for one role at one place.

    Raises:
        ConfigError: there is no such role.
    """

    def __init__(self, place: Place, role: str) -> None:
        if role not in ROLES:
            raise ConfigError(f"'{role}' is no role at {place.url}; there are {', '.join(ROLES)}")
        self.role = role
        self._url = place.url
        self._region = place.region or _region_of_environment(place)
        self._partition = partition_of(self._region)
        self._statements: list[dict[str, Any]] = []

    def allow(
        self, sid: str, actions: Sequence[str], resources: Sequence[str], condition: Mapping[str, Any] | None = None
    ) -> None:
        """Add a statement; its id begins with the role."""
        statement: dict[str, Any] = {
            "Sid": f"Journal{self.role.title()}{sid}",
            "Effect": "Allow",
            "Action": list(actions),
            "Resource": list(resources),
        }
        self._statements.append({**statement, "Condition": dict(condition)} if condition else statement)

    def allow_objects(self, sid: str, actions: Sequence[str], bucket: str, prefix: str) -> None:
        """Add what is done with the objects below a prefix, and the right to list them.

        Without that S3 says of an object that is not there that it is forbidden. A GET names no prefix, so that a
        condition which asks for one would not hold for it.
        """
        below = {"StringLikeIfExists": {"s3:prefix": [f"{prefix}*"]}} if prefix else None
        self.allow(f"{sid}List", ["s3:ListBucket"], [self.bucket(bucket)], below)
        self.allow(sid, actions, [self.bucket(bucket, f"{prefix}*")])

    def allow_key(self, sid: str, actions: Sequence[str], key: str | None, service: str) -> None:
        """Add the use of a key of KMS through a service.

        Args:
            sid: the statement's id.
            actions: of KMS.
            key: its ARN or id, or those of an alias; None, and those that AWS manages, need no right of the caller.
            service: whose requests alone it may be used for.

        Raises:
            ConfigError: it is no key.
        """
        alias = key.rpartition("alias/")[2] if key and "alias/" in key else ""
        if not key or alias.startswith("aws/"):
            return
        if "*" in key or "?" in key:
            raise ConfigError(f"store {self._url}: '{key}' is no key of KMS: give its ARN, its id or an alias")
        condition: dict[str, Any] = {"StringLike": {"kms:ViaService": [f"{service}.{self._region or '*'}.*"]}}
        resource = key
        if alias:
            condition["ForAnyValue:StringEquals"] = {"kms:ResourceAliases": [f"alias/{alias}"]}
        if alias or not key.startswith("arn:"):
            resource = f"arn:{self._partition}:kms:{self._region or '*'}:{_ACCOUNT}:key/{'*' if alias else key}"
        self.allow(sid, actions, [resource], condition)

    def table(self, name: str) -> str:
        """Return the ARN of a table."""
        return f"arn:{self._partition}:dynamodb:{self._region or '*'}:{_ACCOUNT}:table/{name}"

    def bucket(self, name: str, objects: str | None = None) -> str:
        """Return the ARN of a bucket, or of objects in it."""
        return f"arn:{self._partition}:s3:::{name}" + (f"/{objects}" if objects else "")

    def stream(self, service: str, name: str) -> str:
        """Return the ARN of a stream: of `kinesis`, or of `firehose`, which calls its streams delivery streams."""
        kind = "deliverystream" if service == "firehose" else "stream"
        return f"arn:{self._partition}:{service}:{self._region or '*'}:{_ACCOUNT}:{kind}/{name}"

    def document(self, note: Note | None) -> dict[str, Any]:
        """Return the whole; `note` is told what had to be assumed."""
        if note is not None and self._region is None:
            note(f"no region is known: the ARNs are of all regions of {self._partition}; add region=NAME to the URL")
        return {"Version": "2012-10-17", "Statement": self._statements}


def partition_of(region: str | None) -> str:
    """Return the partition that a region is in, by botocore's data and, of one not in it, its patterns; else `aws`."""
    from botocore.exceptions import UnknownRegionError
    from botocore.regions import EndpointResolver

    if region is None:
        return "aws"
    try:
        resolver: Any = EndpointResolver(loader().load_data("endpoints"))
        return str(resolver.get_partition_for_region(region))
    except UnknownRegionError:
        return "aws"


def looked_up(
    service: Service[Any],
    what: str,
    work: Callable[[Any], Answer],
    note: Note | None,
    option: str,
    absent: Sequence[str] = (),
) -> Answer:
    """Return what a service says of its encryption, asked once; empty where it has none or was not asked.

    Args:
        service: is asked.
        what: in words.
        work: asks.
        note: told where there was no answer; without it nobody is asked.
        option: of the URL, by which the key can be given.
        absent: codes which say that there is no key.
    """
    if note is None:
        return {}
    try:
        return service.ask(what, work, attempts=1)
    except Refusal as refusal:
        if refusal.code in absent:
            return {}
        why = refusal.said
    except JournalError as error:
        why = str(error).removeprefix(f"store {service.place.url}: {what}: ")
    note(f"not known: {what} ({why}); where there is a key of KMS, add {option}=ARN to the URL")
    return {}


def key_of_bucket(service: Service[Any], bucket: str, note: Note | None, option: str) -> str | None:
    """Return the key of KMS that a bucket encrypts with by default; None where that is S3's own."""
    answer = looked_up(
        service,
        f"the key of bucket {bucket}",
        lambda client: client.get_bucket_encryption(Bucket=bucket),
        note,
        option,
        absent=("NoSuchBucket", "NotImplemented", "ServerSideEncryptionConfigurationNotFoundError"),
    )
    for rule in answer.get("ServerSideEncryptionConfiguration", {}).get("Rules", ()):
        default = rule.get("ApplyServerSideEncryptionByDefault", {})
        if default.get("SSEAlgorithm", "").startswith("aws:kms"):
            return default.get("KMSMasterKeyID")
    return None


def _region_of_environment(place: Place) -> str | None:
    from botocore.exceptions import ProfileNotFound
    from botocore.session import Session

    try:
        session: Any = Session(profile=place.profile)
        found: str | None = session.get_config_variable("region")
    except ProfileNotFound as error:
        raise ConfigError(f"store {place.url}: {error}; correct 'profile' in the URL, or AWS_PROFILE") from error
    return os.environ.get("AWS_REGION") or found or None
