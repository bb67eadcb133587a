"""A Strands session in the journal beside Strands' own in files and S3: a message, its bytes, the agent brought back.

    python tests/benchmarks/bench_strands_sessions.py [--quick] [--rounds N] [--json FILE]

Each manager gets the same messages of 1 KB, a question and an answer by turns, by the hooks that an agent calls, with
what it does at the end of each call. A message at N is the mean of those before N. The managers take turns, and the
lowest of all rounds counts. The S3 ones share a MinIO on loopback. Exit code 1 where in SQLite, which leaves the sync
to the disk as Strands' files do, a message or a fork takes longer than its bound, or a message grows with the
conversation. What is judged is time; CPU stands beside it, for on a busy machine the disk is waited for.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import boto3
from strands import Agent
from strands.agent.conversation_manager import NullConversationManager
from strands.hooks import AfterInvocationEvent, MessageAddedEvent
from strands.session.file_session_manager import FileSessionManager
from strands.session.s3_session_manager import S3SessionManager

from otel_agent_journal import JournalSessionManager
from otel_agent_journal.context.service import Context
from otel_agent_journal.event import derived_id
from otel_agent_journal.store.protocol import StoreAdmin
from otel_agent_journal.store.registry import open_store
from otel_agent_journal.testing.scripted_strands import ScriptedModel
from tests.benchmarks.report import Table, write_json
from tests.real.servers import AWS, Minio, path_of, running

SESSION: Final = "long"
INSTANCE: Final = derived_id(f"strands:{SESSION}:default")
AT: Final = (100, 1_000, 10_000)
AT_S3: Final = (100, 1_000)
MEASURED: Final = 100  # messages before each of these
BOUND_MS: Final = 0.3  # a message in SQLite, wherever it is in a conversation
FLAT: Final = 1.5  # times as long at the last as at the first
FORK_MS: Final = 50.0


class Kind(NamedTuple):
    """A session manager, how much it keeps, and whether it is ours."""

    make: Callable[[], Any]
    bytes_kept: Callable[[], int]
    at: tuple[int, ...]
    url: str | None = None


def agent_with(manager: Any) -> Agent:
    """An agent that is never asked: its hooks are called as its loop would."""
    return Agent(
        model=ScriptedModel([]),
        session_manager=manager,
        conversation_manager=NullConversationManager(),
        callback_handler=None,
        system_prompt="You answer.",
    )


def messages() -> Iterator[Any]:
    """A question and an answer of 1 KB by turns."""
    number = 0
    while True:
        role = "assistant" if number % 2 else "user"
        text = f"{number}: {'the sea level in 2050 ' * 46}"
        yield {"role": role, "content": [{"text": text}], "tracking_id": f"{number:032x}"}
        number += 1


def measured(kind: Kind, most: int) -> dict[str, float]:
    """Append messages, at most so many, then bring the agent back and fork it; return milliseconds and bytes."""
    agent = agent_with(kind.make())
    found = asyncio.run(filled(agent, kind, most))
    if kind.url is not None:
        agent._session_manager.close()  # type: ignore[union-attr]  # which has SQLite put its log into the file
    found["bytes"] = kind.bytes_kept()
    wall = time.perf_counter()
    again = agent_with(kind.make())
    found["restore ms"] = (time.perf_counter() - wall) * 1e3
    if again.messages != agent.messages:
        sys.exit("the agent was not brought back as it was")
    if kind.url is not None:
        with closing(open_store(kind.url)) as store:
            context = Context(store, INSTANCE)
            context.get_last_sequence()
            wall = time.perf_counter()
            context.fork("fork")
            found["fork ms"] = (time.perf_counter() - wall) * 1e3
    return found


async def filled(agent: Agent, kind: Kind, most: int) -> dict[str, float]:
    """Append messages as an agent's loop does; return milliseconds."""
    found: dict[str, float] = {}
    wall, cpu = 0.0, 0.0
    for count, message in enumerate(messages(), start=1):
        if count > min(kind.at[-1], most):
            break
        if any(count == at - MEASURED + 1 for at in kind.at):
            wall, cpu = time.perf_counter(), time.process_time()
        agent.messages.append(message)
        await agent.hooks.invoke_callbacks_async(MessageAddedEvent(agent=agent, message=message))
        if count % 2 == 0:
            await agent.hooks.invoke_callbacks_async(AfterInvocationEvent(agent=agent))
        if count in kind.at:
            found[f"ms at {count}"] = (time.perf_counter() - wall) / MEASURED * 1e3
            found[f"CPU ms at {count}"] = (time.process_time() - cpu) / MEASURED * 1e3
    return found


