"""A client of OTLP that costs as little as it can: requests serialised beforehand, their ids put in by one replacement.

    python tests/benchmarks/otlp_load.py grpc HOST:PORT --requests 200 [--gzip] [--rate SPANS_A_SECOND] [--first N]

A program of its own, so that its CPU time is none of a receiver's. Each request has 500 chat spans of about 1 KB with 8
attributes, in 20 traces; a session goes on over ten requests. With `--rate` requests go out at fixed times, and their
latency counts from those, whether or not there was a free place; without, as many are under way as `--places` says. A
request that is turned away goes out again. Over HTTP bodies are compressed beforehand, over gRPC as they go out. Prints
one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import random
import time
import zlib
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc
import grpc.aio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SPANS: Final = 500
TRACES: Final = 20
REQUESTS_A_SESSION: Final = 10
METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
AGAIN_S: Final = 0.05
_TRACE: Final = b"TraceNo."  # the first half of every trace id of the pattern
_SESSION: Final = b"session-00000000-"

Send = Callable[[bytes], Awaitable[bool]]


def pattern() -> bytes:
    """Return the request that all others are made of."""
    made = ExportTraceServiceRequest()
    of_resource = made.resource_spans.add()
    of_resource.resource.attributes.add(key="service.name").value.string_value = "researcher"
    of_scope = of_resource.scope_spans.add()
    of_scope.scope.name = "opentelemetry.instrumentation.openai_v2"
    began = time.time_ns()
    words = random.Random(7)
    vocabulary = ["".join(words.choices("abcdefghijklmnopqrstuvwxyz", k=words.randint(2, 10))) for _ in range(2_000)]
    for number in range(SPANS):
        trace = number % TRACES
        span = of_scope.spans.add(
            trace_id=_TRACE + trace.to_bytes(8, "big"),
            span_id=(number + 1).to_bytes(8, "big"),
            parent_span_id=b"" if number < TRACES else (trace + 1).to_bytes(8, "big"),
            name="chat scripted-model-1",
            kind=3,
            start_time_unix_nano=began + number * 1_000_000,
            end_time_unix_nano=began + number * 1_000_000 + 700_000,
        )
        question, answer = (" ".join(words.choices(vocabulary, k=45)) for _ in range(2))
        attributes: dict[str, str | int] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "scripted-model-1",
            "gen_ai.conversation.id": f"{_SESSION.decode()}{trace:04d}",
            "gen_ai.usage.input_tokens": 1_000 + number,
            "gen_ai.usage.output_tokens": 100 + number,
            "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": question}]}]),
            "gen_ai.output.messages": json.dumps(
                [{"role": "assistant", "parts": [{"type": "text", "content": answer}]}]
            ),
        }
        for key, value in attributes.items():
            into = span.attributes.add(key=key).value
            if isinstance(value, int):
                into.int_value = value
            else:
                into.string_value = value
    return made.SerializeToString()


def numbered(of: bytes, number: int) -> bytes:
    """Return a request with traces of its own, and the sessions whose turn it is."""
    trace = b"%08x" % number
    return of.replace(_TRACE, trace).replace(_SESSION, b"session-%08d-" % (number // REQUESTS_A_SESSION))


def gzipped(body: bytes) -> bytes:
    """Return a body as gzip's default level has it."""
    packer = zlib.compressobj(wbits=31)
    return packer.compress(body) + packer.flush()


class Load:
    """Sends requests, and keeps what became of them."""

    def __init__(
        self,
        send: Send,
        *,
        first: int,
        requests: int,
        places: int,
        rate: float | None,
        packed: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._send = send
        self._numbers = range(first, first + requests)
        self._places = asyncio.Semaphore(10_000 if rate else places)
        self._every_s = SPANS / rate if rate else 0.0
        self._pattern = pattern()
        self._packed = [packed(numbered(self._pattern, number)) for number in self._numbers] if packed else []
        self.latencies: list[float] = []
        self.again = 0
        self.wall_s = self.cpu_s = 0.0

    async def run(self) -> None:
        """Send all of them."""
        began, cpu = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as under_way:
            for place, number in enumerate(self._numbers):
                due = began + place * self._every_s
                if self._every_s and due > time.perf_counter():
                    await asyncio.sleep(due - time.perf_counter())
                await self._places.acquire()
                body = self._packed[place] if self._packed else numbered(self._pattern, number)
                under_way.create_task(self._one(body, due if self._every_s else time.perf_counter()))
        self.wall_s, self.cpu_s = time.perf_counter() - began, time.process_time() - cpu

    async def _one(self, body: bytes, since: float) -> None:
        while not await self._send(body):
            self.again += 1
            await asyncio.sleep(AGAIN_S)
        self.latencies.append(time.perf_counter() - since)
        self._places.release()


async def over_grpc(address: str, *, gzip: bool, **load: Any) -> Load:
    """Send over gRPC."""
    compression = grpc.Compression.Gzip if gzip else grpc.Compression.NoCompression
    async with grpc.aio.insecure_channel(address) as channel:
        export = channel.unary_unary(METHOD)

        async def send(body: bytes) -> bool:
            try:
                await export(body, timeout=60, compression=compression)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                return False
            return True

        done = Load(send, **load)
        await done.run()
        return done


async def over_http(address: str, *, gzip: bool, **load: Any) -> Load:
    """Send over HTTP, a connection for each place."""
    pool = ThreadPoolExecutor(load["places"])
    free: list[http.client.HTTPConnection] = []

    def post(body: bytes) -> bool:
        headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip" if gzip else "identity"}
        connection = free.pop() if free else http.client.HTTPConnection(address, timeout=60)
        connection.request("POST", "/v1/traces", body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status not in (200, 503):
            raise RuntimeError(f"HTTP {answer.status}")
        free.append(connection)
        return answer.status == 200

    async def send(body: bytes) -> bool:
        return await asyncio.get_running_loop().run_in_executor(pool, post, body)

    done = Load(send, packed=gzipped if gzip else None, **load)
    await done.run()
    for connection in free:
        connection.close()
    return done


def main() -> int:
    """Send, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("protocol", choices=("grpc", "http"))
    parser.add_argument("address")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--places", type=int, default=8)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--gzip", action="store_true")
    given = parser.parse_args()
    over = over_grpc if given.protocol == "grpc" else over_http
    load = {"first": given.first, "requests": given.requests, "places": given.places, "rate": given.rate}
    done = asyncio.run(over(given.address, gzip=given.gzip, **load))
    figures = {"spans": given.requests * SPANS, "wall_s": done.wall_s, "client_cpu_s": done.cpu_s, "again": done.again}
    print(json.dumps({**figures, "latencies_s": done.latencies}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
