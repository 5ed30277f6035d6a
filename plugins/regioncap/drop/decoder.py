"""The life of a process that decodes image files for another one, which may kill it: see `decoders`.

A message is a number of parts, each some bytes. It is asked with (a pickled `Request`, the file's bytes). It answers
with JSON, and what a job returns behind it; before it decodes a picture that is not small, it says what it needs, and
waits until it may. What decodes files of unknown origin is never believed so far that its answers are unpickled.
"""

import fcntl
import json
import math
import os
import pickle
import resource
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from typing import Any, Concatenate, Protocol, runtime_checkable

import cv2
from PIL import AvifImagePlugin

from regioncap.drop.images import MAX_PIXELS, SCALABLE, Picture, open_image, set_up_for_pictures
from regioncap.drop.unforeseen import internal_error
from regioncap.errors import NoRegionError, RowError
from regioncap.processes import refuse_sockets
from regioncap.regions.codes import Code

# What can be written as JSON, and bytes.
Result = tuple[Any, Sequence[bytes]]
# What is done with a picture, and further arguments. A function of a module: that is how its process finds it. Raises
# RowError.
Job = Callable[Concatenate[Picture, ...], Result]

# Up to so many pixels, every picture may take this much memory, in bytes, and processor time, in seconds.
SMALL_PIXELS = 4_000_000
SMALL_MEMORY, SMALL_SECONDS = 256 << 20, 5.0
# Beyond: bytes for each pixel, which has to be decoded, converted and turned; in other formats than JPEG it may have
# more than 8 bits a channel. For one of a progressive JPEG, whose coefficients are all kept, there are some more. And
# seconds for a million pixels, of which HDR takes the most: 0.15. Several times what they take.
_PIXEL_BYTES, _JPEG_PIXEL_BYTES, _PROGRESSIVE_BYTES = 64, 24, 6
# And bytes for each pixel beyond so many of the image that is made for a model: it is there marked, unmarked, as JPEGs.
_MADE_PIXELS, _MADE_BYTES = 1_048_576, 48
_SECONDS = 1.0

_F_SETSIG = 10  # <fcntl.h>; Python has no name for it
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Request:
    """What is asked of a decoder. `heic` and `max_pixels` are those of `open_image`."""

    job: Job
    arguments: Sequence[Any]
    heic: bool
    max_pixels: int


@runtime_checkable
class Makes(Protocol):
    """A job's argument that says how large an image is made of a picture."""

    def made_pixels(self, width: int, height: int) -> int:
        """Its pixels, where the picture has that size."""


@dataclass(frozen=True)
class Needs:
    """What a picture may take: bytes of memory, and seconds of a core."""

    memory: int
    seconds: float


def needs(picture: Picture, arguments: Sequence[Any] = ()) -> Needs:
    """What a picture may take, by what its header says, and by what a job with these arguments makes of it."""
    pixels = picture.width * picture.height
    made = [each.made_pixels(picture.width, picture.height) for each in arguments if isinstance(each, Makes)]
    small = SMALL_MEMORY + _MADE_BYTES * max(0, max(made, default=0) - _MADE_PIXELS)
    if pixels <= SMALL_PIXELS:
        return Needs(small, SMALL_SECONDS)
    memory = min(pixels, MAX_PIXELS) * (_JPEG_PIXEL_BYTES if picture.form in SCALABLE else _PIXEL_BYTES)
    if picture.progressive:
        memory += pixels * _PROGRESSIVE_BYTES
    return Needs(small + memory, SMALL_SECONDS + _SECONDS * pixels / 1e6)


@contextmanager
def decoding() -> Iterator[None]:
    """What takes more memory than its process may is the image's fault: the limit goes by its pixels."""
    try:
        yield
    except (MemoryError, cv2.error) as error:
        if isinstance(error, cv2.error) and error.code != cv2.Error.StsNoMem:
            raise
        raise RowError(
            Code.IMAGE_TOO_LARGE,
            "decoding it takes more memory than an image of its size may take: it is damaged, or made for that, or "
            "this machine has not enough",
        ) from error


