"""The tokens of a model call, in whatever shape a provider, its SDK or a framework gives them. Pure.

| shape | input, output | read from a cache, written to it, of reasoning |
|---|---|---|
| ours | `input_tokens`, `output_tokens` | `cache_read_tokens`, `cache_write_tokens`, `reasoning_tokens` |
| OpenAI | `prompt_tokens`, `completion_tokens`; `input_tokens`, `output_tokens` | `*_tokens_details` |
| Anthropic | `input_tokens`, `output_tokens` | `cache_read_input_tokens`, `cache_creation_input_tokens` |
| Bedrock | `inputTokens`, `outputTokens` | `cacheReadInputTokens`, `cacheWriteInputTokens` |
| Gemini | `prompt_token_count`, `candidates_token_count` | `cached_content_token_count`, `thoughts_token_count` |
| LangChain | `input_tokens`, `output_tokens` | `input_token_details`, `output_token_details` |

What is None, negative or no number is not known; keys that nobody knows are passed over. Nothing here raises.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from otel_agent_journal.event import Usage
from otel_agent_journal.mapping.numbers import count_of, number_of
from otel_agent_journal.readers import Listed, Mapped, Octets, Text, fields_of, opened

# Names without case and underscores.
_INPUT: Final = ("inputtokens", "prompttokens", "prompttokencount", "inputtokencount", "promptevalcount")
_TOOL_INPUT: Final = ("tooluseprompttokencount",)  # Gemini counts it beside the prompt
_OUTPUT: Final = ("outputtokens", "completiontokens", "candidatestokencount", "outputtokencount", "evalcount")
_THOUGHTS: Final = ("thoughtstokencount",)  # Gemini counts them beside the answer
_TOTAL: Final = ("totaltokens", "totaltokencount")
_READ_BESIDE: Final = ("cachereadinputtokens", "cachereadinputtokencount")
_WRITTEN_BESIDE: Final = ("cachecreationinputtokens", "cachewriteinputtokens", "cachewriteinputtokencount")
_BESIDE: Final = frozenset((*_READ_BESIDE, *_WRITTEN_BESIDE))
_READ: Final = (
    *_READ_BESIDE,
    *("cachereadtokens", "cachedtokens", "cacheread", "cachedcontenttokencount", "promptcachehittokens"),
)
_WRITTEN: Final = (*_WRITTEN_BESIDE, "cachewritetokens", "cachecreation", "cachewrite")
_BY_TIME_TO_LIVE: Final = "ephemeral"  # how the parts of what Anthropic wrote begin
_REASONING: Final = ("reasoningtokens", "reasoning", *_THOUGHTS)
_DETAILS: Final = frozenset(
    f"{counted}details" for counted in ("prompttokens", "completiontokens", "inputtokens", "outputtokens")
) | {"inputtokendetails", "outputtokendetails", "cachecreation"}
_MAX_DIGITS: Final = 400  # of a text that is a number
_MAX_NAME: Final = 64  # characters; what is longer is none of these
_COST: Final = ("cost", "responsecost", "totalcost", "costusd")
_WRAPPERS: Final = ("usage", "usagemetadata", "tokenusage")  # of a whole answer


def usage_of(given: Any) -> Usage | None:
    """Return the tokens that a mapping or an object counts; None where it counts none.

    A cache that is counted beside the input is added to it, unless the total tells that it is in it already.
    """
    counts = _read(given)
    if counts.keys().isdisjoint(_COUNTED):
        return None
    entered, answered = _first(counts, _INPUT), _first(counts, _OUTPUT)
    if counts.keys() <= _NO_PARTS:
        return Usage(input_tokens=entered, output_tokens=answered)
    parts = sum([count for name, count in counts.items() if name.startswith(_BY_TIME_TO_LIVE)])
    is_beside = "inputtokens" in counts and not counts.keys().isdisjoint(_BESIDE)
    if is_beside and entered + answered != _first(counts, _TOTAL):
        entered += _first(counts, _READ_BESIDE) + max(_first(counts, _WRITTEN_BESIDE), parts)
    return Usage(
        input_tokens=entered + _first(counts, _TOOL_INPUT),
        output_tokens=answered + _first(counts, _THOUGHTS),
        cache_read_tokens=_first(counts, _READ),
        cache_write_tokens=max(_first(counts, _WRITTEN), parts),
        reasoning_tokens=_first(counts, _REASONING),
    )


_COUNTED: Final = frozenset((*_INPUT, *_OUTPUT, *_READ, *_WRITTEN, *_REASONING, *_TOOL_INPUT))
_NO_PARTS: Final = frozenset((*_INPUT, *_OUTPUT, *_TOTAL))


def cost_of(given: Any, *, wrapped: bool = True) -> int | float | None:
    """Return the US dollars that a provider, or a gateway before it, says that a call cost; None where it is not said.

    OpenRouter has it as `cost` of the usage, LiteLLM as `response_cost`; LangChain has both in an answer's metadata.
    """
    fields = {_bare(name): value for name, value in fields_of(given).items()}
    for name in _COST:
        if name in fields and (found := number_in(fields[name])) is not None and found >= 0:
            return found
    within = next((name for name in _WRAPPERS if name in fields), None) if wrapped else None
    return None if within is None else cost_of(fields[within], wrapped=False)


def _read(given: Any, *, wrapped: bool = True) -> dict[str, int]:
    """Return what is counted by name, that of its details too."""
    fields = {_bare(name): value for name, value in fields_of(given).items()}
    if wrapped and fields.keys().isdisjoint(_COUNTED):
        within = next((name for name in _WRAPPERS if name in fields), None)
        if within is not None:
            return _read(fields[within], wrapped=False)
    counts: dict[str, int] = {}
    for name, value in fields.items():
        count = _count(value)
        if count is not None:
            counts[name] = count
        elif name in _DETAILS:
            counts.update({key: one for key, one in _read_in(value).items() if key not in fields})
    return counts


def _read_in(given: Any) -> dict[str, int]:
    fields = fields_of(given).items()
    return {_bare(name): count for name, value in fields if (count := _count(value)) is not None}


def _bare(name: str) -> str:
    return _known_bare(name) if len(name) <= _MAX_NAME else ""


@lru_cache(maxsize=256)
def _known_bare(name: str) -> str:
    return name.replace("_", "").lower()


def number_in(value: Any) -> int | float | None:
    """Return the finite number that a value of any class is or says; None where there is none."""
    return number_of(_scalar(value))


def _count(value: Any) -> int | None:
    kind = type(value)  # type: ignore[misc]
    return count_of(value) if kind is int else None if kind is dict else count_of(_scalar(value))


def _scalar(value: Any) -> Any:
    inside = opened(value)
    if isinstance(inside, Mapped | Listed | Octets):
        return None
    return inside.head(_MAX_DIGITS) if isinstance(inside, Text) else inside


def _first(counts: dict[str, int], names: Iterable[str]) -> int:
    for name in names:
        if name in counts:
            return counts[name]
    return 0
