"""Faults of PostgreSQL: the proxy follows its protocol far enough to know where a call begins and its answer ends.

A call is what a client sends up to the point where it waits: a simple query, or the messages of the extended protocol
up to Sync. Its name is the first word of its SQL, or CONNECT.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterator
from typing import Final

from tests.real.fault_proxy import (
    APPLIED,
    APPLIED_SILENT,
    MIDWAY,
    RESET,
    SLOW,
    THROTTLED,
    UNAVAILABLE,
    Call,
    FaultProxy,
    Reset,
    reset,
)

_NO_ENCRYPTION: Final = frozenset((80877103, 80877104))  # SSLRequest, GSSENCRequest: we answer N
_CANCEL: Final = 80877102
_CAN_CONNECT: Final = frozenset((RESET, SLOW, THROTTLED, UNAVAILABLE))
_CAN_QUERY: Final = frozenset((RESET, MIDWAY, SLOW, UNAVAILABLE, *APPLIED))
_PASSED_ON: Final = b"HdcfXpF"  # Flush, COPY, Terminate, passwords: no call begins or ends with them


class PostgreSQLProxy(FaultProxy):
    """A proxy of PostgreSQL's protocol, version 3, without encryption."""

    def url(self, database_url: str) -> str:
        """Return the URL of a database as it is reached through the proxy."""
        return database_url.replace(f":{self.server[1]}/", f":{self.port}/")

    def altered(self, sql: str) -> str:
        """Return the statement that is passed on; a test that wants a store with a fault in it makes it another."""
        return sql

    def serve(self, client: socket.socket, server: socket.socket) -> None:
        """Pass on a connection's start, then its calls."""
        startup = _startup(client)
        if startup is None:
            return
        if struct.unpack("!I", startup[4:8])[0] == _CANCEL:
            server.sendall(startup)
            return
        fault = self.decide(Call("CONNECT", "", _CAN_CONNECT))
        self._befall(fault, client)
        server.sendall(startup)
        _Session(self, client, server).pass_on()

    def _befall(self, fault: str | None, client: socket.socket) -> None:
        """Do what comes before a call reaches the server."""
        if fault == RESET:
            raise Reset
        if fault == THROTTLED:
            client.sendall(_fatal("53300", "sorry, too many clients already"))
            raise ConnectionAbortedError
        if fault == UNAVAILABLE:
            client.sendall(_fatal("57P01", "terminating connection due to administrator command"))
            raise ConnectionAbortedError
        if fault == SLOW:
            self.pause(self.slow_s)


class _Session:
    """One connection after its start."""

    def __init__(self, proxy: PostgreSQLProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._from_client = bytearray()
        self._from_server = bytearray()
        self._call = bytearray()
        self._sql = ""
        self._statements: dict[bytes, str] = {}
        self._awaited = 1  # the start is answered with ReadyForQuery too

    def pass_on(self) -> None:
        """Pass on messages until either end is gone."""
        while True:
            ready, _, _ = select.select([self._client, self._server], [], [])
            if self._server in ready:
                self._proxy.answered(self._client, self._answers())
            if self._client in ready:
                data = self._client.recv(65536)
                if not data:
                    return
                self._from_client += data
                for kind, message in _messages(self._from_client):
                    self._take(kind, message)

    def _take(self, kind: bytes, message: bytes) -> None:
        body = message[5:]
        if kind == b"Q":
            self._sql = body.rstrip(b"\0").decode(errors="replace")
        elif kind == b"P":
            name, _, rest = body.partition(b"\0")
            text, _, types = rest.partition(b"\0")
            self._sql = self._statements[name] = text.decode(errors="replace")
            if (altered := self._proxy.altered(self._sql)) != self._sql:
                body = b"\0".join((name, altered.encode(), types))
                message = kind + struct.pack("!I", len(body) + 4) + body
        elif kind == b"B":
            name = body.partition(b"\0")[2].partition(b"\0")[0]
            self._sql = self._statements.get(name, "")
        self._call += message
        if kind in (b"Q", b"S"):
            self._send_call()
        elif kind in _PASSED_ON:
            self._flush()

    def _send_call(self) -> None:
        words = self._sql.split(maxsplit=1)
        name = words[0].upper().rstrip(";") if words else ""
        fault = self._proxy.decide(Call(name, self._sql, _CAN_QUERY))
        self._proxy._befall(fault, self._client)
        self._flush()
        self._awaited += 1
        if fault == MIDWAY or fault in APPLIED:
            if fault == MIDWAY:
                reset(self._client)
            while self._awaited:  # the server does its work, and knows nothing of the client's trouble
                self._answers()
            if fault == APPLIED_SILENT:
                self._proxy.pause(self._proxy.silence_s)
            raise Reset

    def _flush(self) -> None:
        self._server.sendall(self._call)
        self._call.clear()

    def _answers(self) -> bytes:
        """Return the whole messages that have come from the server."""
        data = self._server.recv(65536)
        if not data:
            raise ConnectionResetError
        self._from_server += data
        found = bytearray()
        for kind, message in _messages(self._from_server):
            self._awaited -= kind == b"Z"
            found += message
        return bytes(found)


def _startup(client: socket.socket) -> bytes | None:
    """Return the first message of a client; offers of encryption are declined."""
    while True:
        head = _exactly(client, 4)
        if head is None:
            return None
        rest = _exactly(client, struct.unpack("!I", head)[0] - 4)
        if rest is None:
            return None
        if struct.unpack("!I", rest[:4])[0] not in _NO_ENCRYPTION:
            return head + rest
        client.sendall(b"N")


def _exactly(connection: socket.socket, count: int) -> bytes | None:
    found = b""
    while len(found) < count:
        data = connection.recv(count - len(found))
        if not data:
            return None
        found += data
    return found


def _messages(buffer: bytearray) -> Iterator[tuple[bytes, bytes]]:
    """Take the whole messages out of a buffer: their kind, and all of their bytes."""
    while len(buffer) >= 5:
        size = 1 + struct.unpack_from("!I", buffer, 1)[0]
        if len(buffer) < size:
            return
        message = bytes(buffer[:size])
        del buffer[:size]
        yield message[:1], message


def _fatal(code: str, text: str) -> bytes:
    fields = b"".join(
        kind + value.encode() + b"\0" for kind, value in ((b"S", "FATAL"), (b"V", "FATAL"), (b"C", code), (b"M", text))
    )
    return b"E" + struct.pack("!I", len(fields) + 5) + fields + b"\0"
