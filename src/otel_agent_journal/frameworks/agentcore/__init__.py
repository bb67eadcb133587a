"""Amazon Bedrock AgentCore's runtime, untouched: a step for every request and background task, flushed in time."""

from otel_agent_journal.frameworks.agentcore.instrumentor import AgentCoreInstrumentor

__all__ = ["AgentCoreInstrumentor"]
