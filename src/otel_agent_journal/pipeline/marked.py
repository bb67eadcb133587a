"""Entries out of sandboxes: what code without network prints between markers becomes events under its tool's step."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final
from weakref import WeakSet

import msgspec

from otel_agent_journal.event import WARNING, WRITTEN_BY
from otel_agent_journal.markers import END, ENTRY, MAX_OUTPUT, Extracted, Problem, entries_in
from otel_agent_journal.pipeline.entries import RefusedEntry, entry_of, write_entry
from otel_agent_journal.pipeline.recorder import recorder_of
from otel_agent_journal.pipeline.step import Step

SANDBOX: Final = "sandbox"
CODE_INTERPRETERS: Final = "*code_interpreter*,*execute_code*,*execute_python*,*run_code*,*run_python*,*python_repl*"
_NONCE: Final = "AGENT_JOURNAL_MARKER_NONCE"
_TOOLS: Final = "AGENT_JOURNAL_SANDBOX_TOOLS"
_KNOWN: Final = frozenset(("event_type", "tool_name", "details", "level", "session_id"))

_taken: WeakSet[Step] = WeakSet()  # steps whose sandbox was listened to itself: its output comes again as the tool's


def extract_journal_entries(output: str) -> Extracted:
    """Return the entries that an output has between markers, and as `.problems` what looks like one and is none.

    Where AGENT_JOURNAL_MARKER_NONCE is set, entries have to show it. Never raises; see `markers`.
    """
    return entries_in(output, os.environ.get(_NONCE) or None)


def runs_code(tool: str) -> bool:
    """Tell whether a tool of this name runs code in a sandbox, whose output may hold entries."""
    patterns = os.environ.get(_TOOLS, CODE_INTERPRETERS)
    return any(fnmatchcase(tool.lower(), one.strip().lower()) for one in patterns.split(",") if one.strip())


def take_entries(step: Step, texts: Iterable[Any], *, itself: bool = False) -> None:
    """Journal the entries of a sandbox's output under the step of the tool that ran it. Never raises.

    Args:
        step: the tool's.
        texts: the output, in parts; what is no text is passed over.
        itself: this is what the sandbox said itself; a tool's result that says it again is passed over then.
    """
    try:
        if step in _taken and not itself:
            return
        output = "\n".join(text for text in texts if isinstance(text, str))
        if ENTRY not in output and END not in output:
            return
        if itself:
            _taken.add(step)
        _journal(step, extract_journal_entries(output))
    except Exception:  # noqa: BLE001 - the one boundary: the agent must not feel it
        recorder_of(step).failed("what a sandbox printed could not be journaled")


def _journal(step: Step, found: Extracted) -> None:
    recorder = recorder_of(step)
    for record in found:
        try:
            said = {key: value for key, value in record.items() if key not in _KNOWN}
            details: Any = record.get("details")
            if said:
                details = {
                    **said,
                    **(details if isinstance(details, Mapping) else {} if details is None else {"details": details}),
                }
            entry = entry_of(
                record.get("event_type"), record.get("tool_name") or step.name, details, record.get("level")
            )
        except RefusedEntry as refused:
            found.problems.append(Problem(refused.reason, 0, str(refused)))
            continue
        write_entry(recorder, step.session_id, entry, written_by=SANDBOX, step=step)
    problems = len(found.problems) + found.unreported
    if problems:
        message = f"{problems} of what looks like a journal entry in the output of {step.name} is none"
        told = [msgspec.to_builtins(problem) for problem in found.problems]
        step.note(WARNING, {"message": message, "problems": told, WRITTEN_BY: SANDBOX}, level="WARNING")


class Output:
    """What a sandbox says, part by part, up to what is looked at of it."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._left = MAX_OUTPUT

    def take(self, text: Any) -> None:
        """Take a part."""
        if isinstance(text, str) and self._left > 0:
            self.texts.append(text[: self._left])
            self._left -= len(text)
