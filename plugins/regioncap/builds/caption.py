"""`caption`: ask the VLM about every marked image of a shard that has no answer yet."""

from collections.abc import Callable
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
    rows = shard.rendered(place)
    questions = {asked.key: asked for row in rows for asked in row_questions(row, plan).values()}
    kept = load_answers(place, layout.ANSWERS).keys() & questions.keys()
    published = published_answers(work, plan, shard_id, layout.ANSWERS) if len(kept) < len(questions) else {}
    taken = [published[key] for key in questions.keys() - kept if key in published]
    missing = [asked for key, asked in questions.items() if key not in kept and key not in published]

    @lru_cache(_IMAGES_KEPT)
    def read_image(name: str) -> bytes:
        return place.read(layout.image_path(name))

    def prepare(question: Question) -> Prepared:
        return Prepared(question, {name: read_image(name) for name in question.images})

    sink = AnswerSink(place, layout.ANSWERS, len(questions), len(kept), progress)
    sink.take_over(taken)
    ask_into(sink, endpoint, missing, prepare)
    counts = sink.counts()
    place.write(layout.CAPTION_COUNTS, counts.model_dump_json().encode())
    return counts


def load_counts(place: Store) -> AskCounts:
    """What the shard's last caption task counted. Raises NotFoundError."""
    return AskCounts.model_validate_json(place.read(layout.CAPTION_COUNTS))
