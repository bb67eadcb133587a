"""From the journal to an OTLP backend: events become spans and are sent, best effort."""
