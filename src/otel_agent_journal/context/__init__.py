"""An agent's context: the numbered events from which its messages and state are rebuilt, at any of its numbers."""
