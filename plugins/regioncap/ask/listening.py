"""What the listener is asked about a row's captions, and what follows from its answers.

As of attempts, it is a pure function of the answers: a task that is tried again comes to the same questions. Each
caption is asked about on a listening image of the first round; what is doubted there, and what `asked_again` says, once
more under another shuffle.

Of some regions a caption is asked for once more, another way: by themselves where they were asked about together, and
together where each was asked about by itself. What the listener does not see it does not doubt; a second look may.
"""

import hashlib
import io
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from PIL import Image

from regioncap.ask.attempts import Attempts, follow_attempts
from regioncap.ask.requests import RegionNumbers, asked_together, first_mode, first_system, request_of
from regioncap.marks.styles import STYLES
from regioncap.marks.view import encode, mark
from regioncap.regions.boxes import Box
from regioncap.regions.jsonl import canonical
from regioncap.regions.records import RenderedRow
from regioncap.trust.alike import same
from regioncap.trust.answers import Heard
from regioncap.trust.questions import ROUNDS, Question, Sheet, asked_twice, drawn, sheets
from regioncap.trust.scorers import SCORERS
from regioncap.trust.scores import Scored, asked_again, scored, together
from regioncap.vlm.completion import SURE, Completion
from regioncap.vlm.requests import ChatRequest, Part, as_choice
from regioncap.work.plan import Plan

# An answer of which less than this says one of the numbers or none was not bound to them: it says nothing.
_LEAST_BOUND = 0.5

# A region is small that has less than a square of so many pixels, as the model sees it, and covered where another one
# lies over more than this share of it.
_SMALL, _COVERED = 28, 0.5

# Of so many captions at most it is said that the model was unsure of them.
_LEAST_SURE = 1 / 8

# A row's id, and a region of it.
RowRegion = tuple[str, int]


@dataclass(frozen=True)
class Followed:
    """What came of a question: what was `heard`, and the `request` to send next, if there is one, about which `sheet`.

    `unbound` says that an answer came that names no region, nor none.
    """

    heard: list[Heard] = field(default_factory=list)
    request: ChatRequest | None = None
    sheet: Sheet | None = None
    unbound: bool = False


def drawn_regions(row: RenderedRow, plan: Plan) -> list[int]:
    """The regions of a row that are judged."""
    if not row.unmarked:
        return []
    return [each.region for each in row.regions if drawn(row.id, each.region, plan.judge_share)]


def follow_listening(
    row: RenderedRow,
    question: Question,
    plan: Plan,
    captions: Mapping[int, str],
    completions: Mapping[str, Completion],
) -> Followed:
    """Follow a question about a row through the completions, which are known by their requests' keys.

    `captions` are the row's, by region, of all of its regions.
    """
    heard: list[Heard] = []
    for number in range(ROUNDS):
        sheet = next(each for each in sheets_of(row, captions, number) if question.region in each.asked)
        request = listening_request(row, plan, sheet, question)
        completion = completions.get(request.key)
        if completion is None:
            return Followed(heard, request, sheet)
        if completion.refused is not None:
            return Followed(heard)
        scorer = SCORERS[plan.settings.judge_by]
        probabilities = by_choice(completion.probabilities or {}, scorer.choices(len(sheet.shown)))
        if probabilities is None:
            return Followed(heard, unbound=True)
        heard.append(
            Heard(
                question=request.key,
                image=row.id,
                region=question.region,
                kind=question.kind,
                caption=question.caption,
                round=number,
                shown=sheet.number(question.region),
                probabilities=scorer.told(sheet.number(question.region), probabilities),
                alone=scorer.alone,
            )
        )
        if not asked_again(scored(sheet, heard[-1:], captions)):
            break
    return Followed(heard)


