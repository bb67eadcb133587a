"""Kinesis and Firehose as sinks: the contract, order through faults, kills, what is said of what is wrong."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporters.kinesis.tests.streams import FAULTS, PUTS, Stream, first_of_each
from otel_agent_journal.errors import ConfigError, SinkUnreachable
from otel_agent_journal.sinks.places import Places, name_of
from otel_agent_journal.sinks.port import Permits, Record, Sink
from otel_agent_journal.sinks.registry import open_sink
from otel_agent_journal.sinks.shipper import Shipper
from otel_agent_journal.store.registry import open_store
from otel_agent_journal.testing.sink_contract import SinkContract, event
from tests.real.fault_proxy import PARTIAL, AtRandom, Scripted

pytestmark = pytest.mark.real

LONG = bool(os.environ.get("AGENT_JOURNAL_SOAK"))
KILLS = 60 if LONG else 4


class TestKinesis(SinkContract):
    @pytest.fixture
    def sink(self, stream: Stream) -> Iterator[Sink]:
        self.stream = stream
        sink = open_sink(stream.url())
        yield sink
        sink.close()

    def received(self, sink: Sink) -> list[bytes]:
        return self.stream.lines()


class TestFirehose(SinkContract):
    @pytest.fixture
    def sink(self, firehose: Stream) -> Iterator[Sink]:
        self.stream = firehose
        sink = open_sink(firehose.url("firehose"))
        yield sink
        sink.close()

    def received(self, sink: Sink) -> list[bytes]:
        return self.stream.delivered()


@pytest.mark.parametrize("aggregate", ["true", "false"])
def test_nothing_is_lost_and_order_kept_through_faults(stream: Stream, tmp_path: Path, aggregate: str) -> None:
    """Requests fail in whole, in part, or after they were done, all in turn: each session comes whole, in order."""
    url = f"sqlite:///{tmp_path}/journal.db"
    chance = random.Random(7)
    sent = [event(f"s{chance.randrange(30)}", number) for number in range(600)]
    with _Opened(url) as store:
        store.append(sent)
    stream.proxy.plan = Scripted(*[*FAULTS, PARTIAL] * 2, on=PUTS)
    stats = _shipper(stream.url(aggregate=aggregate), url).ship_once(patience_s=60)
    assert stats.caught_up
    assert stats.sent == len(sent)
    assert stream.proxy.injected[PARTIAL] >= 2
    came = first_of_each(stream.lines())
    assert came == {one: [two for two in sent if two.session_id == one] for one in {e.session_id for e in sent}}


def test_a_partial_failure_of_firehose(firehose: Stream, tmp_path: Path) -> None:
    """What Firehose did not take of a request comes again, and later records of its sessions behind it."""
    url = f"sqlite:///{tmp_path}/journal.db"
    sent = [event(f"s{number % 7}", number) for number in range(70)]
    with _Opened(url) as store:
        store.append(sent)
    firehose.proxy.plan = Scripted(*[PARTIAL] * 5, on=PUTS)
    assert _shipper(firehose.url("firehose"), url).ship_once(patience_s=30).sent == 70
    came = first_of_each(firehose.delivered())
    assert came == {f"s{one}": [two for two in sent if two.session_id == f"s{one}"] for one in range(7)}


@pytest.mark.long_form
def test_killed_at_any_moment_nothing_is_lost(stream: Stream, tmp_path: Path) -> None:
    """Drains that send are killed one after the other: the next goes on at once, and each event comes, in order."""
    url = f"sqlite:///{tmp_path}/journal.db"
    chance = random.Random(3)
    sent = [event(f"s{chance.randrange(20)}", number) for number in range(6000 if LONG else 900)]
    with _Opened(url) as store:
        for first in range(0, len(sent), 300):
            store.append(sent[first : first + 300])
    stream.proxy.plan = AtRandom(0.4, 5, ("slow", PARTIAL), on=PUTS)
    command = [sys.executable, "-c", "from otel_agent_journal.cli import main; main()", "drain", "--store", url]
    command += ["--sinks", stream.url(aggregate="false")]
    for _ in range(KILLS):
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        enough = stream.proxy.calls["PutRecords"] + chance.randrange(1, 5)
        _until(
            lambda enough=enough, child=child: stream.proxy.calls["PutRecords"] >= enough or child.poll() is not None
        )
        time.sleep(chance.uniform(0, 0.1))
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        assert child.returncode == -signal.SIGKILL
    assert _shipper(stream.url(aggregate="false"), url).ship_once(patience_s=60).caught_up
    came = first_of_each(stream.lines())
    assert came == {one: [two for two in sent if two.session_id == one] for one in {e.session_id for e in sent}}


def test_a_sink_that_is_away_is_said_and_waited_for(stream: Stream, tmp_path: Path) -> None:
    """Its error is in the store while it is away, and gone when it is back; the thread never gave up."""
    url = f"sqlite:///{tmp_path}/journal.db"
    shipper = _shipper(stream.url(), url)
    with _Opened(url) as store, stream.proxy.outage():
        store.append([event("s1", number) for number in range(10)])
        shipper.start()
        places, name = Places(store), name_of(stream.url())
        assert "nothing answers" in _until(lambda: (place := places.get(name)) and place.error)
        assert shipper.stats.pending == 10
    shipper_done = _until(lambda: shipper.stats.caught_up and shipper.stats.sent == 10)
    assert shipper_done
    assert shipper.close(10).last_error is not None
    with _Opened(url) as store:
        place = Places(store).get(name)
        assert place is not None
        assert (place.sent, place.error, place.holder) == (10, None, None)


def test_one_sends_at_a_time(stream: Stream, tmp_path: Path) -> None:
    """Whose turn it is sends, another leaves it to it, and takes over as soon as it has ended."""
    url = f"sqlite:///{tmp_path}/journal.db"
    with _Opened(url) as store:
        store.append([event("s1", 1)])
        first, second = _shipper(stream.url(), url), _shipper(stream.url(), url)
        first.start()
        assert _until(lambda: first.stats.caught_up)
        assert second.ship_once(patience_s=1).held_by_other
        first.close(5)
        store.append([event("s1", 2)])
        third = _shipper(stream.url(), url).ship_once(patience_s=5)
        assert (third.sent, third.held_by_other) == (1, False)
    assert len(stream.lines()) == 2


def test_the_limit_of_a_record_is_the_streams(stream: Stream) -> None:
    """A stream that does not say takes 1 MiB, and aggregates; Firehose takes what it always takes."""
    limits = open_sink(stream.url()).limits
    assert (limits.records, limits.record_bytes, limits.aggregate) == (500, 1024 * 1024, True)
    limits = open_sink("firehose://x?region=us-east-1").limits
    assert (limits.records, limits.record_bytes, limits.request_bytes) == (500, 1_024_000, 4_000_000)
    assert not limits.aggregate


def test_what_is_wrong_is_said(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """No stream of that name, no credentials, wrong options: what, and what to do next."""
    sink = open_sink(stream.url().replace(stream.name, "nobody"))
    with pytest.raises(SinkUnreachable, match="not there"):
        sink.send([Record("s1", b"{}\n", 1)])
    for wrong in ("kinesis://", "kinesis://a/b", "kinesis://a?aggregate=1", "kinesis://a?shards=2", "kinesis://k:s@a"):
        with pytest.raises(ConfigError) as told:
            open_sink(wrong)
        assert str(told.value).startswith("sink ")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(SinkUnreachable, match="no AWS credentials"):
        open_sink(stream.url()).send([Record("s1", b"{}\n", 1)])


def test_its_policy_is_the_least(stream: Stream) -> None:
    """Putting records and reading the stream's limit, on that stream alone; with its key where it has one."""
    sink = open_sink(stream.url(kms="arn:aws:kms:us-east-1:123456789012:key/1"))
    assert isinstance(sink, Permits)
    statements = sink.iam_policy()["Statement"]
    assert [one["Action"] for one in statements] == [
        ["kinesis:DescribeStreamSummary", "kinesis:PutRecords"],
        ["kms:GenerateDataKey"],
    ]
    assert statements[0]["Resource"] == [f"arn:aws:kinesis:us-east-1:*:stream/{stream.name}"]


def _shipper(sink_url: str, store_url: str) -> Shipper:
    return Shipper(sink_url, open_sink(sink_url), lambda: open_store(store_url), idle_s=0.1)


class _Opened:
    def __init__(self, url: str) -> None:
        self._store = open_store(url)

    def __enter__(self):
        return self._store

    def __exit__(self, *_: object) -> None:
        self._store.close()


def _until(holds, timeout_s: float = 30.0):
    deadline = time.monotonic() + timeout_s
    while not (found := holds()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found
