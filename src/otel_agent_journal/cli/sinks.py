"""`agent-journal sinks`: how far the streams are that events are sent on to; what a role needs; beginning anew."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import click

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.contract import CliError
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.cli.operating import agree, opened, yes_option
from otel_agent_journal.terminal import say

if TYPE_CHECKING:
    from otel_agent_journal.sinks.lag import Lag

KEYS: Final = (
    "sink", "name", "begun", "behind", "or_more", "lag_s", "sent", "sent_at", "withheld", "error", "error_at",
    "held_by",
)  # fmt: skip
_NOT_FOUND: Final = 3
_USAGE: Final = 2


@click.group("sinks", short_help="Say how far streams are that events are sent on to.", invoke_without_command=True)
@common_options
@click.pass_context
def command(ctx: click.Context) -> None:
    """Say how far streams are that events are sent on to.

    A sink is named by its URL, as kinesis://stream?region=eu-central-1, in AGENT_JOURNAL_SINKS. Without a command it is
    `sinks status`.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(status)


@command.command("status", short_help="Say how far each sink is behind, and why.")
@common_options
@pass_invocation
def status(invocation: Invocation) -> None:
    """Say how far each sink is behind, and why.

    Of the sinks of AGENT_JOURNAL_SINKS, and all others that the store's events were ever sent to. More than 10,000
    events are not counted.
    """
    from otel_agent_journal.sinks.lag import lags

    output = invocation.output()
    store = opened(invocation, None)
    now_ns = time.time_ns()
    found = lags(store, invocation.settings().sinks, now_ns)
    if not output.for_people:
        output.records((record(lag, now_ns) for lag in found), KEYS)
        return
    for lag in found:
        output.text(f"{output.paint(lag.sink, 'bold')}  {said(lag, now_ns)}")
        held = "" if lag.held_by is None else f", sent by {lag.held_by}"
        withheld = f", {lag.withheld:,} without details" if lag.withheld else ""
        output.text(f"  {readable.plural(lag.sent, 'event')} sent{withheld}{held}")
        if lag.error is not None:
            output.text(output.paint(f"  {readable.one_line(lag.error)}", "red"))
    if not found:
        output.text("no sinks: set AGENT_JOURNAL_SINKS, as kinesis://STREAM?region=REGION")


@command.command("iam-policy", short_help="Print the AWS policy that sending to a sink needs.")
@click.argument("url")
@common_options
@pass_invocation
def iam_policy(invocation: Invocation, url: str) -> None:
    """Print the AWS policy that sending to a sink needs.

    The service is asked, once, which key of KMS it encrypts with; what it does not say is a note on stderr. The store
    needs its own policy: store iam-policy.
    """
    import msgspec

    from otel_agent_journal.sinks.port import Permits
    from otel_agent_journal.sinks.registry import open_sink

    output = invocation.output()
    sink = open_sink(url)
    if not isinstance(sink, Permits):
        raise CliError(f"sink {sink.url} has no policies of AWS", _USAGE)
    output.document(msgspec.json.encode(sink.iam_policy(lambda text: say(f"note: {text}"))))


@command.command("forget", short_help="Forget how far a sink is: it begins anew.")
@click.argument("url")
@yes_option
@common_options
@pass_invocation
def forget(invocation: Invocation, url: str, yes: bool) -> None:
    """Forget how far a sink is: it begins anew.

    Whoever sends to it next sends all that the store has, or with from=now what comes. URL may be a name that `sinks
    status -o json` prints, too. A sink that is not sent to any more is to be forgotten, so that prunes do not spare
    what it lacks.
    """
    from otel_agent_journal.sinks.places import Places, name_of

    output = invocation.output()
    store = opened(invocation, None)
    places = Places(store)
    place = places.get(name_of(url) if "://" in url else url)
    if place is None:
        raise CliError(
            "store has sent nothing to a sink of that URL or name; agent-journal sinks lists them", _NOT_FOUND
        )
    agree(f"to forget a sink of {store.url}", [f"how far {place.url} is, {place.sent:,} events sent"], yes=yes)
    if not places.forget(place):
        raise CliError("it is being sent to; end who does that, and repeat this", 1)
    if output.for_people:
        output.text(f"{place.url} begins anew")
    else:
        output.record({"sink": place.url, "name": place.name, "forgotten": True})


def record(lag: Lag, now_ns: int) -> dict[str, Any]:
    """Return how a sink stands as data."""
    from otel_agent_journal.codec import format_timestamp

    return {
        "sink": lag.sink,
        "name": lag.name,
        "begun": lag.begun,
        "behind": lag.behind,
        "or_more": lag.or_more,
        "lag_s": round(lag.seconds(now_ns), 3),
        "sent": lag.sent,
        "sent_at": format_timestamp(lag.sent_ns) if lag.sent_ns else None,
        "withheld": lag.withheld,
        "error": lag.error,
        "error_at": format_timestamp(lag.error_ns) if lag.error_ns else None,
        "held_by": lag.held_by,
    }


def said(lag: Lag, now_ns: int) -> str:
    """Return in words how far behind a sink is."""
    if not lag.behind:
        return "caught up"
    count = f"{lag.behind:,} or more events" if lag.or_more else readable.plural(lag.behind, "event")
    never = "" if lag.begun else ", never sent to"
    return f"{count} behind, the oldest {readable.ago(lag.oldest_ns, now_ns)}{never}"
