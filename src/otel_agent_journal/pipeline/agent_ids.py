"""Agent ids that were never filled in: unset, or a placeholder of a template. Pure.

Told by how such values are written in templates and sample settings, never by how a real id should look: agents are
called by ids of many services, by ARNs and by plain names.
"""

from __future__ import annotations

import re
from typing import Final

_WRAPPED: Final = re.compile(r"<.*>|\$?\{.*\}|\[.*\]|\$\(.*\)|%.*%|\$[A-Z_]+|(?i:todo|tbd):.*", re.DOTALL)
_REPEATED: Final = re.compile(r"(\S)\1{2,}")  # xxx, XXXXXXXXXX, 0000000000, ...
_SEPARATORS: Final = re.compile(r"[\s_.\-]+")

# As a whole, separators alike and in any case.
_WORDS: Final = frozenset(
    (
        "agent_id",
        "agentid",
        "bedrock_agent_id",
        "change_me",
        "change_this",
        "changeme",
        "dummy",
        "fill_in",
        "fill_me_in",
        "fixme",
        "n/a",
        "nil",
        "none",
        "not_set",
        "null",
        "placeholder",
        "replace_me",
        "replace_this",
        "replaceme",
        "tba",
        "tbd",
        "todo",
        "undefined",
        "unset",
    )
)
_ANYWHERE: Final = frozenset(("changeme", "placeholder", "replaceme"))
_FIRST: Final = frozenset(("dummy", "your"))
_ORDERS: Final = frozenset(("change", "enter", "fill", "insert", "put", "replace", "set"))
_OF_ORDERS: Final = frozenset(("here", "me", "this", "with", "your"))


def is_placeholder(agent_id: str) -> bool:
    """Tell whether an agent id stands for one that was never filled in, as CHANGEME or <your-agent-id>."""
    text = agent_id.strip().strip("\"'").strip()
    if not text or _WRAPPED.fullmatch(text) or _REPEATED.fullmatch(text):
        return True
    words = [word for word in _SEPARATORS.split(text.casefold()) if word]
    if not words or "_".join(words) in _WORDS or words[0] in _FIRST or not _ANYWHERE.isdisjoint(words):
        return True
    return words[0] in _ORDERS and not _OF_ORDERS.isdisjoint(words[1:])
