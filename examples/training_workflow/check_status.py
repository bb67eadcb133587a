"""The tool that says how a job went: it waits in the journal for it, and polls nothing."""

import sys

from otel_agent_journal import current_session, step, wait_for, write_journal_entry

with step("tool", "check_status", effects="read") as tool:
    session = current_session()
    started = wait_for(session, "JOB_STARTED", timeout_s=120)
    ended = wait_for(session, ("JOB_DONE", "JOB_FAILED"), timeout_s=600)
    assert started.event is not None
    assert ended.event is not None
    took_s = (ended.event.timestamp_ns - started.event.timestamp_ns) / 1e9
    details = {"job": sys.argv[1], "ended": ended.type, "took_s": round(took_s, 3), "said": dict(ended.event.details)}
    write_journal_entry(event_type="JOB_CHECKED", tool_name="check_status", details=details)
    tool.complete(details)
