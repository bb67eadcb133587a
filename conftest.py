"""What every test stands on: a clean environment, real servers, hypothesis profiles, the rule for the long forms."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import cache

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key
from hypothesis import HealthCheck, is_hypothesis_test, settings

pytest_plugins = ["tests.real.fixtures"]
pytest.register_assert_rewrite("otel_agent_journal.testing.contract_setup")  # some tests use it without the contract

_GRACE_S = 60.0  # beyond the limit of a test, before its worker dies
_SAID_OF_A_FAILURE = 40_000  # characters: a whole example of a state machine, which may not come again

KEPT = frozenset(("AGENT_JOURNAL_SOAK", "AGENT_JOURNAL_TEST_SERVERS"))

# Before any test module imports the package: settings of the developer's shell are not those of a test.
for variable in [name for name in os.environ if name.startswith(("OTEL_", "AGENT_JOURNAL_"))]:
    if variable not in KEPT:
        del os.environ[variable]

# Notes of spools are for people: those of tests are thrown away with the folders that they name.
os.environ["XDG_STATE_HOME"] = tempfile.gettempdir() + "/agent-journal-tests"
# What is imported is compiled once, not by each worker and each process that a test starts.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Started in the background of a shell, Ctrl-C is ignored, by every child too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: the machine is shared, and a slow example is not a wrong one.
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("local"), derandomize=True, print_blob=True)
settings.register_profile("soak", parent=settings.get_profile("local"), max_examples=2000)
if os.environ.get("AGENT_JOURNAL_SOAK"):
    settings.load_profile("soak")
else:
    settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(autouse=True)
def bare_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """What drives the browsers leaves its event loop marked as this thread's: other tests run loops of their own."""
    loop = None if "browsers" in request.fixturenames else asyncio._get_running_loop()
    if loop is None:
        yield
        return
    asyncio._set_running_loop(None)
    yield
    asyncio._set_running_loop(loop)


@pytest.fixture(autouse=True)
def bare_threads() -> Iterator[None]:
    """The first Strands agent of a process makes every thread of it inherit the context: not beyond its test."""
    yield
    threading = sys.modules.get("opentelemetry.instrumentation.threading")
    if threading is not None:
        instrumentor = threading.ThreadingInstrumentor()
        if instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.uninstrument()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The long forms run when they are asked for, and then nothing else does."""
    if os.environ.get("AGENT_JOURNAL_SOAK"):
        others = [item for item in items if not has_long_form(item)]
        items[:] = [item for item in items if has_long_form(item)]
        config.hook.pytest_deselected(items=others)
        return
    for item in items:
        if item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.skip(reason="the long form: make soak"))
    # Files are handed to the workers in this order: what takes minutes by itself must not come last.
    sizes = Counter(item.path for item in items)
    long = {item.path for item in items if item.get_closest_marker("long_form")}
    items.sort(key=lambda item: (item.path not in long, -sizes[item.path], item.path))


def pytest_collection_finish() -> None:
    """What is imported by now stays: a test that has garbage collected does not look through all of that again.

    And what botocore knows of its services is read once, not by each client: that was most of what a client cost.
    """
    if "botocore.session" in sys.modules:
        session = sys.modules["botocore.session"]
        session.create_loader = cache(session.create_loader)
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Bound each phase of a test by itself, from outside of Python.

    The timer of pytest-timeout is one for all three, is put out by the first failure, and is a signal, which code in C
    and a callback that swallows what is raised do not hear: a test that failed could wait for its own end for ever. A
    worker that is stuck says where each of its threads stands, and dies; xdist names the test, and goes on.
    """
    marker = item.get_closest_marker("timeout")
    limit_s = marker.args[0] if marker else float(item.config.getoption("timeout") or item.config.getini("timeout"))
    faulthandler.dump_traceback_later(
        limit_s + _GRACE_S, exit=True, file=item.config.stash[fault_handler_stderr_fd_key]
    )
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


pytest_runtest_call = pytest_runtest_teardown = pytest_runtest_setup


class _SaysAtOnce:
    """What failed is said at once, and not kept for an end that may be hours away, or never come."""

    def __init__(self, config: pytest.Config) -> None:
        self._plugins = config.pluginmanager

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self._plugins.get_plugin("terminalreporter") if report.failed else None
        if terminal is not None:
            terminal.write_line(
                f"\nFAILED {report.nodeid} ({report.duration:.0f} s)\n{report.longreprtext[-_SAID_OF_A_FAILURE:]}"
            )


def pytest_configure(config: pytest.Config) -> None:
    """Where several workers are at it: who looks at a single file gets pytest's own order."""
    if config.getoption("numprocesses", None):
        config.pluginmanager.register(_SaysAtOnce(config))


def pytest_unconfigure() -> None:
    """At its exit the interpreter may take all of it down again: extension modules complain of what is left."""
    gc.unfreeze()


def has_long_form(item: pytest.Item) -> bool:
    """Tell whether a test does more with AGENT_JOURNAL_SOAK=1; those that search at random try more examples."""
    marked = any(item.get_closest_marker(name) for name in ("soak", "long_form"))
    return marked or is_hypothesis_test(getattr(item, "obj", None))
