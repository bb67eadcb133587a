"""`agent-journal verify`: is the journal what it should be? Reads everything and writes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.findings import CHECK_FAILED, print_findings
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.cli.progress import Bar, progress
from otel_agent_journal.mapping.media import BLOB, WITHIN
from otel_agent_journal.reading.blobs import refers_to_blob
from otel_agent_journal.reading.values import mappings_in
from otel_agent_journal.terminal import say

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.event import JournalEvent
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.reading.journal import Journal

_HEAD_LAG_NS: Final = 10 * readable.NS_PER_S  # heads are written once a second; of a busy session they may be behind
_HEAD_LAG_S: Final = 1.5


class Finding(NamedTuple):
    """Something that is not as it should be. `check` is one of CHECKS."""

    session_id: str
    check: str
    event_id: str | None
    detail: str


CHECKS: Final[Mapping[str, str]] = {
    "digest": "an event's body is not the one its digest was made of",
    "order": "events are read out of order",
    "duplicate": "an event is there twice",
    "start": "an attempt ended that never began",
    "parent": "a step's parent is not in the journal",
    "sequence": "an agent instance's sequence has a gap or a repetition",
    "blob": "a value kept apart is missing or not the one referred to",
    "head": "what a listing shows of a session is not what its events amount to; `store repair` mends it",
    "part": "a trace is part of a session that is not in the journal",
}


@click.command("verify", short_help="Check digests, order, parents and heads of the journal.")
@click.argument("session", required=False)
@click.option("--sealed", is_flag=True, help="Check against the seals instead; needs --key.")
@click.option("--key", "keys", multiple=True, metavar="PUB", help="A public key that seals are signed by, or its file.")
@click.option("--anchor", "anchors", multiple=True, metavar="WHERE", help="Where the log's checkpoints are kept.")
@click.option("--tsa", "roots", multiple=True, metavar="PEM", help="Certificates of a time-stamp service, a file.")
@click.option("--strict", is_flag=True, help="Exit with 5, too, where something is not sealed or anchored yet.")
@click.option("--proof", metavar="FILE", help="Check one event by a file of `export --proof`; needs --key alone.")
@common_options
@pass_invocation
def command(
    invocation: Invocation,
    session: str | None,
    sealed: bool,
    keys: tuple[str, ...],
    anchors: tuple[str, ...],
    roots: tuple[str, ...],
    strict: bool,
    proof: str | None,
) -> int:
    """Check digests, order, parents and heads of the journal.

    Of one SESSION, or of all, each with the traces that are part of it. Prints what it finds as it finds it, and exits
    with 5 if that is anything. With --sealed: whether what was sealed is what is there (docs/seals.md).
    """
    if sealed or proof:
        from otel_agent_journal.cli import verify_sealed

        if proof:
            if sealed or session or anchors or strict:
                raise click.UsageError(
                    "--proof FILE is checked without the journal; it goes with --key and --tsa alone"
                )
            return verify_sealed.check_proof(invocation, proof, keys, roots)
        return verify_sealed.check(invocation, session, keys, anchors, roots, strict=strict)
    if keys or anchors or roots or strict:
        raise click.UsageError("--key, --anchor, --tsa and --strict go with --sealed")
    from otel_agent_journal.store.protocol import SessionFilter
    from otel_agent_journal.store.rules import current_sessions

    output = invocation.output()
    journal = invocation.journal()
    wanted = SessionFilter(parts=True)
    heads = _named(journal, session) if session else list(current_sessions(journal.store, wanted))
    wholes = [head for head in heads if head.part_of is None]
    verified = sum(head.events for head in wholes)
    sessions = readable.plural(len(wholes), "session")
    found = 0

    def findings(bar: Bar) -> Iterator[Finding]:
        nonlocal found
        for finding in findings_of(journal, heads, bar):
            found += 1
            bar.clear()
            yield finding

    with progress(verified, f"verifying {sessions}") as bar:
        _print(output, findings(bar), heads)
    outcome = readable.plural(found, "finding") if found else "nothing wrong"
    say(f"verified {sessions}, {readable.plural(verified, 'event')}: {outcome}")
    return CHECK_FAILED if found else 0


def _named(journal: Journal, text: str) -> list[SessionHead]:
    """Return the heads of a session and of its parts."""
    head = _claimed(journal, journal.session(text))
    parts = map(journal.exact, head.parts)
    return [head, *(_claimed(journal, part) for part in parts if part is not None and part.part_of is not None)]


def _claimed(journal: Journal, head: SessionHead) -> SessionHead:
    """Return the stored head where it claims to have all events: listings show that."""
    stored = journal.store.head(head.session_id)
    return head if stored is None or stored.cursor != head.cursor else stored


def _print(output: Output, findings: Iterator[Finding], heads: list[SessionHead]) -> None:
    print_findings(output, findings, [head.session_id for head in heads], CHECKS)


def findings_of(journal: Journal, heads: Sequence[SessionHead], move: Callable[[int], None]) -> Iterator[Finding]:
    """Yield what is wrong with sessions, in their order, each with its parts; many side by side where that is quicker.

    `move` is told, in this thread, how many events more were looked at.
    """
    wholes = [head for head in heads if head.part_of is None]
    if len(wholes) == 1 or journal.store.capabilities.threads < 2:  # a large one says what is found while it is read
        for head in wholes:
            yield from _session(journal, head, move)
    else:
        for found, events in journal.each(lambda head: _verified(journal, head), wholes):
            move(events)
            yield from found
    for head in heads:
        if head.part_of is not None:
            yield from _part(journal, head)


def _verified(journal: Journal, head: SessionHead) -> tuple[list[Finding], int]:
    """Return what is wrong with a session, and how many events were looked at."""
    events = 0

    def count(more: int) -> None:
        nonlocal events
        events += more

    return list(_session(journal, head, count)), events


def _session(journal: Journal, head: SessionHead, move: Callable[[int], None]) -> Iterator[Finding]:
    from otel_agent_journal.projections.status import StatusState, apply
    from otel_agent_journal.projections.verdict import head_of

    state = StatusState()

    def folded() -> Iterator[JournalEvent]:
        for event in journal.events(head.session_id):
            apply(state, event)
            move(1)
            yield event

    yield from check_events(head.session_id, folded(), journal.blob)
    yield from _head(journal, head, head_of(state, head.session_id))


def _part(journal: Journal, head: SessionHead) -> Iterator[Finding]:
    """Yield what is wrong with the head of a part; its events are its session's, and checked there."""
    from otel_agent_journal.store.rules import fold_from_beginning

    if head.part_of is not None and journal.exact(head.part_of) is None:
        yield Finding(
            head.session_id, "part", None, f"it is part of session {head.part_of}, which is not in the journal"
        )
    yield from _head(journal, head, fold_from_beginning(journal.store, head.session_id).head(head.session_id))


