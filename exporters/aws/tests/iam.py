"""IAM as far as our policies go: what a store's clients call is held against a policy, and refused where it must be.

Local servers know no policies. So each request is looked at before it is sent: which actions it takes, on what, with
which keys of conditions; what is not allowed is answered with AccessDenied in the server's place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import Any, NamedTuple

from otel_agent_journal_aws import Service

ACCOUNT = "123456789012"
OF_BUCKETS = {
    "ListObjectsV2": "ListBucket",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "PutBucketEncryption": "PutEncryptionConfiguration",
}


class Asked(NamedTuple):
    """One action on one resource, and what its conditions may look at."""

    action: str
    resource: str
    context: Mapping[str, Sequence[str]]


class Iam:
    """What a role may, held against everything that some services call."""

    def __init__(self, document: Mapping[str, Any], *services: Service[Any]) -> None:
        self._statements = document["Statement"]
        self.unused = {
            (one["Sid"], action, resource)
            for one in self._statements
            for action in one["Action"]
            for resource in one["Resource"]
            if not action.startswith("kms:")
        }
        self.denied: list[Asked] = []
        for service in services:
            self._watch(service)

    def _watch(self, service: Service[Any]) -> None:
        made = service.made

        def watched(**options: Any) -> Any:
            client = made(**options)
            client.meta.events.register_first("before-parameter-build", _keep)
            client.meta.events.register_last("before-call", self._before)
            return client

        assert service._client is None
        service.made = watched

    def _before(self, model: Any, params: dict[str, Any], **_: Any) -> tuple[Any, dict[str, Any]] | None:
        service = model.service_model.service_name
        refused = [one for one in ACTIONS[service](model.name, params) if not self._allows(one)]
        self.denied += refused
        if not refused:
            return None
        code = "AccessDenied" if service == "s3" else "AccessDeniedException"
        error = {"Code": code, "Message": f"not authorized to perform {refused[0].action}"}
        return SimpleNamespace(status_code=403), {"Error": error, "ResponseMetadata": {"HTTPStatusCode": 403}}

    def _allows(self, asked: Asked) -> bool:
        allowed = False
        for one in self._statements:
            if asked.action not in one["Action"] or not _holds(one.get("Condition", {}), asked.context):
                continue
            for resource in one["Resource"]:
                if fnmatchcase(asked.resource, resource):
                    self.unused.discard((one["Sid"], asked.action, resource))
                    allowed = True
        return allowed


def _holds(conditions: Mapping[str, Mapping[str, Sequence[str]]], context: Mapping[str, Sequence[str]]) -> bool:
    for operator, keys in conditions.items():
        for key, patterns in keys.items():
            values = context.get(key)
            match operator:
                case "ForAllValues:StringLike":
                    if not _all_like(values or (), patterns):
                        return False
                case "StringLikeIfExists":
                    if values is not None and not _all_like(values, patterns):
                        return False
                case _:
                    raise AssertionError(operator)
    return True


def _all_like(values: Iterable[str], patterns: Sequence[str]) -> bool:
    return all(any(fnmatchcase(value, pattern) for pattern in patterns) for value in values)


def _keep(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    context["asked"] = params


def _of_dynamodb(operation: str, params: dict[str, Any]) -> Iterator[Asked]:
    body = json.loads(params["body"])
    if operation == "TransactWriteItems":
        for action in body["TransactItems"]:
            ((kind, request),) = action.items()
            key = request.get("Item") or request["Key"]
            yield _on_items(f"{kind}Item", request["TableName"], [key])
    elif operation in ("BatchGetItem", "BatchWriteItem"):
        for table, requests in body["RequestItems"].items():
            yield _on_items(operation, table, list(_keys(requests)))
    else:
        keys = [body[name] for name in ("Item", "Key") if name in body]
        yield _on_items(operation, body["TableName"], keys, body.get("IndexName"))


def _keys(requests: Any) -> Iterator[Any]:
    if isinstance(requests, dict):
        yield from requests["Keys"]
        return
    for request in requests:
        ((_, one),) = request.items()
        yield one.get("Item") or one["Key"]


def _on_items(operation: str, table: str, keys: Sequence[Any], index: str | None = None) -> Asked:
    resource = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/{table}" + (f"/index/{index}" if index else "")
    context = {"dynamodb:LeadingKeys": [key["PK"]["S"] for key in keys]} if keys else {}
    return Asked(f"dynamodb:{operation}", resource, context)


def _of_s3(operation: str, params: dict[str, Any]) -> Iterator[Asked]:
    asked = params["context"]["asked"]
    bucket = f"arn:aws:s3:::{asked['Bucket']}"
    if operation in ("GetObject", "HeadObject"):
        yield Asked("s3:GetObject", f"{bucket}/{asked['Key']}", {})
        yield Asked("s3:ListBucket", bucket, {})  # else it would be forbidden where it is not there
    elif operation in ("PutObject", "DeleteObject"):
        yield Asked(f"s3:{operation}", f"{bucket}/{asked['Key']}", {})
    elif operation == "DeleteObjects":
        for one in asked["Delete"]["Objects"]:
            action = "DeleteObjectVersion" if "VersionId" in one else "DeleteObject"
            yield Asked(f"s3:{action}", f"{bucket}/{one['Key']}", {})
    else:
        context = {"s3:prefix": [asked["Prefix"]]} if "Prefix" in asked else {}
        yield Asked(f"s3:{OF_BUCKETS.get(operation, operation)}", bucket, context)


ACTIONS = {"dynamodb": _of_dynamodb, "s3": _of_s3}
