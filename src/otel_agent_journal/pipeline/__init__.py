"""From what happens in an agent's process to facts in its spool: the recorder, and the two doors for others' spans."""