def _head(journal: Journal, head: SessionHead, replayed: SessionHead) -> Iterator[Finding]:
    differing = _differing(head, replayed)
    if differing and journal.clock() - head.updated_ns < _HEAD_LAG_NS:
        differing = _differing_later(journal, head.session_id)
    if differing:
        yield Finding(head.session_id, "head", None, f"stored and replayed differ in {', '.join(differing)}")


def check_events(session_id: str, events: Iterable[JournalEvent], blob: Any) -> Iterator[Finding]:
    """Yield what is wrong with one session's events, given in the order that the store reads them.

    `blob(session_id, digest)` returns a value's bytes or None.
    """
    from otel_agent_journal.codec import intact
    from otel_agent_journal.event import END_TYPES, START_TYPES, step_event_id

    last: tuple[int, str] | None = None
    seen: set[str] = set()
    started: set[tuple[str, int]] = set()
    steps: set[str] = set()
    ended: list[tuple[str, str, int, str | None]] = []
    parents: dict[str, str] = {}
    spans: set[str] = set()
    sequences: dict[str, list[int]] = {}
    for event in events:
        if not intact(event):
            yield Finding(session_id, "digest", event.event_id, f"{event.type} was changed after it was written")
        position = (event.timestamp_ns, event.event_id)
        if event.event_id in seen:
            yield Finding(session_id, "duplicate", event.event_id, f"{event.type} is there more than once")
        elif last is not None and position < last:
            yield Finding(session_id, "order", event.event_id, f"{event.type} is read after a later event")
        last = position
        seen.add(event.event_id)
        yield from _blobs(event, blob)
        if event.instance_id is not None and event.seq is not None:
            sequences.setdefault(event.instance_id, []).append(event.seq)
        if event.step_id is None:
            continue
        if event.type in START_TYPES:
            started.add((event.step_id, event.attempt or 1))
            steps.add(event.step_id)
            spans.update(_span_above(event))
        elif event.type in END_TYPES:
            start_ns = event.timestamp_ns - (event.duration_ns or 0)
            start_id = step_event_id(event.step_id, event.attempt or 1, start_ns, "START")
            ended.append((event.event_id, event.step_id, event.attempt or 1, start_id))
        if event.parent_step_id is not None:
            parents.setdefault(event.parent_step_id, event.event_id)
    for event_id, step_id, attempt, start_id in ended:
        if start_id not in seen and (step_id, attempt) not in started:
            yield Finding(session_id, "start", event_id, f"attempt {attempt} of step {step_id} ended and never began")
    for parent, event_id in parents.items():
        if parent not in steps and parent not in spans:
            yield Finding(session_id, "parent", event_id, f"its parent step {parent} is not in the journal")
    for instance_id, found in sequences.items():
        yield from _sequence(session_id, instance_id, sorted(found))


