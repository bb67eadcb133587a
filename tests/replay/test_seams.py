"""The seams of LangChain, Strands and botocore that a replay stands on, private ones among them: they are as they were.

A replay that does not find its seam would call a model. So each one is named here with what it takes. A release in
which it takes something else fails here first, and by name; `test_versions` runs this with the oldest and the newest.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from functools import reduce
from typing import Any, Final

import pytest

LANGCHAIN: Final = "src/otel_agent_journal/frameworks/langgraph/replaying.py"
TOOLS: Final = "src/otel_agent_journal/frameworks/langgraph/receipts.py"
BEDROCK: Final = "src/otel_agent_journal/frameworks/bedrock_agents/replaying.py"
STRANDS: Final = "src/otel_agent_journal/frameworks/strands/replaying.py"
_CHAT: Final = "langchain_core.language_models.chat_models:BaseChatModel."
_TEXT: Final = "langchain_core.language_models.llms:BaseLLM."
_RETRIEVER: Final = "langchain_core.retrievers:BaseRetriever."
_TOOL: Final = "langchain_core.tools.base:BaseTool."
_EVENTS: Final = "strands.types._events:"

# What each takes, in order; a star begins what is given by name. What comes besides must have a default.
SEAMS: Final = {
    f"{_CHAT}_generate_with_cache": ("self messages stop run_manager", LANGCHAIN),
    f"{_CHAT}_agenerate_with_cache": ("self messages stop run_manager", LANGCHAIN),
    f"{_CHAT}_generate": ("self messages stop run_manager", LANGCHAIN),
    f"{_CHAT}_agenerate": ("self messages stop run_manager", LANGCHAIN),
    f"{_CHAT}_stream": ("self messages stop run_manager", LANGCHAIN),
    f"{_CHAT}_astream": ("self messages stop run_manager", LANGCHAIN),
    f"{_CHAT}_should_stream": ("self * async_api run_manager", LANGCHAIN),
    f"{_CHAT}stream": ("self input config * stop", LANGCHAIN),
    f"{_CHAT}astream": ("self input config * stop", LANGCHAIN),
    f"{_TEXT}_generate_helper": ("self prompts stop run_managers * new_arg_supported", LANGCHAIN),
    f"{_TEXT}_agenerate_helper": ("self prompts stop run_managers * new_arg_supported", LANGCHAIN),
    f"{_TEXT}_generate": ("self prompts stop run_manager", LANGCHAIN),
    f"{_TEXT}_stream": ("self prompt stop run_manager", LANGCHAIN),
    f"{_RETRIEVER}_get_relevant_documents": ("self query * run_manager", LANGCHAIN),
    f"{_RETRIEVER}_aget_relevant_documents": ("self query * run_manager", LANGCHAIN),
    f"{_TOOL}run": ("self tool_input * tool_call_id", TOOLS),
    f"{_TOOL}arun": ("self tool_input * tool_call_id", TOOLS),
    f"{_TOOL}_run": ("self", TOOLS),
    f"{_TOOL}_arun": ("self", TOOLS),
    "strands.agent.agent:Agent.add_middleware": ("self stage_or_phase handler", STRANDS),
    f"{_EVENTS}ModelStreamChunkEvent": ("chunk", STRANDS),
    f"{_EVENTS}ModelStopReason": ("stop_reason message usage metrics", STRANDS),
    f"{_EVENTS}TextStreamEvent": ("delta text", STRANDS),
    f"{_EVENTS}ReasoningTextStreamEvent": ("delta reasoning_text", STRANDS),
    f"{_EVENTS}ToolResultEvent": ("tool_result", STRANDS),
    "strands.interrupt:Interrupt": ("id name reason response", STRANDS),
    "strands.interrupt:InterruptException": ("interrupt", STRANDS),
    "strands.session.file_session_manager:FileSessionManager": ("session_id storage_dir", STRANDS),
    "botocore.client:BaseClient._make_api_call": ("self operation_name api_params", BEDROCK),
    "botocore.client:BaseClient._make_request": ("self operation_model request_dict request_context", BEDROCK),
    "botocore.response:StreamingBody": ("raw_stream content_length", BEDROCK),
    "botocore.eventstream:EventStream": ("raw_stream output_shape parser operation_name", BEDROCK),
    "botocore.eventstream:EventStream._parse_event": ("self event", BEDROCK),
}
CONTEXTS: Final = {"InvokeModelContext": ("agent",), "ExecuteToolContext": ("agent", "tool", "tool_use")}


@pytest.mark.parametrize("seam", SEAMS)
def test_a_seam_takes_what_it_took(seam: str) -> None:
    """In the order in which it is handed over, or by the same name."""
    taken, used_in = SEAMS[seam]
    module, _, path = seam.partition(":")
    found = reduce(lambda owner, name: getattr(owner, name, None), path.split("."), _imported(module))
    assert found is not None, f"{seam} is gone: {used_in} serves a replay through it, and needs another way"
    assert _fits(inspect.signature(found), taken), (
        f"{seam} takes {inspect.signature(found)}, and {used_in} was written for: {taken}."
        " See what the release has changed, mend what a replay does there, and then this table"
    )


@pytest.mark.parametrize("context", CONTEXTS)
def test_middleware_of_strands_is_told_what_is_called(context: str) -> None:
    """Of a tool the tool itself, and the call."""
    kind = vars(_imported("strands.middleware"))[context]
    there = {one.name for one in dataclasses.fields(kind)}
    assert there >= set(CONTEXTS[context]), f"{context} has {sorted(there)}, and {STRANDS} asks for {CONTEXTS[context]}"


def test_an_agent_of_strands_knows_what_it_has_asked() -> None:
    """A question that was recorded is put there, and its answer found."""
    agent = _imported("strands").Agent(callback_handler=None)
    state = getattr(agent, "_interrupt_state", None)
    assert isinstance(getattr(state, "interrupts", None), dict), f"Agent._interrupt_state is another: {STRANDS}, _ask"


@pytest.mark.parametrize(
    ("now", "fits"),
    [
        (lambda self, messages, stop=None, run_manager=None, **kwargs: ..., True),
        (lambda self, messages, stop=None, run_manager=None, *, new=None, **kwargs: ..., True),
        (lambda self, messages, stop=None, *, run_manager=None: ..., False),
        (lambda self, messages, config, stop=None, run_manager=None: ..., False),
        (lambda self, messages, stop=None, run_manager=None, *, new: ..., False),
        (lambda self, messages, stop=None: ..., False),
    ],
)
def test_another_signature_is_seen(now: Any, fits: bool) -> None:
    """One that is only longer fits."""
    assert _fits(inspect.signature(now), "self messages stop run_manager") == fits


def _fits(signature: inspect.Signature, taken: str) -> bool:
    by_place, _, by_name = (part.split() for part in taken.partition("*"))
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    there = signature.parameters
    if [name for name, one in there.items() if one.kind in positional][: len(by_place)] != by_place:
        return False
    others = (one for name, one in there.items() if name not in (*by_place, *by_name) and one.kind not in several)
    return set(by_name) <= there.keys() and all(one.default is not inspect.Parameter.empty for one in others)


def _imported(module: str) -> Any:
    return importlib.import_module(module)