def scores_of(row: RenderedRow, heard: list[Heard], captions: Mapping[int, str]) -> list[Scored]:
    """What follows from all that was heard about a row; `captions` are the row's, by region."""
    rounds: list[list[Scored]] = []
    for number in range(ROUNDS):
        rounds.append([])
        for sheet in sheets_of(row, captions, number):
            told = [each for each in heard if each.round == number and each.region in sheet.asked]
            rounds[-1] += scored(sheet, told, captions)
    return together(rounds)


def second_plan(plan: Plan) -> Plan:
    """The plan as it asks for captions the other way: all of an image together or each by itself.

    Once, and for what the model thinks likeliest: the answer is compared, and never published.
    """
    other = "per_region" if first_mode(plan) == "joint" else "joint"
    # By its seed, which changes nothing at temperature 0, a request is told from those whose captions are published.
    changes = {"caption_mode": other, "temperature": 0.0, "seed": plan.settings.seed ^ 1, "max_attempts": 1}
    return plan.model_copy(update={"settings": plan.settings.model_copy(update=changes)})


def second_askings(row: RenderedRow, regions: Sequence[int], other: Plan) -> list[RegionNumbers]:
    """What is asked the `other` way (`second_plan`) of a row of which `regions` are judged: regions together."""
    twice = {region for region in regions if asked_twice(row.id, region, other.second_share)}
    return [together for together in asked_together(row, other) if twice & set(together)]


def agreed(
    row: RenderedRow,
    scores: Sequence[Scored],
    other: Plan,
    completions: Mapping[str, Completion],
) -> list[Scored]:
    """The scores of a row, with whether the own captions are what an asking the `other` way says.

    As it is without an answer; one without a caption for a region is not of the same opinion.
    """
    said: dict[int, str] = {}
    for regions in second_askings(row, [score.region for score in scores if score.kind == "own"], other):
        attempts = follow_attempts(row, regions, other, completions)
        if attempts.used:
            said |= dict.fromkeys(regions, "") | attempts.captions
    return [
        replace(score, agreed=same(said[score.region], score.caption))
        if score.kind == "own" and score.region in said and asked_twice(row.id, score.region, other.second_share)
        else score
        for score in scores
    ]


def regions_to_ask_again(
    row: RenderedRow,
    plan: Plan,
    captions: Mapping[int, str],
    scores: Sequence[Scored],
    unsure: Collection[int] = (),
) -> list[int]:
    """The regions of which other captions are asked for; `captions` are the row's, by region, and these their scores.

    The doubted ones; with `auto`, also those of which one request about all regions says less than a close-up does:
    small ones, covered ones, those with the same caption as another, and those of which the model was `unsure`.
    """
    again = {score.region for score in scores if score.kind == "own" and score.doubted}
    if plan.settings.caption_mode == "auto":
        again |= _hard_to_see(row, plan)
        again |= set(unsure)
        again |= {
            region
            for region, caption in captions.items()
            if any(same(caption, other) for number, other in captions.items() if number != region)
        }
    return sorted(again)


def better(after: Sequence[Scored]) -> list[Scored]:
    """The scores of those other captions that are kept: what is not doubted, since it comes of a closer look."""
    return [score for score in after if score.kind == "own" and not score.doubted]


def least_sure(sure: Mapping[RowRegion, float | None]) -> set[RowRegion]:
    """Those captions of which the model was unsure, of all that were asked for together: an eighth of them at most.

    A model that has many words for a thing is sure of few of them: then it is where it was least sure.
    """
    told = sorted((one, at) for at, one in sure.items() if one is not None)
    return {at for one, at in told[: math.ceil(_LEAST_SURE * len(told))] if one < SURE}


def sure_of(asked: Sequence[Attempts]) -> dict[int, float | None]:
    """How likely the least likely token of each region's caption was, by region; None where the server does not tell.

    1 where each was as likely as `SURE`.
    """
    return {
        region: _sure_of(caption, attempts.used) for attempts in asked for region, caption in attempts.captions.items()
    }


