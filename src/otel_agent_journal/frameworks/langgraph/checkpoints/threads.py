"""The threads of a store: each opened once and kept as long as it is used, and all of them found again.

Two kinds of documents find them, written as a thread begins and as a run first saves in one: of all threads, and of
those of a run. An instance is named by its thread's id, so any process finds a thread that it knows by name.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from typing import Any, Final, cast

from otel_agent_journal.codec import decode_value, encode_value
from otel_agent_journal.errors import CodecError, UnsupportedByStore
from otel_agent_journal.event import derived_id
from otel_agent_journal.frameworks.langgraph.checkpoints.log import ThreadLog
from otel_agent_journal.frameworks.langgraph.checkpoints.thread import Thread
from otel_agent_journal.store.protocol import Document, DocumentStore, JournalStore
from otel_agent_journal.threads import Lock, RLock

ALL: Final = "langgraph/threads"  # the scope of a document for each thread
MOST: Final = 64  # threads that are kept open


class Threads:
    """The threads of one store. Thread-safe.

    Args:
        store: where the journal lives.
        session: returns the session that this code runs in, if any.
        instance_for: returns the instance that a thread is, where that is another than its id says.
    """

    def __init__(
        self,
        store: JournalStore,
        session: Callable[[], str | None] = lambda: None,
        instance_for: Callable[[str], str | None] = lambda _thread_id: None,
    ) -> None:
        self.store = store
        self._session = session
        self._instance_for = instance_for
        self._lock = Lock()
        self._open: OrderedDict[tuple[str, str], Thread] = OrderedDict()  # by their ids and instances
        self._runs: set[tuple[str, str]] = set()
        # A store that gains nothing by several threads is used by one at a time.
        self._shared_lock = RLock() if store.capabilities.threads == 1 else None

    @contextlib.contextmanager
    def use(self, thread_id: str) -> Generator[Thread]:
        """Use a thread; nobody else of this process does meanwhile."""
        instance_id = self.instance_of(thread_id)
        with self._lock:
            thread = self._open.get((thread_id, instance_id))
            if thread is None:
                log = ThreadLog(self.store, instance_id, lambda: self._begins(thread_id))
                thread = self._open[thread_id, instance_id] = Thread(thread_id, log, self._shared_lock)
                while len(self._open) > MOST:
                    self._open.popitem(last=False)
            self._open.move_to_end((thread_id, instance_id))
        with thread.lock:
            yield thread

    def instance_of(self, thread_id: str) -> str:
        """Return the agent instance that a thread is."""
        return self._instance_for(thread_id) or instance_id_of(thread_id)

    def session_for(self, thread_id: str) -> str:
        """Return the session of a thread that is not there yet."""
        return self._session() or thread_id

    def close(self) -> None:
        """Forget what was read."""
        with self._lock:
            self._open.clear()

    # --- finding them ---

    def all(self) -> list[str]:
        """Return the ids of all threads."""
        return self._listed(ALL)

    def of_runs(self, run_ids: Collection[str]) -> list[str]:
        """Return the ids of the threads in which runs have saved checkpoints."""
        return list(dict.fromkeys(thread for run_id in run_ids for thread in self._listed(_of_run(run_id))))

    def begins_run(self, thread_id: str, run_id: str) -> None:
        """Note that a run saves in a thread; written once by each process."""
        if (thread_id, run_id) not in self._runs:
            self._note(_of_run(run_id), thread_id)
            self._runs.add((thread_id, run_id))

    def note(self, thread_id: str) -> None:
        """Note that there is a thread."""
        self._note(ALL, thread_id)

    def _begins(self, thread_id: str) -> tuple[str, Mapping[str, str]]:
        self.note(thread_id)
        return self.session_for(thread_id), agent_of(thread_id)

    def _note(self, scope: str, thread_id: str) -> None:
        if isinstance(self.store, DocumentStore) and self.store.capabilities.documents:
            name, data = instance_id_of(thread_id), encode_value({"thread": thread_id})
            self.store.put_document(Document(scope=scope, name=name, data=data))

    def _listed(self, scope: str) -> list[str]:
        if not isinstance(self.store, DocumentStore) or not self.store.capabilities.documents:
            raise UnsupportedByStore(self.store.url, "documents")
        return [thread for document in self.store.documents(scope) for thread in _thread_in(document)]


def instance_id_of(thread_id: str) -> str:
    """Return the agent instance that a thread is by its id."""
    return derived_id(f"langgraph:{thread_id}")


def agent_of(thread_id: str) -> dict[str, str]:
    """Return what the first event of a thread says of it."""
    return {"framework": "langgraph", "thread": thread_id}


def _of_run(run_id: str) -> str:
    return f"langgraph/runs/{derived_id(run_id)}"


def _thread_in(document: Document) -> Iterator[str]:
    try:
        said: Any = decode_value(document.data)
    except CodecError:
        return
    if isinstance(said, Mapping):
        yield str(cast("Mapping[str, Any]", said).get("thread"))
