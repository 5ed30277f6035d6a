"""`propose`: ask the VLM where things are in the images of rows that give no boxes."""

from collections.abc import Callable, Mapping

from regioncap.ask.asking import AskProgress, CompletionSink, ask_into
from regioncap.ask.attempts import refusal_error
from regioncap.ask.requests import grounding_request
from regioncap.captions.grounding import grounded_boxes
from regioncap.drop import drop as drops
from regioncap.drop.detectors import DETECTORS
from regioncap.drop.images import Picture, open_image, set_up_for_pictures
from regioncap.drop.unforeseen import named, unforeseen
from regioncap.errors import RowError, StepMissingError
from regioncap.marks.profiles import PROFILES
from regioncap.marks.view import content_name, encode, fit
from regioncap.regions.boxes import Box
from regioncap.regions.codes import Code
from regioncap.regions.records import PlannedRow
from regioncap.storage.store import Store
from regioncap.vlm.client import Completion, Vlm
from regioncap.vlm.flow import PreparedRequest
from regioncap.work import layout, shard
from regioncap.work.completions import load_completions, published_completions, without_refusals
from regioncap.work.counts import AskCounts
from regioncap.work.plan import Plan

# From an image file's bytes to boxes in pixels of the image as displayed. Raises RowError.
FindBoxes = Callable[[bytes], list[Box]]


def propose_shard(
    *,
    drop: Store,
    work: Store,
    shard_id: str,
    plan: Plan,
    vlm: Vlm,
    progress: Callable[[AskProgress], None],
) -> AskCounts:
    """Ask about each image without boxes that has no answer yet; an image that cannot be opened is left to `render`.

    `drop` and `work` are rooted at the build's date; `progress` is called at each flush.
    Raises VlmSetupError or VlmUnavailableError; the answers that came before are kept.
    """
    store = work.sub(layout.shard_path(shard_id))
    rows = [row for row in shard.planned(store) if row.bbox is None]
    kept = without_refusals(load_completions(store, layout.PROPOSALS))
    # Which of these are about this shard's images is not known before they are opened: all are taken over.
    published = published_completions(work, plan, shard_id, layout.PROPOSALS)
    taken = [completion for key, completion in published.items() if key not in kept]

    def prepare(row: PlannedRow, completions: Mapping[str, Completion]) -> PreparedRequest | None:
        if completions:
            return None
        try:
            prepared = _prepare(_open(drops.read_image(drop, row.image), plan), plan)
        except Exception as error:
            if not isinstance(error, RowError):
                # Goes up where it is not the row's; else `render` says what it is.
                unforeseen(error, f"{named(row)}: {row.image}")
            return None
        return None if prepared.request.key in kept or prepared.request.key in published else prepared

    # How many rows have their answer turns out on the way.
    sink = CompletionSink(store, layout.PROPOSALS, questions=len(rows), images=len(rows), kept=0, progress=progress)
    sink.take_over(taken, 0)
    with set_up_for_pictures():
        ask_into(sink, vlm, rows, prepare, plan.settings.answer_format)
    return sink.counts()


def proposals(plan: Plan, store: Store) -> FindBoxes:
    """How boxes are found for the rows of a shard that give none, by the plan's settings.

    `store` is the shard's; with ask_model, the answers in it are read.
    """
    way = plan.settings.when_no_boxes
    if way == "reject":
        return _none_wanted
    if way == "ask_model":
        completions = load_completions(store, layout.PROPOSALS)
        return lambda data: _grounded(data, plan, completions)
    detect = DETECTORS[way]
    # Without colour management: the contours are those of the original pipeline, which knows none.
    return lambda data: detect(_open(data, plan).decode(colour_managed=False))


def _open(data: bytes, plan: Plan) -> Picture:
    return open_image(data, heic=plan.settings.read_heic)


def _none_wanted(data: bytes) -> list[Box]:
    raise RowError(Code.NO_BOXES, "the row gives no boxes, and when_no_boxes is 'reject'")


def _grounded(data: bytes, plan: Plan, completions: Mapping[str, Completion]) -> list[Box]:
    picture = _open(data, plan)
    completion = completions.get(_prepare(picture, plan).request.key)
    if completion is None:
        raise StepMissingError("the model has not been asked for boxes yet: clear the shard's propose task")
    if completion.refused is not None:
        raise refusal_error(completion)
    profile, displayed = PROFILES[plan.settings.model_profile], (picture.width, picture.height)
    assert profile.coordinates is not None, "BuildSettings lets ask_model through only where the profile has them"
    return grounded_boxes(completion.text, profile.coordinates, profile.size(*displayed), displayed)


def _prepare(picture: Picture, plan: Plan) -> PreparedRequest:
    """The request about a picture, and the JPEG that it is about: the image as the model sees it, without marks."""
    profile = PROFILES[plan.settings.model_profile]
    size = profile.size(picture.width, picture.height)
    jpeg = encode(fit(picture.decode(at_least=size), size, profile))
    name = content_name(jpeg)
    return PreparedRequest(grounding_request(name, plan), {name: jpeg})
