"""A backend of OTLP over gRPC that answers as it is told."""

from __future__ import annotations

from concurrent import futures
from typing import Any

import grpc


class GrpcBackend:
    """Takes any method, keeps what it was sent, and answers with `body`, or with `code` and `details`."""

    def __init__(self) -> None:
        self.code: grpc.StatusCode | None = None
        self.details, self.body = "", b""
        self.received: list[bytes] = []
        backend = self

        class AnyMethod(grpc.GenericRpcHandler):
            def service(self, handler_call_details: Any) -> Any:
                return grpc.unary_unary_rpc_method_handler(backend._answer)

        self._server = grpc.server(futures.ThreadPoolExecutor(2), handlers=(AnyMethod(),))
        self.url = f"grpc://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def _answer(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.received.append(request)
        if self.code is not None:
            context.abort(self.code, self.details)
        return self.body

    def close(self) -> None:
        self._server.stop(0).wait()
