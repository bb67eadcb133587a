"""One line an event: what `tail`, `show --events` and `demo` print for people; and what they print for programs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.cells import cell_len, cut_middle, padded, within
from otel_agent_journal.codec import NEUTRAL_FIELDS, encode_line, encode_value, to_neutral
from otel_agent_journal.event import (
    AGENT_INVOCATION_FAILED,
    AGENT_INVOCATION_STARTED,
    AGENT_INVOCATION_SUCCEEDED,
    CHECKPOINT_SAVED,
    CHECKPOINT_WRITES,
    CHUNK,
    END_TYPES,
    FINAL_RESPONSE,
    PROCESS,
    PROGRESS,
    REASONING,
    SESSION_INTERRUPTED,
    STAGE_CHANGED,
    START_TYPES,
    WARNING,
    JournalEvent,
    kind_of,
)
from otel_agent_journal.mapping.media import BLOB
from otel_agent_journal.projections.head import INTERRUPTED
from otel_agent_journal.projections.lifecycle import said_by
from otel_agent_journal.projections.status import outcome_of

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output

_MARKS: Final = {
    "ok": ("✓", "green"),
    "error": ("✗", "red"),
    "cancelled": ("◼", "yellow"),
    "interrupted": ("‼", "yellow"),
}
_MARKS_OF_INVOCATIONS: Final = {
    AGENT_INVOCATION_STARTED: ("▶", "cyan"),
    AGENT_INVOCATION_SUCCEEDED: _MARKS["ok"],
    AGENT_INVOCATION_FAILED: _MARKS["error"],
}
_LEVEL_COLORS: Final = {"ERROR": "red", "WARNING": "yellow"}
_REMEMBERED: Final = 10_000  # steps whose depth is known; older ones would indent as roots
_LONGEST: Final = 500  # characters of a line where there is no terminal to fit
_SHORT_ID: Final = 16  # cells; session ids up to this are shown whole
_WIDEST_LABEL: Final = 32  # cells that lines leave for the longest id there was
_LEAST_WHAT: Final = 12  # cells of what happened, however narrow the terminal is
_DURATION_WIDTH: Final = 8
_TYPE_WIDTH: Final = 10
_NAME_WIDTH: Final = 32
_NARROW_NAME_WIDTH: Final = 20
_WIDE: Final = 110  # columns of a terminal from which on there is room for everything
_TEXT_KEYS: Final = ("text", "message", "content", "output", "input", "stage", "reason")


class EventLines:
    """Prints events, in the order they come, as lines; remembers depths, so that a step stands below its parent.

    `sessions`: whether lines name their session.
    """

    def __init__(self, output: Output, *, sessions: bool) -> None:
        self._output = output
        self._sessions = sessions
        self._depths: OrderedDict[str, int] = OrderedDict()
        self._labels: dict[str, str] = {}  # what is shown on a terminal, of which session
        self._label_width = 8

    def show(self, event: JournalEvent) -> None:
        """Print the line of an event; on a narrow terminal what went wrong has a second one."""
        paint, narrow = self._output.paint, self._output.tty and self._output.width < _WIDE
        mark, color = _mark(event)
        name = "  " * min(self._depth(event), 12) + readable.one_line(event.name or "", 60)
        step_kind = kind_of(event.type)
        what = f"{padded(readable.one_line(step_kind or event.type), _TYPE_WIDTH)} {name}"
        session = f"{padded(self._label(event.session_id), self._label_width)}  " if self._sessions else ""
        head = f"{readable.clock(event.timestamp_ns, millis=not narrow)}  {session}"
        what_width = _TYPE_WIDTH + 1 + (_NARROW_NAME_WIDTH if narrow else _NAME_WIDTH)
        if self._output.tty:
            left = max(_LEAST_WHAT, self._output.width - cell_len(head) - _DURATION_WIDTH - 3)
            what, what_width = within(what, left), min(what_width, left)
        columns = f"{padded(what, what_width)} {readable.duration(event.duration_ns):>{_DURATION_WIDTH}}"
        room = self._output.width - cell_len(head) - cell_len(columns) - 5 if self._output.tty else _LONGEST
        remark, failed = readable.one_line(_remark(event), _LONGEST), event.type in END_TYPES and mark != "✓"
        style = color if failed else _LEVEL_COLORS.get(event.level, "dim")
        below = failed and cell_len(remark) > room
        beside = within(remark, room) if room > 8 and not below else ""
        line = f"{paint(head, 'dim')}{paint(mark, color)} {columns}  {paint(beside, style)}"
        self._output.text(line.rstrip())
        if below:
            remark = within(remark, self._output.width - cell_len(head) - 3)
            self._output.text(f"{' ' * cell_len(head)}  {paint(remark, style)}")

    def _label(self, session_id: str) -> str:
        """Return a session's id: on a terminal of a long one both ends, as much as tells it from the others."""
        whole = readable.one_line(session_id)
        if not self._output.tty:
            return whole
        for width in range(_SHORT_ID, cell_len(whole) + 8, 8):
            label = readable.short_ids([whole])[whole] if width == _SHORT_ID else whole
            label = cut_middle(label, width)
            if self._labels.setdefault(label, session_id) == session_id:
                break
        else:
            label = whole
        self._label_width = max(self._label_width, min(cell_len(label), _WIDEST_LABEL))
        return label

    def _depth(self, event: JournalEvent) -> int:
        if event.step_id is None:
            return 0
        known = self._depths.get(event.step_id)
        if known is None:
            known = self._depths.get(event.parent_step_id, -1) + 1 if event.parent_step_id else 0
            self._depths[event.step_id] = known
            if len(self._depths) > _REMEMBERED:
                self._depths.popitem(last=False)
        return known


