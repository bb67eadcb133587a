"""From what an agent did to journal events, and from journal events to spans. Pure."""
