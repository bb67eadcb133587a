"""OTLP over gRPC and HTTP into the spool: what `agent-journal collect` serves."""
