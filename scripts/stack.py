"""`make stack`: a Collector, a Jaeger and a receiver on this machine, and a demo agent that sends everything to them.

    agent ─spans, events→ Collector ┬─spans, events→ agent-journal collect → the journal, a SQLite file
                                    └─spans→ Jaeger

Builds Jaeger and the Collector where they are missing (scripts/real_servers.sh), takes the usual ports of loopback or
free ones where those are taken, says where to look, and ends everything that it started at Ctrl-C or SIGTERM. The
journal stays in its folder; Jaeger's traces are in memory.

Exit codes: 0 ended as asked · 1 something did not start or ended by itself · 3 a toolchain is missing
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from ports import reserved_port

from otel_agent_journal import JournalEvent, open_store

ROOT: Final = Path(__file__).resolve().parent.parent
BUILD: Final = ROOT / "scripts" / "real_servers.sh"
START_S: Final = 60.0  # on two shared cores each is up in one to five
ARRIVE_S: Final = 60.0  # the demo agent's spans; the Collector waits 5 s before it tries a second time
END_S: Final = 15.0
TOOLCHAIN_MISSING: Final = 3
PORTS: Final = {  # those of each that it takes by default, as far as they do not collide
    "collector grpc": 4317,
    "collector http": 4318,
    "collector health": 13133,
    "collector metrics": 8888,
    "jaeger query": 16686,
    "jaeger query grpc": 16685,
    "jaeger otlp grpc": 24317,
    "jaeger otlp http": 24318,
    "jaeger health": 23133,
    "receiver grpc": 5317,
    "receiver http": 5318,
}


class Failed(Exception):
    """The stack cannot go on. The message says what to do."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def say(text: str) -> None:
    """Print a line at once."""
    print(f"stack: {text}", flush=True)


def choose_ports() -> dict[str, int]:
    """Return a port for each purpose: the usual one, or another where that is taken. All differ."""
    chosen: dict[str, int] = {}
    for purpose, usual in PORTS.items():
        chosen[purpose] = reserved_port(usual)
        if chosen[purpose] != usual:
            say(f"port {usual} is taken: {purpose} is at {chosen[purpose]}")
    return chosen


