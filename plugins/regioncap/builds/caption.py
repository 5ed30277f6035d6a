"""`caption`: ask the VLM about every marked image of a shard that has no answer yet."""

import asyncio
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from regioncap.builds import layout, shard
from regioncap.builds.plan import Plan
from regioncap.builds.questions import row_question
from regioncap.storage.store import Store
from regioncap.vlm.client import Endpoint, RawAnswer, ask_all, connect
from regioncap.vlm.questions import Question

# An answer is in the work area this soon: what a killed task loses is at most this, and what was in flight.
FLUSH_SECONDS = 2.0
FLUSH_ROWS = 64


class CaptionCounts(BaseModel):
    """Of a shard's questions: how many there are, how many had an answer before, how many were asked now."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    questions: int
    kept: int
    asked: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float


@dataclass(frozen=True)
class CaptionProgress:
    """How far a shard is: `done` of `questions` have an answer, at `rate` images/s, `asked` by this task."""

    done: int
    questions: int
    asked: int
    rate: float


def caption_shard(
    *, work: Store, shard_id: str, plan: Plan, endpoint: Endpoint, progress: Callable[[CaptionProgress], None]
) -> CaptionCounts:
    """Ask what has no answer yet. `work` is rooted at the build's date; `progress` is called at each flush.

    Raises VlmSetupError or VlmUnavailableError; the answers that came before are kept.
    """
    place = work.sub(layout.shard_path(shard_id))
    questions = {asked.key: asked for asked in (row_question(row, plan) for row in shard.rendered(place))}
    kept = load_answers(place).keys() & questions.keys()
    missing = [asked for key, asked in questions.items() if key not in kept]
    sink = AnswerSink(place, len(questions), len(kept), progress)
    if missing:
        asyncio.run(_ask(endpoint, missing, place, sink))
    counts = sink.counts()
    place.write(layout.CAPTION_COUNTS, counts.model_dump_json().encode())
    return counts


def load_counts(place: Store) -> CaptionCounts:
    """What the shard's last caption task counted. Raises NotFoundError."""
    return CaptionCounts.model_validate_json(place.read(layout.CAPTION_COUNTS))


def load_answers(place: Store) -> dict[str, RawAnswer]:
    """Every answer that the shard's earlier tries left, by the question's key."""
    return {
        answer.key: answer
        for part in list(place.list(layout.ANSWERS))
        for answer in shard.read_lines(place, part.path, RawAnswer)
    }


async def _ask(endpoint: Endpoint, missing: list[Question], place: Store, sink: "AnswerSink") -> None:
    def read_image(marked: str) -> bytes:
        return place.read(layout.image_path(marked))

    async with connect(endpoint) as client:
        await client.check()
        try:
            async with asyncio.TaskGroup() as group:
                flusher = group.create_task(_flush_regularly(sink))
                await ask_all(client, missing, read_image, sink.add, endpoint.max_in_flight)
                flusher.cancel()
        except* Exception as errors:
            raise errors.exceptions[0] from None
        finally:
            # On an error too: answers that were paid for are kept.
            await sink.close()


async def _flush_regularly(sink: "AnswerSink") -> None:
    due = time.monotonic() + FLUSH_SECONDS
    while True:
        await asyncio.sleep(0.1)
        if len(sink.pending) >= FLUSH_ROWS or time.monotonic() >= due:
            await sink.flush()
            due = time.monotonic() + FLUSH_SECONDS


class AnswerSink:
    """Collects answers and writes them to the work area in small parts. To be used from one event loop."""

    def __init__(self, place: Store, questions: int, kept: int, progress: Callable[[CaptionProgress], None]) -> None:
        self.pending: list[RawAnswer] = []
        self._place = place
        self._questions = questions
        self._kept = kept
        self._progress = progress
        self._started = time.monotonic()
        self._asked = self._prompt_tokens = self._completion_tokens = 0
        # A thread of its own: images are read on the loop's threads, and one thread writes in the order of the flushes.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="answers")
        self._latest: Future[None] | None = None

    def add(self, answer: RawAnswer) -> None:
        """Take an answer; the next flush writes it."""
        self.pending.append(answer)
        self._asked += 1
        self._prompt_tokens += answer.prompt_tokens
        self._completion_tokens += answer.completion_tokens

    async def flush(self) -> None:
        """Write what came since the last flush. Once begun it is carried out, also where the caller is cancelled."""
        taken, self.pending = self.pending, []
        self._latest = self._writer.submit(self._write, taken)
        # Cancelling this would take a write that still waits for its thread out of the queue, and its answers with it.
        await asyncio.shield(asyncio.wrap_future(self._latest))

    async def close(self) -> None:
        """Write what is left, after every write before it. Raises what one of these raised."""
        earlier = self._latest
        try:
            await self.flush()
        finally:
            self._writer.shutdown()
        if earlier is not None:
            earlier.result()

    def _write(self, answers: list[RawAnswer]) -> None:
        if answers:
            # Named by time, so that a person sees the order; the random part keeps two tries apart.
            part = f"{layout.ANSWERS}{time.time_ns()}-{uuid.uuid4().hex[:8]}.jsonl"
            shard.write_lines(self._place, part, answers)
        elapsed = max(time.monotonic() - self._started, 1e-6)
        self._progress(
            CaptionProgress(
                done=self._kept + self._asked,
                questions=self._questions,
                asked=self._asked,
                rate=self._asked / elapsed,
            )
        )

    def counts(self) -> CaptionCounts:
        """What has been asked so far."""
        return CaptionCounts(
            questions=self._questions,
            kept=self._kept,
            asked=self._asked,
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._completion_tokens,
            seconds=round(time.monotonic() - self._started, 3),
        )
