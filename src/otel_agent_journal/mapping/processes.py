"""What is said of a process that writes to a journal, also from the resource that its spans have. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from otel_agent_journal.masking import HIDDEN, is_secret_name, masked_within

MAX_ATTRIBUTES: Final = 64
MAX_TEXT: Final = 256

# Of a resource what is no content: names of the conventions. What a user adds may be anything.
_HARMLESS: Final = ("cloud.", "container.", "deployment.", "faas.", "host.", "k8s.", "os.", "service.", "telemetry.")
# Of what a process says of itself what is no content: all but its arguments.
OF_PROCESS: Final = frozenset(
    (
        "commit",
        "entry_point",
        "host",
        "packages",
        "pid",
        "python",
        "resource",
        "service",
        "service_version",
    )
)
_IDENTITY: Final = ("service.name", "service.instance.id", "host.name", "host.id", "process.pid")
_ARGUMENTS: Final = frozenset(("process.command", "process.command_args", "process.command_line"))


def kept_resource(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resource as it is kept: scalars, secrets masked, so many of them and none too long."""
    kept: dict[str, Any] = {}
    for name, value in resource.items():
        if len(kept) >= MAX_ATTRIBUTES:
            break
        if name in _ARGUMENTS or not isinstance(value, str | int | float | bool):
            continue
        kept[name[:MAX_TEXT]] = _shown(name, value)
    return kept


def _shown(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return HIDDEN if is_secret_name(name) else masked_within(value[:MAX_TEXT])


def harmless_resource(resource: Any) -> dict[str, Any]:
    """Return of a resource what is no content."""
    said = cast("Mapping[str, Any]", resource if isinstance(resource, Mapping) else {})
    return {
        name: value
        for name, value in said.items()
        if name.startswith(_HARMLESS) or name in ("process.pid", "process.runtime.name", "process.runtime.version")
    }


def harmless_process(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return of what a process says of itself what is no content: all but its arguments, and of its resource a part."""
    kept = {name: value for name, value in told.items() if name in OF_PROCESS}
    return {**kept, "resource": harmless_resource(kept["resource"])} if "resource" in kept else kept


def without_arguments(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a resource without the arguments that its process was started with; itself, where it has none."""
    if _ARGUMENTS.isdisjoint(resource):
        return resource
    return {name: value for name, value in resource.items() if name not in _ARGUMENTS}


def told_by_resource(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a resource says of its process, in the words of `details.process`; nothing where it names none."""
    if not any(resource.get(name) not in (None, "") for name in _IDENTITY):
        return {}
    told: dict[str, Any] = {
        "host": resource.get("host.name"),
        "pid": resource.get("process.pid"),
        "service": resource.get("service.name"),
        "service_version": resource.get("service.version"),
        "python": resource.get("process.runtime.version"),
        "resource": kept_resource(resource),
    }
    return {name: value for name, value in told.items() if value is not None}
