"""The GenAI semantic conventions as this package writes and reads them, and the `agent_journal.*` names beside them.

The published constants are marked as moved and lag behind, so the names live here, once. The functions say which
attributes a step's span has: the recorder calls them for a live span, `to_span.py` for one rebuilt from its events,
so that both are equal. Pure; `start_attributes` and `end_attributes` run inside the agent for every step.

Source: open-telemetry/semantic-conventions-genai, `docs/gen-ai/` (all of it at stability Development), which has no
release of its own yet; `SCHEMA_URL` names the last of the conventions that it was taken from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from otel_agent_journal.event import EMPTY, ErrorInfo, Usage

SCOPE_NAME: Final = "otel_agent_journal"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.41.0"

# --- operations ---------------------------------------------------------------------------------------------------

OPERATION_NAME: Final = "gen_ai.operation.name"

CHAT: Final = "chat"
GENERATE_CONTENT: Final = "generate_content"
TEXT_COMPLETION: Final = "text_completion"
EMBEDDINGS: Final = "embeddings"
RETRIEVAL: Final = "retrieval"
CREATE_AGENT: Final = "create_agent"
INVOKE_AGENT: Final = "invoke_agent"
INVOKE_WORKFLOW: Final = "invoke_workflow"
PLAN: Final = "plan"
EXECUTE_TOOL: Final = "execute_tool"
INVOKE_NODE: Final = "invoke_node"  # ours: the conventions know no graph nodes

# --- identity -----------------------------------------------------------------------------------------------------

CONVERSATION_ID: Final = "gen_ai.conversation.id"
AGENT_ID: Final = "gen_ai.agent.id"
AGENT_NAME: Final = "gen_ai.agent.name"
AGENT_VERSION: Final = "gen_ai.agent.version"
WORKFLOW_NAME: Final = "gen_ai.workflow.name"
PROVIDER_NAME: Final = "gen_ai.provider.name"
SYSTEM: Final = "gen_ai.system"  # what the provider was called before; read, never written
DATA_SOURCE_ID: Final = "gen_ai.data_source.id"
OUTPUT_TYPE: Final = "gen_ai.output.type"
ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"

# Every name that a span, its resource or baggage has a session under; the first that is there counts.
SESSION_KEYS: Final = (
    CONVERSATION_ID,
    "session.id",
    f"baggage.{CONVERSATION_ID}",
    "baggage.session.id",
    "traceloop.association.properties.session_id",
    "traceloop.association.properties.conversation_id",
    "traceloop.association.properties.thread_id",
)

# Providers, as the conventions name them, by what frameworks call them.
_PROVIDERS: Final[Mapping[str, str]] = {
    "amazon": "aws.bedrock",
    "amazon_bedrock": "aws.bedrock",
    "aws": "aws.bedrock",
    "aws_bedrock": "aws.bedrock",
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "azure_ai_inference": "azure.ai.inference",
    "azure_openai": "azure.ai.openai",
    "az.ai.inference": "azure.ai.inference",
    "az.ai.openai": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "gemini": "gcp.gemini",
    "google": "gcp.gen_ai",
    "google_anthropic_vertex": "gcp.vertex_ai",
    "google_genai": "gcp.gemini",
    "google_vertexai": "gcp.vertex_ai",
    "ibm": "ibm.watsonx.ai",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "sagemaker": "aws.sagemaker",
    "vertex_ai": "gcp.vertex_ai",
    "vertexai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}

# --- request and response -----------------------------------------------------------------------------------------

REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
REQUEST_TOP_P: Final = "gen_ai.request.top_p"
REQUEST_TOP_K: Final = "gen_ai.request.top_k"
REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
REQUEST_STOP_SEQUENCES: Final = "gen_ai.request.stop_sequences"
REQUEST_SEED: Final = "gen_ai.request.seed"
REQUEST_FREQUENCY_PENALTY: Final = "gen_ai.request.frequency_penalty"
REQUEST_PRESENCE_PENALTY: Final = "gen_ai.request.presence_penalty"
REQUEST_CHOICE_COUNT: Final = "gen_ai.request.choice.count"
REQUEST_STREAM: Final = "gen_ai.request.stream"
RESPONSE_ID: Final = "gen_ai.response.id"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"

# --- tools --------------------------------------------------------------------------------------------------------

TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_TYPE: Final = "gen_ai.tool.type"
TOOL_DESCRIPTION: Final = "gen_ai.tool.description"
TOOL_DEFINITIONS: Final = "gen_ai.tool.definitions"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
TOOL_CALL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_CALL_RESULT: Final = "gen_ai.tool.call.result"

# --- content, off on spans unless asked for -----------------------------------------------------------------------

INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
RETRIEVAL_QUERY: Final = "gen_ai.retrieval.query.text"
RETRIEVAL_DOCUMENTS: Final = "gen_ai.retrieval.documents"
# Ours, for steps whose content the conventions have no attribute for; only dialects write them.
STEP_INPUT: Final = "agent_journal.step.input"
STEP_OUTPUT: Final = "agent_journal.step.output"
STEP_METADATA: Final = "agent_journal.step.metadata"
STEP_TAGS: Final = "agent_journal.step.tags"
STEP_TENANT: Final = "agent_journal.step.tenant"
USER_ID: Final = "user.id"

CAPTURE_CONTENT_VARIABLE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"

# --- usage --------------------------------------------------------------------------------------------------------

USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
USAGE_CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
USAGE_CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"  # written
USAGE_CACHE_CREATION_TOKENS: Final = "gen_ai.usage.cache_creation.input_tokens"  # its name before; read
USAGE_REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
USAGE_TOTAL_TOKENS: Final = "gen_ai.usage.total_tokens"  # what the others sum up to; neither read nor written

# For each field of `Usage` every name it is found under; the first that is there counts.
USAGE_READINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "input_tokens": (USAGE_INPUT_TOKENS, "gen_ai.usage.prompt_tokens"),
    "output_tokens": (USAGE_OUTPUT_TOKENS, "gen_ai.usage.completion_tokens"),
    "cache_read_tokens": (USAGE_CACHE_READ_TOKENS, "gen_ai.usage.cache_read_input_tokens"),
    "cache_write_tokens": (
        USAGE_CACHE_WRITE_TOKENS,
        USAGE_CACHE_CREATION_TOKENS,
        "gen_ai.usage.cache_write_input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
    ),
    "reasoning_tokens": (USAGE_REASONING_TOKENS, "gen_ai.usage.reasoning_tokens"),
}

# What a provider or a gateway says that a call cost, in US dollars. The conventions have no name for it yet: the first
# is the one that most write, and ours; the others are read.
USAGE_COST: Final = "gen_ai.usage.cost"
COST_READINGS: Final = (
    USAGE_COST,
    "gen_ai.usage.cost_usd",
    "gen_ai.usage.total_cost",
    "gen_ai.cost.total_cost",
    "llm.cost.total",
    "llm.usage.total_cost",
    "operation.cost",
)
# At which of its prices a provider billed a call: default, flex, priority, batch.
SERVICE_TIER: Final = "openai.response.service_tier"
SERVICE_TIER_READINGS: Final = (
    SERVICE_TIER,
    "gen_ai.openai.response.service_tier",
    "gen_ai.response.service_tier",
    "openai.request.service_tier",
    "gen_ai.openai.request.service_tier",
)

# What the conventions have as numbers, and some senders as texts. Tokens are `usage_of`'s.
NUMBERS: Final = frozenset(
    (
        REQUEST_TEMPERATURE,
        REQUEST_TOP_P,
        REQUEST_TOP_K,
        REQUEST_MAX_TOKENS,
        REQUEST_SEED,
        REQUEST_FREQUENCY_PENALTY,
        REQUEST_PRESENCE_PENALTY,
        REQUEST_CHOICE_COUNT,
        RESPONSE_TIME_TO_FIRST_CHUNK,
        SERVER_PORT,
    )
)

# --- ours ---------------------------------------------------------------------------------------------------------

STEP_ID: Final = "agent_journal.step.id"
STEP_PARENT_ID: Final = "agent_journal.step.parent_id"
STEP_KIND: Final = "agent_journal.step.kind"
STEP_NAME: Final = "agent_journal.step.name"
ATTEMPT: Final = "agent_journal.attempt"
PASSED_THROUGH: Final = "agent_journal.error.passed_through"  # true where the error began in a step below
RAISED_AT: Final = "agent_journal.error.raised_at"  # of a step that failed: file:line in function
OUTCOME: Final = "agent_journal.outcome"
NODE_NAME: Final = "agent_journal.node.name"
TOOL_EFFECTS: Final = "agent_journal.tool.effects"  # read, write, irreversible
# Of a step that did not end, though its span was made: why its writer is held for gone, and which writer that is.
LEFT_OPEN: Final = "agent_journal.left_open"
NOT_KNOWN: Final = "unknown"  # in place of a reason: the writer may live
WRITER: Final = "agent_journal.writer"

STATUS_UNSET: Final = 0  # the three codes of OTLP's Status
STATUS_OK: Final = 1
STATUS_ERROR: Final = 2

KIND_INTERNAL: Final = "INTERNAL"
KIND_CLIENT: Final = "CLIENT"

OPERATION_OF_KIND: Final[Mapping[str, str]] = {
    "AGENT": INVOKE_AGENT,
    "NODE": INVOKE_NODE,
    "MODEL": CHAT,
    "TOOL": EXECUTE_TOOL,
    "RETRIEVAL": RETRIEVAL,
}

KIND_OF_OPERATION: Final[Mapping[str, str]] = {
    CHAT: "MODEL",
    GENERATE_CONTENT: "MODEL",
    TEXT_COMPLETION: "MODEL",
    EMBEDDINGS: "MODEL",
    CREATE_AGENT: "AGENT",
    INVOKE_AGENT: "AGENT",
    INVOKE_WORKFLOW: "AGENT",
    INVOKE_NODE: "NODE",
    EXECUTE_TOOL: "TOOL",
    RETRIEVAL: "RETRIEVAL",
}

# The attribute that carries a step's own name, and the lower-case word for its kind.
_NAME_ATTRIBUTE: Final[Mapping[str, str]] = {
    "AGENT": AGENT_NAME,
    "NODE": NODE_NAME,
    "MODEL": STEP_NAME,
    "TOOL": TOOL_NAME,
    "RETRIEVAL": STEP_NAME,
    "STEP": STEP_NAME,
}
KIND_WORDS: Final[Mapping[str, str]] = {kind: kind.lower() for kind in _NAME_ATTRIBUTE}


def span_name(kind: str, name: str, operation: str | None = None) -> str:
    """Return the name of a step's span: its operation and its name, or for a plain step its name alone.

    `operation` is the `gen_ai.operation.name` where it is another than the kind's own (`invoke_workflow`,
    `embeddings`). A name that is empty is left out.
    """
    verb = operation or OPERATION_OF_KIND.get(kind)
    if verb is None:
        return name
    return f"{verb} {name}" if name else verb


def provider_name(said: str) -> str:
    """Return a provider as the conventions name it; one that they do not know as it was said."""
    return _PROVIDERS.get(said.strip().lower().replace("-", "_"), said)


def span_kind(kind: str, attributes: Mapping[str, Any] = EMPTY) -> str:
    """Return CLIENT for a model call and for the call of a remote agent, INTERNAL for everything else.

    An agent is remote where it has an address; a workflow is INTERNAL even then, as the conventions have it.
    """
    if kind == "MODEL":
        return KIND_CLIENT
    remote = kind == "AGENT" and SERVER_ADDRESS in attributes
    return KIND_CLIENT if remote and attributes.get(OPERATION_NAME) != INVOKE_WORKFLOW else KIND_INTERNAL


def start_attributes(
    kind: str,
    name: str,
    session_id: str,
    step_id: str,
    parent_step_id: str | None,
    attempt: int,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the attributes that a step's span has at its creation.

    `extra` are those that do not follow from the other arguments (the requested model, the provider, a tool call's
    id, another operation name); they win, and are what the START event keeps in `details.attributes`.
    """
    attributes: dict[str, Any] = {
        CONVERSATION_ID: session_id,
        STEP_ID: step_id,
        STEP_KIND: KIND_WORDS[kind],
        ATTEMPT: attempt,
        _NAME_ATTRIBUTE[kind]: name,
    }
    if kind != "STEP":
        attributes[OPERATION_NAME] = OPERATION_OF_KIND[kind]
    if parent_step_id is not None:
        attributes[STEP_PARENT_ID] = parent_step_id
    if extra:
        attributes.update(extra)
        if attributes.get(OPERATION_NAME) == INVOKE_WORKFLOW:
            attributes[WORKFLOW_NAME] = attributes.pop(AGENT_NAME, name)
    return attributes


