"""How busy a server is, from its metrics in Prometheus' text format."""

import re
from dataclasses import dataclass

# One line for each engine of the server, in Prometheus' text format.
_WAITING = re.compile(r"^vllm:num_requests_waiting(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
_RUNNING = re.compile(r"^vllm:num_requests_running(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Queue:
    """How many requests, of all clients, a server works on, and how many wait."""

    running: int
    waiting: int


def read_queue(text: str) -> Queue | None:
    """The figures in a server's metrics, over all its engines; None where they are not among them."""
    if not _WAITING.search(text):
        return None
    running, waiting = (round(sum(map(float, pattern.findall(text)))) for pattern in (_RUNNING, _WAITING))
    return Queue(running, waiting)
