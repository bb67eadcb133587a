"""What docs/collector-data-loss.md says: with one setting back at its default spans are lost, and as shipped none."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from scripts.ports import reserved_port
from tests.real.fixtures import server_program
from tests.real.jaeger import Jaeger
from tests.real.otlp import FAST, Sink, eventually, send
from tests.real.servers import Collector, running

TO_JOURNAL = "exporters::otlp_grpc/journal"
QUEUE = f"{TO_JOURNAL}::sending_queue"
LATER = "f" * 16  # the id of a span that is sent after all others
BATCH = "yaml:{processors: {batch: {timeout: 1h}}, service: {pipelines: {traces: {processors: [batch]}}}}"


@pytest.fixture
def at_journal() -> str:
    """Where a backend is to listen, when it comes."""
    return f"127.0.0.1:{reserved_port()}"


def collector_to(at_journal: str, folder: Path, *laid_over: str, **environ: str) -> Collector:
    """Return a Collector as for a receiver that is away for a day, one or the other setting changed."""
    program = server_program("collector")
    return Collector(program, folder, "receiver-away-for-a-day.yaml", FAST, *laid_over, journal=at_journal, **environ)


def arrived(collector: Collector, at_journal: str) -> set[str]:
    """Let the backend come, send a span more, and return which of the others are there once nothing is left to send."""
    with Sink(at_journal) as sink:
        send(collector.grpc, "f" * 32, [int(LATER, 16)])
        eventually(lambda: LATER in sink.span_ids())
        eventually(lambda: collector.metric("otelcol_exporter_queue_size") == 0)
        return set(sink.span_ids()) - {LATER}


def refusal(call: Callable[[], None]) -> grpc.StatusCode:
    """Return with what a call is refused."""
    with pytest.raises(grpc.RpcError) as refused:
        call()
    return refused.value.code()


@pytest.mark.parametrize(
    ("changed", "left"),
    [
        pytest.param((), 5, id="as shipped"),
        pytest.param((f"yaml:{QUEUE}::storage: null",), 0, id="queue in memory"),
        pytest.param((BATCH,), 0, id="batch processor"),
    ],
)
def test_a_collector_that_is_killed(tmp_path: Path, at_journal: str, changed: tuple[str, ...], left: int) -> None:
    """Spans that it acknowledged survive a SIGKILL in the queue on the disk, and nowhere else."""
    with running(collector_to(at_journal, tmp_path, *changed)) as collector:
        send(collector.grpc, "a" * 32, 5)
        collector.stop()  # a SIGKILL
    with running(collector_to(at_journal, tmp_path)) as collector:
        assert len(arrived(collector, at_journal)) == left


@pytest.mark.parametrize(
    ("changed", "left"),
    [
        pytest.param((), 5, id="as shipped"),
        pytest.param((f"yaml:{TO_JOURNAL}::retry_on_failure::max_elapsed_time: 1s",), 0, id="max_elapsed_time"),
    ],
)
def test_a_backend_that_is_away(tmp_path: Path, at_journal: str, changed: tuple[str, ...], left: int) -> None:
    """However long a backend is away, nothing is dropped; with `max_elapsed_time`, what was tried for so long is."""
    with running(collector_to(at_journal, tmp_path, *changed)) as collector:
        send(collector.grpc, "a" * 32, 5)
        time.sleep(2)  # a day, where the default's five minutes are a second
        eventually(lambda: collector.metric("otelcol_exporter_send_failed_spans") == 5 - left)
        assert len(arrived(collector, at_journal)) == left


SMALL = f"yaml:{QUEUE}::batch: {{min_size: 0, max_size: 1000}}"


def test_a_full_queue(tmp_path: Path, at_journal: str) -> None:
    """Who sends what does not fit waits until there is room."""
    with running(collector_to(at_journal, tmp_path, SMALL, queue_bytes="1500")) as collector:
        send(collector.grpc, "a" * 32, range(1, 9))
        with ThreadPoolExecutor(1) as waiting:
            sent = waiting.submit(send, collector.grpc, "b" * 32, range(11, 19))
            time.sleep(0.5)
            assert not sent.done()
            assert len(arrived(collector, at_journal)) == 16
            sent.result()


def test_a_full_queue_that_does_not_block(tmp_path: Path, at_journal: str) -> None:
    """What does not fit is refused at once, and lost by who does not send again."""
    impatient = f"yaml:{QUEUE}::block_on_overflow: false"
    with running(collector_to(at_journal, tmp_path, SMALL, impatient, queue_bytes="1500")) as collector:
        send(collector.grpc, "a" * 32, range(1, 9))
        assert refusal(lambda: send(collector.grpc, "b" * 32, range(11, 19))) is grpc.StatusCode.UNAVAILABLE


def test_a_full_queue_behind_a_batch_processor(tmp_path: Path, at_journal: str) -> None:
    """There nobody is told: what was acknowledged and does not fit is dropped, and counted."""
    at_once = BATCH.replace("1h", "10ms")
    small = f"yaml:{QUEUE}: {{block_on_overflow: false, batch: {{min_size: 0, max_size: 1000}}}}"
    with running(collector_to(at_journal, tmp_path, small, at_once, queue_bytes="1500")) as collector:
        send(collector.grpc, "a" * 32, range(1, 9))
        eventually(lambda: collector.metric("otelcol_exporter_queue_size") > 0)
        send(collector.grpc, "b" * 32, range(11, 19))
        eventually(lambda: collector.metric("otelcol_exporter_enqueue_failed_spans") == 8)
        assert len(arrived(collector, at_journal)) == 8


@pytest.mark.parametrize(("largest", "left"), [(3_500_000, 60), (0, 0)])
def test_a_batch_over_the_limit_of_jaeger(tmp_path: Path, jaeger: Jaeger, largest: int, left: int) -> None:
    """Of 6 MB Jaeger takes none at once, and says so for good; in batches under its 4 MiB it takes all."""
    trace_id = f"{largest:032x}"[:-1] + "1"
    with Sink() as journal:
        collector = Collector(
            server_program("collector"),
            tmp_path,
            "jaeger-and-journal.yaml",
            f"yaml:exporters::otlp_grpc/jaeger::sending_queue::batch::max_size: {largest}",
            journal=journal.address,
            jaeger=jaeger.otlp_grpc.removeprefix("http://"),
        )
        with running(collector):
            send(collector.grpc, trace_id, 60, change=lambda span: span.attributes.add(key="k" * 100_000))
            eventually(
                lambda: (
                    collector.metric("otelcol_exporter_sent_spans", exporter="otlp_grpc/jaeger")
                    + collector.metric("otelcol_exporter_send_failed_spans", exporter="otlp_grpc/jaeger")
                    == 60
                )
            )
            found = jaeger.find_trace(trace_id)
            assert len(found["spans"] if found else ()) == left


def test_a_request_over_the_limit_of_the_collector(tmp_path: Path, at_journal: str) -> None:
    """With the default of 4 MiB a client is told that its request is too long, which no exporter sends again."""
    small = "yaml:receivers::otlp::protocols::grpc::max_recv_msg_size_mib: 4"
    with running(collector_to(at_journal, tmp_path, small)) as collector:
        long = lambda: send(  # noqa: E731
            collector.grpc, "a" * 32, 60, change=lambda span: span.attributes.add(key="k" * 100_000)
        )
        assert refusal(long) is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_an_answer_that_comes_too_late(tmp_path: Path, at_journal: str) -> None:
    """A backend that answers after `timeout` has the spans, and is sent them again: nothing is lost, all is double."""
    slow = [1.5]

    def answer(_: grpc.ServicerContext) -> None:
        if slow:
            time.sleep(slow.pop())

    with (
        Sink(at_journal, answer=answer) as sink,
        running(collector_to(at_journal, tmp_path, f"yaml:{TO_JOURNAL}::timeout: 500ms")) as collector,
    ):
        send(collector.grpc, "a" * 32, 5)
        eventually(lambda: len(sink.span_ids()) >= 10)
        assert len(set(sink.span_ids())) == 5


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INTERNAL])
def test_an_answer_for_good(tmp_path: Path, at_journal: str, code: grpc.StatusCode) -> None:
    """Whatever is set, spans are dropped at an answer that the protocol counts as final: a wrong token is one."""
    wrong = [code]

    def answer(context: grpc.ServicerContext) -> None:
        if wrong:
            context.abort(wrong[0], "no")

    with running(collector_to(at_journal, tmp_path)) as collector:
        with Sink(at_journal, answer=answer):
            send(collector.grpc, "a" * 32, 5)
            eventually(lambda: collector.metric("otelcol_exporter_send_failed_spans") == 5)
        assert not arrived(collector, at_journal)


def test_a_collector_without_memory(tmp_path: Path) -> None:
    """Past its limit the memory limiter asks clients to send again: what a client does not send again is lost."""
    limits = "{check_interval: 50ms, limit_percentage: 0, limit_mib: 2, spike_limit_mib: 1}"
    tight = f"yaml:processors::memory_limiter: {limits}"
    with Sink() as sink:
        backends = {"journal_1": sink.address, "journal_2": sink.address}
        collector = Collector(server_program("collector"), tmp_path, "gateway.yaml", tight, **backends)
        with running(collector):
            eventually(lambda: "Memory usage is above soft limit" in collector.said())
            assert refusal(lambda: send(collector.grpc, "a" * 32, 5)) is grpc.StatusCode.UNAVAILABLE


def test_waiting_for_the_result_is_not_for_a_queue_on_the_disk(tmp_path: Path, at_journal: str) -> None:
    """`wait_for_result` and `storage` exclude each other, and the Collector says so."""
    told = collector_to(at_journal, tmp_path, f"yaml:{QUEUE}::wait_for_result: true").validate()
    assert told.returncode != 0
    assert "`wait_for_result` is not supported with a persistent queue" in told.stderr


TO_RECEIVERS = "exporters::load_balancing/journal"
EAGER = f"yaml:{TO_RECEIVERS}::retry_on_failure: {{initial_interval: 100ms, max_interval: 300ms}}"


def gateway_to(first: str, second: str, folder: Path, *laid_over: str) -> Collector:
    """Return a gateway before two backends, one or the other setting changed."""
    return Collector(
        server_program("collector"), folder, "gateway.yaml", EAGER, *laid_over, journal_1=first, journal_2=second
    )


@pytest.mark.parametrize(
    ("changed", "left"),
    [
        pytest.param((), 20, id="as shipped"),
        pytest.param((f"yaml:{TO_RECEIVERS}::protocol::otlp::sending_queue: {{enabled: true}}",), 0, id="two queues"),
    ],
)
def test_a_gateway_that_is_killed(tmp_path: Path, at_journal: str, changed: tuple[str, ...], left: int) -> None:
    """With a queue of its own for each receiver, in memory, it forgets what the queue on the disk has handed on."""
    second = f"127.0.0.1:{reserved_port()}"
    with running(gateway_to(at_journal, second, tmp_path, *changed)) as gateway:
        for number in range(20):
            send(gateway.grpc, f"{number + 1:032x}", [number + 1])
        if changed:
            eventually(lambda: gateway.metric("otelcol_exporter_queue_size") == 0)
        gateway.stop()  # a SIGKILL
    with Sink(at_journal) as one, Sink(second) as other, running(gateway_to(at_journal, second, tmp_path)) as gateway:
        send(gateway.grpc, "f" * 32, [int(LATER, 16)])
        eventually(lambda: LATER in one.span_ids() + other.span_ids())
        eventually(lambda: gateway.metric("otelcol_exporter_queue_size") == 0)
        assert len({*one.span_ids(), *other.span_ids()} - {LATER}) == left


def test_queues_on_the_disk_behind_a_load_balancer(tmp_path: Path) -> None:
    """They would share one file: only the first receiver's starts, and no batch with spans of others gets anywhere."""
    behind = f"yaml:{TO_RECEIVERS}::protocol::otlp::sending_queue: {{enabled: true, storage: file_storage/queue}}"
    before = f"yaml:{TO_RECEIVERS}::sending_queue::storage: null"
    with (
        Sink() as one,
        Sink() as other,
        running(gateway_to(one.address, other.address, tmp_path, behind, before)) as gateway,
    ):
        for number in range(20):
            send(gateway.grpc, f"{number + 1:032x}", [number + 1])
        assert "failed to start new exporter for endpoint" in gateway.said()
        eventually(lambda: "couldn't find the exporter for the endpoint" in gateway.said())
        assert not (one.span_ids() and other.span_ids())


def test_one_receiver_that_is_away_does_not_hold_up_the_others(tmp_path: Path, at_journal: str) -> None:
    """As many batches as the queue has consumers wait for the one that is away; the rest reach those that are there."""
    with Sink() as there, running(gateway_to(there.address, at_journal, tmp_path)) as gateway:
        for number in range(20):
            send(gateway.grpc, f"{number + 1:032x}", [number + 1])
        eventually(lambda: len(set(there.span_ids())) > 3)
