"""Agents of Amazon Bedrock, untouched: trace and answer journaled as they arrive, and retries of every Bedrock call."""

from otel_agent_journal.frameworks.bedrock_agents.instrumentor import BedrockAgentsInstrumentor

__all__ = ["BedrockAgentsInstrumentor"]
