"""Sessions in every state that a viewer must tell apart, made up."""

from __future__ import annotations

import time
from itertools import count
from typing import Any

import msgspec

from otel_agent_journal.server.wire import Row, SessionRow

_revisions = count(1)
NO_TEXT: dict[str, Any] = {"given": "", "gave": "", "tail": "", "error": None}


def row(number: int, parent: int | None, kind: str, name: str, began: float, ended: float | None, **more: Any) -> Row:
    """A row of the tree; times in milliseconds."""
    status = more.pop("status", "ok" if ended is not None else "running")
    fields: dict[str, Any] = {
        "key": f"k{number}",
        "parent": None if parent is None else f"k{parent}",
        "step_id": f"{number:032x}",
        "number": number,
        "kind": kind,
        "name": name,
        "status": status,
        "reason": None,
        "began_ms": began,
        "ended_ms": ended,
        "seen_ms": None,
        "worked_ms": None if ended is None else ended - began,
        "waited_ms": 0.0,
        "attempts": ((began, ended, None if status == "running" else status),),
        "errors": 0,
        "warnings": 0,
        "input_tokens": None,
        "output_tokens": None,
        "cost_usd": None,
        "unpriced_calls": 0,
        **NO_TEXT,
        "orphan": False,
        "revision": next(_revisions),
    }
    return Row(**(fields | more))


def revised(old: Row, revision: int, **changes: Any) -> Row:
    """A row with another revision."""
    return msgspec.structs.replace(old, revision=revision, **changes)


def session(session_id: str, began: float, **more: Any) -> SessionRow:
    """A session above its tree."""
    fields: dict[str, Any] = {
        "session_id": session_id,
        "status": "PROCESSING",
        "agent": "researcher",
        "live": True,
        "doing": "researcher is thinking…",
        "steps": 47,
        "errors": 1,
        "events": 118,
        "input_tokens": 15_200,
        "output_tokens": 2_200,
        "cost_usd": 0.18,
        "began_ms": began,
        "updated_ms": began + 134_000,
        "process": "checkout-agent 2.3.1 · pod-7f9c",
    }
    return SessionRow(**(fields | more))


