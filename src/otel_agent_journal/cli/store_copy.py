"""`agent-journal store copy`: a journal from any store into any other, going on where it was broken off, and compared.

What is copied and compared is decided in `reading.copying` and `reading.comparing`; here are the patience with stores
that do not answer, the state between calls, and what people see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.contract import CliError
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.cli.operating import opened
from otel_agent_journal.cli.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from otel_agent_journal.cli.copy_state import CopyState
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.errors import EventTooLarge
    from otel_agent_journal.reading.comparing import Difference
    from otel_agent_journal.reading.copying import CopiedOthers, StoreCopy
    from otel_agent_journal.store.protocol import JournalStore

USAGE: Final = 2
CHECK_FAILED: Final = 5
PATIENCE_S: Final = 60.0  # how long a store that stopped answering is tried
_MOST_NAMED: Final = 1_000  # differences that are printed


@click.command("copy", short_help="Copy a journal from one store to another, and compare them.")
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option(
    "--verify/--no-verify", default=True, help="Compare every session of both in the end, or not. [default: verify]"
)
@common_options
@pass_invocation
def command(invocation: Invocation, source: str, target: str, verify: bool) -> int:
    """Copy a journal from one store to another, and compare them.

    Both are URLs, of any backend each. What the target has already stays. Broken off, by Ctrl-C or otherwise, the same
    command goes on where it was. In the end every session is compared; exits with 5 if anything differs.
    """
    output = invocation.output()
    origin, copy = opened(invocation, source), opened(invocation, target, create=True)
    if origin.url == copy.url:
        raise CliError(f"{origin.url} is both source and target; name two stores", USAGE)
    return _Copying(origin, copy, output, invocation.settings().home / "copies").run(verify=verify)


class _Copying:
    """One call of the command."""

    def __init__(self, source: JournalStore, target: JournalStore, output: Output, states: Path) -> None:
        self.source = source
        self.target = target
        self.output = output
        self.states = states
        self.too_large: list[EventTooLarge] = []
        self.heads = 0
        self.differing = 0
        self.differences: list[Difference] = []  # the first of them, for programs
        self.others: dict[str, CopiedOthers] = {}  # by session, what other programs put there

    def run(self, *, verify: bool) -> int:
        from otel_agent_journal.cli.copy_state import CopyState
        from otel_agent_journal.reading.copying import StoreCopy

        self._check(verify=verify)
        copy = StoreCopy(self.source, self.target, insist=_insist)
        state = CopyState(self.states, self.source.url, self.target.url)
        try:
            self._begin_anew_elsewhere(state)
            resumed = state.events
            self._copy(copy, state)
            if verify:
                self._tell(self._compare(copy, state))
        except BaseException:
            state.close()
            _note_where(state.events)
            raise
        state.finish()
        self._print(state, resumed, verified=verify)
        return CHECK_FAILED if self.differing or self._too_large() else 0

    def _check(self, *, verify: bool) -> None:
        """Find out at once what cannot work: more URLs are mistyped than stores go away."""
        from otel_agent_journal.cli.contract import note
        from otel_agent_journal.errors import UnsupportedByStore
        from otel_agent_journal.store.protocol import PutByOthers, SessionFilter

        if not self.source.capabilities.read:
            raise UnsupportedByStore(self.source.url, "read")
        self.source.tip()
        if self.target.capabilities.read:
            next(iter(self.target.sessions(SessionFilter(limit=1))), None)
        elif verify:
            raise CliError(f"{self.target.url} cannot be read back; copy without comparing: --no-verify", USAGE)
        if isinstance(self.source, PutByOthers):
            note(
                "not copied is what programs put by themselves (in DynamoDB: with PutItem alone) into sessions"
                " that nobody else wrote: those have neither head nor log, and cannot be found"
            )

    def _begin_anew_elsewhere(self, state: CopyState) -> None:
        """Forget the state where it speaks of other stores: one URL may name another one than it did."""
        from otel_agent_journal.cli.contract import note
        from otel_agent_journal.reading.copying import has_event

        for store in (self.source, self.target):
            last = state.last
            if last is None or not store.capabilities.read:
                continue
            if not _insist(lambda store=store, key=last: has_event(store, key)):
                note(f"beginning anew: {store.url} does not have the event that was copied last")
                state.start_over()

    def _copy(self, copy: StoreCopy, state: CopyState) -> None:
        from otel_agent_journal.cli.contract import note
        from otel_agent_journal.store.protocol import SessionFilter
        from otel_agent_journal.store.rules import current_sessions

        if state.events:
            note(f"going on after {readable.plural(state.events, 'event')} that were copied before")
        total = self._events()
        with progress(total, f"copying {readable.plural(total, 'event')}") as move:
            move(min(state.events, total))
            self._copy_events(copy, state, move)
            for session_id in sorted(state.sessions):
                self._copy_others(copy, session_id)
            if self.target.capabilities.heads and self.source.capabilities.heads:
                self.heads = copy.heads(current_sessions(self.source, SessionFilter(parts=True)))
            self._copy_events(copy, state, move)  # what came meanwhile, of which heads may speak already
            self.heads += copy.heads(())
        self._carry_seals()

    def _carry_seals(self) -> None:
        """Bring along the seals of sessions; the log of seals stays the source's."""
        from otel_agent_journal.seals.carrying import carry
        from otel_agent_journal.seals.retention import has_seals
        from otel_agent_journal.store.protocol import SessionFilter
        from otel_agent_journal.store.rules import current_sessions

        can = self.target.capabilities
        if not (can.read and can.documents and can.blobs) or not _insist(lambda: has_seals(self.source)):
            return
        for head in list(current_sessions(self.source, SessionFilter(parts=True))):
            _insist(lambda one=head.session_id: carry(self.source, self.target, one))

    def _copy_events(self, copy: StoreCopy, state: CopyState, move: Callable[[int], None]) -> None:
        for page in copy.events(self._cursor(state)):
            state.add(page.cursor, page.events, page.blobs, page.sessions, page.last)
            self.too_large.extend(page.too_large)
            move(page.events)

    def _copy_others(self, copy: StoreCopy, session_id: str) -> bool:
        """Copy what other programs put into a session; return whether there is more than there was."""
        before, found = self.others.get(session_id), copy.put_by_others(session_id)
        if found.events:
            self.others[session_id] = found
        return found.events > (before.events if before else 0)

    def _cursor(self, state: CopyState) -> str | None:
        """Return the cursor to go on from, None where the source is not the one any more that gave it."""
        from otel_agent_journal.cli.contract import note
        from otel_agent_journal.errors import StoreError, StoreUnreachable

        if state.cursor is None:
            return None
        try:
            _insist(lambda: self.source.follow(state.cursor, limit=1))
        except StoreUnreachable:
            raise
        except StoreError as error:
            note(f"beginning anew: {error}")
            state.start_over()
        return state.cursor

    def _events(self) -> int:
        from otel_agent_journal.store.protocol import StoreAdmin
        from otel_agent_journal.store.rules import current_sessions

        counted = self.source.info().events if isinstance(self.source, StoreAdmin) else None
        return sum(head.events for head in current_sessions(self.source)) if counted is None else counted

    def _tell(self, differences: Iterator[Difference]) -> None:
        """Count the differences; people see the first of them as they are found, programs in the end."""

        def first() -> Iterator[Difference]:
            for one in differences:
                self.differing += 1
                if self.differing <= _MOST_NAMED:
                    yield one

        if self.output.for_people:
            _print_differences(self.output, first())
        else:
            self.differences = list(first())

    def _compare(self, copy: StoreCopy, state: CopyState) -> Iterator[Difference]:
        from otel_agent_journal.reading.comparing import compare_session
        from otel_agent_journal.store.protocol import SessionFilter
        from otel_agent_journal.store.rules import current_sessions

        if self.source.capabilities.heads:
            listed = current_sessions(self.source, SessionFilter(parts=True))
            state.sessions.update(head.session_id for head in listed)
        with progress(state.events, f"comparing {readable.plural(len(state.sessions), 'session')}") as bar:
            for session_id in sorted(state.sessions):
                found = _insist(lambda one=session_id: compare_session(self.source, self.target, one))
                if found.differences and self._has_gone_on(copy, state, session_id):
                    found = _insist(lambda one=session_id: compare_session(self.source, self.target, one))
                bar(found.events)
                for difference in found.differences:
                    bar.clear()
                    yield difference

    def _has_gone_on(self, copy: StoreCopy, state: CopyState, session_id: str) -> bool:
        """Copy what agents wrote to the source since; return whether there was anything."""
        from otel_agent_journal.store.rules import current

        before = state.events
        self._copy_events(copy, state, lambda _events: None)
        others = self._copy_others(copy, session_id)
        head = current(self.source, session_id) if self.source.capabilities.heads else None
        moved = head is not None and self.target.capabilities.heads and copy.head(head)
        return others or moved or state.events > before

    def _too_large(self) -> list[EventTooLarge]:
        return [*self.too_large, *(error for found in self.others.values() for error in found.too_large)]

    def _print(self, state: CopyState, resumed: int, *, verified: bool) -> None:
        record = {
            "source": self.source.url,
            "target": self.target.url,
            "sessions": len(state.sessions),
            "events": state.events + sum(found.events for found in self.others.values()),
            "copied_before": resumed,
            "blobs": state.blobs + sum(found.blobs for found in self.others.values()),
            "heads": self.heads,
            "too_large": [str(error) for error in self._too_large()],
            "verified": verified,
            "differences": self.differing if verified else None,
        }
        if self.output.for_people:
            _print_for_people(self.output, record)
        else:
            import msgspec

            named = msgspec.to_builtins(self.differences) if verified else None
            self.output.record(record | {"differences": named})


