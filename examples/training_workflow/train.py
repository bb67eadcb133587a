"""The job itself: trains for a few epochs, and says in the journal how it goes."""

import os
import sys
import time

from otel_agent_journal import step, write_journal_entry

PACE_S = float(os.environ.get("EXAMPLE_PACE_S", "0.5"))
EPOCHS = 4

job = sys.argv[1]
loss = 1.0
try:
    with step("tool", "train", input={"job": job, "epochs": EPOCHS}) as tool:
        for epoch in range(1, EPOCHS + 1):
            time.sleep(PACE_S)
            if job == "diverges":
                raise ArithmeticError("the loss is no number any more")
            loss = round(loss / 2, 4)
            details = {"job": job, "epoch": epoch, "loss": loss}
            write_journal_entry(event_type="EPOCH_TRAINED", tool_name="train", details=details)
        tool.complete({"loss": loss})
except ArithmeticError as error:
    details = {"job": job, "error": str(error)}
    write_journal_entry(event_type="JOB_FAILED", tool_name="train", details=details, level="ERROR")
else:
    write_journal_entry(event_type="JOB_DONE", tool_name="train", details={"job": job, "loss": loss})