def research(now: float | None = None) -> tuple[SessionRow, list[Row], dict[str, Any]]:
    """A session that runs, with every state in it: as in the pictures of what the viewer is to look like."""
    now = now or time.time() * 1000
    t = now - 7_574_000  # 2 h 4 min of it somebody was waited for
    s = 1000.0
    later = t + 7_440_000
    tokens = {"input_tokens": 900, "output_tokens": 300, "cost_usd": 0.012}
    archive = "ConnectionError: the archive did not answer within 1.5 s"
    rows = [
        row(1, None, "AGENT", "researcher", t, None, given="What does a crashed agent leave behind?"),
        row(2, 1, "NODE", "plan", t, t + 9.1 * s, gave="3 topics"),
        row(
            3,
            2,
            "MODEL",
            "claude-sonnet-5",
            t + 0.3 * s,
            t + 9.1 * s,
            gave="I will look into spans, checkpoints, journals.",
            **tokens,
        ),
        row(4, 1, "NODE", "research", t + 10 * s, t + 48 * s, given="spans"),
        row(5, 4, "AGENT", "reader", t + 10 * s, t + 48 * s),
        row(
            6,
            5,
            "MODEL",
            "claude-sonnet-5",
            t + 11 * s,
            t + 30 * s,
            gave="→ search",
            input_tokens=3200,
            output_tokens=900,
        ),
        row(7, 5, "TOOL", "search", t + 31 * s, t + 47 * s, given="spans", gave="9 results"),
        row(9, 1, "NODE", "research", later + 50 * s, later + 91 * s, given="checkpoints"),
        row(10, 9, "AGENT", "reader", later + 50 * s, later + 91 * s),
        row(11, 10, "NODE", "ask", later + 50 * s, later + 58 * s),
        row(12, 11, "MODEL", "claude-sonnet-5", later + 50 * s, later + 58 * s, gave="→ search, fetch_page", **tokens),
        row(13, 11, "TOOL", "search", later + 58 * s, later + 59.1 * s, given="checkpoints", gave="12 results"),
        row(
            14,
            11,
            "TOOL",
            "fetch_page",
            later + 60 * s,
            later + 66 * s,
            given="example.org/checkpoints",
            gave="14 KB",
            attempts=((later + 60 * s, later + 61.8 * s, "error"), (later + 64 * s, later + 66 * s, "ok")),
            errors=1,
            error=archive,
            waited_ms=2200.0,
            worked_ms=3800.0,
        ),
        *(
            row(
                15 + n,
                11,
                "TOOL",
                "fetch_page",
                later + (66 + n * 0.2) * s,
                later + (66.2 + n * 0.2) * s,
                given=f"example.org/{n}",
                gave="OK",
            )
            for n in range(27)
        ),
        row(
            42,
            10,
            "MODEL",
            "claude-sonnet-5",
            later + 80 * s,
            later + 84.2 * s,
            gave="A checkpoint knows the state, but neither time nor cost.",
            warnings=1,
            **tokens,
        ),
        row(
            43,
            1,
            "NODE",
            "research",
            later + 92 * s,
            None,
            status="interrupted",
            reason="killed",
            seen_ms=later + 116 * s,
            given="journals",
        ),
        row(
            44,
            43,
            "AGENT",
            "reader",
            later + 92 * s,
            None,
            status="interrupted",
            reason="killed",
            seen_ms=later + 116 * s,
            given="pid 4188",
        ),
        row(
            45,
            44,
            "TOOL",
            "run_code",
            later + 96 * s,
            None,
            status="interrupted",
            reason="killed",
            seen_ms=later + 116 * s,
            given="sandbox · 3 entries",
        ),
        row(
            46,
            44,
            "RETRIEVAL",
            "journals",
            later + 97 * s,
            None,
            status="interrupted",
            reason="lost",
            seen_ms=later + 112 * s,
        ),
        row(
            47,
            1,
            "TOOL",
            "ask_human",
            later + 117 * s,
            later + 119 * s,
            status="interrupted",
            reason="awaiting_input",
            given="May I publish it?",
        ),
        row(48, 1, "TOOL", "translate", later + 119 * s, later + 121 * s, status="cancelled"),
        row(
            49,
            1,
            "TOOL",
            "publish",
            later + 121 * s,
            later + 122 * s,
            status="error",
            errors=1,
            error="PermissionError: publish is not allowed",
            given="draft",
        ),
        row(50, 1, "NODE", "write_up", later + 123 * s, None),
        row(
            51,
            50,
            "MODEL",
            "claude-sonnet-5",
            later + 123 * s,
            None,
            tail="Spans show what ended, checkpoints show state; only a jour",
        ),
    ]
    waits = ((t + 49 * s, later + 49 * s, "a human: «May I read the archive?»"),)
    return session("reading-7", t), rows, {"waits": waits, "critical": ("k1", "k9", "k10", "k42", "k50", "k51")}


def many(size: int, now: float | None = None) -> tuple[SessionRow, list[Row]]:
    """A session that has ended, of so many steps: turns of a model call and tools."""
    now = now or time.time() * 1000
    t = now - size * 10.0
    rows = [row(1, None, "AGENT", "researcher", t, now)]
    for n in range(2, size + 1):
        turn = (n - 2) // 5
        at = t + n * 10.0
        if (n - 2) % 5 == 0:
            rows.append(row(n, 1, "NODE", f"turn {turn}", at, at + 49))
        else:
            kind, name = ("MODEL", "claude-sonnet-5") if (n - 2) % 5 == 1 else ("TOOL", f"tool_{n % 4}")
            rows.append(
                row(
                    n,
                    turn * 5 + 2,
                    kind,
                    name,
                    at,
                    at + 9,
                    given=f"input {n}",
                    gave=f"output {n}",
                    errors=int(n % 97 == 0),
                )
            )
    return session(
        "many", t, status="COMPLETED", live=False, doing=None, steps=size, ended_ms=now, updated_ms=now
    ), rows
