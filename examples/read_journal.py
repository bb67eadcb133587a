"""Read a journal from Python: every session, its slowest steps, and what went wrong.

agent-journal demo && python examples/read_journal.py
"""

from otel_agent_journal import JournalError, open_store

try:
    store = open_store("sqlite:///.agent-journal/journal.db", create=False)
    for head in store.sessions():
        print(f"{head.session_id}  {head.status}  {head.steps} steps  {head.input_tokens + head.output_tokens} tokens")
        ended = [event for event in store.read(head.session_id) if event.duration_ns is not None]
        for event in sorted(ended, key=lambda event: event.duration_ns or 0, reverse=True)[:3]:
            print(f"  {(event.duration_ns or 0) / 1e6:8.1f} ms  {event.type:12s}  {event.name}")
        for event in ended:
            if event.error is not None:
                print(f"  failed: {event.name}: {event.error.type}: {event.error.message}")
    store.close()
except JournalError as error:
    raise SystemExit(str(error)) from error