def build(server: str, takes: str) -> Path:
    """Return where a server is; build it first where it is missing.

    Raises:
        Failed: it cannot be built here.
    """
    asked = subprocess.run([BUILD, "--path", server], check=True, capture_output=True, text=True)
    if not Path(asked.stdout.strip()).exists():
        say(f"{server} is built once, with Go 1.25 or newer: {takes}, and 3 GB for Go's caches")
    begun = time.monotonic()
    building = subprocess.Popen([BUILD, server], stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        while True:
            try:
                told, _ = building.communicate(timeout=20)
                break
            except subprocess.TimeoutExpired:
                say(f"still building {server}, {time.monotonic() - begun:.0f} s")
    except BaseException:
        os.killpg(building.pid, signal.SIGTERM)  # the compilers too: the session is its own
        building.wait()
        raise
    if building.returncode == TOOLCHAIN_MISSING:
        raise Failed(f"{server} cannot be built here, see above; `make demo` needs Python alone", TOOLCHAIN_MISSING)
    if building.returncode != 0:
        raise Failed(f"{server} could not be built, see above; run this again once that is settled")
    return Path(told.strip())


def environ(**own: str) -> dict[str, str]:
    """Return an environment without settings of the user's own agents, which would lead elsewhere."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "AGENT_JOURNAL_"))}
    pace = {key: os.environ[key] for key in ("AGENT_JOURNAL_DEMO_PACE",) if key in os.environ}
    return {**kept, **pace, **own}


def end_of(log: Path) -> str:
    """Return the last lines of a log."""
    return "".join(log.read_text(errors="replace").splitlines(keepends=True)[-8:]).rstrip()


class Child:
    """A server of the stack, in a session of its own so that Ctrl-C reaches it through us, in order.

    Args:
        name: what it is called, also its log.
        command: what starts it.
        folder: where it runs, and where its log is.
        own: what its environment has beyond ours.
    """

    def __init__(self, name: str, command: Sequence[str | Path], folder: Path, **own: str) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                cwd=folder,
                env=environ(**own),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def wait_until(self, ready: Callable[[], bool], where: str) -> None:
        """Wait until it answers.

        Raises:
            Failed: it did not come up.
        """
        begun = time.monotonic()
        while not ready():
            self.check()
            if time.monotonic() - begun > START_S:
                raise Failed(
                    f"{self.name} did not answer in {START_S:.0f} s; the end of {self.log}:\n{end_of(self.log)}"
                )
            time.sleep(0.05)
        say(f"{self.name:<10} up in {time.monotonic() - begun:.1f} s   {where}   process {self.pid}")

    def check(self) -> None:
        """Check that it still runs.

        Raises:
            Failed: it ended.
        """
        code = self._process.poll()
        if code is not None:
            raise Failed(f"{self.name} ended by itself, code {code}; the end of {self.log}:\n{end_of(self.log)}")

    def stop(self) -> None:
        """End it in order; kill it where it does not."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            say(f"{self.name} did not end in {END_S:.0f} s and was killed")
            self._process.kill()
            self._process.wait()


def answers(url: str) -> Callable[[], bool]:
    """Return what tells whether GET of a URL succeeds."""

    def ready() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return True
        except OSError:
            return False

    return ready


class Stack:
    """All of it, running. A context manager: at its end everything is ended, in the order in which spans travel."""

    def __init__(self, folder: Path, jaeger: Path, collector: Path) -> None:
        self.folder = folder
        self.store = f"sqlite:///{folder}/journal.db"
        self.ports = choose_ports()
        self.children: list[Child] = []
        self._jaeger = jaeger
        self._collector = collector

    def url(self, purpose: str, path: str = "") -> str:
        """Return a URL of a port on loopback."""
        return f"http://{self.address(purpose)}{path}"

    def address(self, purpose: str) -> str:
        """Return a port's address."""
        return f"127.0.0.1:{self.ports[purpose]}"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # each is given a bounded time: nobody needs to ask twice
        for child in reversed(self.children):
            child.stop()

    def _start(self) -> None:
        ports = {name.upper().replace(" ", "_"): str(port) for name, port in self.ports.items()}
        jaeger = self._child("jaeger", [self._jaeger, "--config", ROOT / "scripts" / "jaeger.yaml"], **ports)
        addresses = ("--grpc", self.address("receiver grpc"), "--http", self.address("receiver http"))
        receiver = self._child("receiver", [agent_journal(), "collect", "--store", self.store, *addresses])
        jaeger.wait_until(answers(self.url("jaeger health", "/status")), self.url("jaeger query"))
        receiver.wait_until(answers(self.url("receiver http", "/readyz")), self.url("receiver http"))
        collector = self._child(
            "collector",
            [self._collector, f"--config={ROOT / 'collector-config' / 'jaeger-and-journal.yaml'}"],
            OTLP_GRPC=self.address("collector grpc"),
            OTLP_HTTP=self.address("collector http"),
            HEALTH=self.address("collector health"),
            METRICS_PORT=str(self.ports["collector metrics"]),
            QUEUE_FOLDER=str(self.folder / "queue"),
            JOURNAL=self.address("receiver grpc"),
            JAEGER=self.address("jaeger otlp grpc"),
        )
        collector.wait_until(answers(self.url("collector health")), self.url("collector http"))

    def _child(self, name: str, command: Sequence[str | Path], **own: str) -> Child:
        child = Child(name, command, self.folder, **own)
        self.children.append(child)
        return child

    def check(self) -> None:
        """Check that all of it runs.

        Raises:
            Failed: one of them ended.
        """
        for child in self.children:
            child.check()

    def run_agent(self) -> str:
        """Run the demo agent to its end, its spans sent to the Collector; return its session."""
        session_id = f"stack-{uuid.uuid4().hex[:8]}"
        begun = time.monotonic()
        program = (sys.executable, "-m", "otel_agent_journal.testing.demo_agent")
        log = self.folder / "agent.log"
        with log.open("wb") as said:
            agent = subprocess.Popen(
                [agent_journal(), "run", "--otlp", self.url("collector http"), "--session", session_id, "--", *program],
                cwd=self.folder,
                env=environ(**agent_environ(self)),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        try:
            while (code := agent.poll()) is None:
                self.check()
                time.sleep(0.05)
        except BaseException:
            agent.terminate()  # `run` hands it on to the program
            agent.wait()
            raise
        if code != 0:
            raise Failed(f"the demo agent ended with code {code}; the end of {log}:\n{end_of(log)}")
        say(f"demo agent ran, {time.monotonic() - begun:.1f} s   session {session_id}")
        return session_id

    def arrival(self, session_id: str) -> str:
        """Wait until all that is journaled of a session is in Jaeger too; return its trace id.

        Raises:
            Failed: it did not arrive.
        """
        deadline = time.monotonic() + ARRIVE_S
        while True:
            events = self._journaled(session_id)
            spans = {event.span_id for event in events if event.span_id}
            trace_id = next((event.trace_id for event in events if event.trace_id), "")
            in_jaeger = self._in_jaeger(trace_id) if trace_id else set[str]()
            if any(event.type == "AGENT_END" and not event.parent_step_id for event in events) and spans == in_jaeger:
                say(f"trace      {trace_id}   {len(in_jaeger)} spans in Jaeger, {len(events)} events in the journal")
                return trace_id
            self.check()
            if time.monotonic() > deadline:
                raise Failed(
                    f"after {ARRIVE_S:.0f} s {len(spans)} spans are in the journal and {len(in_jaeger)} in Jaeger;"
                    f" see the logs in {self.folder}"
                )
            time.sleep(0.1)

    def _journaled(self, session_id: str) -> list[JournalEvent]:
        store = open_store(self.store)
        try:
            return list(store.read(session_id))
        finally:
            store.close()

    def _in_jaeger(self, trace_id: str) -> set[str]:
        try:
            with urllib.request.urlopen(self.url("jaeger query", f"/api/traces/{trace_id}"), timeout=10) as answer:
                told: Any = json.load(answer)
        except urllib.error.HTTPError as error:
            error.close()
            return set()
        except OSError:
            return set()  # whether it ended is found out elsewhere
        return {span["spanID"] for trace in told["data"] for span in trace["spans"]}


def agent_environ(stack: Stack) -> Mapping[str, str]:
    """Return where the agent's journal goes: through the Collector, too, each event as its step begins and ends."""
    return {"AGENT_JOURNAL_STORE": f"otlp://{stack.address('collector grpc')}"}


def agent_journal() -> Path:
    """Return the command of this environment."""
    return Path(sys.executable).with_name("agent-journal")


def where_to_look(stack: Stack, session_id: str, trace_id: str) -> Iterator[str]:
    """Yield the lines that tell what can be done with it."""
    command = agent_journal()
    if command.is_relative_to(ROOT):
        command = command.relative_to(ROOT)
    store = f"--store {stack.store}"
    rows = (
        ("the journal", f"{command} ls {store}"),
        ("", f"{command} show {session_id} {store}"),
        ("", f"{command} tail -f {store}"),
        ("Jaeger", stack.url("jaeger query", f"/trace/{trace_id}")),
        ("", stack.url("jaeger query", f"/api/traces/{trace_id}")),
        ("metrics", stack.url("receiver http", "/metrics") + "   the receiver's"),
        ("", stack.url("collector metrics", "/metrics") + "   the Collector's"),
        ("an agent of yours", f"AGENT_JOURNAL_STORE=otlp://{stack.address('collector grpc')} \\"),
        ("", f"{command} run --otlp {stack.url('collector http')} -- python my_agent.py"),
        ("any OTLP source", f"OTEL_EXPORTER_OTLP_ENDPOINT={stack.url('collector http')}"),
        ("logs, queue", str(stack.folder)),
    )
    yield "it runs. Where to look:"
    for what, where in rows:
        yield f"  {what:<18} {where}"
    yield "A Jaeger that is built here has the API and no web page; one of its releases has it: --jaeger FILE."
    yield "Ctrl-C ends all of it."


@contextlib.contextmanager
def alone_in(folder: Path) -> Generator[None]:
    """Hold a folder for this stack.

    Raises:
        Failed: another one runs there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Failed(f"a stack runs in {folder} already; end it, or take another folder: --folder DIR") from None
        yield


def interrupted(_number: int, _frame: object) -> None:
    """End as at Ctrl-C."""
    raise KeyboardInterrupt


def main(arguments: Sequence[str]) -> int:
    """Run the stack until it is interrupted."""
    parser = argparse.ArgumentParser(prog="stack.py", description="Collector, Jaeger, receiver and a demo agent.")
    parser.add_argument("--folder", type=Path, default=ROOT / ".agent-journal" / "stack", help="journal, queue, logs")
    parser.add_argument(
        "--jaeger", type=Path, metavar="FILE", help="a Jaeger v2 of your own, instead of one built here"
    )
    chosen = parser.parse_args(arguments)
    folder = chosen.folder.absolute()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, interrupted)
    try:
        jaeger = chosen.jaeger or build("jaeger", "about three minutes on two cores")
        collector = build("collector", "about two minutes on two cores")
        with alone_in(folder), Stack(folder, jaeger, collector) as stack:
            session_id = stack.run_agent()
            trace_id = stack.arrival(session_id)
            for line in where_to_look(stack, session_id, trace_id):
                say(line)
            while True:
                stack.check()
                time.sleep(0.5)
    except KeyboardInterrupt:
        say(f"ended; the journal stays in {folder}")
        return 0
    except Failed as failed:
        say(str(failed))
        return failed.code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
