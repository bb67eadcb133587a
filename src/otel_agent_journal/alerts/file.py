"""`alerts.toml`: where it is, and what it says, checked before anything runs. What is wrong is said by line and key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from otel_agent_journal.alerts import rules as of
from otel_agent_journal.alerts.fields import Table
from otel_agent_journal.alerts.rules import ReceiverEntry, Rule, Rules
from otel_agent_journal.alerts.summary import columns_in, missing
from otel_agent_journal.errors import ConfigError
from otel_agent_journal.places import file_from

NAME: Final = "alerts.toml"
_DAY_S: Final = 86_400
_BY: Final = {
    of.SPEND: ("agent", "tool", "model", "user", "session"),
    of.ERROR_RATE: ("agent", "tool", "model", "user"),
    of.SLOW: ("agent", "tool", "model", "user"),
}
_KINDS: Final = (of.STUCK, of.LOOP, of.SPEND, of.ERROR_RATE, of.SLOW)
_NAME: Final = re.compile(r"[\w.-]{1,60}")


def found_rules(given: str | None, start: Path) -> Path:
    """Return the file of rules: the one given, else the nearest from a folder up, as `.agent-journal` is found.

    Raises:
        ConfigError: there is none.
    """
    if given:
        path = Path(given)
        if not path.is_file():
            raise ConfigError(f"there is no file of rules at {path}; docs/alerts.md has one to begin with")
        return path
    found = file_from(start, NAME)
    if found is None:
        raise ConfigError(
            f"there is no {NAME} in {start} or above it in this project; make one (docs/alerts.md has one to begin"
            " with), or name it: --rules FILE"
        )
    return found


def read_rules(file: Path) -> Rules:
    """Return what a file says.

    Raises:
        ConfigError: it cannot be read, or something in it is not as docs/alerts.md has it; names line, table and key.
    """
    import tomllib

    try:
        text = file.read_text(encoding="utf-8")
        said = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not TOML: {error}; docs/alerts.md shows what it looks like") from error
    others = sorted(said.keys() - {"alert", "receiver"})
    if others:
        raise ConfigError(f"{file} has '{others[0]}'; it holds [[alert]] entries and [receiver.NAME] tables")
    receivers = {name: _receiver(file, text, name, one) for name, one in _tables(file, said, "receiver").items()}
    entries: Any = said.get("alert", [])
    if not isinstance(entries, list):
        raise ConfigError(f"{file}: 'alert' is one table; begin each entry with [[alert]]")
    found: dict[str, Rule] = {}
    for number, entry in enumerate(cast("list[Any]", entries)):
        rule = _rule(file, text, number, entry, receivers)
        if rule.name in found:
            table = Table(file, text, "[[alert]]", number, f"alert '{rule.name}'", entry)
            raise table.wrong("name", "another entry has it; each alert has a name of its own")
        found[rule.name] = rule
    if not found:
        raise ConfigError(f"{file} has no [[alert]]; docs/alerts.md has one to begin with")
    return Rules(file=file, rules=tuple(found.values()), receivers=receivers)


def _tables(file: Path, said: Mapping[str, Any], key: str) -> dict[str, Any]:
    tables: Any = said.get(key, {})
    if not isinstance(tables, dict):
        raise ConfigError(f"{file}: '{key}' is a list; a receiver is a table of its name, as [receiver.ops]")
    return cast("dict[str, Any]", tables)


def _receiver(file: Path, text: str, name: str, said: Any) -> ReceiverEntry:
    if not isinstance(said, dict):
        raise ConfigError(f"{file}: receiver.{name} is no table; begin it with [receiver.{name}]")
    keys = cast("dict[str, Any]", said)
    table = Table(file, text, f"[receiver.{name}]", 0, f"receiver '{name}'", keys)
    for key in ("secret", "token", "password"):
        if key in keys:
            raise table.error(
                f"{key} stands in the file", f"name a variable ({key}_env) or a file ({key}_file) in its place", key=key
            )
    kind = table.text("kind")
    if not kind:
        raise table.wrong("kind", 'say which it is, as in kind = "webhook"')
    return ReceiverEntry(name=name, kind=kind, resolved=table.flag("resolved", default=True), table=table)


def _rule(file: Path, text: str, number: int, said: Any, receivers: Mapping[str, ReceiverEntry]) -> Rule:
    title = f"alert {number + 1}"
    if not isinstance(said, dict):
        raise ConfigError(f"{file}: {title} is no table; begin each with [[alert]]")
    keys = cast("dict[str, Any]", said)
    named = keys.get("name")
    table = Table(file, text, "[[alert]]", number, f"alert '{named}'" if isinstance(named, str) else title, keys)
    name = table.text("name")
    if not _NAME.fullmatch(name) or name == of.BROKEN:
        raise table.wrong("name", "a name of letters, digits, '-', '_' and '.' is expected, as in name = \"spend\"")
    kind = _kind(table)
    rule = Rule(
        name=name,
        kind=kind,
        every_ns=table.span_ns("every", "1m", 1, _DAY_S),
        for_ns=table.span_ns("for", "0s", 0, 30 * _DAY_S),
        severity=table.choice("severity", of.SEVERITIES, "warning"),
        summary=table.text("summary") or None,
        send=table.texts("send"),
        **_of_kind(table, kind),
    )
    table.done()
    unknown = next((one for one in rule.send if one not in receivers), None)
    if unknown is not None:
        raise table.wrong("send", f"no receiver is called '{unknown}'; there {_there_are(receivers)}")
    _check_summary(table, rule)
    return rule


def _kind(table: Table) -> str:
    if table.has("sql") == table.has("kind"):
        raise table.error("it needs one of the two, kind and sql", f"kinds are {', '.join(_KINDS)}; docs/alerts.md")
    return of.SQL if table.has("sql") else table.choice("kind", _KINDS, "")


def _of_kind(table: Table, kind: str) -> dict[str, Any]:
    """Return the fields that a rule has by its kind."""
    if kind == of.SQL:
        return {"sql": table.text("sql"), "timeout_ns": table.span_ns("timeout", "10s", 0.1, 600)}
    found: dict[str, Any] = {"agent": table.text("agent") or None}
    if kind == of.STUCK:
        return found | {
            "after_ns": table.span_ns("after", "2m", 30, 7 * _DAY_S),
            "within_ns": table.span_ns("within", "1h", 60, 30 * _DAY_S),
        }
    found["within_ns"] = table.span_ns("within", "1h", 10, 7 * _DAY_S)
    if kind == of.LOOP:
        return found | {"times": table.whole("times", 5, 2, 1_000_000)}
    found["by"] = table.choice("by", _BY[kind], "tool" if kind == of.ERROR_RATE else "agent")
    if kind == of.SPEND:
        if not table.has("over"):
            raise table.wrong("over", "say how many dollars are too many, as in over = 20.0")
        return found | {"over": table.number("over", 0, 0, 1e9)}
    if kind == of.ERROR_RATE:
        return found | {
            "over": table.number("over", 10, 0, 100),
            "at_least": table.whole("at_least", 10, 1, 1_000_000),
        }
    return found | {
        "factor": table.number("factor", 2, 1, 1000),
        "at_least": table.whole("at_least", 20, 1, 1_000_000),
    }


def _check_summary(table: Table, rule: Rule) -> None:
    """Refuse a summary that can never be filled in. Which columns SQL has shows as it is asked."""
    if rule.summary is None:
        return
    try:
        columns_in(rule.summary)
    except ValueError as error:
        raise table.error(str(error), "docs/alerts.md has examples", key="summary") from error
    if rule.kind == of.SQL:
        return
    columns = (*(label.replace("{by}", rule.by) for label in of.LABELS[rule.kind]), *of.VALUES[rule.kind])
    lacking = missing(rule.summary, columns)
    if lacking is not None:
        raise table.error(f"summary names {{{lacking}}}", f"kind {rule.kind} has {', '.join(columns)}", key="summary")


def _there_are(receivers: Mapping[str, ReceiverEntry]) -> str:
    return f"are {', '.join(receivers)}" if receivers else "are none: add a table [receiver.NAME]"