def send(connection: socket.socket, *parts: bytes) -> None:
    """Send a message. Raises OSError where nobody is there any more."""
    connection.sendall(struct.pack(f"<I{len(parts)}Q", len(parts), *map(len, parts)))
    for part in parts:
        connection.sendall(part)


def receive(connection: socket.socket) -> list[bytes]:
    """The next message. Raises EOFError where none comes any more, and TimeoutError."""
    (number,) = struct.unpack("<I", _exactly(connection, 4))
    sizes = struct.unpack(f"<{number}Q", _exactly(connection, 8 * number))
    return [_exactly(connection, size) for size in sizes]


def _exactly(connection: socket.socket, size: int) -> bytes:
    pieces: list[bytes] = []
    while size:
        piece = connection.recv(min(size, 1 << 26), socket.MSG_WAITALL)
        if not piece:
            raise EOFError("the other end is gone")
        pieces.append(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def serve() -> None:
    """Answer until the other end is gone. `sys.argv` has the numbers of the connection and of the lifeline."""
    connection, lifeline = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    _die_with(lifeline)
    _give_way()
    refuse_sockets()
    # Images are worked on in parallel already; the memory for threads of its own would count as the image's.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    with set_up_for_pictures(), suppress(EOFError, OSError):
        send(connection, b"ready")
        while True:
            request, data = receive(connection)
            send(connection, *_answer(connection, request, data))


def _die_with(lifeline: socket.socket) -> None:
    """Have the kernel kill this process when the other end of the lifeline is closed, whatever runs here then."""
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, _F_SETSIG, SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def _give_way() -> None:
    """Where memory is short, this process goes before all others; what it was leaves no traces on the disk."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _answer(connection: socket.socket, request: bytes, data: bytes) -> Sequence[bytes]:
    """The parts of the answer: JSON with `done`, or with the `fault` of the row."""
    try:
        asked: Request = pickle.loads(request)
        _limit(SMALL_MEMORY + 2 * len(data), SMALL_SECONDS)
        with decoding():
            picture = open_image(data, heic=asked.heic, max_pixels=asked.max_pixels)
        needed = needs(picture, asked.arguments)
        if needed.memory > SMALL_MEMORY:
            send(connection, json.dumps({"needs": [needed.memory, needed.seconds]}).encode())
            (granted,) = receive(connection)
            _limit(int(granted) + 2 * len(data), needed.seconds)
        done, blobs = asked.job(picture, *asked.arguments)
        return (json.dumps({"done": done}).encode(), *blobs)
    except EOFError:
        raise
    except BaseException as error:  # whatever it is, it is about this row
        return (json.dumps({"fault": _fault(error)}).encode(),)
    finally:
        # What comes next is not to end for what this one took.
        most = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (most, most))


def _limit(memory: int, seconds: float) -> None:
    """Allow so many bytes more than are taken now, and so many seconds of a core from now on."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * _PAGE
    _set_limit(resource.RLIMIT_AS, taken + memory)
    _set_limit(resource.RLIMIT_CPU, math.ceil(time.process_time() + seconds))


def _set_limit(kind: int, value: int) -> None:
    _, most = resource.getrlimit(kind)
    resource.setrlimit(kind, (value if most == resource.RLIM_INFINITY else min(value, most), most))


def _fault(error: BaseException) -> Mapping[str, Any]:
    """What has to be told of an error. `passing` says that another process may not meet it."""
    if isinstance(error, RowError):
        of_boxes = [error.size, error.orientation] if isinstance(error, NoRegionError) else None
        return {"code": error.code, "reason": error.reason, "of_boxes": of_boxes, "passing": False}
    row_error = internal_error(error)
    passing = isinstance(error, OSError) and error.errno is not None
    return {"code": row_error.code, "reason": row_error.reason, "of_boxes": None, "passing": passing}
