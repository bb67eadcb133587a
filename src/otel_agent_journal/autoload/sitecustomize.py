"""Runs as every Python under `agent-journal run` starts: runs the `sitecustomize` it stands before, then watches.

Most of what a program starts runs no agent, and pays next to nothing here: the journal starts as the first module that
it has to do with is imported, before that one's code. Imported by the interpreter itself, so it must never fail,
imports nothing that a bare interpreter has not, and leaves this folder off `sys.path`.
"""

import atexit
import os
import sys
from _thread import RLock, get_ident

TYPE_CHECKING = False  # `typing` costs more than all else here
if TYPE_CHECKING:
    from typing import Any

FRAMEWORKS = frozenset(("bedrock_agentcore", "botocore", "langchain_core", "langgraph", "strands"))
# What must find us there: it would put green threads in the place of ours, or is what we are of.
OTHERS = frozenset(("eventlet", "gevent", "opentelemetry", "otel_agent_journal"))
MORE = "AGENT_JOURNAL_WATCH"  # names what instrumentors of other packages are for; set by `run`
_LONGEST_S = 10.0


class Watch:
    """A finder that has the journal started before the first module that it watches for is made, and then is gone."""

    def __init__(self) -> None:
        self.frameworks = FRAMEWORKS | frozenset(os.environ.get(MORE, "").split(","))
        self.names = self.frameworks | OTHERS
        self._lock = RLock()
        self._by = 0  # the thread that starts it

    def find_spec(self, name: str, path: object = None, target: object = None) -> "Any":
        """Return what the other finders find, to be loaded by way of us; nothing for all that we do not watch for."""
        if name.partition(".")[0] not in self.names or self._by == get_ident():
            return None
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            spec = None if find is None or finder is self else find(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module") and hasattr(spec.loader, "create_module"):
                    spec.loader = Loader(self, spec.loader)
                return spec
        return None

    def start(self, name: str = "") -> None:
        """Start the journal, once; a framework is not run before it is hooked, in no thread.

        Of all else the start itself may import what another thread is importing, so that one may not wait for it.
        """
        if self._lock.acquire(timeout=_LONGEST_S if name.partition(".")[0] in self.frameworks else 0):
            try:
                if not self._by:
                    self._by = get_ident()
                    _start()
            finally:
                if self in sys.meta_path:
                    sys.meta_path.remove(self)
                self._lock.release()


class Loader:
    """Starts the journal, then lets the module's own loader do its work, unless the start has imported it by then.

    Not as it is found: then the lock of all imports is held. Not as it is run: then others may see it half made.
    """

    def __init__(self, watch: Watch, own: "Any") -> None:
        self._watch, self._own = watch, own

    def __getattr__(self, name: str) -> "Any":
        return getattr(self._own, name)

    def create_module(self, spec: "Any") -> "Any":
        """Return the module that the start has imported, or what its loader makes."""
        self._watch.start(spec.name)
        module: Any = sys.modules.get(spec.name)
        if module is None:
            spec.loader = self._own
            return self._own.create_module(spec)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: "Any") -> None:
        """Leave a module alone that is imported already."""
        module.__spec__ = self._spec


def _step_aside() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != here]
    ours = sys.modules.pop("sitecustomize", None)
    try:
        __import__("sitecustomize")  # the one that we stand before
    except ImportError:
        pass
    if ours is not None:
        sys.modules.setdefault("sitecustomize", ours)  # the interpreter looks for what it has just imported


def _is_first(what: str) -> bool:
    """Leave a word for `run`, and tell whether no other Python of the program has left it before."""
    try:
        folder = os.environ["AGENT_JOURNAL_ANNOUNCE"]
        os.close(os.open(os.path.join(folder, what), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except (KeyError, OSError):
        return False
    return True


def _start() -> None:
    try:
        from otel_agent_journal.forks import is_main_interpreter

        if not is_main_interpreter():
            return
        from otel_agent_journal.bootstrap.autostart import start
    except ImportError as error:
        if _is_first("announced"):
            print(  # noqa: T201 - the user's terminal
                f"agent-journal: this Python is not journaled: {sys.executable} cannot import otel_agent_journal"
                f" ({error}); install it there: {sys.executable} -m pip install otel-agent-journal",
                file=sys.stderr,
                flush=True,
            )
        if os.environ.get("AGENT_JOURNAL_REPLAY"):  # nothing would be served, and all be called
            os._exit(5)
        return
    start(_is_first)


def _leave() -> None:
    """End the journal, after all that the program does as it ends: this was registered before."""
    process = sys.modules.get("otel_agent_journal.bootstrap.process")
    if process is not None:
        process.leave()


_step_aside()
_is_first("reached")
atexit.register(_leave)
_watch = Watch()
if _watch.names.isdisjoint(sys.modules):
    sys.meta_path.insert(0, _watch)
else:
    _watch.start()
