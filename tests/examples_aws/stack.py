"""The template of `examples/aws`, read and resolved as CloudFormation does it, as far as the tests need it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).resolve().parents[2] / "examples" / "aws"
TEMPLATE: Final = FOLDER / "template.yaml"
WORKFLOW: Final = FOLDER / "workflow.asl.json"
ACCOUNT: Final = "123456789012"
REGION: Final = "us-east-1"
PSEUDO: Final[Mapping[str, Any]] = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackName": "journal",
}


def template() -> dict[str, Any]:
    """Return the template, its short functions in their long form."""
    from cfnlint.decode import cfn_yaml  # with all that it imports it takes a second

    return json.loads(json.dumps(cfn_yaml.load(str(TEMPLATE)), default=str))


def packaged() -> dict[str, Any]:
    """Return the template as `aws cloudformation package` leaves it, but with all in place instead of in a bucket."""
    made = template()
    workflow = made["Resources"]["Workflow"]["Properties"]
    assert workflow.pop("DefinitionS3Location") == WORKFLOW.name
    workflow["DefinitionString"] = WORKFLOW.read_text()
    function = made["Resources"]["Agent"]["Properties"]
    assert function["Code"] == "build"
    function["Code"] = {"ZipFile": (FOLDER / "agent.py").read_text()}
    return made


def definition(**values: Any) -> str:
    """Return the workflow's definition, substituted."""
    return re.sub(r"\$\{(\w+)\}", lambda name: str(values[name[1]]), WORKFLOW.read_text())


def properties(name: str, **values: Any) -> dict[str, Any]:
    """Return the resolved properties of a resource.

    `values` are parameters, for which there are their defaults, and what a resource is named once it is made.
    """
    made = template()
    defaults = {name: given["Default"] for name, given in made["Parameters"].items()}
    return _resolved(made["Resources"][name]["Properties"], {**PSEUDO, **defaults, **values})


def _resolved(value: Any, known: Mapping[str, Any]) -> Any:
    match value:
        case {"Ref": name}:
            return known.get(name, name)
        case {"Fn::GetAtt": [name, attribute]} | {"Fn::GetAtt": str() as name, **attribute}:
            return known.get(f"{name}.{attribute}", f"arn:aws:test:::{name}")
        case {"Fn::Sub": text}:
            return re.sub(
                r"\$\{([\w:.]+)\}",
                lambda name: str(known.get(name[1], f"arn:aws:test:::{name[1].partition('.')[0]}")),
                text,
            )
        case dict():
            return {key: _resolved(item, known) for key, item in value.items()}
        case list():
            return [_resolved(item, known) for item in value]
        case _:
            return value
