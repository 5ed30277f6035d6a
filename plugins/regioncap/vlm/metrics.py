"""How busy a server is, from its metrics in Prometheus' text format."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

# How servers name the requests that they work on, and those that wait.
_NAMES = (
    ("vllm:num_requests_running", "vllm:num_requests_waiting"),
    ("sglang[:_]num_running_reqs", "sglang[:_]num_queue_reqs"),
    ("llamacpp:requests_processing", "llamacpp:requests_deferred"),
    ("lmdeploy:num_requests_running", "lmdeploy:num_requests_waiting"),
    ("tgi_batch_current_size", "tgi_queue_size"),
)


def _figures(names: Iterable[str]) -> re.Pattern[str]:
    # One line for each engine of the server; a time may follow the figure.
    return re.compile(rf"^(?:{'|'.join(names)})(?:\{{[^}}]*\}})? (\S+)(?: \d+)?$", re.MULTILINE)


_RUNNING, _WAITING = (_figures(names) for names in zip(*_NAMES, strict=True))


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
    try:
        return round(sum(map(float, figures))) if figures else None
    except (ValueError, OverflowError):  # not a number, or none that counts anything
        return None
