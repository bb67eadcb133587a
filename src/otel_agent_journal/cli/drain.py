"""`agent-journal drain`: deliver what agents left in the spool to the store, now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.cli.progress import progress

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.config import Settings
    from otel_agent_journal.delivery.drain import DrainReport
    from otel_agent_journal.forwarding.outbox import ForwardStats
    from otel_agent_journal.sinks.shipper import Shipper, ShipStats
    from otel_agent_journal.store.protocol import JournalStore

PATIENCE_S: Final = 5.0  # how long a store that cannot be reached is tried
_FORWARD_S: Final = 10.0
_UNREACHABLE: Final = 4


@click.command("drain", short_help="Deliver what agents left in the spool to the store.")
@click.option("--otlp", metavar="URL", help="Forward the spans of what is delivered. [env: AGENT_JOURNAL_OTLP]")
@click.option(
    "--sinks",
    metavar="URLS",
    help="Send what the store has on to these streams, too, with commas between. [env: AGENT_JOURNAL_SINKS]",
)
@click.option("--set-aside", is_flag=True, help="Try again what was set aside, in place of what is new.")
@common_options
@pass_invocation
def command(invocation: Invocation, otlp: str | None, sinks: str | None, *, set_aside: bool) -> int:
    """Deliver what agents left in the spool to the store.

    Takes in the spools of dead processes, and of live ones that nobody drains. With --set-aside, what the store had
    refused by itself is tried again: what passes is removed from there, the rest stays. Exits with 4 if the store
    cannot be reached, then the spool keeps what is left; or a sink, for which the store keeps it.
    """
    from otel_agent_journal.bootstrap import open_store
    from otel_agent_journal.bootstrap.sinks import open_sinks
    from otel_agent_journal.spool.survey import survey

    output = invocation.output()
    invocation.log()
    settings = invocation.settings(otlp=otlp, sinks=sinks)
    shippers = open_sinks(settings)
    found = survey(settings.spool)
    store = open_store(settings, create=bool(found.folders or found.set_aside))
    invocation.resources.callback(store.close)
    if set_aside:
        _redeliver(output, settings, store)
        return 0
    if not found.folders:
        next(iter(store.sessions()), None)  # nothing to deliver, but whether it could be is worth an exit code
    report, forwarded = _deliver(settings, store, found.pending_bytes)
    sent = [_ship(shipper) for shipper in shippers]
    if output.for_people:
        _print(output, report, forwarded)
        for one in sent:
            _print_sink(output, one)
    else:
        output.record(_record(report, forwarded, sent))
    return _UNREACHABLE if any(one.is_failing for one in sent) else 0


def _ship(shipper: Shipper) -> ShipStats:
    with progress(None, f"sending to {shipper.stats.sink}") as bar:
        return shipper.ship_once(patience_s=PATIENCE_S, progress=bar.to)


def _redeliver(output: Output, settings: Settings, store: JournalStore) -> None:
    import msgspec

    from otel_agent_journal.bootstrap.openers import open_reception
    from otel_agent_journal.delivery.redelivery import redeliver

    with progress(0, "trying again what was set aside") as bar:
        done = redeliver(
            settings.spool,
            store,
            reception=lambda: open_reception(settings),
            patience_s=PATIENCE_S,
            progress=bar.to,
        )
    if not output.for_people:
        output.record(msgspec.to_builtins(done))
        return
    output.text(f"delivered {done.delivered} of {done.delivered + done.left} that were set aside")
    if done.left:
        output.text(output.paint(f"{done.left} stay: {done.last_error or ''}", "red"))


def _deliver(settings: Settings, store: JournalStore, total: int) -> tuple[DrainReport, ForwardStats | None]:
    from otel_agent_journal.bootstrap import open_drain, open_forwarder

    forwarder = open_forwarder(settings, store) if settings.otlp is not None else None
    with progress(total, f"delivering {readable.size(total)}") as bar:

        def moved(delivered: int, _total: int) -> None:
            bar.to(delivered)

        try:
            report = open_drain(settings, store, forward=forwarder).drain_once(patience_s=PATIENCE_S, progress=moved)
        finally:
            forwarded = forwarder.close(_FORWARD_S) if forwarder is not None else None
    return report, forwarded


def _record(report: DrainReport, forwarded: ForwardStats | None, sent: list[ShipStats]) -> dict[str, Any]:
    import msgspec

    record: dict[str, Any] = msgspec.to_builtins(report)
    record.pop("forwarded")
    record.pop("forward_failures")
    spans = None if forwarded is None else msgspec.to_builtins(forwarded)
    sinks = [
        {
            "sink": one.sink,
            "sent": one.sent,
            "withheld": one.withheld,
            "caught_up": one.caught_up,
            "held_by_other": one.held_by_other,
            "last_error": one.last_error if one.is_failing else None,
        }
        for one in sent
    ]
    return {**record, "spans": spans, "sinks": sinks}


def _print_sink(output: Output, stats: ShipStats) -> None:
    from otel_agent_journal.bootstrap.sinks import left_over

    if stats.held_by_other:
        output.text(f"{stats.sink}: left to who sends there now")
        return
    withheld = f", {stats.withheld} of them without details" if stats.withheld else ""
    output.text(f"sent {readable.plural(stats.sent, 'event')} to {stats.sink}{withheld}")
    if (line := left_over(stats)) is not None:
        output.text(output.paint(line, "red"))


def _print(output: Output, report: DrainReport, forwarded: ForwardStats | None) -> None:
    spools = readable.plural(report.folders_finished, "spool")
    output.text(f"delivered {readable.plural(report.delivered, 'event')}, {spools} of ended processes finished")
    if report.interrupted:
        output.text(output.paint(f"{readable.plural(report.interrupted, 'session')} marked interrupted", "yellow"))
    if report.folders_held_by_others:
        output.text(f"{readable.plural(report.folders_held_by_others, 'spool')} left to who drains them now")
    if report.set_aside:
        text = f"{report.set_aside} set aside, to be tried again with --set-aside"
        output.text(output.paint(f"{text}: {report.last_error or ''}", "red"))
    if report.corrupt:
        output.text(output.paint(f"{readable.plural(report.corrupt, 'damaged place')} skipped", "yellow"))
    if report.refused:
        output.text(output.paint(f"{readable.plural(report.refused, 'event')} had found no room in the spool", "red"))
    if forwarded is not None:
        output.text(f"forwarded: {_forwarded(forwarded)}")


def _forwarded(stats: ForwardStats) -> str:
    import msgspec

    return ", ".join(f"{name} {value}" for name, value in msgspec.to_builtins(stats).items() if value not in (0, None))
