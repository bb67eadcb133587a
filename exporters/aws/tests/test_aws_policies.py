"""Policies: the partition of the region in every ARN, and the keys of KMS with which table and bucket are encrypted."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import boto3
import botocore.session
import pytest

from otel_agent_journal.errors import ConfigError
from otel_agent_journal.store.protocol import ROLES, StoreAdmin
from otel_agent_journal.store.registry import open_store
from otel_agent_journal_aws.policies import partition_of
from scripts.ports import reserved_port
from tests.cli.command_line import cli
from tests.real.servers import Moto

URLS = ("dynamodb://journal?bucket=values&kms=k-1&s3_kms=alias/values", "s3://bucket/j?kms=k-1")
KEY = "arn:aws:kms:us-east-1:123456789012:key/0b6c"


def policy(url: str, role: str = "writer", note: Callable[[str], object] | None = None) -> dict[str, Any]:
    store = open_store(url)
    assert isinstance(store, StoreAdmin)
    return store.iam_policy(role, note)


def arns(document: Mapping[str, Any]) -> Iterator[str]:
    for statement in document["Statement"]:
        yield from statement["Resource"]


def keys(document: Mapping[str, Any]) -> dict[str, tuple[list[str], list[str], Any]]:
    """Return what is said of keys: actions, resources and condition by the statement's id."""
    return {
        one["Sid"]: (one["Action"], one["Resource"], one["Condition"])
        for one in document["Statement"]
        if one["Action"][0].startswith("kms:")
    }


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("role", ROLES)
def test_every_region_has_its_partition(url: str, role: str, aws: None) -> None:
    """Each region that botocore knows gives ARNs of its partition, in every statement of every role."""
    session = botocore.session.Session()
    for partition in session.get_available_partitions():
        for region in session.get_available_regions("dynamodb", partition)[:3]:
            found = list(arns(policy(f"{url}&region={region}", role)))
            assert {arn.split(":")[1] for arn in found} == {partition}
            assert {arn.split(":")[3] for arn in found} <= {region, ""}


@pytest.mark.parametrize(
    ("region", "partition"),
    [
        ("eu-central-1", "aws"),
        ("cn-north-1", "aws-cn"),
        ("us-gov-west-1", "aws-us-gov"),
        ("us-iso-east-1", "aws-iso"),
        ("us-isob-east-1", "aws-iso-b"),
        ("cn-nowhere-9", "aws-cn"),
        ("us-gov-north-7", "aws-us-gov"),
        ("no region at all", "aws"),
        (None, "aws"),
    ],
)
def test_partition(region: str | None, partition: str) -> None:
    """A region that botocore does not know is known by its form; without one it is Amazon's largest."""
    assert partition_of(region) == partition


