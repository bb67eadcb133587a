"""Kinesis Data Streams and Firehose as sinks: one request a call, and what it says of each record.

botocore signs and sends; nothing is tried again here, that is the shipper's. Limits are those of the services, as of
botocore's models and AWS's quotas: https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html and
https://docs.aws.amazon.com/firehose/latest/dev/limits.html.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from otel_agent_journal.errors import JournalError
from otel_agent_journal.sinks.port import Limits, Record
from otel_agent_journal_aws import Refusal, Service, failures
from otel_agent_journal_aws.policies import Note, Policy, looked_up
from otel_agent_journal_kinesis.failures import MISSING, error_of, of_sink
from otel_agent_journal_kinesis.place import Place, place_of

KIB: Final = 1024
RECORDS: Final = 500  # of one request, of either service
KINESIS_RECORD_KIB: Final = 1024  # of a stream that does not say, or was never told to take more
KINESIS_MOST_KIB: Final = 10 * 1024  # that a stream can be told to take
KINESIS_REQUEST_BYTES: Final = 5 * KIB * KIB  # half of what there may be: it goes over a slow line in time
FIREHOSE_RECORD_BYTES: Final = 1000 * KIB
FIREHOSE_REQUEST_BYTES: Final = 4_000_000


class _Stream:
    """What both services have in common. Thread-safe but for `limits`; a forked child has connections of its own."""

    service: str

    def __init__(self, place: Place) -> None:
        self.place = place
        self._client: Service[Place] = Service(place, self.service, place.endpoint_url)

    @property
    def url(self) -> str:
        """Its URL, as it may be printed."""
        return self.place.url

    def close(self) -> None:
        """Close the connections. May be called twice."""
        self._client.close()

    def _ask(self, what: str, work: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        try:
            return self._client.ask(what, work, attempts=1)
        except Refusal as refusal:
            raise error_of(refusal, self.place, self.service) from refusal
        except JournalError as error:
            raise of_sink(error, self.place) from error


class KinesisSink(_Stream):
    """A stream of Kinesis Data Streams; a session's records go to one shard, in order."""

    service = "kinesis"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._limits: Limits | None = None

    @property
    def limits(self) -> Limits:
        """What one request may hold: a record as large as the stream says, 1 MiB where that may not be asked."""
        if self._limits is None:
            record_bytes = min(self._record_kib(), KINESIS_MOST_KIB) * KIB
            self._limits = Limits(
                records=RECORDS,
                record_bytes=record_bytes,
                request_bytes=max(KINESIS_REQUEST_BYTES, record_bytes),
                aggregate=self.place.aggregate,
            )
        return self._limits

    def _record_kib(self) -> int:
        stream = self.place.stream
        try:
            answer: dict[str, Any] = self._client.ask(
                f"describe stream {stream}",
                lambda client: client.describe_stream_summary(StreamName=stream),
                attempts=1,
            )
        except Refusal as refusal:
            if refusal.code == MISSING or refusal.may_pass or refusal.code in failures.CREDENTIALS:
                raise error_of(refusal, self.place, self.service) from refusal
            return KINESIS_RECORD_KIB
        except JournalError as error:
            raise of_sink(error, self.place) from error
        return int(answer.get("StreamDescriptionSummary", {}).get("MaxRecordSizeInKiB") or KINESIS_RECORD_KIB)

    def send(self, records: Sequence[Record]) -> Sequence[str | None]:
        """Put records, once; see `Sink.send`."""
        entries = [{"Data": record.data, "PartitionKey": record.key} for record in records]
        stream = self.place.stream
        answer = self._ask(
            f"put {len(records)} records on {stream}",
            lambda client: client.put_records(StreamName=stream, Records=entries),
        )
        return _said(answer.get("Records", ()), len(records))

    def iam_policy(self, note: Note | None = None) -> dict[str, Any]:
        """Return the least that is needed to send here."""
        made, place = Policy(self.place, "writer"), self.place
        made.allow("Stream", ["kinesis:DescribeStreamSummary", "kinesis:PutRecords"], [_arn(made, place, "kinesis")])
        made.allow_key("StreamKey", ["kms:GenerateDataKey"], place.kms or self._key(note), "kinesis")
        return made.document(note)

    def _key(self, note: Note | None) -> str | None:
        stream = self.place.stream
        answer = looked_up(
            self._client,
            f"the key of stream {stream}",
            lambda client: client.describe_stream_summary(StreamName=stream),
            note,
            "kms",
            absent=(MISSING,),
        )
        return answer.get("StreamDescriptionSummary", {}).get("KeyId")


class FirehoseSink(_Stream):
    """A stream of Firehose, written to directly."""

    service = "firehose"

    @property
    def limits(self) -> Limits:
        """What one request may hold; fixed by the service."""
        return Limits(
            records=RECORDS,
            record_bytes=FIREHOSE_RECORD_BYTES,
            request_bytes=FIREHOSE_REQUEST_BYTES,
            aggregate=self.place.aggregate,
        )

    def send(self, records: Sequence[Record]) -> Sequence[str | None]:
        """Put records, once; see `Sink.send`."""
        entries = [{"Data": record.data} for record in records]
        stream = self.place.stream
        answer = self._ask(
            f"put {len(records)} records on {stream}",
            lambda client: client.put_record_batch(DeliveryStreamName=stream, Records=entries),
        )
        return _said(answer.get("RequestResponses", ()), len(records))

    def iam_policy(self, note: Note | None = None) -> dict[str, Any]:
        """Return the least that is needed to send here: Firehose uses its key with a grant of its own."""
        made = Policy(self.place, "writer")
        made.allow("Stream", ["firehose:PutRecordBatch"], [_arn(made, self.place, "firehose")])
        return made.document(note)


def open_kinesis(url: str) -> KinesisSink:
    """Return a stream of Kinesis by its URL. Raises ConfigError."""
    return KinesisSink(place_of(url, "kinesis", aggregate=True))


def open_firehose(url: str) -> FirehoseSink:
    """Return a stream of Firehose by its URL. Raises ConfigError."""
    return FirehoseSink(place_of(url, "firehose", aggregate=False))


def _arn(policy: Policy, place: Place, service: str) -> str:
    return policy.stream(service, place.stream)


def _said(answers: Sequence[dict[str, Any]], count: int) -> list[str | None]:
    """Return what an answer says of each record; one that it leaves out is not known to be taken."""
    said = [_why(answer) for answer in answers[:count]]
    return said + ["the answer does not say that it was taken"] * (count - len(said))


def _why(answer: dict[str, Any]) -> str | None:
    code = answer.get("ErrorCode")
    if code:
        return f"{code}: {answer.get('ErrorMessage') or 'no reason given'}"
    return None if answer.get("SequenceNumber") or answer.get("RecordId") else "it was given no number"
