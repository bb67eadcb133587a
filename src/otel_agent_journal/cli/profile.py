"""`agent-journal profile`: where the time of a session, or of an agent's sessions, went; trace files for viewers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from otel_agent_journal.cli import money, readable, when
from otel_agent_journal.cli.contract import note
from otel_agent_journal.cli.invocation import Invocation, common_options, pass_invocation
from otel_agent_journal.reading import amounts

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.projections.head import SessionHead
    from otel_agent_journal.projections.profile import Profile
    from otel_agent_journal.projections.trace_files import TracedSession
    from otel_agent_journal.reading.journal import Journal

_IN_A_TABLE: Final = 40  # paths
_CRITICAL: Final = 8
_DRAWN: Final = 8  # levels of a path in a table
_DEEPEST: Final = 32  # names of a path in data
_TRACED: Final = 50  # sessions in a trace file
_WORDS: Final = {"model": "models", "tool": "tools", "retrieval": "retrieval", "own_code": "own code"}
_RETRIES: Final = "waiting before retries"
_WAITS: Final = {"human": "waiting for a human", "idle": "between runs"}


@click.command("profile", short_help="Say where the time of a session, or of an agent, went.")
@click.argument("session", required=False)
@click.option("--agent", metavar="NAME", help="All sessions of this agent together, in place of one.")
@click.option("--since", "since_ns", callback=when.since, metavar="WHEN", help=f"Of an agent, since: {when.FORMS}.")
@click.option("-n", "limit", type=click.IntRange(min=1), metavar="N", help="Of an agent, its latest N sessions.")
@click.option("--speedscope", metavar="FILE", help="Write a profile for https://www.speedscope.app; - is stdout.")
@click.option("--chrome", metavar="FILE", help="Write trace events for https://ui.perfetto.dev; - is stdout.")
@common_options
@pass_invocation
def command(
    invocation: Invocation,
    session: str | None,
    agent: str | None,
    since_ns: int | None,
    limit: int | None,
    speedscope: str | None,
    chrome: str | None,
) -> None:
    """Say where the time of a session, or of an agent, went.

    TOTAL is how long anything of a path was at work, what overlaps counted once. SELF is its own: the time in which
    nothing beneath it was at work; steps that run at once share it, so that it adds up. CRIT is its part of the
    critical path: what was waited for. SESSION may be the beginning of an id.
    """
    from otel_agent_journal.cli.choosing import need_session
    from otel_agent_journal.store.protocol import SessionFilter

    if session and agent:
        raise click.UsageError("give a SESSION or --agent, not both")
    output = invocation.output()
    journal = invocation.journal()
    if not session and not agent:
        raise need_session(journal, "profile")
    if session:
        heads = [journal.session(session)]
    else:
        heads = list(journal.heads(SessionFilter(agent=agent, since_ns=since_ns, limit=limit)))
    files = [(name, form) for name, form in ((speedscope, "speedscope"), (chrome, "chrome")) if name]
    for name, form in files:
        _write(output, journal, heads, name, form)
    if not files:
        _show(output, journal, heads, agent)


def _show(output: Output, journal: Journal, heads: Sequence[SessionHead], agent: str | None) -> None:
    from otel_agent_journal.cli.progress import fleeting
    from otel_agent_journal.projections.profile import Profile

    profile, now_ns = Profile(), journal.clock()
    with fleeting("sessions read") as moved:
        for traced in _traced(journal, heads, now_ns):
            profile.add(traced.tree, now_ns, traced.costs)
            moved()
    if output.for_people:
        title = agent or journal.judged(heads[0]).agent or heads[0].session_id
        _print(output, profile, title)
    else:
        output.record(record(profile, None if agent else heads[0].session_id, agent))


def _traced(journal: Journal, heads: Sequence[SessionHead], now_ns: int) -> Iterator[TracedSession]:
    """Yield sessions, read side by side."""
    from otel_agent_journal.projections.trace_files import TracedSession
    from otel_agent_journal.reading.profiling import timed_tree

    trees = journal.each(lambda head: timed_tree(journal, head), heads)
    for head, tree in zip(heads, trees, strict=True):
        yield TracedSession(head.session_id, tree, journal.costs(tree), now_ns)


# --- trace files --------------------------------------------------------------------------------------------------


def _write(output: Output, journal: Journal, heads: Sequence[SessionHead], name: str, form: str) -> None:
    from pathlib import Path

    import msgspec

    from otel_agent_journal import __version__
    from otel_agent_journal.projections import trace_files
    from otel_agent_journal.terminal import neutral_json

    make = trace_files.speedscope if form == "speedscope" else trace_files.chrome
    made = make(_traced(journal, heads[:_TRACED], journal.clock()), f"otel-agent-journal {__version__}")
    data = msgspec.json.encode(made)
    if name == "-":
        output.document(data)
        return
    Path(name).write_bytes(neutral_json(data))
    left = len(heads) - _TRACED
    of = readable.plural(min(len(heads), _TRACED), "session") + (
        f", the latest; {left:,} more are not in it" if left > 0 else ""
    )
    viewer = "https://www.speedscope.app" if form == "speedscope" else "https://ui.perfetto.dev"
    note(f"wrote {name}: {of}; open it in {viewer}")


# --- as data ------------------------------------------------------------------------------------------------------


def record(profile: Profile, session_id: str | None, agent: str | None) -> dict[str, Any]:
    """Return a profile as data, times in milliseconds; null where not known."""
    return {
        "session_id": session_id,
        "agent": agent,
        "sessions": profile.sessions,
        "total_ms": _ms(profile.total_ns),
        "work_ms": {kind: _ms(ns) for kind, ns in profile.work_ns.items()},
        "waits_ms": {kind: _ms(ns) for kind, ns in profile.wait_ns.items()},
        "paths": [_path(profile, place) for place in _in_order(profile)],
    }


def _path(profile: Profile, place: int) -> dict[str, Any]:
    path, row = profile.paths[place], profile.rows[place]
    names: list[str] = []
    at: int | None = place
    while at is not None and len(names) < _DEEPEST:
        names.append(f"{profile.paths[at].kind} {profile.paths[at].name}".strip())
        at = profile.paths[at].above
    return {
        "path": names[::-1],
        "depth": path.depth,
        "kind": path.kind.upper() or None,
        "name": path.name,
        "calls": row.calls,
        "total_ms": _ms(row.total_ns),
        "self_ms": _ms(row.own_ns),
        "critical_ms": _ms(row.critical_ns),
        "tokens": row.tokens,
        **amounts.keys_of(row.cost),
    }


def _ms(ns: float) -> float:
    return round(ns / readable.NS_PER_MS, 6)


def _in_order(profile: Profile) -> list[int]:
    """Return the places of the paths as a tree, the one that took most first."""
    beneath: dict[int | None, list[int]] = defaultdict(list)
    for place, path in enumerate(profile.paths):
        beneath[path.above].append(place)
    found: list[int] = []
    pending = sorted(beneath[None], key=lambda place: profile.rows[place].total_ns)
    while pending:
        place = pending.pop()
        found.append(place)
        pending += sorted(beneath[place], key=lambda one: profile.rows[one].total_ns)
    return found


# --- for people ---------------------------------------------------------------------------------------------------


def _print(output: Output, profile: Profile, title: str) -> None:
    total_ns = profile.total_ns
    sessions = f"  {readable.plural(profile.sessions, 'session')}" if profile.sessions != 1 else ""
    output.text(f"{output.paint(readable.one_line(title), 'bold')}{sessions}  {readable.duration(round(total_ns))}")
    spent = {_WORDS[kind]: ns for kind, ns in profile.work_ns.items()} | {_RETRIES: profile.wait_ns["retry"]}
    for words, ns in spent.items():
        if ns:
            output.text(f"{_took(ns, total_ns)}  {words}")
    waits = [
        f"{readable.duration(round(profile.wait_ns[kind]))} {_WAITS[kind]}"
        for kind in ("human", "idle")
        if profile.wait_ns[kind]
    ]
    if waits:
        output.text(output.paint(f"left out: {', '.join(waits)}", "dim"))
    if not profile.rows:
        return
    output.text()
    _table(output, profile)
    output.text()
    _critical(output, profile)


def _table(output: Output, profile: Profile) -> None:
    from otel_agent_journal.cli.table import Column

    places = _in_order(profile)
    shown = _most(profile, places)
    columns = (
        Column("PATH", least=20),
        Column("CALLS", right=True, optional=2),
        Column("TOTAL", right=True),
        Column("SELF", right=True),
        Column("%", right=True),
        Column("CRIT", right=True, optional=1),
        Column("TOKENS", right=True, optional=4),
        Column("COST", right=True, optional=3),
    )
    output.table(columns, _rows(profile, shown))
    if len(shown) < len(places):
        output.text(output.paint(f"{len(places) - len(shown):,} paths more took less; -o json has all", "dim"))


def _most(profile: Profile, places: list[int]) -> list[int]:
    """Return the paths to show, in order: those that took most, with those above them."""
    if len(places) <= _IN_A_TABLE:
        return places
    chosen: set[int] = set()
    for place in sorted(places, key=lambda one: -profile.rows[one].total_ns):
        line: list[int] = []
        at: int | None = place
        while at is not None and at not in chosen:
            line.append(at)
            at = profile.paths[at].above
        if len(chosen) + len(line) > _IN_A_TABLE and chosen:
            break
        chosen.update(line)
    return [place for place in places if place in chosen]


def _rows(profile: Profile, places: list[int]) -> Iterator[list[Any]]:
    from otel_agent_journal.cli.table import Cell

    for place, branch in zip(places, _branches([profile.paths[one].depth for one in places]), strict=True):
        path, row = profile.paths[place], profile.rows[place]
        yield [
            Cell(f"{branch}{path.kind} {readable.one_line(path.name, 48)}".strip()),
            Cell(f"{row.calls:,}"),
            Cell(readable.duration(row.total_ns)),
            Cell(readable.duration(round(row.own_ns))),
            Cell(_percent(row.own_ns, profile.total_ns)),
            Cell(readable.duration(row.critical_ns) if row.critical_ns else "-", "" if row.critical_ns else "dim"),
            Cell(readable.count(row.tokens) if row.tokens else "-"),
            Cell(money.shown(row.cost) or "-"),
        ]


def _branches(depths: Sequence[int]) -> list[str]:
    """Return the lines that join each row of a tree, given by its depths, to the one above it."""
    found: list[str] = []
    goes_on: list[bool] = []  # by depth, whether a row follows there
    for depth in reversed(depths):
        del goes_on[depth + 1 :]
        goes_on.extend([False] * (depth + 1 - len(goes_on)))
        stems = "".join("│ " if goes_on[at] else "· " for at in range(max(1, depth - _DRAWN + 1), depth))
        found.append(f"{stems}{'├ ' if goes_on[depth] else '└ '}" if depth else "")
        goes_on[depth] = True
    return found[::-1]


def _critical(output: Output, profile: Profile) -> None:
    """Print what the time hung on, by path."""
    places = sorted(range(len(profile.rows)), key=lambda place: -profile.rows[place].critical_ns)
    total_ns = sum(row.critical_ns for row in profile.rows)
    output.text(f"{output.paint('critical path', 'bold')}  {readable.duration(total_ns)}")
    for place in places[:_CRITICAL]:
        path, row = profile.paths[place], profile.rows[place]
        if row.critical_ns:
            above = "" if path.above is None else f"  in {readable.one_line(profile.paths[path.above].name, 40)}"
            name = readable.one_line(f"{path.kind} {path.name}", 60)
            output.text(f"{_took(row.critical_ns, total_ns)}  {name}{output.paint(above, 'dim')}")


def _took(ns: float, whole_ns: float) -> str:
    return f"{readable.duration(round(ns)):>8} {_percent(ns, whole_ns):>6}"


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "-"
