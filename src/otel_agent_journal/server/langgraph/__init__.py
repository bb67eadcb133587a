"""LangGraph's own clients on the session API: threads, runs, streams, states and assistants, in their words."""
