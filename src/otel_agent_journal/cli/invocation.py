"""One call of the command line: the options that every command takes, before or after its name.

`Invocation` travels as click's context object from the group to the command. It resolves to settings, output and
journal only when a command asks, so that `--help` and usage errors import nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from otel_agent_journal.cli.contract import FORMATS, note

if TYPE_CHECKING:
    from otel_agent_journal.cli.output import Output
    from otel_agent_journal.config import Settings
    from otel_agent_journal.reading.journal import Journal

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])


@dataclass
class Invocation:
    """What was given before and after the command's name; the latter wins."""

    store: str | None = None
    format: str | None = None
    verbose: bool = False
    no_pager: bool = False
    said_where: bool = False
    resources: ExitStack = field(default_factory=ExitStack)

    def output(self) -> Output:
        """Return where and how results are written. Raises `ConfigError` where AGENT_JOURNAL_OUTPUT is malformed."""
        from otel_agent_journal.cli.output import Output

        return Output.detect(self.format)

    def paged(self, output: Output) -> AbstractContextManager[None]:
        """Send what is printed within this block through the reader's pager, where there is one (`paging`)."""
        from otel_agent_journal.cli.paging import paged

        return paged(output, wanted=not self.no_pager)

    def settings(self, **options: str | None) -> Settings:
        """Return the settings of the environment, with what the command line says in their place.

        Says once where the journal is, where nobody has named it and it lies above the working directory.

        Raises:
            ConfigError: an option or a variable is malformed.
        """
        from otel_agent_journal.config import settings_with

        settings = settings_with(store=self.store, **options)
        if not (settings.store_given or self.said_where) and settings.home.parent != Path.cwd():
            note(f"the journal is {settings.home}, found above the working directory")
            self.said_where = True
        return settings

    def log(self) -> None:
        """Send the package's log to stderr under -v, and nowhere else: what matters of it, commands say themselves."""
        import logging

        from otel_agent_journal.terminal import log_handler

        ours = logging.getLogger("otel_agent_journal")
        if self.verbose:
            logging.basicConfig(handlers=[log_handler("%(levelname)s %(name)s: %(message)s")])
            ours.setLevel(logging.INFO)
        else:
            ours.addHandler(logging.NullHandler())

    def journal(self, *, adopt: bool = True) -> Journal:
        """Open the journal for reading, as `open_journal`; it is closed when the command ends.

        Raises:
            StoreUnreachable: there is none; says how to make one.
        """
        from otel_agent_journal.bootstrap import open_journal

        self.log()
        journal = open_journal(self.settings(), adopt=adopt, note=note)
        self.resources.callback(journal.close)
        return journal


def invocation_of(ctx: click.Context) -> Invocation:
    """Return this command line's invocation, made at the first call."""
    root = ctx.find_root()
    if not isinstance(root.obj, Invocation):
        root.obj = Invocation()
        root.call_on_close(root.obj.resources.close)
    return root.obj


def pass_invocation(function: _Decorated) -> _Decorated:
    """Give a command its `Invocation` as first argument."""

    def with_invocation(*args: Any, **kwargs: Any) -> Any:
        ctx = click.get_current_context()
        return ctx.invoke(function, invocation_of(ctx), *args, **kwargs)

    with_invocation.__doc__ = function.__doc__
    with_invocation.__name__ = getattr(function, "__name__", "command")
    with_invocation.__dict__.update(function.__dict__)
    return with_invocation  # type: ignore[return-value]


def common_options(function: _Decorated) -> _Decorated:
    """Add --store, -o, --no-pager and -v, which the group and every command take."""
    for option in reversed(_COMMON):
        function = option(function)
    return function


def _keep(attribute: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def keep(ctx: click.Context, _parameter: click.Parameter, value: Any) -> Any:
        if value:
            setattr(invocation_of(ctx), attribute, value)
        return value

    return keep


def _option(*names: str, keeps: str, settings: Mapping[str, Any]) -> Callable[[_Decorated], _Decorated]:
    return click.option(*names, expose_value=False, callback=_keep(keeps), **settings)


_COMMON = (
    _option(
        "--store",
        keeps="store",
        settings={"metavar": "URL", "help": "The journal's store, as sqlite:///path. [env: AGENT_JOURNAL_STORE]"},
    ),
    _option(
        "-o",
        "--output",
        keeps="format",
        settings={
            "type": click.Choice(FORMATS),
            "help": "How to print; table on a terminal, jsonl in a pipe. [env: AGENT_JOURNAL_OUTPUT]",
        },
    ),
    _option("--no-pager", keeps="no_pager", settings={"is_flag": True, "help": "Print long output without a pager."}),
    _option("-v", "--verbose", keeps="verbose", settings={"is_flag": True, "help": "Show the traceback of an error."}),
)
