"""What must not be journaled is taken out before anything is written.

    python examples/redacted_agent.py && agent-journal show mail-1 --events

For a program that is not changed: AGENT_JOURNAL_REDACTOR=redacted_agent:redact agent-journal run -- python my_agent.py
"""

import re

import otel_agent_journal
from otel_agent_journal import session

MAIL = re.compile(r"[\w.+-]{1,64}@[\w.-]{1,255}")  # bounded: an unbounded one is slow on long texts
SECRET = {"password", "api_key", "authorization"}


def redact(field, value):
    """Return what may be journaled in place of a field's value."""
    if isinstance(value, str):
        return MAIL.sub("[mail]", value)
    if isinstance(value, dict):
        return {key: "[hidden]" if key in SECRET else redact(field, item) for key, item in value.items()}
    if isinstance(value, list):
        return [redact(field, item) for item in value]
    return value


if __name__ == "__main__":
    otel_agent_journal.configure(redactor=redact)
    asked = {"to": "ann@example.org", "password": "hunter2"}
    with (
        session("mail-1", agent="mailer", input=asked) as s,
        s.step("tool", "send", input="Dear ann@example.org") as step,
    ):
        step.complete("sent")