def _sure_of(caption: str, used: Sequence[Completion]) -> float | None:
    completion = next((each for each in reversed(used) if caption in each.text), None)
    if completion is None or completion.unsure is None:
        return None
    begin = completion.text.index(caption)
    return min((likely for at, likely in completion.unsure if begin <= at < begin + len(caption)), default=1.0)


def _hard_to_see(row: RenderedRow, plan: Plan) -> set[int]:
    """The regions of which the model sees little in the whole image, or which others cover."""
    width, height = plan.settings.profile.size(row.width, row.height)
    seen = (width / row.width) * (height / row.height)
    boxes = {region.region: region.bbox for region in row.regions}
    return {
        region
        for region, box in boxes.items()
        if box[2] * box[3] * seen < _SMALL**2
        or any(_covered(box, other) > _COVERED for number, other in boxes.items() if number != region)
    }


def _covered(box: Sequence[float], other: Sequence[float]) -> float:
    """The share of a box that another one, also [x, y, w, h], lies over."""
    x = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0])
    y = min(box[1] + box[3], other[1] + other[3]) - max(box[1], other[1])
    return max(x, 0.0) * max(y, 0.0) / (box[2] * box[3])


def listening_request(row: RenderedRow, plan: Plan, sheet: Sheet, question: Question) -> ChatRequest:
    """The request that asks a question about the regions shown: which of them its caption describes, say."""
    settings = plan.settings
    scorer = SCORERS[settings.judge_by]
    text = scorer.question(question.caption, sheet.number(question.region), settings.prompt_language)
    # As captioning begins, and the image first: vLLM computes an equal beginning only once.
    system = first_system(plan, len(sheet.shown))
    parts = (Part("image", sheet_name(row, sheet)), Part("text", text))
    options = {**settings.request_extras, **as_choice(scorer.choices(len(sheet.shown))), "model": plan.judge}
    return request_of(system, parts, options, row.image, plan.listening_again)


def by_choice(tokens: Mapping[str, float], choices: list[str]) -> dict[str, float] | None:
    """The probability of each choice, from those of an answer's first token; None where most of it is no choice."""
    heard = dict.fromkeys(choices, 0.0)
    for token, probability in tokens.items():
        said = token.strip()
        # Of a longer word the token may be the beginning.
        meant = [choice for choice in choices if said and choice.startswith(said)]
        if len(meant) == 1:
            heard[meant[0]] += probability
    bound = sum(heard.values())
    return {choice: round(each / bound, 6) for choice, each in heard.items()} if bound >= _LEAST_BOUND else None


def sheets_of(row: RenderedRow, captions: Mapping[int, str], number: int) -> list[Sheet]:
    """The listening images of a row in the round `number`, from 0; `captions` are the row's, by region."""
    return sheets(row.id, boxes_of(row), captions, number)


def boxes_of(row: RenderedRow) -> dict[int, Box]:
    """The regions' boxes by number, in pixels of the image as displayed."""
    return {
        each.region: (each.bbox[0], each.bbox[1], each.bbox[0] + each.bbox[2], each.bbox[1] + each.bbox[3])
        for each in row.regions
    }


def sheet_name(row: RenderedRow, sheet: Sheet) -> str:
    """What a listening image is called: by the images that it is made of, and where its numbers are.

    It is drawn when it is sent, so that what has its answer need not be drawn.
    """
    return hashlib.sha256(canonical([row.marked, row.unmarked, sheet.shown])).hexdigest()[:32]


def draw_sheet(row: RenderedRow, sheet: Sheet, plan: Plan, unmarked: bytes) -> bytes:
    """The JPEG of a listening image, from that of the row's image without marks."""
    settings, boxes = plan.settings, boxes_of(row)
    image = Image.open(io.BytesIO(unmarked)).convert("RGB")
    numbered = {number: boxes[region] for region, number in sheet.shown}
    return encode(mark(image, (row.width, row.height), numbered, settings.profile, STYLES[settings.mark_style]))
