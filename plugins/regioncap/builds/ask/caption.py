"""`caption`: ask the VLM about every marked image of a shard that has no answer yet."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from regioncap.builds import layout, shard
from regioncap.builds.ask.asking import (
    AnswerSink,
    AskCounts,
    AskProgress,
    ask_into,
    load_answers,
    published_answers,
    without_refusals,
)
from regioncap.builds.ask.exchange import exchange
from regioncap.builds.ask.questions import Regions, asked_together, caption_question
from regioncap.builds.plan import Plan
from regioncap.builds.readback import informing
from regioncap.regions.records import RenderedRow
from regioncap.storage.store import Store
from regioncap.vlm.client import RawAnswer, Vlm
from regioncap.vlm.flow import Prepared

# Questions about the regions of one image follow each other: so many images are read only once.
_IMAGES_KEPT = 64


def caption_shard(
    *, work: Store, shard_id: str, plan: Plan, vlm: Vlm, progress: Callable[[AskProgress], None]
) -> AskCounts:
    """Ask what has no answer yet. `work` is rooted at the build's date; `progress` is called at each flush.

    Raises VlmSetupError or VlmUnavailableError; the answers that came before are kept.
    """
    place = work.sub(layout.shard_path(shard_id))
    own = without_refusals(load_answers(place, layout.ANSWERS))
    published = published_answers(work, plan, shard_id, layout.ANSWERS)
    known = {**published, **own}
    questions = kept = images = 0
    latest: RenderedRow | None = None
    taken: dict[str, RawAnswer] = {}
    left: set[str] = set()
    for item in _items(place, plan):
        questions += 1
        images += item.row is not latest
        latest = item.row
        said = exchange(item.row, item.regions, plan, known)
        taken |= {answer.key: answer for answer in said.used if answer.key not in own}
        if said.question is not None:
            left.add(item.key)
        elif all(answer.key in own for answer in said.used):
            kept += 1

    @lru_cache(_IMAGES_KEPT)
    def image(name: str) -> bytes | Path:
        path = layout.image_path(name)
        return place.local_path(path) or place.read(path)

    def prepare(item: _Item, told: Mapping[str, RawAnswer]) -> Prepared | None:
        question = exchange(item.row, item.regions, plan, {**known, **told} if known else told).question
        if question is None:
            return None
        return Prepared(question, {name: image(name) for name in question.images})

    # Made anew, so that of a whole shard only keys are kept.
    waiting = (item for item in _items(place, plan) if item.key in left) if left else ()
    sink = AnswerSink(place, layout.ANSWERS, questions=questions, images=images, kept=kept, progress=progress)
    sink.take_over(taken.values(), questions - kept - len(left))
    ask_into(sink, vlm, waiting, prepare, plan.settings.answer_format)
    counts = sink.counts()
    place.write(layout.CAPTION_COUNTS, counts.model_dump_json().encode())
    return counts


@dataclass(frozen=True)
class _Item:
    """Regions of a row that are asked about together; `key` is that of the first question about them."""

    row: RenderedRow
    regions: Regions
    key: str


def _items(place: Store, plan: Plan) -> Iterator[_Item]:
    """All that is to be asked about; of what asks the very same, the first."""
    seen: set[str] = set()
    for row in shard.rendered(place):
        for regions in asked_together(row, plan):
            key = caption_question(row, plan, regions, regions).key
            if key not in seen:
                seen.add(key)
                yield _Item(row, regions, key)


def load_counts(place: Store) -> AskCounts | None:
    """What the shard's last caption task counted; None where that cannot be had."""
    return informing(place, layout.CAPTION_COUNTS, AskCounts)