def print_events(output: Output, events: Iterable[JournalEvent], *, sessions: bool) -> None:
    """Print events as they come: a line each for people, else whole. `sessions`: lines say whose an event is."""
    if output.for_people:
        lines = EventLines(output, sessions=sessions)
        for event in events:
            lines.show(event)
    elif output.format == "csv":
        output.records(map(to_neutral, events), NEUTRAL_FIELDS)
    else:
        output.encoded(map(encode_line, events))


def preview(value: Any) -> str:
    """Return a value of the details as text: a blob by its preview, a message by its words, the rest as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        mapping = cast("Mapping[str, Any]", value)
        if BLOB in mapping:
            return str(mapping.get("preview", ""))
        if isinstance(mapping.get("content"), str) and mapping["content"]:
            return mapping["content"]
    if value is None:
        return ""
    return encode_value(value).decode("utf-8", "replace")


def _mark(event: JournalEvent) -> tuple[str, str]:
    if event.type in START_TYPES:
        return "▶", "cyan"
    if event.type in END_TYPES:
        return _MARKS[outcome_of(event)]
    if event.type == SESSION_INTERRUPTED:
        return _MARKS["interrupted"]
    said = said_by(event)
    if said is not None and said.status == INTERRUPTED:
        return _MARKS["cancelled" if said.cancelled else "interrupted"]
    return _MARKS_OF_INVOCATIONS.get(event.type) or ("·", _LEVEL_COLORS.get(event.level, "dim"))


# What stands elsewhere on the line, joins an event to another, or is for who looks at the event alone.
_ASIDE: Final = frozenset(
    ("agent", "agent_id", "causes", "invocation", "passed_through", PROCESS, "raised_at", "stack")
)


def _remark(event: JournalEvent) -> str:
    details = event.details
    if event.type in START_TYPES:
        again = f"attempt {event.attempt}  " if (event.attempt or 1) > 1 else ""
        return again + preview(details.get("input"))
    if event.type in END_TYPES:
        return "  ".join(part for part in (_error(event), _tokens(event), _outcome(event)) if part)
    if event.type == SESSION_INTERRUPTED:
        # The mark lies a nanosecond after the writer's last sign of life.
        return f"{details.get('reason', 'lost')}, last seen {readable.clock(event.timestamp_ns - 1)}"
    if event.type == STAGE_CHANGED:
        progress = details.get("progress")
        return str(details.get("stage", "")) + ("" if progress is None else f"  {progress} %")
    if event.type in (PROGRESS, CHUNK, REASONING, FINAL_RESPONSE, WARNING):
        for key in _TEXT_KEYS:
            if details.get(key):
                return preview(details[key])
    if event.type in (CHECKPOINT_SAVED, CHECKPOINT_WRITES):
        return _checkpoint(details)
    if event.type in _MARKS_OF_INVOCATIONS:
        details = {key: value for key, value in details.items() if key not in _ASIDE}
        said = [
            f"{key} {preview(value)}" if key not in _TEXT_KEYS else preview(value) for key, value in details.items()
        ]
    else:
        details = {key: value for key, value in details.items() if key != PROCESS}  # `show` and `status` say it
        said = [preview(details)] if details else []
    return "  ".join(part for part in (_error(event), *said) if part)


def _checkpoint(details: Mapping[str, Any]) -> str:
    """Return a checkpoint's step, or the channels that were written, and the subgraph."""
    body = details.get("body")
    writes: Any = cast("Mapping[str, Any]", body).get("writes") if isinstance(body, Mapping) else None
    channels: list[str] = []
    for write in cast("list[Any]", writes) if isinstance(writes, list) else []:
        match write:
            case [_, str(name), *_] if not name.startswith(("branch:", "__")):
                channels.append(name)
            case _:
                pass
    step = f"step {details['step']}" if "step" in details else ""
    graph = f"of {details['ns']}" if details.get("ns") else ""
    return "  ".join(part for part in (step, ", ".join(channels), graph) if part)


def _error(event: JournalEvent) -> str:
    return readable.failure(event.error) if event.error is not None else ""


def _tokens(event: JournalEvent) -> str:
    if event.usage is None:
        return ""
    return f"{readable.count(event.usage.input_tokens)}→{readable.count(event.usage.output_tokens)} tokens"


def _outcome(event: JournalEvent) -> str:
    outcome = outcome_of(event)
    if outcome == "interrupted":
        return "awaiting input"
    return outcome if outcome == "cancelled" else preview(event.details.get("output")) if outcome == "ok" else ""
