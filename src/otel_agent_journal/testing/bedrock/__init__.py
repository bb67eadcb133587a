"""Amazon Bedrock's wire format, scripted, for the real boto3, Strands and LangChain: see `BedrockServer`.

Replies are made in `replies`, parts of an agent's stream in `agent_parts`, of a flow's in `flow_parts`.
"""

from otel_agent_journal.testing.bedrock import agent_parts, flow_parts
from otel_agent_journal.testing.bedrock.replies import (
    Block,
    Death,
    Part,
    Reply,
    Usage,
    body,
    break_off,
    call_tool,
    die,
    event,
    exception,
    fail,
    hang_up,
    hold,
    message,
    reasoning,
    say,
    slow,
    stream,
    throttle,
    tool_use,
)
from otel_agent_journal.testing.bedrock.requests import Request
from otel_agent_journal.testing.bedrock.server import Answer, BedrockServer, Entry

__all__ = [
    "Answer",
    "BedrockServer",
    "Block",
    "Death",
    "Entry",
    "Part",
    "Reply",
    "Request",
    "Usage",
    "agent_parts",
    "body",
    "break_off",
    "call_tool",
    "die",
    "event",
    "exception",
    "fail",
    "flow_parts",
    "hang_up",
    "hold",
    "message",
    "reasoning",
    "say",
    "slow",
    "stream",
    "throttle",
    "tool_use",
]