def kinds(folder: Path, minio: Minio) -> dict[str, Callable[[], Kind]]:
    """Return what makes a fresh session of each kind."""
    numbers = iter(range(1_000_000))

    def files() -> Kind:
        place = folder / f"files{next(numbers)}"
        return Kind(lambda: FileSessionManager(SESSION, storage_dir=str(place)), lambda: size_of(place), AT)

    def sqlite(options: str) -> Kind:
        place = folder / f"sqlite{next(numbers)}"
        place.mkdir()
        url = f"sqlite:///{place}/journal.db{options}"
        return Kind(lambda: JournalSessionManager(SESSION, url), lambda: size_of(place), AT, url)

    def s3() -> Kind:
        bucket = f"strands{next(numbers)}"
        client = boto3.client("s3", endpoint_url=minio.endpoint)
        client.create_bucket(Bucket=bucket)
        session = EndpointSession(minio.endpoint)
        make = lambda: S3SessionManager(SESSION, bucket=bucket, boto_session=session)  # type: ignore[arg-type]  # noqa: E731
        return Kind(make, lambda: bucket_bytes(client, bucket), AT_S3)

    def journal_in_s3() -> Kind:
        bucket = f"journal{next(numbers)}"
        url = minio.url(bucket)
        with closing(open_store(url)) as store:
            assert isinstance(store, StoreAdmin)
            store.init()
        client = boto3.client("s3", endpoint_url=minio.endpoint)
        return Kind(lambda: JournalSessionManager(SESSION, url), lambda: bucket_bytes(client, bucket), AT_S3, url)

    return {
        "Strands, files": files,
        "journal, SQLite": lambda: sqlite("?synchronous=normal"),
        "journal, SQLite, each write on the disk": lambda: sqlite(""),
        "Strands, S3": s3,
        "journal, S3": journal_in_s3,
    }


class EndpointSession(boto3.Session):
    """Makes clients of an endpoint, which Strands' manager cannot be told of."""

    def __init__(self, endpoint: str) -> None:
        super().__init__()
        self._endpoint = endpoint

    def client(self, *args: Any, **options: Any) -> Any:
        """Make a client."""
        return super().client(*args, **{**options, "endpoint_url": self._endpoint})


def size_of(folder: Path) -> int:
    """Return what the files of a folder have."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def bucket_bytes(client: Any, bucket: str) -> int:
    """Return what the objects of a bucket have."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return sum(one["Size"] for page in pages for one in page.get("Contents", ()))


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--quick", action="store_true", help="one round, 1,000 messages: to see that it works, not to judge"
    )
    parser.add_argument("--json", type=Path, help="where the figures go")
    options = parser.parse_args()
    os.environ.update(AWS)
    best: dict[str, dict[str, float]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        program = path_of("minio")
        if program is None:
            sys.exit("minio is not there: scripts/real_servers.sh minio")
        (folder / "minio").mkdir()
        made = kinds(folder, stack.enter_context(running(Minio(program, folder / "minio"))))
        for _ in range(1 if options.quick else options.rounds):
            for name, make in made.items():
                found = measured(make(), AT[1] if options.quick else AT[-1])
                known = best.setdefault(name, found)
                best[name] = {key: min(known[key], value) for key, value in found.items()}
                for place in folder.glob("files*"):
                    shutil.rmtree(place)
    printed(best)
    if options.json:
        write_json(options.json, {"sessions": best})
    ours = best["journal, SQLite"]
    first, last = ours[f"ms at {AT[0]}"], ours[f"ms at {AT[1] if options.quick else AT[-1]}"]
    return 0 if last <= BOUND_MS and last <= FLAT * first and ours["fork ms"] <= FORK_MS else 1


def printed(best: dict[str, dict[str, float]]) -> None:
    """Print the figures; a bound stands with those that have one."""
    table = Table("A session of Strands, messages of 1 KB, lowest of all rounds; milliseconds, CPU in brackets")
    table.columns("manager", *(f"at {at:,}" for at in AT), "KB a message", "brought back", "forked", "")
    for name, found in best.items():
        count = max(at for at in AT if f"ms at {at}" in found)
        judged = name == "journal, SQLite"
        table.row(
            name,
            *(
                f"{found[f'ms at {at}']:.2f} ({found[f'CPU ms at {at}']:.2f})" if f"ms at {at}" in found else ""
                for at in AT
            ),
            f"{found['bytes'] / count / 1e3:.2f}",
            f"{found['restore ms']:.0f}",
            f"{found['fork ms']:.1f}" if "fork ms" in found else "",
            Table.verdict(found[f"ms at {count}"] <= BOUND_MS if judged else None),
        )
    table.print()


def shown(found: dict[str, float], at: int) -> str:
    """Return the time of a message there, its CPU in brackets."""
    wall = found.get(f"ms at {at}")
    return "" if wall is None else f"{wall:.2f} ({found[f'CPU ms at {at}']:.2f})"


if __name__ == "__main__":
    sys.exit(main())
