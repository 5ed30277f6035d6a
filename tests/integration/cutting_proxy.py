"""A line to a real server that fails on demand: it cuts a reply short, or flips a bit of it."""

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO


@dataclass(frozen=True)
class Request:
    """What a request asks for, as it stands in its first line."""

    method: str
    target: str


@dataclass(frozen=True)
class Cut:
    """The connection ends after so many bytes of the reply's body."""

    after: int

    def spoil(self, body: bytes) -> bytes:
        return body[: self.after]


@dataclass(frozen=True)
class Flip:
    """One bit of the body's byte at `position` arrives the other way round."""

    position: int

    def spoil(self, body: bytes) -> bytes:
        return body[: self.position] + bytes([body[self.position] ^ 1]) + body[self.position + 1 :]


# A side that is gone, or closed meanwhile, ends the connection, and nothing else.
_GONE = (OSError, ValueError)

# What befalls the reply to a request, given its body; None: nothing.
Fault = Callable[[Request, bytes], Cut | Flip | None]


class CuttingProxy(socketserver.ThreadingTCPServer):
    """Passes HTTP on to `upstream`, one request for each connection; `fault` decides about each reply.

    `faults` counts the replies that were spoilt.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, upstream: int) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.upstream = upstream
        self.fault: Fault = lambda request, body: None
        self.faults = 0
        self._counting = threading.Lock()

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self.server_address[1]
        return port

    def count(self) -> None:
        """One more reply was spoilt."""
        with self._counting:
            self.faults += 1


class _Connection(socketserver.StreamRequestHandler):
    server: CuttingProxy

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.upstream), timeout=30) as upstream:
            first = self.rfile.readline()
            if not first:
                return
            # Each side closes after one reply, so that a reply's end is the connection's.
            upstream.sendall(first + b"Connection: close\r\n")
            threading.Thread(target=self._pass_on, args=(upstream,), daemon=True).start()
            method, target, _ = first.decode("latin-1").split(" ", 2)
            with upstream.makefile("rb") as replies, suppress(*_GONE):
                self._reply(replies, Request(method, target))
            with suppress(*_GONE):  # which wakes the thread that reads from it
                self.connection.shutdown(socket.SHUT_RDWR)

    def _pass_on(self, upstream: socket.socket) -> None:
        with suppress(*_GONE):
            while chunk := self.rfile.read1(1 << 16):  # type: ignore[attr-defined]
                upstream.sendall(chunk)

    def _reply(self, replies: BinaryIO, request: Request) -> None:
        head = _head(replies)
        while head.split(b" ", 2)[1].startswith(b"1"):  # "100 Continue" comes before the reply
            self.wfile.write(head)
            head = _head(replies)
        body = replies.read()
        fault = self.server.fault(request, body)
        if fault is not None:
            self.server.count()
        self.wfile.write(head + (fault.spoil(body) if fault else body))


def _head(replies: BinaryIO) -> bytes:
    """A reply's first line and headers, with the blank line behind them."""
    lines = []
    while line := replies.readline():
        lines.append(line)
        if line == b"\r\n":
            break
    return b"".join(lines)


@contextmanager
def cutting_proxy(upstream: int) -> Iterator[CuttingProxy]:
    """A proxy before the server on this port of 127.0.0.1; it ends with the block."""
    with CuttingProxy(upstream) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