def _span_above(event: JournalEvent) -> Iterator[str]:
    """Yield the parent that a step names by its span: it need not be a step of the journal."""
    from otel_agent_journal.event import step_of_span

    above = event.details.get("parent_span_id")
    if event.trace_id is not None and isinstance(above, str):
        yield step_of_span(event.trace_id, above)


def _sequence(session_id: str, instance_id: str, found: list[int]) -> Iterator[Finding]:
    for expected, seq in enumerate(found):
        if seq != expected:
            wrong = f"{seq} follows {found[expected - 1]}" if expected else f"it begins at {seq}"
            yield Finding(session_id, "sequence", None, f"instance {instance_id}: {wrong}, {expected} was expected")
            return


def _blobs(event: JournalEvent, blob: Any) -> Iterator[Finding]:
    from otel_agent_journal.codec import DIGEST_BYTES

    for field, digest in _kept_apart(event):
        data = blob(event.session_id, digest)
        if data is None:
            yield Finding(event.session_id, "blob", event.event_id, f"'{field}' refers to {digest}, which is not kept")
        elif blake2b(data, digest_size=DIGEST_BYTES).hexdigest() != digest:
            yield Finding(event.session_id, "blob", event.event_id, f"'{field}': what is kept is not {digest}")


def _kept_apart(event: JournalEvent) -> Iterator[tuple[str, str]]:
    """Yield what an event refers to: by its field, and the digest."""
    for field, value in event.details.items():
        for one in mappings_in(value, lambda mapping: not refers_to_blob(mapping)):
            if refers_to_blob(one) and "lost" not in one:
                yield field, one[BLOB]
                yield from ((field, digest) for digest in one.get(WITHIN, ()))


_NOT_SAID: Final = ("version", "writers", "cursor", "snapshot")  # of the session's events


def _differing(stored: SessionHead, replayed: SessionHead) -> list[str]:
    """Return the fields in which a head is not what its events amount to; heartbeats move `writers` alone."""
    return [
        f"{field} (stored {getattr(stored, field)!r}, replayed {getattr(replayed, field)!r})"
        for field in stored.__struct_fields__
        if field not in _NOT_SAID and getattr(stored, field) != getattr(replayed, field)
    ]


def _differing_later(journal: Journal, session_id: str) -> list[str]:
    """Compare the head of a session that is being written once more, when its drain has had time to write it."""
    from otel_agent_journal.projections.status import fold
    from otel_agent_journal.projections.verdict import head_of

    differing: list[list[str]] = []
    for _ in range(3):
        time.sleep(_HEAD_LAG_S)
        before = journal.exact(session_id)
        replayed = head_of(fold(journal.events(session_id)), session_id)
        after = journal.exact(session_id)
        differing = [_differing(head, replayed) for head in (before, after) if head is not None]
        if [] in differing:
            return []
        if after is not None and before is not None and after.events > before.events:
            return []  # it is being written this very moment
    return differing[-1] if differing else ["existence"]
