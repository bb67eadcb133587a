"""The tool that reports: it waits until the job was checked, and reads in the journal what happened."""

from otel_agent_journal import read_journal, step, wait_for_journal, write_journal_entry

with step("tool", "report", effects="read") as tool:
    checked = wait_for_journal(until="JOB_CHECKED", timeout_s=300)
    if checked["status"] != "success":
        raise TimeoutError(checked["message"])
    said = checked["entries"][0]["details"]
    losses = [entry["details"]["loss"] for entry in read_journal(filter_event_type="EPOCH_TRAINED")["entries"]]
    curve = " → ".join(f"{loss:g}" for loss in losses) or "no epoch"
    text = f"{said['job']}: {said['ended']} after {len(losses)} epochs, loss {curve}"
    write_journal_entry(event_type="REPORT_WRITTEN", tool_name="report", details={"text": text})
    tool.complete(text)
    print(text)
