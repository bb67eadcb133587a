"""`store` and `compact`: prepare, look at, prune; ask before anything changes."""

from __future__ import annotations

import importlib
import json
import os
import pty
import subprocess
import time
from pathlib import Path

import click
import msgspec
import pytest

from otel_agent_journal.cli import store as store_group
from otel_agent_journal.config import spool_of
from otel_agent_journal.store.protocol import ROLES
from otel_agent_journal.store.registry import open_store
from otel_agent_journal.store.rules import current
from otel_agent_journal.store.sqlite_tables import TABLES_VERSION
from otel_agent_journal.testing.builders import JournalBuilder, events
from tests.cli.command_line import PROGRAM, cli, program, rows
from tests.cli.conftest import Seeded, absolute

NEW = "sqlite:///new.db"
DAY_NS = 86_400 * 10**9


def answered(answer: str, *args: str) -> tuple[int, str]:
    """Run a command line on a terminal and answer its question; return its exit code and all that was shown."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen([*PROGRAM, *args], stdin=theirs, stdout=theirs, stderr=theirs, env=dict(os.environ))
    os.close(theirs)
    os.write(ours, f"{answer}\n".encode())
    seen = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # the last one closed the other end
            break
        if not data:
            break
        seen += data
    os.close(ours)
    return child.wait(timeout=60), seen.decode().replace("\r\n", "\n")


def keep_old(journal: Seeded, *session_ids: str, days: int = 100, seen_ns: int | None = None) -> None:
    """Keep sessions that were last updated so many days ago; with `seen_ns` in progress, and heard of then."""
    for session_id in session_ids:
        at_ns = time.time_ns() - days * DAY_NS
        session = JournalBuilder(session_id, writer="w", clock=iter(range(at_ns, at_ns + 9)).__next__)
        root = session.start("AGENT", "helper")
        if seen_ns is None:
            session.end(root)
        journal.store.append(session.events)
        head = current(journal.store, session_id)
        assert head is not None
        writers = head.writers if seen_ns is None else {"w": seen_ns}
        journal.store.write_head(msgspec.structs.replace(head, writers=writers))


def test_every_command_is_listed_with_its_own_help() -> None:
    """`store --help` lists each command with the line that is its own short help, without importing any."""
    for name, line in store_group.COMMANDS.items():
        module = importlib.import_module(f"otel_agent_journal.cli.store_{name.replace('-', '_')}")
        command: click.Command = module.command
        assert command.name == name
        assert command.get_short_help_str(200) == line
        assert line in cli("store", "--help").stdout
        assert all(option.help for option in command.params if isinstance(option, click.Option))
        assert {"--store", "-o", "--output", "-v"} <= {flag for param in command.params for flag in param.opts}
    assert cli("store").exit_code == 0
    assert cli("store", "pack").exit_code == 2


def test_init_without_a_terminal_wants_yes() -> None:
    """Where nobody can answer, init shows its plan, changes nothing, and says what to do: exit code 2."""
    result = cli("store", "init", NEW)
    assert result.exit_code == 2
    assert f"to prepare {absolute(NEW)}:\n  create the file " in result.stderr
    assert result.stderr.endswith("nothing was changed: there is no terminal to ask on; --yes answers for you\n")
    assert not Path("new.db").exists()


def test_init_with_yes_creates_what_is_missing_once() -> None:
    """With --yes init does what it planned; again there is nothing to do, and nothing is asked."""
    (row,) = rows(cli("store", "init", NEW, "--yes"))
    assert row["store"] == absolute(NEW)
    assert [line.split()[0] for line in row["done"]] == ["create", "create"]
    assert rows(cli("store", "info", NEW))[0]["events"] == 0
    again = cli("store", "init", NEW)
    assert (again.exit_code, rows(again)) == (0, [{"store": absolute(NEW), "done": []}])
    assert cli("store", "init", NEW, "-o", "table").stdout == f"nothing to do: {absolute(NEW)} is prepared\n"


def test_init_asks_on_a_terminal() -> None:
    """On a terminal init shows its plan and goes on only after a yes."""
    code, seen = answered("n", "store", "init", NEW)
    assert code == 1
    assert "create its tables" in seen
    assert "error: nothing was changed\n" in seen
    assert not Path("new.db").exists()
    code, seen = answered("y", "store", "init", NEW)
    assert (code, f"{absolute(NEW)} is prepared" in seen) == (0, True)
    assert Path("new.db").exists()


def test_the_store_is_the_url_else_that_of_every_command(journal: Seeded) -> None:
    """Without a URL the commands are about the journal of --store, of the variable, or of the working directory."""
    journal.completed()
    assert rows(cli("store", "info"))[0]["sessions"] == 1
    assert cli("store", "info", "--store", NEW).exit_code == 4
    assert cli("--store", NEW, "store", "info").exit_code == 4
    assert program("store", "info", AGENT_JOURNAL_STORE=NEW).returncode == 4
    assert rows(program("store", "info", "sqlite:///.agent-journal/journal.db", AGENT_JOURNAL_STORE=NEW))


def test_info_says_what_a_store_is_and_holds(journal: Seeded) -> None:
    """Counts, size and capabilities, as one record or lines for people."""
    journal.completed()
    journal.failed()
    (row,) = rows(cli("store", "info"))
    assert row.pop("size_bytes") > 10_000
    assert row.pop("capabilities")["prune"] is True
    assert row == {
        "store": absolute("sqlite:///.agent-journal/journal.db"),
        "backend": "sqlite",
        "schema_version": TABLES_VERSION,
        "sessions": 2,
        "events": 13,
    }
    shown = cli("store", "info", "-o", "table").stdout
    assert "events            13\n" in shown
    assert "can               read, context, blobs, heads, documents, prune\n" in shown
    assert json.loads(cli("store", "info", "-o", "json").stdout)["events"] == 13


def test_a_url_that_was_printed_is_the_same_journal() -> None:
    """Whether a name is escaped in a URL or not, its file is the same one, and so is its spool."""
    plain = "sqlite:///my journal, 100%.db"
    store = open_store(plain)
    store.append(events(3))
    store.close()
    (row,) = rows(cli("store", "info", plain))
    assert row["store"] == absolute("sqlite:///my%20journal%2C%20100%25.db")
    for url in (plain, row["store"]):
        assert [one["session_id"] for one in rows(cli("tail", "s1", "--store", url))] == ["s1"] * 3
        assert spool_of(url).absolute() == Path("my journal, 100%.db.spool").absolute()


def test_info_masks_secrets() -> None:
    """A password in a URL is never printed, whatever is wrong with it."""
    result = cli("store", "info", "foo://me:hunter2@host/db?secret_key=hunter2")
    assert result.exit_code == 2
    assert "hunter2" not in result.output + result.stderr


def test_prune_deletes_old_sessions_whole(journal: Seeded) -> None:
    """What was not updated for so long goes, and nothing else; a second time there is nothing to do."""
    keep_old(journal, "old", "older", days=100)
    keep_old(journal, "new", days=80)
    result = cli("store", "prune", "--older-than", "90d", "--yes")
    assert result.exit_code == 0
    (row,) = rows(result)
    assert (row["sessions"], row["deleted"]) == (2, True)
    assert "delete 2 sessions last updated before " in result.stderr
    assert [head.session_id for head in journal.store.sessions()] == ["new"]
    assert list(journal.store.read("old")) == []
    assert len(list(journal.store.read("new"))) == 2
    assert "nothing to do" in cli("store", "prune", "--older-than", "90d", "-o", "table").stdout


def test_prune_asks_first(journal: Seeded) -> None:
    """Without --yes a person is asked, and where there is none nothing is deleted: exit code 2."""
    keep_old(journal, "old")
    assert cli("store", "prune", "--older-than", "90d").exit_code == 2
    code, seen = answered("n", "store", "prune", "--older-than", "2w")
    assert (code, "delete 1 session last updated before" in seen) == (1, True)
    assert journal.store.head("old") is not None
    code, seen = answered("y", "store", "prune", "--older-than", "2w")
    assert (code, "deleting" in seen) == (0, True)  # how far it is
    assert journal.store.head("old") is None


def test_a_dry_run_deletes_nothing(journal: Seeded) -> None:
    """--dry-run says how many would go, asks nothing and deletes nothing."""
    keep_old(journal, "old", "older")
    (row,) = rows(cli("store", "prune", "--older-than", "12h", "--dry-run"))
    assert (row["sessions"], row["deleted"]) == (2, False)
    assert cli("store", "prune", "--older-than", "12h", "--dry-run", "-o", "table").stdout.startswith(
        "2 sessions would"
    )
    assert len(list(journal.store.sessions())) == 2


def test_prune_spares_a_session_whose_process_is_alive(journal: Seeded) -> None:
    """A step may take days: a session in progress whose writer was just heard of stays."""
    keep_old(journal, "busy", seen_ns=time.time_ns())
    keep_old(journal, "dead", seen_ns=time.time_ns() - 99 * DAY_NS)
    assert rows(cli("store", "prune", "--older-than", "90d", "--yes"))[0]["sessions"] == 1
    assert [head.session_id for head in journal.store.sessions()] == ["busy"]


@pytest.mark.parametrize("age", ["soon", "-3d", "0s", "90", "3000w5", "99999w", ""])
def test_an_age_that_is_none_is_a_usage_error(journal: Seeded, age: str) -> None:
    """What is no age, or reaches before 1970, is refused with the forms there are, and deletes nothing."""
    keep_old(journal, "old")
    result = cli("store", "prune", "--older-than", age, "--yes")
    assert (result.exit_code, "as 30s, 12h, 90d, 2w" in result.stderr) == (2, True)
    assert journal.store.head("old") is not None


def test_prune_without_an_age_is_a_usage_error() -> None:
    """There is no age by default."""
    assert cli("store", "prune", "--yes").exit_code == 2


@pytest.mark.parametrize("role", ROLES)
def test_a_store_without_policies_says_so(journal: Seeded, role: str) -> None:
    """iam-policy of a store that knows none ends with 1 and names the store."""
    journal.completed()
    result = cli("store", "iam-policy", "--role", role)
    assert (result.exit_code, result.stdout) == (1, "")
    said = f"{absolute('sqlite:///.agent-journal/journal.db')} cannot do this: it declares no capability 'iam_policy'"
    assert said in result.stderr


def test_a_role_that_is_none_is_a_usage_error() -> None:
    """The roles are named."""
    result = cli("store", "iam-policy", "--role", "owner")
    assert result.exit_code == 2
    assert all(role in result.stderr for role in ROLES)


def test_compact_is_refused_where_there_is_nothing_to_compact(journal: Seeded) -> None:
    """SQLite has no compact form; SESSION and --all exclude each other."""
    journal.completed()
    result = cli("compact", "--all")
    assert (result.exit_code, "declares no capability 'compact'" in result.stderr) == (1, True)
    assert cli("compact", "done", "--all").exit_code == 2


def test_a_store_that_is_another_programs_is_left_as_it_is() -> None:
    """init and info of a foreign SQLite file fail and change nothing."""
    import sqlite3

    with sqlite3.connect("new.db") as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = Path("new.db").read_bytes()
    for args in (("init", NEW, "--yes"), ("info", NEW)):
        result = cli("store", *args)
        assert (result.exit_code, "another program" in result.stderr) == (1, True)
    assert Path("new.db").read_bytes() == before
    assert open_store(NEW).url == NEW