def end_attributes(
    outcome: str,
    usage: Usage | None = None,
    error: ErrorInfo | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the attributes that a step's span gets as it ends.

    `extra` are those that do not follow from the other arguments (`gen_ai.response.*`, what user code set on a light
    span); they win, and are what the ending event keeps in `details.attributes`. `error.type` is set for the outcome
    error only: being cancelled or interrupted is none.
    """
    attributes: dict[str, Any] = {OUTCOME: outcome}
    if usage is not None:
        attributes[USAGE_INPUT_TOKENS] = usage.input_tokens
        attributes[USAGE_OUTPUT_TOKENS] = usage.output_tokens
        if usage.cache_read_tokens:
            attributes[USAGE_CACHE_READ_TOKENS] = usage.cache_read_tokens
        if usage.cache_write_tokens:
            attributes[USAGE_CACHE_WRITE_TOKENS] = usage.cache_write_tokens
        if usage.reasoning_tokens:
            attributes[USAGE_REASONING_TOKENS] = usage.reasoning_tokens
    if error is not None and outcome == "error":
        attributes[ERROR_TYPE] = error.type
    if extra:
        attributes.update(extra)
    return attributes


def told_attributes(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that say of an error where it was raised, and whether below the step: from details."""
    attributes: dict[str, Any] = {}
    if told.get("passed_through") is True:
        attributes[PASSED_THROUGH] = True
    if isinstance(raised_at := told.get("raised_at"), str):
        attributes[RAISED_AT] = raised_at
    return attributes


def span_status(outcome: str, error: ErrorInfo | None = None) -> tuple[int, str | None]:
    """Return status code and description of a span that ended in order.

    ERROR for the outcome error; otherwise UNSET, as the specification asks of instrumentations, for cancelled and
    interrupted (waiting for input) too. Only a step that its writer left open has ERROR with outcome interrupted.
    """
    if outcome != "error":
        return STATUS_UNSET, None
    if error is None:
        return STATUS_ERROR, None
    return STATUS_ERROR, error.message or error.type


def captures_content_on_spans(setting: str | None) -> bool:
    """Tell whether a value of OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT puts content on spans.

    NO_CONTENT is the default; SPAN_ONLY and SPAN_AND_EVENT say yes; anything else, `true` included, is no.
    """
    return (setting or "").strip().upper() in ("SPAN_ONLY", "SPAN_AND_EVENT")