def _print_differences(output: Output, differences: Iterator[Difference]) -> None:
    from otel_agent_journal.cli.table import ID_WIDTH, Cell, Column

    output.rows(
        (
            Column("SESSION", least=ID_WIDTH, middle=True),
            Column("DIFFERENCE"),
            Column("EVENT", least=ID_WIDTH, middle=True),
            Column("DETAIL"),
        ),
        (
            (Cell(one.session_id), Cell(one.check, "red"), Cell(one.event_id or "-"), Cell(one.detail))
            for one in differences
        ),
    )


def _print_for_people(output: Output, record: dict[str, Any]) -> None:
    for text in record["too_large"]:
        output.text(output.paint(f"not copied: {text}", "red"))
    copied = ", ".join(
        readable.plural(record[key], noun)
        for key, noun in (("events", "event"), ("blobs", "blob"), ("sessions", "session"))
    )
    outcome = "not compared"
    if record["verified"]:
        found = record["differences"]
        outcome = readable.plural(found, "difference") if found else "the same in both"
    output.text(f"copied to {record['target']}: {copied}; {outcome}")


def _note_where(events: int) -> None:
    from otel_agent_journal.cli.contract import note

    if events:
        note(f"stopped after {readable.plural(events, 'event')}; the same command goes on from there")


def _insist(call: Callable[[], Any]) -> Any:
    """Make a call to a store, again and again while it cannot be reached, up to `PATIENCE_S`."""
    import time

    from otel_agent_journal.cli.contract import note
    from otel_agent_journal.delivery.patience import Patience
    from otel_agent_journal.errors import StoreUnreachable

    patience, tries = Patience(), 0
    while True:
        try:
            return call()
        except StoreUnreachable as error:
            if tries == 0:
                patience.until(time.monotonic() + PATIENCE_S)
                note(f"trying for {PATIENCE_S:g} s: {error}")
            if not patience.wait(tries):
                raise
            tries += 1
