"""Whose a run is, as the program says it: tags, metadata, user, tenant. Details of the START of its outermost step.

All of it is content: what a program puts there may be anything. What is named like a secret is hidden besides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from otel_agent_journal.event import EMPTY
from otel_agent_journal.foreign import is_a
from otel_agent_journal.masking import HIDDEN, is_secret_name

SAID: Final = frozenset(("metadata", "tags", "tenant", "user"))

_MAX_NAMES: Final = 64
_MAX_TAGS: Final = 64
_USERS: Final = ("user", "user_id", "user.id", "userId", "enduser.id")
_TENANTS: Final = ("tenant", "tenant_id", "tenant.id", "tenantId")


def said_of_run(
    metadata: Mapping[Any, Any], tags: Iterable[Any] = (), settings: Mapping[Any, Any] = EMPTY
) -> dict[str, Any]:
    """Return the details that say whose a run is.

    Args:
        metadata: of the run; values of any kind.
        tags: texts; others are left out.
        settings: of the run, of which texts, numbers and truth values alone are told.
    """
    kept: dict[str, Any] = {}
    for name, value in settings.items():
        if is_a(value, str, int, float):
            _keep(kept, name, value)
    for name, value in metadata.items():
        _keep(kept, name, value)
    said: dict[str, Any] = {}
    if kept:
        said["metadata"] = kept
    marks = [tag for tag in tags if is_a(tag, str)][:_MAX_TAGS]
    if marks:
        said["tags"] = marks
    for word, names in (("user", _USERS), ("tenant", _TENANTS)):
        found = next((kept[name] for name in names if is_a(kept.get(name), str, int)), None)
        if found is not None:
            said[word] = found
    return said


def _keep(kept: dict[str, Any], name: Any, value: Any) -> None:
    if isinstance(name, str) and value is not None and len(kept) < _MAX_NAMES:
        kept[name] = HIDDEN if is_a(value, str) and is_secret_name(name) else value
