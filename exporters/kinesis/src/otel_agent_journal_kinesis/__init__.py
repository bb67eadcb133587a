"""The journal sent on to Kinesis Data Streams and Firehose: what the URL schemes of sinks name."""

from otel_agent_journal_kinesis.sinks import FirehoseSink, KinesisSink, open_firehose, open_kinesis

__all__ = ["FirehoseSink", "KinesisSink", "open_firehose", "open_kinesis"]
