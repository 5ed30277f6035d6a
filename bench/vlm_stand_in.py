"""A stand-in for a VLM server, to measure what feeds one: it reads requests and answers at once, or models a GPU.

    python -m bench.vlm_stand_in PORT [--slots 64] [--seconds 1.0] [--batch S | --rate R] [--most N]
        [--broken A B] [--hang]

With --slots, so many requests are worked on at a time, each for about --seconds (log-normal, as generation lengths
are); the others wait. GET /busy says what share of the slots' time was used from the first answer about an image on,
while there was something to start: how a server wants to be asked is found out before.

With --batch, all that is there is answered at once, every so many seconds. With --rate, all that is there shares so
many answers a second, as on a CPU. Neither tells its queue. With --most, what comes beside so many is refused with 429
and `Retry-After: 1`. With --broken, every request fails from A to B seconds after the first one. With --hang, nothing
is answered but which models there are.
"""

import argparse
import asyncio
import json
import time
from typing import Any

import numpy as np
import uvicorn

MODEL = "stand-in"
_ANSWER = json.dumps(
    {
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "<region1>: a red cup on a wooden table"},
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    }
).encode()
# A request of fewer bytes has no image of the bench's.
_WITHOUT_IMAGE = 10_000
_MODELS = json.dumps({"data": [{"id": MODEL}]}).encode()


class Server:
    """An ASGI application."""

    def __init__(self, told: argparse.Namespace) -> None:
        self._told = told
        self._slots: int | None = told.slots
        self._seconds: float = told.seconds
        slots = self._slots
        self._there = 0
        self._first: float | None = None
        self._free = asyncio.Semaphore(slots or 1)
        self._rng = np.random.default_rng(1)
        self._working = self._waiting = 0
        # When the number of slots at work changed, and what it was from then on.
        self._log: list[tuple[float, int]] = []
        self._first_answer: float | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        length, more = 0, True
        while more:
            message = await receive()
            length, more = length + len(message.get("body", b"")), message.get("more_body", False)
        status = self._status(scope["path"])
        self._there += 1
        try:
            body = await self._answer(scope["path"], length) if status == 200 else b"{}"
        finally:
            self._there -= 1
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if status == 429:
            headers.append((b"retry-after", b"1"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _status(self, path: str) -> int:
        if not path.endswith("/completions"):
            return 200
        self._first = self._first or time.monotonic()
        if self._told.broken and self._told.broken[0] <= time.monotonic() - self._first < self._told.broken[1]:
            return 500
        return 429 if self._told.most is not None and self._there >= self._told.most else 200

    async def _answer(self, path: str, length: int) -> bytes:
        if path.endswith("/models"):
            return _MODELS
        if path == "/busy":
            return json.dumps(self._busy()).encode()
        if self._told.hang:
            await asyncio.Event().wait()
        if path == "/metrics" and (self._told.batch or self._told.rate):
            return b""
        if self._told.batch:
            # All at the same moment.
            await asyncio.sleep(self._told.batch - time.monotonic() % self._told.batch)
            return _ANSWER
        if self._told.rate:
            left = 1 / self._told.rate
            while left > 0:
                await asyncio.sleep(0.01)
                left -= 0.01 / self._there
            return _ANSWER
        if path == "/metrics":
            return f'vllm:num_requests_waiting{{engine="0"}} {self._waiting}\n'.encode()
        if self._slots:
            self._waiting += 1
            async with self._free:
                self._waiting -= 1
                self._note(+1)
                await asyncio.sleep(float(self._rng.lognormal(np.log(self._seconds), 0.5)))
                self._note(-1)
        if self._first_answer is None and length > _WITHOUT_IMAGE:
            self._first_answer = time.monotonic()
        return _ANSWER

    def _note(self, change: int) -> None:
        self._working += change
        self._log.append((time.monotonic(), self._working))

    def _busy(self) -> float:
        """The share of the slots' time that was used, from `_first_answer` until no request was left to start."""
        first, last = self._first_answer or 0.0, max(at for at, working in self._log if working == self._slots)
        used = 0.0
        for (at, working), (until, _) in zip(self._log, self._log[1:], strict=False):
            used += working * max(0.0, min(until, last) - max(at, first))
        return used / ((last - first) * (self._slots or 1))


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description="A stand-in for a VLM server.")
    parser.add_argument("port", type=int)
    parser.add_argument("--slots", type=int)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--batch", type=float)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--most", type=int)
    parser.add_argument("--broken", type=float, nargs=2)
    parser.add_argument("--hang", action="store_true")
    arguments = parser.parse_args()
    server = Server(arguments)
    uvicorn.run(server, host="127.0.0.1", port=arguments.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
