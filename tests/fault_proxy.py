"""A line to a real server that fails on demand: what may befall a request, or the reply to it."""

import os
import random
import re
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO


@dataclass(frozen=True)
class Request:
    """What a request asks for, as it stands in its first line."""

    method: str
    target: str

    @property
    def reads_an_object(self) -> bool:
        """Whether it is a GET of an object, rather than of a list."""
        return self.method == "GET" and "list-type" not in self.target and self.target.count("/") > 1


@dataclass(frozen=True)
class Cut:
    """The connection ends after so many bytes of the reply's body."""

    after: int


@dataclass(frozen=True)
class Flip:
    """One bit of the body's byte at `position` arrives the other way round."""

    position: int


@dataclass(frozen=True)
class Shorter:
    """So many bytes are missing at the body's end, and the head says that this is all."""

    by: int


@dataclass(frozen=True)
class Longer:
    """The head speaks of so many bytes more than there are."""

    by: int


@dataclass(frozen=True)
class Stall:
    """After so many bytes of the body nothing comes any more, for so many seconds; then the connection ends."""

    after: int
    seconds: float


@dataclass(frozen=True)
class Drip:
    """The body comes in so many pieces, with so many seconds before each."""

    pieces: int
    pause: float


@dataclass(frozen=True)
class Reset:
    """The connection is reset after so many bytes of the body; None: instead of a reply."""

    after: int | None


@dataclass(frozen=True)
class Say:
    """Another reply: this status, with this code in the words of S3.

    With `unheard`, the server never gets the request; else it has done what was asked.
    """

    status: int
    code: str
    unheard: bool = True
    retry_after: str | None = None

    def reply(self, method: str) -> bytes:
        body = f"<Error><Code>{self.code}</Code><Message>On demand.</Message></Error>".encode()
        lines = [f"HTTP/1.1 {self.status} On Demand", "Content-Type: application/xml", "Connection: close"]
        lines += [f"Content-Length: {len(body)}"]
        lines += [f"Retry-After: {self.retry_after}"] if self.retry_after else []
        return "\r\n".join([*lines, "", ""]).encode() + (b"" if method == "HEAD" else body)


Fault = Cut | Flip | Shorter | Longer | Stall | Drip | Reset | Say

SLOW_DOWN = Say(503, "SlowDown")

# A side that is gone, or closed meanwhile, ends the connection, and nothing else.
_GONE = (OSError, ValueError)

# What befalls a request, given the body of the server's reply, or None before it is passed on: there only a `Say` that
# is unheard counts. The second None: nothing.
Decide = Callable[[Request, bytes | None], Fault | None]


class FaultProxy(socketserver.ThreadingTCPServer):
    """Passes HTTP on to `upstream`, one request for each connection; `fault` decides about each.

    `faults` counts the requests that something befell.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, upstream: int) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.upstream = upstream
        self.fault: Decide = lambda request, body: None
        self.faults = 0
        self._counting = threading.Lock()

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self.server_address[1]
        return port

    def decide(self, request: Request, body: bytes | None) -> Fault | None:
        """What befalls the request, which is counted."""
        with self._counting:
            fault = self.fault(request, body)
            if fault is None or (body is None) != (isinstance(fault, Say) and fault.unheard):
                return None
            self.faults += 1
        return fault


class _Connection(socketserver.StreamRequestHandler):
    server: FaultProxy

    def handle(self) -> None:
        with suppress(*_GONE):
            first = self.rfile.readline()
            if not first:
                return
            method, target, _ = first.decode("latin-1").split(" ", 2)
            request = Request(method, target)
            refusal = self.server.decide(request, None)
            if isinstance(refusal, Say):
                _head(self.rfile)
                self.wfile.write(refusal.reply(method))
                return
            with socket.create_connection(("127.0.0.1", self.server.upstream), timeout=30) as upstream:
                # Each side closes after one reply, so that a reply's end is the connection's.
                upstream.sendall(first + b"Connection: close\r\n")
                threading.Thread(target=self._pass_on, args=(upstream,), daemon=True).start()
                with upstream.makefile("rb") as replies, suppress(*_GONE):
                    self._reply(replies, request)
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
        match self.server.decide(request, body):
            case None:
                self.wfile.write(head + body)
            case Cut(after):
                self.wfile.write(head + body[:after])
            case Flip(position):
                self.wfile.write(head + body[:position] + bytes([body[position] ^ 1]) + body[position + 1 :])
            case Shorter(by):
                self.wfile.write(_with_length(head, len(body) - by) + body[: len(body) - by])
            case Longer(by):
                self.wfile.write(_with_length(head, len(body) + by) + body)
            case Stall(after, seconds):
                self.wfile.write(head + body[:after])
                time.sleep(seconds)
            case Drip(pieces, pause):
                self.wfile.write(head)
                size = max(1, -(-len(body) // pieces))
                for start in range(0, len(body), size):
                    time.sleep(pause)
                    self.wfile.write(body[start : start + size])
            case Reset(after):
                self.wfile.write(b"" if after is None else head + body[:after])
                self._reset()
            case Say() as said:
                self.wfile.write(said.reply(request.method))

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # The thread that reads from it holds it open.
        self.connection.shutdown(socket.SHUT_RD)
        os.close(self.connection.detach())


def _head(replies: BinaryIO) -> bytes:
    """A reply's first line and headers, with the blank line behind them."""
    lines = []
    while line := replies.readline():
        lines.append(line)
        if line == b"\r\n":
            break
    return b"".join(lines)


def _with_length(head: bytes, length: int) -> bytes:
    return re.sub(rb"(?i)(\r\ncontent-length:)[^\r]*", rb"\1 %d" % length, head)


KINDS = (Cut, Flip, Shorter, Longer, Stall, Drip, Reset, Say)


def seeded(
    seed: int, share: float, kinds: Sequence[type] = KINDS, only: Callable[[Request], bool] = lambda request: True
) -> Decide:
    """A plan that lets something of these kinds befall this share of the requests, drawn from a seed."""
    draw = random.Random(seed)
    says = (
        SLOW_DOWN, Say(503, "SlowDown", retry_after="1"), Say(500, "InternalError"), Say(503, "ServiceUnavailable"),
        Say(429, "TooManyRequests"), Say(400, "RequestTimeout"), Say(502, "Bad"),
    )  # fmt: skip

    def decide(request: Request, body: bytes | None) -> Fault | None:
        # Each request is asked about twice, before and after it is passed on.
        if not only(request) or draw.random() >= share / 2:
            return None
        if body is None:
            return draw.choice(says) if Say in kinds else None
        after = draw.randrange(len(body) + 1)
        kind = draw.choice([kind for kind in kinds if kind is not Say] or [Say])
        if kind in (Flip, Shorter) and not body:
            return None
        made: dict[type, Callable[[], Fault]] = {
            Cut: lambda: Cut(after),
            Flip: lambda: Flip(draw.randrange(len(body))),
            Shorter: lambda: Shorter(draw.randint(1, len(body))),
            Longer: lambda: Longer(draw.randint(1, 1000)),
            Stall: lambda: Stall(after, 1.5),
            Drip: lambda: Drip(draw.randint(2, 20), 0.005),
            Reset: lambda: Reset(draw.choice([None, after])),
            Say: lambda: Say(500, "InternalError", unheard=False),
        }
        return made[kind]()

    return decide


@contextmanager
def fault_proxy(upstream: int) -> Iterator[FaultProxy]:
    """A proxy before the server on this port of 127.0.0.1; it ends with the block."""
    with FaultProxy(upstream) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
