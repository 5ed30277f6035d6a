"""`caption`: ask the VLM about every marked image of a shard that has no answer yet."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from regioncap.ask.asking import AskProgress, CompletionSink, ask_into
from regioncap.ask.attempts import Attempts, follow_attempts
from regioncap.ask.bill import Bill
from regioncap.ask.ceiling import Ceiling
from regioncap.ask.requests import RegionNumbers, asked_together, caption_request
from regioncap.drop.unforeseen import named, unforeseen
from regioncap.errors import RowError
from regioncap.regions.records import RenderedRow
from regioncap.storage.store import Store
from regioncap.vlm.completion import Completion
from regioncap.vlm.endpoint import Vlm
from regioncap.vlm.flow import PreparedRequest
from regioncap.vlm.requests import ChatRequest
from regioncap.warehouse.corrections import Corrections
from regioncap.warehouse.layout import image_path
from regioncap.work import layout
from regioncap.work.completions import earlier_completions, load_completions, of_ended_servers, without_refusals
from regioncap.work.counts import AskCounts
from regioncap.work.identity import check_code
from regioncap.work.plan import Plan
from regioncap.work.served import check_model
from regioncap.work.shard import Shard, read_marked

# Requests about the regions of one image follow each other: so many images are read only once.
_IMAGES_KEPT = 64

# Roughly, and alike for all: only the largest request is looked for.
_PIXELS_PER_TOKEN, _LETTERS_PER_TOKEN = 28 * 28, 4


def caption_shard(
    *, work: Store, shard_id: str, plan: Plan, vlm: Vlm, progress: Callable[[AskProgress], None]
) -> AskCounts:
    """Ask what has no answer yet. `work` is rooted at the build's date; `progress` is called at each flush.

    Raises VlmSetupError, VlmUnavailableError, OtherModelError or CeilingError, and StepMissingError where rows or
    marked images are not as `render` wrote them; the answers that came before are kept.
    """
    check_code(plan)
    shard = Shard(work, plan, shard_id)
    before = load_completions(shard.shared, layout.ANSWERS)
    own = without_refusals(before)
    found = earlier_completions(work, plan, shard_id, layout.ANSWERS)
    ended = of_ended_servers({**found, **before})
    known = {**without_refusals(found), **own}
    questions = kept = images = 0
    latest: RenderedRow | None = None
    taken = {key: completion for key, completion in ended.items() if key not in before}
    left: set[str] = set()
    largest: tuple[float, _Item] | None = None
    corrections = shard.corrections()
    for item in _items(shard, plan, corrections):
        questions += 1
        images += item.row is not latest
        latest = item.row
        attempts = _followed(item, plan, known)
        taken |= {completion.key: completion for completion in attempts.used if completion.key not in own}
        if attempts.request is not None:
            left.add(item.key)
            size = _size(attempts.request, item.row, plan)
            if largest is None or size > largest[0]:
                largest = size, item
        elif all(completion.key in own for completion in attempts.used):
            kept += 1

    @lru_cache(_IMAGES_KEPT)
    def image(name: str) -> bytes | Path:
        path = image_path(name)
        # A server on this machine may read the file itself: it is looked at here in any case.
        data = read_marked(shard.shared, path)
        return shard.shared.local_path(path) or data

    def prepare(item: _Item, completions: Mapping[str, Completion]) -> PreparedRequest | None:
        request = _followed(item, plan, {**known, **completions} if known else completions).request
        if request is None:
            return None
        if request.key in ended and ended[request.key].server == sink.server:
            return None
        return PreparedRequest(request, {name: image(name) for name in request.images})

    # Made anew, so that of a whole shard only keys are kept.
    waiting = (item for item in _items(shard, plan, corrections) if item.key in left) if left else ()
    bill = Bill(plan)
    bill.add(before.values())
    sink = CompletionSink(
        shard.shared, layout.ANSWERS, questions=questions, images=images, kept=kept, progress=progress, bill=bill
    )
    sink.take_over(taken.values(), questions - kept - len(left))
    of_one_model = partial(check_model, work, plan)
    ceiling = Ceiling(work, plan)
    ask_into(sink, vlm, waiting, prepare, plan.settings, ceiling, largest and largest[1], of_one_model=of_one_model)
    counts = sink.counts().model_copy(update={"spent": bill.spent})
    shard.own.write(layout.CAPTION_COUNTS, counts.model_dump_json().encode())
    return counts


def _size(request: ChatRequest, row: RenderedRow, plan: Plan) -> float:
    """About how many tokens a request has, to know the largest: of crops one is about as large as another."""
    width, height = plan.settings.profile.size(row.width, row.height)
    letters = sum(len(part.value) for part in request.parts if part.kind == "text")
    return width * height / _PIXELS_PER_TOKEN + letters / _LETTERS_PER_TOKEN + float(request.options["max_tokens"])


@dataclass(frozen=True)
class _Item:
    """Regions of a row that are asked about together; `key` is that of the first request about them.

    Of `settled` ones a person has said what counts.
    """

    row: RenderedRow
    regions: RegionNumbers
    key: str
    settled: frozenset[int]


def _items(shard: Shard, plan: Plan, corrections: Corrections) -> Iterator[_Item]:
    """All that is to be asked about; of what asks the very same, the first."""
    seen: set[str] = set()
    for row in shard.rendered().rows:
        try:
            settled = corrections.of_row(row, plan.settings.prompt_language).settled
            items = [
                _Item(row, regions, caption_request(row, plan, regions, regions).key, settled)
                for regions in asked_together(row, plan)
                if not settled.issuperset(regions)
            ]
        except Exception as error:
            _leave(row, error)
            continue
        for item in items:
            if item.key not in seen:
                seen.add(item.key)
                yield item


def _followed(item: _Item, plan: Plan, completions: Mapping[str, Completion]) -> Attempts:
    """What came of asking about an item so far."""
    try:
        return follow_attempts(item.row, item.regions, plan, completions, item.settled)
    except Exception as error:
        _leave(item.row, error)
        return Attempts()


def _leave(row: RenderedRow, error: Exception) -> None:
    """Leave a row to `validate`, which comes upon the same error and rejects it. Raises what is not the row's."""
    if not isinstance(error, RowError):
        unforeseen(error, named(row))
