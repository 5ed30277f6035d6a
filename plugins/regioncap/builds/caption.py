"""`caption`: ask the VLM about every marked image of a shard that has no answer yet."""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from regioncap.builds import layout, shard
from regioncap.builds.asking import AnswerSink, AskCounts, AskProgress, ask_into, load_answers, published_answers
from regioncap.builds.plan import Plan
from regioncap.builds.questions import row_questions
from regioncap.storage.store import Store
from regioncap.vlm.client import Endpoint, Prepared
from regioncap.vlm.questions import Question

# Questions about the regions of one image follow each other: so many images are read only once.
_IMAGES_KEPT = 64


def caption_shard(
    *, work: Store, shard_id: str, plan: Plan, endpoint: Endpoint, progress: Callable[[AskProgress], None]
) -> AskCounts:
    """Ask what has no answer yet. `work` is rooted at the build's date; `progress` is called at each flush.

    Raises VlmSetupError or VlmUnavailableError; the answers that came before are kept.
    """
    place = work.sub(layout.shard_path(shard_id))

    def questions() -> Iterator[Question]:
        """Made anew when they are needed: their keys are all that is kept of a whole shard."""
        return (asked for row in shard.rendered(place) for asked in row_questions(row, plan).values())

    keys = {asked.key for asked in questions()}
    kept = keys & load_answers(place, layout.ANSWERS).keys()
    published = published_answers(work, plan, shard_id, layout.ANSWERS) if len(kept) < len(keys) else {}
    taken = [published[key] for key in keys - kept if key in published]
    missing = keys - kept - published.keys()

    @lru_cache(_IMAGES_KEPT)
    def read_image(name: str) -> bytes:
        return place.read(layout.image_path(name))

    def prepare(question: Question) -> Prepared:
        return Prepared(question, {name: read_image(name) for name in question.images})

    sink = AnswerSink(place, layout.ANSWERS, len(keys), len(kept), progress)
    sink.take_over(taken)
    ask_into(sink, endpoint, _once(questions(), missing), prepare)
    counts = sink.counts()
    place.write(layout.CAPTION_COUNTS, counts.model_dump_json().encode())
    return counts


def _once(questions: Iterable[Question], keys: set[str]) -> Iterator[Question]:
    """The questions with these keys; of equal ones, the first."""
    left = set(keys)
    for question in questions if keys else ():
        if question.key in left:
            left.discard(question.key)
            yield question


def load_counts(place: Store) -> AskCounts:
    """What the shard's last caption task counted. Raises NotFoundError."""
    return AskCounts.model_validate_json(place.read(layout.CAPTION_COUNTS))
