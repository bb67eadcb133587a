"""The journal as a tool of agents: they write entries, read what was done, ask in SQL, and wait for one another."""
