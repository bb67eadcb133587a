"""The tool that starts a training job, and returns as soon as it runs."""

import os
import subprocess
import sys
from pathlib import Path

from otel_agent_journal import step, write_journal_entry

TRAIN = Path(__file__).with_name("train.py")

with step("tool", "start_job", effects="write") as tool:
    job = sys.argv[1]
    process = subprocess.Popen([sys.executable, str(TRAIN), job], start_new_session=True)
    answer = write_journal_entry(
        event_type="JOB_STARTED", tool_name="start_job", details={"job": job, "pid": process.pid, "by": os.getpid()}
    )
    tool.complete({"job": job, "status": answer["status"]})
