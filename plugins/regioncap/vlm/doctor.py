"""What holds captioning back, and what to change: told from what the server and the pace count. Nothing is asked here.

An answer's time is spent in five places: not yet sent, since the client has none ready; on its way into the server's
queue, mostly while images are prepared; in the queue; while the model reads the prompt; while it writes. Requests pile
up before what is slowest, so that is where most of the time is.
"""

import re
from dataclasses import dataclass, fields
from math import isfinite

# Fewer answers tell more of a server's first seconds than of its work.
_FEWEST = 32
# From such shares of an answer's time on something is in the way.
_CLIENT, _BEFORE, _QUEUED, _AGAIN, _IDLE = 0.3, 0.4, 0.3, 0.3, 0.05


@dataclass(frozen=True)
class DoctorFigures:
    """What a server has counted since it was started: answers and their seconds, and of what its caches were asked.

    Of the prefix cache the figures are tokens, of that for images they are images.
    """

    answers: float
    queue_seconds: float
    prefill_seconds: float
    decode_seconds: float
    prefix_asked: float
    prefix_found: float
    images_asked: float
    images_found: float
    preemptions: float

    def since(self, before: "DoctorFigures | None") -> "DoctorFigures":
        """What came after `before`; all of it where the server was started again in between."""
        if before is None or self.answers < before.answers:
            return self
        names = [field.name for field in fields(self)]
        return DoctorFigures(**{name: getattr(self, name) - getattr(before, name) for name in names})

    def and_of(self, other: "DoctorFigures") -> "DoctorFigures":
        """Those of two servers."""
        names = [field.name for field in fields(self)]
        return DoctorFigures(**{name: getattr(self, name) + getattr(other, name) for name in names})


# As vLLM 0.32 calls them (vllm/v1/metrics/loggers.py); a line for each engine, with a time behind it or not.
_NAMES = {
    "answers": "e2e_request_latency_seconds_count",
    "queue_seconds": "request_queue_time_seconds_sum",
    "prefill_seconds": "request_prefill_time_seconds_sum",
    "decode_seconds": "request_decode_time_seconds_sum",
    "prefix_asked": "prefix_cache_queries_total",
    "prefix_found": "prefix_cache_hits_total",
    "images_asked": "mm_cache_queries_total",
    "images_found": "mm_cache_hits_total",
    "preemptions": "num_preemptions_total",
}
_LINES = {
    field: re.compile(rf"^vllm:{name}(?:\{{[^}}]*\}})? (\S+)(?: \d+)?$", re.MULTILINE) for field, name in _NAMES.items()
}


def read_doctor_figures(text: str) -> DoctorFigures | None:
    """The figures in a vLLM server's metrics, over all its engines; None where they are not among them."""
    found = {field: line.findall(text) for field, line in _LINES.items()}
    if not found["answers"] or not found["decode_seconds"]:
        return None
    try:
        sums = {field: sum(map(float, numbers)) for field, numbers in found.items()}
    except ValueError:
        return None
    return DoctorFigures(**sums) if all(map(isfinite, sums.values())) else None


@dataclass(frozen=True)
class Seen:
    """What is known of a task's questions when they are answered.

    `answers` came, after `seconds_per_answer` in the mean; an image has `questions_per_image`. `server` is what the
    servers counted meanwhile, None where they tell nothing. Of the pace: up to `limit` requests may be under way, never
    more than `bound`, and `client_share` is the share of the time in which fewer were, since none was ready to be sent.
    """

    answers: int
    seconds_per_answer: float
    questions_per_image: float
    server: DoctorFigures | None
    bound: int
    limit: int = 0
    client_share: float = 0.0


def diagnose(seen: Seen) -> str:
    """What holds captioning back and what to change, in a sentence for a person; empty where too little is known."""
    server = seen.server
    if seen.answers < _FEWEST or not seen.seconds_per_answer:
        return ""
    if seen.client_share >= _CLIENT:
        return (
            f"Asking is held back by the client: {seen.client_share:.0%} of the time no request was ready "
            "to be sent. Give the worker more CPU, have more caption tasks at once (slots of the pool), or keep the "
            "work area nearer to it."
        )
    if server is None or server.answers <= 0:
        return ""
    queued, prefill, decode = (
        seconds / server.answers / seen.seconds_per_answer
        for seconds in (server.queue_seconds, server.prefill_seconds, server.decode_seconds)
    )
    before = max(0.0, 1 - queued - prefill - decode)
    return (
        _cold_caches(seen, server, before, prefill)
        or _preparation(seen, before)
        or _queue(server, queued)
        or _too_few(seen, queued)
        or _model(prefill, decode)
    )


def _cold_caches(seen: Seen, server: DoctorFigures, before: float, prefill: float) -> str:
    if seen.questions_per_image < 2:
        return ""
    # Of the two images of each question the marked one was there before, but for the first question about it.
    could = (seen.questions_per_image - 1) / (2 * seen.questions_per_image)
    found = server.images_found / server.images_asked if server.images_asked else 0.0
    if before >= _AGAIN and found < could / 2:
        return (
            "Asking is held back by images that the server prepares again for each region: "
            f"{found:.0%} of the images were found in its cache, {could:.0%} could be. Start vLLM with "
            "--mm-processor-cache-gb 1."
        )
    if prefill >= _AGAIN and not server.prefix_found:
        return (
            "Asking is held back by prompts that the model reads again for each region: nothing of an image's "
            "first question was found in the prefix cache. Start vLLM with --enable-prefix-caching, on a CPU also with "
            "--block-size 32."
        )
    return ""


def _preparation(seen: Seen, before: float) -> str:
    if before < _BEFORE:
        return ""
    return (
        f"Asking is held back by the server's preparation of images: {before:.0%} of the "
        f"{seen.seconds_per_answer:.1f} s that an answer takes pass before it is in the model's queue. Start vLLM with "
        "--api-server-count 2 or more where the machine has cores to spare, or lower the param max_pixels."
    )


def _queue(server: DoctorFigures, queued: float) -> str:
    if queued < _QUEUED:
        return ""
    if server.preemptions:
        return (
            f"Asking is held back by the server's memory for requests: {queued:.0%} of an answer's time it waits "
            "in the queue, and requests were put back for want of memory. Start vLLM with more "
            "--gpu-memory-utilization, or with another copy of the model (--data-parallel-size)."
        )
    return (
        f"Asking is held back by how many requests the server works on at once: {queued:.0%} of an answer's time "
        "it waits in the queue. Start vLLM with more --max-num-seqs."
    )


def _too_few(seen: Seen, queued: float) -> str:
    if seen.limit < seen.bound or queued >= _IDLE:
        return ""
    return (
        f"Asking is held back by the connection's max_in_flight: all {seen.bound} requests are under way, and "
        "nothing waits at the server. Raise max_in_flight."
    )


def _model(prefill: float, decode: float) -> str:
    if prefill > decode:
        return (
            f"Asking is held back by the model, which is as it should be: {prefill:.0%} of an answer's time it "
            "reads images and prompts. More GPUs (--data-parallel-size), or a lower param max_pixels, make it faster."
        )
    return (
        f"Asking is held back by the model, which is as it should be: {decode:.0%} of an answer's time goes into "
        "writing answers. More GPUs (--data-parallel-size), or prompts that ask for shorter captions, make it faster."
    )