def test_region_of_the_environment(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the URL has no region it is that of the environment, in which the store would be reached."""
    monkeypatch.setenv("AWS_REGION", "cn-north-1")
    assert next(arns(policy("dynamodb://journal"))) == "arn:aws-cn:dynamodb:cn-north-1:*:table/journal"


def test_no_region(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none is known the ARNs are of all regions, and that is told."""
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    notes: list[str] = []
    endpoint = f"http://127.0.0.1:{reserved_port()}"
    document = policy(f"dynamodb://journal?endpoint_url={endpoint}&kms=k-1", note=notes.append)
    assert next(arns(document)) == "arn:aws:dynamodb:*:*:table/journal"
    assert len(notes) == 1
    assert "region=NAME" in notes[0]


@pytest.mark.parametrize("role", ROLES)
def test_keys_of_the_url(role: str, aws: None) -> None:
    """A key that the URL names is in the policy, as each role uses it, and through the service alone that it is of."""
    put = ["kms:Decrypt"] if role == "reader" else ["kms:Decrypt", "kms:GenerateDataKey"]
    via_s3 = {"kms:ViaService": ["s3.us-east-1.*"]}
    prefix = f"Journal{role.title()}"
    assert keys(policy(f"s3://bucket/j?kms={KEY}", role)) == {f"{prefix}Key": (put, [KEY], {"StringLike": via_s3})}
    both = keys(policy(f"dynamodb://journal?bucket=b&kms={KEY}&s3_kms=alias/values", role))
    assert both == {
        f"{prefix}Key": (["kms:Decrypt"], [KEY], {"StringLike": {"kms:ViaService": ["dynamodb.us-east-1.*"]}}),
        f"{prefix}ValuesKey": (
            put,
            ["arn:aws:kms:us-east-1:*:key/*"],
            {"StringLike": via_s3, "ForAnyValue:StringEquals": {"kms:ResourceAliases": ["alias/values"]}},
        ),
    }


@pytest.mark.parametrize(
    ("key", "resource"),
    [
        ("0b6c-1", ["arn:aws:kms:us-east-1:*:key/0b6c-1"]),
        ("arn:aws:kms:us-east-1:1:alias/a", ["arn:aws:kms:us-east-1:*:key/*"]),
        ("alias/aws/s3", []),
        ("arn:aws:kms:us-east-1:1:alias/aws/s3", []),
    ],
)
def test_forms_of_a_key(key: str, resource: list[str], aws: None) -> None:
    """A key is named by its id, ARN or alias; those that AWS manages for S3 need no right."""
    assert [arn for _, found, _ in keys(policy(f"s3://bucket?kms={key}")).values() for arn in found] == resource


def test_no_key(aws: None) -> None:
    """What can be no key is refused, so that no policy is of all keys by mistake."""
    with pytest.raises(ConfigError, match="no key of KMS"):
        policy("s3://bucket?kms=*")


def test_without_an_answer(aws: None) -> None:
    """Where nobody answers the policy is without keys, and each that is not known is told, with how to give it."""
    endpoint = f"http://127.0.0.1:{reserved_port()}"
    notes: list[str] = []
    url = f"dynamodb://journal?endpoint_url={endpoint}&bucket=b&s3_endpoint_url={endpoint}"
    assert policy(url, note=notes.append) == policy(url)
    assert [note.partition(" (")[0] for note in notes] == [
        "not known: the key of table journal",
        "not known: the key of bucket b",
    ]
    assert ["add kms=ARN" in notes[0], "add s3_kms=ARN" in notes[1]] == [True, True]


@pytest.mark.parametrize("url", ["dynamodb://journal?", "s3://journal/j?"])
def test_what_the_command_says(url: str, aws: None) -> None:
    """The command prints the document alone to stdout, and to stderr what it could not look up."""
    url += f"endpoint_url=http://127.0.0.1:{reserved_port()}"
    result = cli("store", "iam-policy", url, "--role", "reader")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == policy(url, "reader")
    assert result.stderr.startswith("note: not known: the key of ")
    assert "nothing answers there" in result.stderr
    assert result.stderr.endswith("add kms=ARN to the URL\n")
    assert cli("store", "iam-policy", f"{url}&kms=k-1", "--role", "reader").stderr == ""


@pytest.mark.real
def test_keys_of_table_and_bucket(moto_server: Moto, aws: None) -> None:
    """Who asks for a policy gets the keys with which table and bucket are encrypted; not where that is AWS's own."""
    client = {name: boto3.client(name, endpoint_url=moto_server.endpoint) for name in ("dynamodb", "kms", "s3")}
    key = client["kms"].create_key()["KeyMetadata"]["Arn"]
    name = f"journal-{uuid.uuid4().hex}"
    url = f"dynamodb://{name}?region=us-east-1&endpoint_url={moto_server.endpoint}&bucket={name}"
    urls = (f"{url}&s3_endpoint_url={moto_server.endpoint}", f"s3://{name}/j?endpoint_url={moto_server.endpoint}")
    notes: list[str] = []

    def found() -> list[list[str]]:
        return [[one[1][0] for one in keys(policy(each, note=notes.append)).values()] for each in urls]

    assert found() == [[], []]  # neither is there yet, and `init` gives neither a key
    client["s3"].create_bucket(Bucket=name)
    made = {"TableName": name, "BillingMode": "PAY_PER_REQUEST"}
    made["KeySchema"] = [{"AttributeName": "PK", "KeyType": "HASH"}]
    made["AttributeDefinitions"] = [{"AttributeName": "PK", "AttributeType": "S"}]
    client["dynamodb"].create_table(**made)
    assert found() == [[], []]
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}
    client["s3"].put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": [rule]})
    client["dynamodb"].delete_table(TableName=name)
    encrypted = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}
    client["dynamodb"].create_table(**made, SSESpecification=encrypted)
    assert found() == [[key, key], [key]]
    assert notes == []
    assert json.dumps(policy(urls[0]))
