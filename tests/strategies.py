"""Hypothesis strategies for what the journal holds; shared by the tests of the codec, the facts and the stores."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from otel_agent_journal.event import LEVELS, OUTCOMES, ErrorInfo, JournalEvent, Usage

texts = st.text(max_size=12)
hex_ids = st.integers(0, 2**128 - 1).map(lambda number: f"{number:032x}")
times_ns = st.integers(0, 2**63 - 1) | st.integers(0, 10)
counts = st.integers(0, 2**63 - 1)

# Integers as large as they come, floats as small as they come; no NaN, no infinity, no lone surrogate.
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, 2**64, -(2**63) - 1, 10**40])
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
json_objects = st.dictionaries(texts, json_values, max_size=4)

errors = st.builds(ErrorInfo, type=texts, message=texts, code=st.none() | texts)
usages = st.builds(
    Usage,
    input_tokens=counts,
    output_tokens=counts,
    cache_read_tokens=counts,
    cache_write_tokens=counts,
    reasoning_tokens=counts,
)
events = st.builds(
    JournalEvent,
    session_id=st.text(min_size=1, max_size=12),
    event_id=hex_ids,
    type=st.sampled_from(["TOOL_START", "TOOL_END", "MODEL_ERROR", "SESSION_INITIATED", "X", "ANYTHING_ELSE"]),
    timestamp_ns=times_ns,
    level=st.sampled_from(LEVELS) | st.text(min_size=1, max_size=5),
    name=st.none() | texts,
    writer=st.none() | hex_ids,
    step_id=st.none() | hex_ids,
    parent_step_id=st.none() | hex_ids,
    attempt=st.none() | counts,
    trace_id=st.none() | hex_ids,
    span_id=st.none() | hex_ids.map(lambda text: text[:16]),
    outcome=st.none() | st.sampled_from(OUTCOMES) | texts,
    duration_ns=st.none() | counts,
    error=st.none() | errors,
    usage=st.none() | usages,
    details=json_objects,
)

# Whatever a program may put into details: what JSON cannot carry among it.
anything: st.SearchStrategy[Any] = st.recursive(
    json_values
    | st.floats()
    | st.text(st.characters(categories=["Cs", "L"]), max_size=5)
    | st.binary(max_size=8)
    | st.datetimes()
    | st.uuids()
    | st.decimals()
    | st.complex_numbers()
    | st.builds(object),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.none() | st.integers() | texts | st.tuples(st.integers(), texts), inner, max_size=3)
    ),
    max_leaves=8,
)
