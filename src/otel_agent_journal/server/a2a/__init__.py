"""Agent2Agent 1.0 on the session API, by a2a-sdk: a task is a turn of a session, its context the session."""
