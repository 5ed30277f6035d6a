"""How busy a server is, from its metrics in Prometheus' text format."""

import re
from dataclasses import dataclass

# One line for each engine of the server, in Prometheus' text format.
_WAITING = re.compile(r"^vllm:num_requests_waiting(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
_RUNNING = re.compile(r"^vllm:num_requests_running(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Queue:
    """How many requests, of all clients, a server works on, None where it does not tell; and how many wait."""

    running: int | None
    waiting: int


def read_queue(text: str) -> Queue | None:
    """The figures in a server's metrics, over all its engines; None where they are not among them."""
    running, waiting = (_sum(pattern.findall(text)) for pattern in (_RUNNING, _WAITING))
    return None if waiting is None else Queue(running, waiting)


def _sum(figures: list[str]) -> int | None:
    return round(sum(map(float, figures))) if figures else None
