"""How well a model reads marks: its own captions, and the same images marked anew with other numbers."""

import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

from PIL import Image

from regioncap.ask.asking import CompletionSink, ask_into
from regioncap.ask.ceiling import Ceiling
from regioncap.ask.requests import first_mode
from regioncap.captions.prompts import system_message, which_prompt
from regioncap.drop import decoding
from regioncap.drop.decoders import Decoders
from regioncap.drop.drop import read_image
from regioncap.drop.elsewhere import Images
from regioncap.errors import RowError
from regioncap.marks.styles import STYLES, MarkStyle, draw_marks
from regioncap.marks.view import content_name, encode
from regioncap.regions.boxes import Box
from regioncap.regions.jsonl import canonical
from regioncap.regions.records import Record, RenderedRow
from regioncap.report.trial import MarksRead
from regioncap.storage.store import Store
from regioncap.vlm.completion import Completion
from regioncap.vlm.endpoint import Vlm
from regioncap.vlm.flow import PreparedRequest
from regioncap.vlm.requests import ChatRequest, Part
from regioncap.work.completions import load_completions
from regioncap.work.plan import Plan
from regioncap.work.served import check_model

# Sizes of tags, beside that which a style has.
SIZES = {"half size": 0.5, "as it is": 1.0, "twice the size": 2.0}
# So many regions are asked about for each style and size, of as many images as there are: enough to see what a model
# cannot read, and few enough to wait for.
REGIONS = 8
# A number, and what a model may write before it.
_MAX_TOKENS = 16
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class _Planted:
    """A region whose mark has another number now, and what is asked about it."""

    style: str
    size: str
    right: int
    regions: int
    request: PreparedRequest


def read_marks(
    images: Images, place: Store, plan: Plan, rows: Sequence[RenderedRow], records: Sequence[Record], vlm: Vlm
) -> tuple[list[MarksRead], float]:
    """Ask the model for planted numbers. `rows` are marked rows, `records` those of them that have captions.

    Returns how many it read right for each mark style and size of tags, and the share that guessing would; nothing
    where no image has two regions with different captions.
    Raises VlmSetupError and VlmUnavailableError.
    """
    chosen = list(islice(_chosen(rows, records), REGIONS))
    if not chosen:
        return [], 0.0
    views = _views(images, plan, [row for row, _, _ in chosen])
    planted = [
        _planted(views[row.id], row, record, region, name, size, plan)
        for name in sorted(STYLES.own)
        for size in SIZES
        for row, record, region in chosen
        if row.id in views
    ]
    if not planted:
        return [], 0.0
    sink = CompletionSink(
        place, "answers/", questions=len(planted), images=len(planted), kept=0, progress=lambda asking: None
    )

    def prepare(item: _Planted, completions: Mapping[str, Completion]) -> PreparedRequest | None:
        return None if completions else item.request

    # A number needs no schema.
    settings = plan.settings.model_copy(update={"answer_format": "free_text"})
    of_one_model = partial(check_model, place, plan)
    ask_into(sink, vlm, planted, prepare, settings, Ceiling(place, plan), of_one_model=of_one_model)
    answers = load_completions(place, "answers/")
    right = [said(answers[item.request.request.key].text) == item.right for item in planted]
    cells = dict.fromkeys((item.style, item.size) for item in planted)
    read = [
        MarksRead(
            *cell,
            sum(good for good, item in zip(right, planted, strict=True) if (item.style, item.size) == cell),
            sum((item.style, item.size) == cell for item in planted),
        )
        for cell in cells
    ]
    return read, sum(1 / item.regions for item in planted) / len(planted)


def said(text: str) -> int | None:
    """The number that an answer says; None where it says none."""
    found = _NUMBER.search(text)
    return int(found[0]) if found else None


def _chosen(rows: Sequence[RenderedRow], records: Sequence[Record]) -> Iterator[tuple[RenderedRow, Record, int]]:
    """Regions of rows, from all images in turn, whose captions are like no other of their image."""
    by_id = {record.id: record for record in records}
    each: list[tuple[RenderedRow, Record, list[int]]] = []
    for row in rows:
        record = by_id.get(row.id)
        captions = [region.caption for region in record.regions] if record else []
        alone = [number for number, text in enumerate(captions, start=1) if captions.count(text) == 1]
        if record is not None and len(captions) > 1:
            each.append((row, record, alone))
    for turn in range(max((len(alone) for *_, alone in each), default=0)):
        for row, record, alone in each:
            if turn < len(alone):
                yield row, record, alone[turn]


def _views(images: Images, plan: Plan, rows: Sequence[RenderedRow]) -> dict[str, bytes]:
    """The rows' images as the model sees them, without marks, as JPEGs by the rows' ids."""
    views: dict[str, bytes] = {}
    with Decoders(heic=plan.settings.read_heic, max_pixels=plan.settings.max_file_pixels) as decoders:
        for row in {row.id: row for row in rows}.values():
            try:
                _, (views[row.id],) = decoders.run(read_image(images, row.image), decoding.seen, plan.settings.view)
            except RowError:  # it could be read a moment ago: another one does as well
                continue
    return views


def shuffled(name: str, regions: int) -> dict[int, int]:
    """A number for each region, each of them another than its own, always the same for a name."""
    order = sorted(range(1, regions + 1), key=lambda region: hashlib.sha256(f"{name} {region}".encode()).digest())
    return dict(zip(order, [*order[1:], *order[:1]], strict=True))


def _planted(view: bytes, row: RenderedRow, record: Record, region: int, name: str, size: str, plan: Plan) -> _Planted:
    settings = plan.settings
    style = resized(STYLES[name], SIZES[size])
    numbers = shuffled(f"{row.id} {name} {size}", len(row.regions))
    boxes = {numbers[each.region]: _seen(each.bbox, row, plan) for each in row.regions}
    with Image.open(io.BytesIO(view), formats=("JPEG",)) as opened:
        image = opened.convert("RGB")
    draw_marks(image, dict(sorted(boxes.items())), style)
    jpeg = encode(image)
    language = settings.prompt_language
    system = system_message(
        settings.system_prompt, style, first_mode(plan), settings.answer_format, len(row.regions), language
    )
    prompt = which_prompt(record.regions[region - 1].caption, language)
    parts = (Part("image", content_name(jpeg)), Part("text", prompt))
    options = {"model": plan.model, "temperature": 0, "max_tokens": _MAX_TOKENS, **settings.request_extras}
    told = [system, [[part.kind, part.value] for part in parts], options, name, size]
    key = hashlib.sha256(canonical(told)).hexdigest()[:32]
    request = ChatRequest(key, system, parts, options)
    prepared = PreparedRequest(request, {content_name(jpeg): jpeg})
    return _Planted(name, size, numbers[region], len(row.regions), prepared)


def resized(style: MarkStyle, factor: float) -> MarkStyle:
    """The style with tags of another size."""
    return replace(style, tag_scale=style.tag_scale * factor, least_tag=max(1, round(style.least_tag * factor)))


def _seen(bbox: Sequence[float], row: RenderedRow, plan: Plan) -> Box:
    """A region's box in pixels of the image as the model sees it."""
    width, height = plan.settings.profile.size(row.width, row.height)
    x, y, w, h = bbox
    scale_x, scale_y = width / row.width, height / row.height
    return x * scale_x, y * scale_y, (x + w) * scale_x, (y + h) * scale_y
