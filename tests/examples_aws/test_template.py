"""The template of `examples/aws`: valid, its table and rights those of the store, and a stack can be made of it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from otel_agent_journal_dynamodb import DynamoDBStore
from tests.examples_aws import stack
from tests.examples_aws.conftest import client
from tests.real.servers import Moto, Server

LOCAL_PATHS = "W3002"  # a path of this machine: `aws cloudformation package` is there for them


def complaints(template: Mapping[str, Any]) -> list[str]:
    """Return what cfn-lint has to say; it takes a second to import."""
    from cfnlint import api
    from cfnlint.config import ManualArgs

    found = api.lint(json.dumps(template), config=ManualArgs(regions=[stack.REGION], ignore_checks=[LOCAL_PATHS]))
    return [f"{one.rule.id} {one.message}, line {one.linenumber}" for one in found]


def test_lint() -> None:
    """cfn-lint has nothing to say of the template, nor of the workflow's definition within it."""
    assert complaints(stack.template()) == []
    assert complaints(stack.packaged()) == []


def test_lint_reads_the_workflow() -> None:
    """A state of no type is a complaint: the workflow's definition is looked at, too."""
    made = stack.packaged()
    workflow = made["Resources"]["Workflow"]["Properties"]
    workflow["DefinitionString"] = workflow["DefinitionString"].replace('"Type": "Wait"', '"Type": "Waiter"')
    (complaint,) = complaints(made)
    assert complaint.startswith("E3601 'Waiter' is not one of")


def test_states() -> None:
    """Every state can be reached and leads to one that there is; every task has retries for throttling and a catch."""
    machine = json.loads(stack.WORKFLOW.read_text())
    states = machine["States"]
    led_to = {machine["StartAt"]}
    for state in states.values():
        led_to |= {
            step[name] for step in (state, *state.get("Choices", ())) for name in ("Next", "Default") if name in step
        }
        led_to |= {catch["Next"] for catch in state.get("Catch", ())}
    assert led_to == set(states)
    for name, state in states.items():
        if state["Type"] == "Task":
            (retry,) = state["Retry"]
            assert (retry["JitterStrategy"], retry["BackoffRate"]) == ("FULL", 2), name
            assert any(
                error.endswith(("ThrottlingException", "TooManyRequestsException")) for error in retry["ErrorEquals"]
            )
            assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"], name


def test_patience() -> None:
    """The workflow waits for longer than the agent may take, even where Lambda starts it as late as it may."""
    given = {name: one["Default"] for name, one in stack.template()["Parameters"].items()}
    late_s = stack.properties("AgentOnce")["MaximumEventAgeInSeconds"]
    takes_s = stack.properties("Agent")["Timeout"]
    assert given["MaxLooks"] * given["PollSeconds"] > late_s + takes_s


