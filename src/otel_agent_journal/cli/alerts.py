"""`agent-journal alerts`: judge the rules of `alerts.toml` once or for ever, tell who is to be told, say what fires."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from otel_agent_journal.alerts.records import KEYS, record
from otel_agent_journal.cli import readable
from otel_agent_journal.cli.contract import note
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation

if TYPE_CHECKING:
    from otel_agent_journal.alerts.rules import Rules
    from otel_agent_journal.alerts.state import Alert, Found
    from otel_agent_journal.alerts.watch import Change
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.reading.journal import Journal

FIRES: Final = 5  # the exit code
STYLES: Final = {"firing": "red", "pending": "yellow", "resolved": "green"}
POLL_S: Final = 1.0  # between two looks for a journal that is not there yet
_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])


@click.group(
    "alerts",
    short_help="Judge the rules of alerts.toml: once, for ever, or say what fires.",
    invoke_without_command=True,
)
@common_options
@click.pass_context
def command(ctx: click.Context) -> None:
    """Judge the rules of alerts.toml: once, for ever, or say what fires.

    The file is the nearest from the working directory up, as the journal is found; --rules names another.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _rules_option(function: _Decorated) -> _Decorated:
    help_text = "The file of rules; default: the nearest alerts.toml. [env: AGENT_JOURNAL_ALERTS]"
    return click.option("--rules", "file", metavar="FILE", help=help_text)(function)


# --- check --------------------------------------------------------------------------------------------------------


@command.command("check", short_help="Judge every rule once; exit 5 while something fires.")
@_rules_option
@click.option("--dry-run", is_flag=True, help="Say what each rule finds; write and send nothing.")
@common_options
@pass_invocation
def check(invocation: Invocation, file: str | None, dry_run: bool) -> int:
    """Judge every rule once; exit 5 while something fires.

    For cron, and for the end of a test run. What begins to fire, or is over, is sent; a receiver that does not take it
    is tried again by the next check.
    """
    output = invocation.output()
    rules = _rules(invocation, file)
    journal = invocation.journal()
    if dry_run:
        return _dry_run(output, rules, journal)
    from otel_agent_journal.bootstrap.alerts import open_watch

    watch = open_watch(rules, journal, told=_said_of_sending, note=note)
    firing = watch.check()
    _print(output, journal, [one for one in watch.alerts if watch.is_ours(one)])
    return FIRES if firing else 0


def _dry_run(output: Output, rules: Rules, journal: Journal) -> int:
    """Print what each rule finds now, however long it would have to hold."""
    found = list(_found(rules, journal))
    if output.for_people:
        from otel_agent_journal.cli.table import Cell, Column

        columns = (Column("RULE", least=8), Column("SEVERITY", optional=1), Column("FINDS", least=24))
        rows = ([Cell(one["rule"], "bold"), Cell(one["severity"]), Cell(one["summary"])] for one in found)
        if found:
            output.table(columns, rows)
        else:
            output.text(f"{readable.plural(len(rules.rules), 'rule')} of {rules.file} found nothing")
    else:
        output.records(found, KEYS)
    return FIRES if found else 0


def _found(rules: Rules, journal: Journal) -> Iterator[dict[str, Any]]:
    from otel_agent_journal.alerts.judging import Judge
    from otel_agent_journal.alerts.rules import BROKEN
    from otel_agent_journal.alerts.state import Found
    from otel_agent_journal.alerts.unjudged import Unjudged

    judge = Judge(journal)
    for rule in rules.rules:
        try:
            for one in judge.found(rule, journal.clock()):
                yield _dry(rule.name, rule.severity, one)
        except Unjudged as error:
            why = f"rule {rule.name} cannot be judged: {error}"
            yield _dry(BROKEN, rule.severity, Found(labels={"rule": rule.name}, summary=why, why=str(error)))


def _dry(name: str, severity: str, found: Found) -> dict[str, Any]:
    return dict.fromkeys(KEYS) | {
        "rule": name,
        "severity": severity,
        "labels": dict(found.labels),
        "summary": found.summary,
        "values": dict(found.values),
        "why": found.why,
        "unsent": [],
    }


# --- watch --------------------------------------------------------------------------------------------------------


