"""What this process says of itself: gathered once, as far as it cannot change, and by reading alone.

Nothing is run for it and nothing of the program's is called: versions come from the metadata of packages that are
imported already, the commit from the files of `.git`, the resource from the program's provider as it is now.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from otel_agent_journal.mapping.processes import kept_resource
from otel_agent_journal.masking import masked_arguments

# Packages by the module whose import says that they are used.
_PACKAGES: Final[Mapping[str, str]] = {
    "otel_agent_journal": "otel-agent-journal",
    "langgraph": "langgraph",
    "langchain_core": "langchain-core",
    "langchain": "langchain",
    "strands": "strands-agents",
    "bedrock_agentcore": "bedrock-agentcore",
    "boto3": "boto3",
    "botocore": "botocore",
    "opentelemetry.sdk": "opentelemetry-sdk",
}
_MAX_ARGUMENTS: Final = 64
_MAX_CHARACTERS: Final = 256
_MAX_GIT_BYTES: Final = 4 * 1024 * 1024  # of packed refs
_MAX_DEPTH: Final = 32  # folders that `.git` is looked for in
_COMMIT: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_UNKNOWN: Final = "unknown_service"


class Introduction:
    """Says who this process is, whenever it comes to a session. Safe from any thread.

    Args:
        resource: returns the resource of the program's spans as it is now.
    """

    def __init__(self, resource: Callable[[], Mapping[str, Any]]) -> None:
        self._resource = resource
        self._pid = 0
        self._fixed: dict[str, Any] = {}
        self._imported: tuple[str, ...] = ()
        self._packages: dict[str, str] = {}

    def __call__(self) -> dict[str, Any]:
        """Return what the journal is told of this process."""
        if self._pid != os.getpid():
            self._fixed, self._pid = _fixed(), os.getpid()
        resource = self._resource()
        service = resource.get("service.name")
        told = {
            **self._fixed,
            "service": None if str(service).startswith(_UNKNOWN) else service,
            "service_version": resource.get("service.version"),
            "packages": self._versions(),
            "resource": kept_resource(resource),
        }
        return {name: value for name, value in told.items() if value not in (None, {}, [])}

    def _versions(self) -> dict[str, str]:
        imported = tuple(module for module in _PACKAGES if module in sys.modules)
        if imported != self._imported:
            self._packages = {_PACKAGES[one]: found for one in imported if (found := _version(_PACKAGES[one]))}
            self._imported = imported
        return self._packages


def _version(package: str) -> str | None:
    from importlib.metadata import version

    with contextlib.suppress(Exception):  # a package without metadata, or with broken ones
        return version(package)
    return None


def _fixed() -> dict[str, Any]:
    given: list[Any] = getattr(sys, "argv", None) or []
    arguments = [str(one)[:_MAX_CHARACTERS] for one in given[:_MAX_ARGUMENTS]]
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "entry_point": _entry_point(),
        "argv": masked_arguments(arguments[1:]),
        "python": platform.python_version(),
        "commit": commit_of(_folder_of_program()),
    }


def _main() -> Mapping[str, Any]:
    return vars(sys.modules["__main__"]) if "__main__" in sys.modules else {}


def _entry_point() -> str | None:
    """Return the module that was run by `-m`, else the path of the program."""
    name = getattr(_main().get("__spec__"), "name", None)
    if isinstance(name, str):
        return name.removesuffix(".__main__")
    argv = getattr(sys, "argv", None)
    return str(argv[0])[:_MAX_CHARACTERS] or None if argv else None


def _folder_of_program() -> Path:
    file = _main().get("__file__")
    with contextlib.suppress(OSError, ValueError):
        if isinstance(file, str) and Path(file).is_file():
            return Path(file).resolve().parent
    return Path.cwd()


def commit_of(folder: Path) -> str | None:
    """Return the commit that a folder's working tree is at, as the files of `.git` say; None where there is none."""
    with contextlib.suppress(OSError, ValueError):
        for above in (folder, *folder.parents)[:_MAX_DEPTH]:
            if (above / ".git").exists():
                return _commit_in(_git_folder(above / ".git"))
    return None


def _git_folder(found: Path) -> Path:
    """Return the folder of a working tree's own state: `.git`, or where that file says it is."""
    if found.is_dir():
        return found
    return found.parent / _read(found).removeprefix("gitdir:").strip()


def _commit_in(git: Path) -> str | None:
    head = _read(git / "HEAD").strip()
    if not head.startswith("ref:"):
        return head if _COMMIT.fullmatch(head) else None
    name = head.removeprefix("ref:").strip()
    if ".." in name or name.startswith("/"):
        return None
    common = git / _read(git / "commondir").strip() if (git / "commondir").exists() else git
    for folder in (git, common):
        if (folder / name).is_file():
            commit = _read(folder / name).strip()
            return commit if _COMMIT.fullmatch(commit) else None
    packed = _read(common / "packed-refs") if (common / "packed-refs").is_file() else ""
    return next((line[: -len(name) - 1] for line in packed.splitlines() if line.endswith(f" {name}")), None)


def _read(file: Path) -> str:
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return os.read(descriptor, _MAX_GIT_BYTES).decode("utf-8", "replace")
    finally:
        os.close(descriptor)