@pytest.mark.real
def test_table(dynamodb_server: Server, aws: None) -> None:
    """The template's table is the one that the store's `init` makes."""
    dynamodb = client("dynamodb", dynamodb_server.endpoint)
    ours, made = f"init-{uuid.uuid4().hex}", f"template-{uuid.uuid4().hex}"
    store = DynamoDBStore(f"dynamodb://{ours}?region={stack.REGION}&endpoint_url={dynamodb_server.endpoint}")
    store.init()
    asked = stack.properties("JournalTable", TableName=made)
    assert asked["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert asked["SSESpecification"] == {"SSEEnabled": True}
    dynamodb.create_table(**{name: value for name, value in asked.items() if not name.endswith("Specification")})
    dynamodb.update_time_to_live(TableName=made, TimeToLiveSpecification=asked["TimeToLiveSpecification"])
    assert described(dynamodb, made) == described(dynamodb, ours)

    url = f"dynamodb://{made}?region={stack.REGION}&endpoint_url={dynamodb_server.endpoint}"
    assert DynamoDBStore(url).init_plan() == []


def described(dynamodb: Any, table: str) -> dict[str, Any]:
    """Return what is to be the same in two tables."""
    said = dynamodb.describe_table(TableName=table)["Table"]
    live = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    kept: dict[str, Any] = {
        "keys": said["KeySchema"],
        "types": sorted((one["AttributeName"], one["AttributeType"]) for one in said["AttributeDefinitions"]),
        "billing": said["BillingModeSummary"]["BillingMode"],
        "expiry": (live["TimeToLiveStatus"], live["AttributeName"]),
    }
    for kind in ("LocalSecondaryIndexes", "GlobalSecondaryIndexes"):
        kept[kind] = [
            (one["IndexName"], one["KeySchema"], one["Projection"] | {"NonKeyAttributes": included(one)})
            for one in said[kind]
        ]
    return kept


def included(index: Mapping[str, Any]) -> list[str]:
    """Return which attributes an index has beside its keys."""
    return sorted(index["Projection"].get("NonKeyAttributes", ()))


@pytest.mark.parametrize(("resource", "role"), [("AgentRole", "writer"), ("ReaderRole", "reader")])
def test_rights_of_the_store(resource: str, role: str) -> None:
    """The agent may what `store iam-policy --role writer` says, who reads what it says of readers, no more."""
    arns = {"JournalTable.Arn": "arn:aws:dynamodb:us-east-1:*:table/t", "JournalBucket.Arn": "arn:aws:s3:::b"}
    policies = stack.properties(resource, **arns)["Policies"]
    statements = next(one for one in policies if one["PolicyName"] == f"journal-{role}")["PolicyDocument"]["Statement"]
    store = DynamoDBStore("dynamodb://ttt?region=us-east-1&bucket=b")
    wanted = json.loads(json.dumps(store.iam_policy(role)).replace("table/ttt", "table/t"))["Statement"]
    assert [rights(one) for one in statements] == [rights(one) for one in wanted]


def rights(statement: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what a statement allows."""

    def many(value: Any) -> list[str]:
        return sorted([value] if isinstance(value, str) else value)

    return statement["Effect"], many(statement["Action"]), many(statement["Resource"]), statement.get("Condition")


def test_rights_of_the_workflow() -> None:
    """The workflow may put and query items of this table and start this agent, and nothing else."""
    properties = stack.properties("WorkflowRole", **{"JournalTable.Arn": "table", "Agent.Arn": "agent"})
    (policy,) = properties["Policies"]
    assert [rights(one) for one in policy["PolicyDocument"]["Statement"]] == [
        ("Allow", ["dynamodb:PutItem", "dynamodb:Query"], ["table"], None),
        ("Allow", ["lambda:InvokeFunction"], ["agent"], None),
    ]


@pytest.mark.real
def test_stack(moto_server: Moto, aws: None, tmp_path: Path) -> None:
    """A stack is made of it: table, bucket, roles, function and workflow are there, and wired to each other."""
    moto_server.configure({"lambda": {"use_docker": False}})
    cloudformation = client("cloudformation", moto_server.endpoint)
    table = f"agent-journal-{uuid.uuid4().hex}"
    cloudformation.create_stack(
        StackName="journal",
        TemplateBody=json.dumps(stack.packaged()),
        Parameters=[{"ParameterKey": "TableName", "ParameterValue": table}],
        Capabilities=["CAPABILITY_IAM"],
    )
    try:
        (made,) = cloudformation.describe_stacks(StackName="journal")["Stacks"]
        assert made["StackStatus"] == "CREATE_COMPLETE"
        outputs = {one["OutputKey"]: one["OutputValue"] for one in made["Outputs"]}
        bucket = outputs["BucketName"]
        assert outputs["StoreUrl"] == f"dynamodb://{table}?region={stack.REGION}&bucket={bucket}"
        client("s3", moto_server.endpoint).head_bucket(Bucket=bucket)
        function = client("lambda", moto_server.endpoint).get_function(FunctionName="journal-agent")["Configuration"]
        assert function["Environment"]["Variables"]["AGENT_JOURNAL_STORE"] == outputs["StoreUrl"]
        machine = client("stepfunctions", moto_server.endpoint).describe_state_machine(
            stateMachineArn=outputs["WorkflowArn"]
        )
        assert function["Role"] != machine["roleArn"]
        assert machine["roleArn"].startswith(f"arn:aws:iam::{stack.ACCOUNT}:role/")
    finally:
        cloudformation.delete_stack(StackName="journal")


@pytest.mark.real
def test_bucket(moto_server: Moto, aws: None) -> None:
    """The bucket keeps old versions for thirty days, is encrypted, and nothing in it is public."""
    asked = stack.properties("JournalBucket")
    s3, bucket = client("s3", moto_server.endpoint), f"journal-{uuid.uuid4().hex}"
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=asked["VersioningConfiguration"])
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=asked["PublicAccessBlockConfiguration"])
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=asked["OwnershipControls"])
    # CloudFormation's own names for two of them.
    (encryption,) = asked["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    encryption = {"ApplyServerSideEncryptionByDefault": encryption["ServerSideEncryptionByDefault"]}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [encryption]})
    (lifecycle,) = asked["LifecycleConfiguration"]["Rules"]
    rule = {"ID": lifecycle.pop("Id"), "Filter": {"Prefix": ""}, **lifecycle}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})

    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert set(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values()) == {True}
    (kept,) = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert kept["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert "Expiration" not in kept  # what is current stays
