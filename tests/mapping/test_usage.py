"""Tokens in whatever shape a provider, its SDK or a framework gives them."""

from __future__ import annotations

import decimal
import types
from typing import Any

import numpy as np
import pydantic
import pytest
from hypothesis import given

from otel_agent_journal.event import Usage
from otel_agent_journal.mapping.usage import cost_of, number_in, usage_of
from tests.strategies import anything


def usage(*counts: int) -> Usage:
    """Input, output, read from a cache, written to it, reasoning."""
    fields = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
    return Usage(**dict(zip(fields, counts, strict=False)))


class Creation(pydantic.BaseModel):
    """As Anthropic's SDK has it."""

    ephemeral_5m_input_tokens: int = 60
    ephemeral_1h_input_tokens: int = 40


class Anthropic(pydantic.BaseModel):
    """As Anthropic's SDK has it."""

    input_tokens: int = 10
    output_tokens: int = 3
    cache_creation_input_tokens: int | None = 100
    cache_read_input_tokens: int | None = None
    cache_creation: Creation | None = Creation()
    service_tier: str = "standard"


class Slots:
    """An object that holds its fields in slots."""

    __slots__ = ("completion_tokens", "prompt_tokens")

    def __init__(self) -> None:
        self.prompt_tokens, self.completion_tokens = 12, 3


OPENAI = {
    "prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": None},
    "completion_tokens_details": {"reasoning_tokens": 2},
}  # fmt: skip
RESPONSES = types.SimpleNamespace(
    input_tokens=12, output_tokens=3, input_tokens_details=types.SimpleNamespace(cached_tokens=4),
    output_tokens_details={"reasoning_tokens": 2},
)  # fmt: skip
GEMINI = {
    "prompt_token_count": 12, "candidates_token_count": 3, "thoughts_token_count": 2, "tool_use_prompt_token_count": 1,
    "cached_content_token_count": 4, "total_token_count": 18, "prompt_tokens_details": [{"modality": "TEXT"}],
}  # fmt: skip
LANGCHAIN = {
    "input_tokens": 5000, "output_tokens": 7, "total_tokens": 5007, "output_token_details": {"reasoning": 4},
    "input_token_details": {
        "cache_read": 12, "cache_creation": 0, "ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200,
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (usage(1, 2, 3, 4, 5), usage(1, 2, 3, 4, 5)),
        ({"input_tokens": 1, "output_tokens": 2, "cache_write_tokens": 3, "mine": "x"}, usage(1, 2, 0, 3)),
        ({"input_tokens": None, "output_tokens": 3}, usage(0, 3)),
        ({"input_tokens": 12.0, "output_tokens": "3"}, usage(12, 3)),
        ({"input_tokens": -1, "output_tokens": np.int64(3)}, usage(0, 3)),
        ({"input_tokens": decimal.Decimal(12), "output_tokens": float("nan")}, usage(12, 0)),
        (OPENAI, usage(12, 3, 4, 0, 2)),
        ({"model": "m", "usage": OPENAI}, usage(12, 3, 4, 0, 2)),
        (RESPONSES, usage(12, 3, 4, 0, 2)),
        (Slots(), usage(12, 3)),
        (Anthropic(), usage(110, 3, 0, 100)),
        (Anthropic(cache_creation_input_tokens=None, cache_read_input_tokens=5), usage(115, 3, 5, 100)),
        (Anthropic(cache_creation=None), usage(110, 3, 0, 100)),
        ({"inputTokens": 10, "outputTokens": 3, "totalTokens": 18, "cacheReadInputTokens": 4,
          "cacheWriteInputTokens": 1}, usage(15, 3, 4, 1)),
        ({"inputTokens": 15, "outputTokens": 3, "totalTokens": 18, "cacheReadInputTokens": 4}, usage(15, 3, 4)),
        (GEMINI, usage(13, 5, 4, 0, 2)),
        ({"usageMetadata": {"promptTokenCount": 12, "candidatesTokenCount": 3}}, usage(12, 3)),
        (LANGCHAIN, usage(5000, 7, 12, 300, 4)),
        ({**LANGCHAIN, "input_token_details": {"cache_creation": 300}}, usage(5000, 7, 0, 300, 4)),
        ({"token_usage": OPENAI}, usage(12, 3, 4, 0, 2)),
    ],
)  # fmt: skip
def test_shapes(given: Any, expected: Usage) -> None:
    """Each shape is read as what it counts; what is None or negative is not known, other keys are passed over."""
    assert usage_of(given) == expected


@pytest.mark.parametrize(
    "given", [None, {}, 7, "12", [1], {1: 2}, {"total_tokens": 15}, {"input_tokens": None}, object()]
)
def test_what_counts_nothing(given: Any) -> None:
    """What names no tokens is no usage."""
    assert usage_of(given) is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"prompt_tokens": 3, "cost": 0.0042}, 0.0042),
        ({"token_usage": {"prompt_tokens": 3, "cost": "0.5"}, "model_name": "m"}, 0.5),
        ({"response_cost": 0.25, "token_usage": {}}, 0.25),
        ({"cost": None, "total_cost": 0}, 0),
        ({"usage": {"cost": decimal.Decimal("0.5")}}, 0.5),
        ({"cost": -1}, None),
        ({"usage": {"usage": {"cost": 1}}}, None),
        ({"cost": {"total": 1}}, None),
        (None, None),
        ("0.5", None),
    ],
)
def test_what_a_call_is_said_to_have_cost(given: Any, expected: float | None) -> None:
    """OpenRouter and LiteLLM say it with the usage, or beside it; what is no amount is not known."""
    assert cost_of(given) == expected


@given(anything)
def test_anything(value: Any) -> None:
    """Nothing raises, whatever is given."""
    usage_of(value)
    cost_of(value)
    cost_of({"cost": value, "usage": value})
    usage_of({"input_tokens": value, "input_token_details": value})
    number_in(value)
