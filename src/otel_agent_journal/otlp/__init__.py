"""The wire of OTLP as a client speaks it: where requests go, and what each answer means."""
