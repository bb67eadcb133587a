"""`agent-journal verify --sealed`: is what was sealed what is there? And of a file of `export --proof` the same."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from otel_agent_journal.cli import readable
from otel_agent_journal.cli.contract import CliError
from otel_agent_journal.cli.findings import CHECK_FAILED, print_findings
from otel_agent_journal.cli.progress import progress
from otel_agent_journal.errors import CodecError
from otel_agent_journal.terminal import say

if TYPE_CHECKING:
    from otel_agent_journal.cli.invocation import Invocation
    from otel_agent_journal.reading.journal import Journal
    from otel_agent_journal.seals.log import Log
    from otel_agent_journal.seals.notes import PublicKey
    from otel_agent_journal.seals.proofs import Proof
    from otel_agent_journal.seals.verifying import Anchored, Finding, Known, Verdict
    from otel_agent_journal.store.protocol import JournalStore

_USAGE: Final = 2


def check(
    invocation: Invocation,
    session: str | None,
    keys: Sequence[str],
    anchors: Sequence[str],
    roots: Sequence[str],
    *,
    strict: bool,
) -> int:
    """Check a session, or all of a store, against the seals; return the exit code."""
    from otel_agent_journal.seals.log import Log
    from otel_agent_journal.seals.verifying import CHECKS, SAID_ONLY

    output = invocation.output()
    trusted = _trusted(keys)
    journal = invocation.journal()
    log = Log(journal.store)
    kept = list(anchored(journal.store, anchors, roots))
    found = failing = 0
    verdicts: list[Verdict] = []

    def counted() -> Iterator[Finding]:
        nonlocal found, failing
        for one in _findings(journal, log, session, trusted, kept, verdicts):
            found += 1
            failing += strict or one.check not in SAID_ONLY
            yield one

    print_findings(output, counted(), [], CHECKS)
    sealed, erased = sum(one.sealed for one in verdicts), sum(one.erased for one in verdicts)
    unsealed = sum(one.unsealed for one in verdicts)
    outcome = readable.plural(failing, "finding") if failing else "nothing wrong"
    say(
        f"verified {readable.plural(len(verdicts), 'session')}, {readable.plural(sealed, 'sealed event')}"
        f" (erased: {erased:,}), {unsealed:,} not sealed: {outcome}"
    )
    return CHECK_FAILED if failing else 0


def _findings(
    journal: Journal,
    log: Log,
    session: str | None,
    trusted: list[PublicKey],
    anchors: list[Anchored],
    verdicts: list[Verdict],
) -> Iterator[Finding]:
    from otel_agent_journal.seals.verifying import Finding, read_log, verify_session

    waiting: list[Finding] = []
    known = read_log(log, trusted, anchors, waiting.append)
    yield from waiting
    if known is None:
        return
    sessions = _sessions(journal, session, known)
    with progress(len(sessions), f"verifying {readable.plural(len(sessions), 'session')}") as bar:
        for one in sessions:
            told: list[Finding] = []
            verdict = verify_session(journal.store, one, known, told.append)
            if verdict is not None:
                verdicts.append(verdict)
            if one in known.deleted and verdict is not None and verdict.sealed:
                told.append(
                    Finding(one, "added", None, "it is there, and its deletion was recorded: delete or seal it")
                )
            bar(1)
            if told:
                bar.clear()
            yield from told


def _sessions(journal: Journal, session: str | None, known: Known) -> list[str]:
    """Return the sessions to check: of all, those that are there and those that should be."""
    from otel_agent_journal.bootstrap.seals import named
    from otel_agent_journal.store.protocol import SessionFilter
    from otel_agent_journal.store.rules import current_sessions

    if session is None:
        there = [head.session_id for head in current_sessions(journal.store, SessionFilter(parts=True))]
        return list(dict.fromkeys((*there, *known.sealed)))
    if session in known.sealed and journal.exact(session) is None:
        return [session]
    return named(journal, [session])


def check_proof(invocation: Invocation, file: str, keys: Sequence[str], roots: Sequence[str]) -> int:
    """Check the file of a proof; return the exit code."""
    from otel_agent_journal.seals.proofs import problems_of, read_proof

    output = invocation.output()
    trusted = _trusted(keys)
    try:
        proof = read_proof(Path(file).read_bytes())
    except CodecError as error:
        raise CliError(f"{file}: {error}", _USAGE) from error
    problems = problems_of(proof, trusted)
    if not problems and roots:
        problems += _stamp_problems(proof, roots)
    if not output.for_people:
        output.record({"event": proof.event, "sealed": not problems, "problems": problems})
    else:
        output.document(msgspec.json.encode(proof.event))
        for problem in problems:
            output.text(f"not shown: {problem}")
    for anchor in proof.anchors if not problems else ():
        say(f"anchored at {anchor.where}, {anchor.at or 'at a time that is not known'}: ask there for this checkpoint")
    say("this event is what was sealed" if not problems else f"{readable.plural(len(problems), 'finding')}")
    return CHECK_FAILED if problems else 0


def _stamp_problems(proof: Proof, roots: Sequence[str]) -> list[str]:
    """Return which time stamps of a proof are not shown by the certificates that were given."""
    from otel_agent_journal.seals.stamps import checked_ns, roots_of

    certificates = roots_of(roots)
    stamps = [anchor for anchor in proof.anchors if anchor.stamp is not None]
    bad = [one for one in stamps if checked_ns(one.note, b64decode(one.stamp or ""), certificates) is None]
    return [f"the time stamp of {one.where} is not by a certificate that was given" for one in bad] or (
        [] if stamps else ["it has no time stamp"]
    )


def _trusted(keys: Sequence[str]) -> list[PublicKey]:
    from otel_agent_journal.seals.keys import public_keys

    if not keys:
        raise CliError(
            "no key to check with: give --key, the public key or its file; one from the store would show nothing",
            _USAGE,
        )
    return public_keys(keys)


def anchored(store: JournalStore, anchors: Sequence[str], roots: Sequence[str]) -> Iterator[Anchored]:
    """Yield the checkpoints of the anchors that were named, and those with a time stamp by a certificate."""
    from otel_agent_journal.bootstrap.seals import open_anchors

    for anchor in open_anchors(store, anchors):
        yield from anchor.kept()
    if roots:
        from otel_agent_journal.seals.stamps import stamped

        yield from stamped(store, roots)
