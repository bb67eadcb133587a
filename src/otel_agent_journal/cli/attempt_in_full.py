"""One attempt at a step for people: times, the error with its stack, what it took and gave, what happened in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from otel_agent_journal.cli import messages, money, readable, steps
from otel_agent_journal.cli.wrapping import wrapped
from otel_agent_journal.codec import encode_value
from otel_agent_journal.event import CHUNK, REQUEST, WARNING, ErrorInfo
from otel_agent_journal.mapping.media import is_medium
from otel_agent_journal.mapping.references import is_message
from otel_agent_journal.reading.blocks import text_of
from otel_agent_journal.reading.references import EARLIER
from otel_agent_journal.reading.values import rebuilt
from otel_agent_journal.terminal import neutral

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.projections.steps import Attempt

_FIRST: Final = ("input", "messages", "output", "sources")
# What is there for machines, or is said elsewhere: named, and shown with --full.
_ASIDE: Final = frozenset(
    (
        *("attributes", "caller", "context", "metadata", "params", "place", "process", "raw", "request"),
        *("response", "settings", "tags", "tools", "tool_definitions"),
    )
)
_SHORT: Final = 3  # messages that a model call was given which are shown, the last
_MAX_LINES: Final = 40  # of one value
_INLINE: Final = 100  # characters of a value that stands beside its name


def attempt_lines(
    output: Output,
    told: Mapping[str, Any],
    attempt: Attempt,
    *,
    given: Sequence[Mapping[str, Any]] | None,
    full: bool,
) -> Iterator[str]:
    """Yield an attempt for people.

    Args:
        output: says how wide it is, and paints.
        told: the attempt as data.
        attempt: the same as it is in the tree.
        given: the messages that a model call was given; None of another step.
        full: leave nothing out.
    """
    outcome = told["outcome"] or "running"
    took = "" if attempt.duration_ns is None else f"  {readable.duration(attempt.duration_ns)}"
    reason = f" ({told['reason']})" if told["reason"] else ""
    said = f"attempt {told['ordinal']}  {outcome}{reason}{took}"
    until = "" if attempt.end_ns is None else f" – {readable.clock(attempt.end_ns, millis=True)}"
    when = f"{readable.clock(attempt.start_ns, millis=True, date=True)}{until}"
    yield f"{output.paint(said, steps.MARKS[outcome][1])}  {output.paint(when, 'dim')}"
    if told["trace_id"]:
        yield output.paint(f"  trace {told['trace_id']}  span {told['span_id'] or '-'}", "dim")
    if told["error"]:
        yield from _error_lines(output, told["error"])
    details = {name: value for name, value in told["details"].items() if name != "effects"}  # said of the step
    names = [*(key for key in _FIRST if key in details), *(key for key in details if key not in _FIRST)]
    if given is not None:
        yield from _given(output, given, full)
        names = [name for name in names if name not in ("input", "messages")]
    aside = [] if full else [name for name in names if name in _ASIDE]
    for name in (name for name in names if name not in aside):
        yield from section(output, name, details[name], full=full)
    if told["usage"]:
        usage = ", ".join(f"{name.removesuffix('_tokens')} {count:,}" for name, count in told["usage"].items())
        yield f"  {output.paint('tokens', 'bold')}  {usage}"
    if told["cost_usd"] is not None or told["unpriced_calls"]:
        known = told["cost_usd"]
        cost = money.NOT_KNOWN if known is None else money.dollars(Decimal(repr(known)))
        yield f"  {output.paint('cost', 'bold')}  {cost}"
    yield from _events(output, told, full)
    if aside:
        yield output.paint(f"  also {', '.join(map(readable.one_line, aside))}: --full shows them", "dim")


def _events(output: Output, told: Mapping[str, Any], full: bool) -> Iterator[str]:
    """Yield what happened during an attempt; what was streamed only where no answer says it whole."""
    streamed = [event for event in told["events"] if event["event_type"] == CHUNK]
    if streamed and not full and told["details"].get("output") is None:
        texts = (event.get("details", {}).get("text") for event in streamed)
        yield from section(output, "streamed", "".join(text for text in texts if isinstance(text, str)), full=full)
    for event in told["events"]:
        if full or event["event_type"] not in (CHUNK, REQUEST, WARNING):
            yield from section(output, event["event_type"], event.get("details"), full=full)


def _given(output: Output, given: Sequence[Mapping[str, Any]], full: bool) -> Iterator[str]:
    """Yield the last messages that a model call was given, and how many there were before them."""
    shown = given if full else given[-_SHORT:]
    yield f"  {output.paint('input', 'bold')}"
    if len(shown) < len(given):
        before = readable.plural(len(given) - len(shown), "earlier message")
        yield output.paint(f"    ⋯ {before}; --prompt shows all ⋯", "dim")
    yield from _indented(messages.transcript(output, shown, full=full))


def _indented(lines: Iterator[str]) -> Iterator[str]:
    return (f"    {line}" for line in lines if line)


def _error_lines(output: Output, error: Mapping[str, Any]) -> Iterator[str]:
    """Yield an error: what it says, where it was raised, its stack, and what is known of its causes beside that."""
    passed = "  passed through, from a step below" if error.get("passed_through") else ""
    said = readable.failure(ErrorInfo(type=error["type"], message=error.get("message", ""), code=error.get("code")))
    yield from section(output, "error", said + passed, full=True)
    if "raised_at" in error:
        yield from section(output, "raised at", error["raised_at"], full=True)
    if "stack" in error:
        yield from section(output, "stack", error["stack"], full=True)
    elif "causes" in error:
        yield from section(output, "causes", error["causes"], full=True)


def section(output: Output, title: str, value: Any, *, full: bool) -> Iterator[str]:
    """Yield a value under its name: a message by what it says, a flat object by its names, anything else as JSON."""
    name = output.paint(readable.one_line(title), "bold")
    found = list(_message_lines(output, value, full)) or neutral(_text(rebuilt(value, _in_words))).splitlines()
    if len(found) <= 1 and len(found[0] if found else "") <= _INLINE:
        yield f"  {name}  {found[0].strip() if found else ''}".rstrip()
        return
    yield f"  {name}"
    shown = found if full else found[:_MAX_LINES]
    for line in shown:
        yield f"    {line}".rstrip()
    if len(shown) < len(found):
        yield output.paint(f"    ⋯ {readable.plural(len(found) - len(shown), 'more line')}; --full shows them ⋯", "dim")


def _message_lines(output: Output, value: Any, full: bool) -> Iterator[str]:
    if not isinstance(value, Mapping) or not is_message(cast("Mapping[str, Any]", value)):
        return
    message = messages.as_shown(cast("Mapping[str, Any]", value))
    if message["role"] == "tool" and isinstance(message["content"], str):
        yield from wrapped(text_of(message["content"]), 0)
        return
    yield from (line for line in messages.transcript(output, [message], full=full) if line)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and value and all(map(_is_flat, cast("Mapping[str, Any]", value).values())):
        named = cast("Mapping[str, Any]", value)
        inline = ", ".join(f"{readable.one_line(str(name))}={_flat(item)}" for name, item in named.items())
        if len(inline) <= _INLINE:
            return inline
        width = min(max(len(str(name)) for name in named), 24)
        return "\n".join(f"{readable.one_line(str(name)):<{width}}  {_flat(item)}" for name, item in named.items())
    return msgspec.json.format(encode_value(value), indent=2).decode()


def _is_flat(value: Any) -> bool:
    return not isinstance(value, Mapping | list | tuple) and not (isinstance(value, str) and "\n" in value)


def _flat(value: Any) -> str:
    return value if isinstance(value, str) else encode_value(value).decode()


def _in_words(mapping: Mapping[str, Any]) -> Any:
    """Return for people how many earlier messages a reference stands for, and what a medium is."""
    if is_medium(mapping):
        return text_of([mapping])
    earlier = mapping.get(EARLIER)
    return readable.plural(earlier, "earlier message") if isinstance(earlier, int) and len(mapping) == 1 else mapping