@command.command("watch", short_help="Judge rules when they are due, until Ctrl-C.")
@_rules_option
@common_options
@pass_invocation
def watch(invocation: Invocation, file: str | None) -> None:
    """Judge rules when they are due, until Ctrl-C.

    Prints a line for each alert that begins to fire or is over. A journal that is not there yet is waited for, and so
    is a store that cannot be reached. Several may watch one journal: each alert is sent by one of them.
    """
    from otel_agent_journal.bootstrap.alerts import open_watch

    output = invocation.output()
    rules = _rules(invocation, file)
    journal = _journal(invocation)

    def told(change: Change) -> None:
        _said_of_sending(change)
        if change.outcome is None:
            _tell(output, change.alert)

    watcher = open_watch(rules, journal, told=told, note=note)
    what = readable.plural(len(rules.rules), "rule")
    note(f"watching {journal.store.url} by {what} of {rules.file}; Ctrl-C ends it")
    with _stopped_by_signals(watcher.stop):
        watcher.run()


@contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Generator[None]:
    """Have Ctrl-C and SIGTERM end the watch once what is on its way is noted; a second one ends it at once."""

    def handle(number: int, _frame: Any) -> None:
        stop()
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _journal(invocation: Invocation) -> Journal:
    """Open the journal, once it is there."""
    from otel_agent_journal.errors import StoreUnreachable

    said = False
    while True:
        try:
            return invocation.journal()
        except StoreUnreachable as error:
            if not said:
                note(f"waiting: {error}")
            said = True
            time.sleep(POLL_S)


def _tell(output: Output, alert: Alert) -> None:
    if not output.for_people:
        output.record(record(alert))
        output.flush()
        return
    state = output.paint(alert.state.ljust(8), STYLES.get(alert.state, ""))
    output.text(f"{readable.clock(alert.changed_ns)}  {state}  {alert.rule}: {readable.one_line(alert.summary)}")
    output.flush()


def _said_of_sending(change: Change) -> None:
    """Say on stderr that a receiver did not take a message."""
    if change.outcome is None or change.outcome.why is None:
        return
    owed, why = change.outcome.owed, change.outcome.why
    if change.outcome.given_up:
        note(f"receiver {owed.receiver}: {why}; {change.alert.rule} was not sent, and is tried no more")
    else:
        note(f"receiver {owed.receiver}: {why}; {change.alert.rule} is tried again (attempt {owed.attempts})")


# --- list ---------------------------------------------------------------------------------------------------------


@command.command("list", short_help="Say what fires, what may soon, and which receivers are away.")
@common_options
@pass_invocation
def show(invocation: Invocation) -> None:
    """Say what fires, what may soon, and which receivers are away.

    Reads what watchers have written, of whatever rules; judges nothing.
    """
    from otel_agent_journal.alerts.book import Book

    output = invocation.output()
    journal = invocation.journal()
    _print(output, journal, Book(journal.store).alerts().values())


def _print(output: Output, journal: Journal, alerts: Iterable[Alert]) -> None:
    from otel_agent_journal.alerts.book import listed

    found = list(listed(alerts))
    if not output.for_people:
        output.records(map(record, found), KEYS)
        return
    from otel_agent_journal.cli.table import Cell, Column

    if not found:
        output.text("nothing fires")
        return
    now_ns = journal.clock()
    columns = (
        Column("STATE"),
        Column("RULE", least=8),
        Column("SEVERITY", optional=2),
        Column("SINCE", optional=1),
        Column("SUMMARY", least=24),
    )
    output.table(
        columns,
        (
            [
                Cell(one.state, STYLES.get(one.state, "")),
                Cell(one.rule, "bold"),
                Cell(one.severity),
                Cell(readable.ago(one.began_ns, now_ns)),
                Cell(one.summary if one.why is None or one.why in one.summary else f"{one.summary} ({one.why})"),
            ]
            for one in found
        ),
    )
    for line in _away(found, now_ns):
        output.text(output.paint(line, "yellow"))


def _away(alerts: Iterable[Alert], now_ns: int) -> Iterator[str]:
    """Yield a line for each receiver that something is owed to."""
    owed: dict[str, list[Any]] = {}
    for alert in alerts:
        for one in alert.owed:
            owed.setdefault(one.receiver, []).append(one)
    for receiver, waiting in sorted(owed.items()):
        failed = max(waiting, key=lambda one: one.attempts)
        many = readable.plural(len(waiting), "message")
        since = readable.ago(min(one.at_ns for one in waiting), now_ns)
        why = f": {failed.last_error}" if failed.last_error else ""
        yield f"receiver {receiver} has not taken {many}, the first of {since}{why}"


def _rules(invocation: Invocation, file: str | None) -> Rules:
    from otel_agent_journal.bootstrap.alerts import open_rules

    return open_rules(invocation.settings(), file)
