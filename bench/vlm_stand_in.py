"""A stand-in for a VLM server, to measure what feeds one: it reads requests and answers at once, or models a GPU.

    python -m bench.vlm_stand_in PORT [--slots 64] [--seconds 1.0]

With --slots, so many requests are worked on at a time, each for about --seconds (log-normal, as generation lengths
are); the others wait. GET /busy says what share of the slots' time was used from the first answer on, while there was
something to start.
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
_MODELS = json.dumps({"data": [{"id": MODEL}]}).encode()


class Server:
    """An ASGI application."""

    def __init__(self, slots: int | None, seconds: float) -> None:
        self._slots = slots
        self._seconds = seconds
        self._free = asyncio.Semaphore(slots or 1)
        self._rng = np.random.default_rng(1)
        self._working = self._waiting = 0
        # When the number of slots at work changed, and what it was from then on.
        self._log: list[tuple[float, int]] = []
        self._answers: list[float] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        body = await self._answer(scope["path"])
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, path: str) -> bytes:
        if path.endswith("/models"):
            return _MODELS
        if path == "/busy":
            return json.dumps(self._busy()).encode()
        if path == "/metrics":
            return f'vllm:num_requests_waiting{{engine="0"}} {self._waiting}\n'.encode()
        if self._slots:
            self._waiting += 1
            async with self._free:
                self._waiting -= 1
                self._note(+1)
                await asyncio.sleep(float(self._rng.lognormal(np.log(self._seconds), 0.5)))
                self._note(-1)
        self._answers.append(time.monotonic())
        return _ANSWER

    def _note(self, change: int) -> None:
        self._working += change
        self._log.append((time.monotonic(), self._working))

    def _busy(self) -> float:
        """The share of the slots' time that was used, from the first answer until no request was left to start."""
        first, last = self._answers[0], max(at for at, working in self._log if working == self._slots)
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
    arguments = parser.parse_args()
    server = Server(arguments.slots, arguments.seconds)
    uvicorn.run(server, host="127.0.0.1", port=arguments.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
