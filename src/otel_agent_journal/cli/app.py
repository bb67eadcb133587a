"""The `agent-journal` group: finds a command's module when it is called, and turns every error into one line.

Nothing heavier than click is imported here, so that `--help` is quick. What an error prints and which code the process
ends with is decided in this one place; commands raise, or return their exit code. Not responsible for options that
several commands share (`invocation.py`).
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Final, NoReturn

import click

from otel_agent_journal.cli.contract import CTRL_C, CliError, OutputClosed
from otel_agent_journal.cli.invocation import common_options, invocation_of
from otel_agent_journal.cli.readable import one_line
from otel_agent_journal.errors import JournalError
from otel_agent_journal.terminal import say

PROGRAM: Final = "agent-journal"

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
UNREACHABLE: Final = 4
CHECK_FAILED: Final = 5
PIPE_CLOSED: Final = 141  # 128 + SIGPIPE, what the shell shows for any program whose reader went away

# Name to one line of help, in the order of use; a test holds each line equal to its command's own.
COMMANDS: Final[Mapping[str, str]] = {
    "run": "Run a program with its agents journaled, its code untouched.",
    "demo": "Run a small agent live, no key and no account needed.",
    "ls": "List sessions, the latest first.",
    "show": "Show a session as a tree of steps, or one step in full.",
    "tail": "Print events as they arrive, of one session or of all.",
    "status": "Say where a session stands: status, stage, open steps, tokens.",
    "context": "Show the messages and the state of a session's agents, at any point.",
    "resume": "Run a program that goes on with a session, from where that stands.",
    "replay": "Run a program against a recorded session: nothing is called, all is compared.",
    "copy": "Fork a session: go on from a point of it in a session of its own.",
    "overwrite": "Rewind a session: go on from an earlier point of it, in place.",
    "stats": "Count calls, failures, times, tokens and cost by agent, tool, model, user, day.",
    "profile": "Say where the time of a session, or of an agent, went.",
    "diff": "Compare two sessions, step by step.",
    "drain": "Deliver what agents left in the spool to the store.",
    "sweep": "Mark sessions interrupted whose process has gone silent.",
    "verify": "Check digests, order, parents and heads of the journal.",
    "seal": "Seal sessions, so that a later change is found.",
    "doctor": "Check settings, store, spool, OTLP endpoint and frameworks.",
    "query": "Ask the journal in SQL: sessions, steps, events, tools, models.",
    "serve": "Show the journal in a browser, live, and serve its API.",
    "alerts": "Judge the rules of alerts.toml: once, for ever, or say what fires.",
    "mcp": "Offer the journal to agents as tools, by MCP over stdio.",
    "collect": "Receive OTLP from any source, and journal it.",
    "export": "Send spans to an OTLP endpoint, write events out, or the journal to Parquet.",
    "erase": "Erase the content of a session's events; what happened stays, and its seal holds.",
    "import": "Take in JSON lines that were written out of a journal.",
    "sinks": "Say how far streams are that events are sent on to.",
    "store": "Prepare, look at, copy, prune, delete from and repair stores.",
    "compact": "Rewrite sessions into their compact form, in stores such as S3.",
}


class JournalGroup(click.Group):
    """A group whose commands are imported when they are called, and whose `main` is the error boundary."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        return import_module(f"otel_agent_journal.cli.{cmd_name}").command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command named by the first argument.

        Raises:
            CliError: there is none; names the nearest.
        """
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
            meant = f"; did you mean '{near[0]}'?" if near else ""
            raise CliError(f"there is no command '{name}'{meant}; {PROGRAM} --help lists them all", USAGE)
        if name != "run":  # whose arguments are another program's, byte by byte
            args = [os.fsencode(arg).decode("utf-8", "replace") for arg in args]
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def main(self, args: Sequence[str] | None = None, *positional: Any, **options: Any) -> NoReturn:
        """Run a command line and exit with its code."""
        verbose = _wants_traceback(sys.argv[1:] if args is None else args)
        try:
            result = super().main(args, *positional, **({"prog_name": PROGRAM} | options | {"standalone_mode": False}))
            _flush()
            code = result if isinstance(result, int) else DONE
        except BaseException as error:  # noqa: BLE001 - the boundary; what is not ours to end is raised again
            code = _explain(error, verbose=verbose)
        sys.exit(code)


@click.group(
    PROGRAM,
    cls=JournalGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 store unreachable, 5 check failed, 130 Ctrl-C.",
)
@click.option("--version", is_flag=True, help="Print the version and exit.")
@common_options
@click.pass_context
def group(ctx: click.Context, version: bool) -> None:
    """The journal of your agents: every session, every step, live and after a crash.

    Tables on a terminal, JSON lines in a pipe. Without --store or AGENT_JOURNAL_STORE the journal is, in the working
    directory or the nearest one above it,

    \b
      .agent-journal/journal.db
    """  # noqa: D301 - click wants the character itself, which keeps the path on a line of its own
    invocation_of(ctx)
    if version:
        from importlib.metadata import version as version_of

        click.echo(f"{PROGRAM} {version_of('otel-agent-journal')}")
        ctx.exit(DONE)
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
        ctx.exit(DONE)


def main() -> NoReturn:
    """Run the command line of this process; the entry point `agent-journal`."""
    try:
        group.main()
    except SystemExit as ended:
        if ended.code and "duckdb" in sys.modules:  # out of memory, it prints below our error what it could not free
            sys.stderr.flush()
            os._exit(ended.code if isinstance(ended.code, int) else FAILED)
        raise


def _wants_traceback(args: Sequence[str]) -> bool:
    own = args[: args.index("--")] if "--" in args else args
    return "-v" in own or "--verbose" in own


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise OutputClosed from error


def _explain(error: BaseException, *, verbose: bool) -> int:
    """Print why a command ended early and return its exit code; what is not ours to end passes through."""
    match error:
        case SystemExit():
            raise error
        case OutputClosed():
            _silence_stdout()
            return PIPE_CLOSED
        case KeyboardInterrupt() | click.exceptions.Abort():
            return CTRL_C
        case click.exceptions.Exit():
            return error.exit_code
        case click.UsageError():
            _say(_usage(error))
            return USAGE
        case click.ClickException():
            _say(error.format_message())
            return FAILED
        case JournalError():
            code, message = error.exit_code, str(error)
        case OSError():
            code, message = FAILED, f"{_reason(error)}; {PROGRAM} doctor checks files and settings"
        case Exception():
            code = FAILED
            message = (
                f"{type(error).__name__}: {error}; this is a defect of {PROGRAM}: run again with -v for its traceback"
            )
        case _:
            raise error
    if verbose:
        for line in "".join(traceback.format_exception(error)).splitlines():
            say(line)
    _say(message)
    return code


def _reason(error: OSError) -> str:
    if error.filename is None:
        return str(error)
    return f"{error.filename}: {error.strerror}"


def _usage(error: click.UsageError) -> str:
    message = error.format_message().rstrip(".").replace(". Did you mean", "; did you mean")
    message = message[:1].lower() + message[1:]
    if error.ctx is None:
        return message
    return f"{message}; {error.ctx.command_path} --help shows what it takes"


def _say(message: str) -> None:
    say(f"error: {one_line(message)}")


def _silence_stdout() -> None:
    """Let the interpreter's last flush go nowhere, so that a reader that went away is no error."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
