"""`judge`: ask the listener which region each caption of a shard describes, and what it makes of planted captions."""

import logging
import math
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TypeVar

from regioncap.ask.asking import AskProgress, CompletionSink, ask_into
from regioncap.ask.attempts import Attempts, follow_again, follow_attempts
from regioncap.ask.bill import Bill
from regioncap.ask.ceiling import Ceiling
from regioncap.ask.listening import (
    Followed,
    agreed,
    better,
    draw_sheet,
    drawn_regions,
    follow_listening,
    least_sure,
    regions_to_ask_again,
    scores_of,
    second_askings,
    second_plan,
    sheet_name,
    sure_of,
)
from regioncap.ask.requests import RegionNumbers, asked_together
from regioncap.drop.unforeseen import named, unforeseen
from regioncap.errors import CeilingError, RowError, VlmSetupError, VlmUnavailableError
from regioncap.regions.records import RenderedRow
from regioncap.regions.served import Served
from regioncap.storage.store import Store
from regioncap.trust.answers import Heard
from regioncap.trust.planted import Captions, ask
from regioncap.trust.questions import Question, Sheet, chance
from regioncap.trust.scores import Scored
from regioncap.vlm.completion import Completion
from regioncap.vlm.endpoint import Vlm
from regioncap.vlm.flow import PreparedRequest
from regioncap.warehouse.corrections import Corrections
from regioncap.warehouse.layout import image_path
from regioncap.work import layout
from regioncap.work.completions import earlier_completions, load_completions, of_ended_servers, without_refusals
from regioncap.work.counts import AskCounts, Spending, load_counts, note_spent
from regioncap.work.identity import check_code
from regioncap.work.plan import Plan
from regioncap.work.served import check_model
from regioncap.work.shard import Shard, read_marked

_log = logging.getLogger(__name__)

Item = TypeVar("Item")

# Questions about one listening image follow each other: so many images are read only once.
_IMAGES_KEPT = 64

# A sample takes at most this share of the time that captioning took, but these seconds it may take in any case: what
# captioning took is no measure where next to nothing was asked.
_TIME_SHARE, _LEAST_SECONDS = 0.2, 15.0
# Of fewer captions it cannot be told how fast the server is.
_TELLING = 10

_NOTHING = AskCounts(
    questions=0, kept=0, taken_over=0, asked=0, prompt_tokens=0, completion_tokens=0, seconds=0.0, schema_ignored=False
)


def judge_shard(
    *,
    work: Store,
    shard_id: str,
    plan: Plan,
    vlm: Vlm,
    judge: Vlm,
    progress: Callable[[AskProgress], None],
    least_seconds: float = _LEAST_SECONDS,
) -> AskCounts:
    """Ask the listener what it has not answered yet; returns how many questions there were, and what they took.

    `work` is rooted at the build's date; `judge` is what listens, `vlm` what makes captions, where the run has doubtful
    ones asked for again; `progress` is called at each flush. A sample may take `least_seconds` in any case.
    Raises StepMissingError where rows, answers or the images without marks are not there. Where the listener is away,
    cannot listen, or the run's ceiling is reached, the shard is noted as not judged; VlmUnavailableError, VlmSetupError
    or CeilingError is raised instead where the run has it wait. OtherModelError is raised in any case.
    """
    if not plan.judge_share:
        return _NOTHING
    check_code(plan)
    started = time.monotonic()
    shard = Shard(work, plan, shard_id)
    rendered = shard.rendered()
    completions = load_completions(shard.shared, layout.ANSWERS)
    rows, others = _captioned(rendered.rows, plan, completions, shard.corrections())
    limit, limited = _time_limit(plan, load_counts(shard.own), least_seconds)
    of_one_model = partial(check_model, work, plan, judge=judge != vlm)
    listener = _Listener(work, shard, shard_id, plan, judge, of_one_model, progress, least_seconds)
    asked = [replace(each, questions=ask(each.row.id, each.captions, each.regions, others)) for each in rows]
    if limited is not None:
        asked = []
    reason = listener.hear(asked, limit)
    if listener.late:
        limited = "of a sample no more was asked: it may take a fifth of captioning's time, and no slow server's"
    heard = {each.row.id: listener.heard(each) for each in asked}
    sampled = {each.row.id: scores_of(each.row, heard[each.row.id], each.captions) for each in asked}
    captioner = _Captioner(work, shard, shard_id, plan, vlm, progress)
    first = [score for each in sampled.values() for score in each]
    if reason is None:
        first = _asked_twice(captioner, plan, asked, sampled, 0.0 if listener.late else limit - listener.counts.seconds)
    # The share that is wrong is told by the sample alone: what else is heard decides what is asked again.
    scores: dict[str, list[Scored]] = defaultdict(list, sampled)
    mended = _Mended()
    if plan.settings.asks_again and reason is None:
        mended, reason = _mend(listener, captioner, plan, rows, scores)
    counts = _sum(listener.counts, captioner.counts)
    shard.write_judged(
        [score for each in scores.values() for score in each],
        first,
        heard=sum(map(len, heard.values())),
        counts=counts,
        spent=listener.spent,
        asked_again=mended.asked,
        mended=mended.mended,
        reason=reason,
        limited=limited,
        inputs=rendered.inputs,
        seconds=round(time.monotonic() - started, 3),
    )
    return counts


@dataclass(frozen=True)
class _Row:
    """A row that has all of its captions, its regions that are judged, and what is asked about them.

    `before` is what came of asking for its captions, and `settled` are the regions whose captions are a person's.
    """

    row: RenderedRow
    before: Sequence[Attempts]
    captions: Mapping[int, str]
    settled: frozenset[int]
    regions: Sequence[int]
    questions: Sequence[Question] = ()


class _Drawn:
    """Listening images as they are drawn; questions about one follow each other, so each is drawn once."""

    def __init__(self, shard: Shard, plan: Plan) -> None:
        self._shard, self._plan = shard, plan
        self._kept: OrderedDict[str, Future[bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def jpeg(self, row: RenderedRow, sheet: Sheet) -> bytes:
        """The image of a sheet. Raises StepMissingError."""
        name = sheet_name(row, sheet)
        with self._lock:
            made = self._kept.get(name)
            if found := made is not None:
                self._kept.move_to_end(name)
            else:
                made = self._kept[name] = Future()
                while len(self._kept) > _IMAGES_KEPT:
                    self._kept.popitem(last=False)
        assert made is not None
        if not found:
            try:
                made.set_result(
                    draw_sheet(row, sheet, self._plan, read_marked(self._shard.shared, image_path(row.unmarked)))
                )
            except BaseException as error:
                made.set_exception(error)
        return made.result()


@dataclass(frozen=True)
class _Item:
    """What is heard by the same first request."""

    row: _Row
    questions: Sequence[Question]


def _captioned(
    rows: Iterable[RenderedRow], plan: Plan, completions: Mapping[str, Completion], corrections: Corrections
) -> tuple[list[_Row], Captions]:
    """The rows with regions that are judged, and all captions of the shard. A sample is in an order of its own.

    About what a person has settled the listener has nothing to say.
    """
    captioned: list[_Row] = []
    texts: list[str] = []
    for row in rows:
        try:
            corrected = corrections.of_row(row, plan.settings.prompt_language)
            all_attempts = [
                follow_attempts(row, regions, plan, completions, corrected.settled)
                for regions in asked_together(row, plan)
            ]
        except Exception as error:
            _leave(row, error)
            continue
        if corrected.no_record is not None or any(
            attempts.error is not None or attempts.request is not None for attempts in all_attempts
        ):
            continue
        said = {region: caption for attempts in all_attempts for region, caption in attempts.captions.items()}
        # Of one that a person has left out there is nothing to be said, but it is marked with the others.
        captions = {each.region: said.get(each.region, "") for each in row.regions} | corrected.captions
        texts += filter(None, captions.values())
        regions = [region for region in drawn_regions(row, plan) if region not in corrected.settled]
        if regions or plan.settings.caption_mode == "auto":
            captioned.append(_Row(row, all_attempts, captions, frozenset(corrected.settled), regions))
    if plan.settings.judges == "sample":
        # Whatever ends it early leaves a fair choice.
        captioned.sort(key=lambda each: chance("order", each.row.id, 0))
    return captioned, Captions(texts)


def _untold(each: _Row, scores: Sequence[Scored]) -> _Row:
    """What is asked about a row's other captions where the captioner does not tell how sure it was of their words.

    What it tells says as much as the listener does, and costs nothing.
    """
    sure, judged = sure_of(each.before), {score.region for score in scores if score.kind == "own"}
    regions = each.captions.keys() - judged - each.settled - {region for region in sure if sure[region] is not None}
    return replace(
        each, questions=[Question(each.row.id, region, each.captions[region], "own") for region in sorted(regions)]
    )


def _time_limit(plan: Plan, captioning: AskCounts | None, least: float) -> tuple[float, str | None]:
    """How many seconds asking may take, and why it may take none."""
    if plan.settings.judges != "sample" or captioning is None or not captioning.asked:
        return math.inf, None
    if captioning.asked >= _TELLING and captioning.asked < captioning.seconds:
        return 0.0, "the server gives less than one answer a second, so no sample is judged: set judge to all"
    return max(least, _TIME_SHARE * captioning.seconds), None


class _Listener:
    """Asks the listener about a shard, and knows what it has said."""

    def __init__(
        self,
        work: Store,
        shard: Shard,
        shard_id: str,
        plan: Plan,
        judge: Vlm,
        of_one_model: Callable[[Served], None],
        progress: Callable[[AskProgress], None],
        least_seconds: float,
    ) -> None:
        self._work, self._shard, self._plan, self._judge, self._progress = work, shard, plan, judge, progress
        self._of_one_model, self._least = of_one_model, least_seconds
        self._earlier = earlier_completions(work, plan, shard_id, layout.JUDGED)
        self._known: dict[str, Completion] = {}
        self.counts = _NOTHING
        self.spent: Spending | None = None
        # Whether something was not asked for the time it takes.
        self.late = False

    def hear(self, rows: Sequence[_Row], limit: float) -> str | None:
        """Ask what is asked about rows and has no answer; begin nothing when asking has taken `limit` seconds.

        Returns why they are not judged, if they are not.
        """
        try:
            self._ask([item for each in rows for item in self._items(each)], limit)
        except (VlmUnavailableError, VlmSetupError, CeilingError) as error:
            if self._plan.settings.judge_away == "wait":
                raise
            _log.warning("not judged: %s", error)
            return str(error)
        finally:
            self._known = {**self._earlier, **load_completions(self._shard.shared, layout.JUDGED)}
        unbound = [self._follow(each, question).unbound for each in rows for question in each.questions]
        if 2 * sum(unbound) > len(unbound):
            return (
                f"of {len(unbound):,} answers {sum(unbound):,} are no region's number, nor that there is none: the "
                "server does not bind answers to a choice"
            )
        return None

    def heard(self, row: _Row) -> list[Heard]:
        """What was heard about a row."""
        return [heard for question in row.questions for heard in self._follow(row, question).heard]

    def _follow(self, row: _Row, question: Question, completions: Mapping[str, Completion] | None = None) -> Followed:
        known = self._known if completions is None else completions
        return follow_listening(row.row, question, self._plan, row.captions, known)

    def _items(self, row: _Row) -> Iterator[_Item]:
        questions = sorted(row.questions, key=lambda question: self._first_key(row, question))
        for _, alike in groupby(questions, key=lambda question: self._first_key(row, question)):
            yield _Item(row, list(alike))

    def _first_key(self, row: _Row, question: Question) -> str:
        request = follow_listening(row.row, question, self._plan, row.captions, {}).request
        assert request is not None, "nothing was heard"
        return request.key

    def _next(self, item: _Item, completions: Mapping[str, Completion]) -> Followed | None:
        steps = (self._follow(item.row, question, completions) for question in item.questions)
        return next((step for step in steps if step.request is not None), None)

    def _ask(self, items: Sequence[_Item], limit: float) -> None:
        shared = self._shard.shared
        before = load_completions(shared, layout.JUDGED)
        own, found = without_refusals(before), without_refusals(self._earlier)
        sampled = self._plan.settings.judges == "sample"
        ended = of_ended_servers({**self._earlier, **before})
        known = {**found, **own}
        used = {
            heard.question
            for item in items
            for question in item.questions
            for heard in self._follow(item.row, question, known).heard
        }
        left = [item for item in items if self._next(item, known) is not None]
        kept = sum(self._next(item, own) is None for item in items)

        drawn = _Drawn(self._shard, self._plan)

        def prepare(item: _Item, completions: Mapping[str, Completion]) -> PreparedRequest | None:
            step = self._next(item, {**known, **completions})
            if step is None or step.request is None or step.sheet is None:
                return None
            request = step.request
            if request.key in ended and ended[request.key].server == sink.server:
                return None
            return PreparedRequest(request, {request.images[0]: drawn.jpeg(item.row.row, step.sheet)})

        def is_slow(seconds: float) -> bool:
            # Where captions were taken over, it was not known before.
            return sampled and seconds > max(_TELLING, self._least) and sink.counts().asked < seconds

        def in_time() -> Iterator[_Item]:
            began: float | None = None
            for item in left:
                taken = 0.0 if began is None else time.monotonic() - began
                if taken >= limit or is_slow(taken):
                    self.late = True
                    return
                yield item
                # The first one is taken before the server is found out about, which is no asking.
                began = began or time.monotonic()

        images = len({item.row.row.id for item in items})
        bill = Bill(self._plan)
        bill.add(before.values())
        sink = CompletionSink(
            shared, layout.JUDGED, questions=len(items), images=images, kept=kept, progress=self._progress, bill=bill
        )
        sink.take_over([found[key] for key in used if key not in own], len(items) - kept - len(left))
        try:
            ask_into(
                sink, self._judge, in_time(), prepare, self._plan.settings, Ceiling(self._work, self._plan),
                of_one_model=self._of_one_model, listening=True,
            )  # fmt: skip
        finally:
            self.counts, self.spent = _sum(self.counts, sink.counts()), bill.spent


@dataclass(frozen=True)
class _Again:
    """What is asked about a row once more, and how what came of it is followed."""

    row: _Row
    follow_row: Callable[[Mapping[str, Completion]], Attempts]

    def follow(self, completions: Mapping[str, Completion]) -> Attempts:
        """What came of it; nothing where the row is to be left to `validate`."""
        try:
            return self.follow_row(completions)
        except Exception as error:
            _leave(self.row.row, error)
            return Attempts()


class _Captioner:
    """Asks for captions of a shard once more."""

    def __init__(
        self,
        work: Store,
        shard: Shard,
        shard_id: str,
        plan: Plan,
        vlm: Vlm,
        progress: Callable[[AskProgress], None],
    ) -> None:
        self._work, self._shard, self._plan, self._vlm, self._progress = work, shard, plan, vlm, progress
        self._shard_id = shard_id
        self.counts = _NOTHING

    def ask(self, items: Sequence[_Again], limit: float = math.inf) -> dict[str, Completion]:
        """Ask what has no answer yet, and begin nothing after `limit` seconds; returns all that was answered, ever.

        An earlier plan's answers are taken over. Raises VlmUnavailableError, VlmSetupError and CeilingError.
        """
        shared = self._shard.shared
        before = self.answered()
        if not items:
            return before
        own = without_refusals(before)
        found = earlier_completions(self._work, self._plan, self._shard_id, layout.ANSWERS)
        ended = of_ended_servers({**found, **before})
        known = {**without_refusals(found), **own}

        def prepare(item: _Again, completions: Mapping[str, Completion]) -> PreparedRequest | None:
            request = item.follow({**known, **completions}).request
            if request is None or (request.key in ended and ended[request.key].server == sink.server):
                return None
            return PreparedRequest(request, {name: _image(self._shard, name) for name in request.images})

        left = [item for item in items if item.follow(known).request is not None]
        used = {done.key: done for item in items for done in item.follow(known).used if done.key not in own}
        kept = sum(item.follow(own).request is None for item in items)
        images = len({item.row.row.id for item in items})
        bill = Bill(self._plan)
        bill.add(before.values())
        sink = CompletionSink(
            shared, layout.ANSWERS, questions=len(items), images=images, kept=kept, progress=self._progress, bill=bill
        )
        sink.take_over(used.values(), len(items) - kept - len(left))
        try:
            ask_into(
                sink, self._vlm, _within(left, limit), prepare, self._plan.settings, Ceiling(self._work, self._plan),
                of_one_model=partial(check_model, self._work, self._plan),
            )  # fmt: skip
        finally:
            self.counts = _sum(self.counts, sink.counts())
            note_spent(self._shard.own, bill.spent)
        return self.answered()

    def answered(self) -> dict[str, Completion]:
        """All that was answered about the shard, ever."""
        return load_completions(self._shard.shared, layout.ANSWERS)


def _within(items: Iterable[Item], limit: float) -> Iterator[Item]:
    """The items, as far as they are asked for within `limit` seconds of the first one."""
    began: float | None = None
    for item in items:
        if began is not None and time.monotonic() - began >= limit:
            return
        yield item
        began = began or time.monotonic()


def _asked_twice(
    captioner: _Captioner,
    plan: Plan,
    rows: Sequence[_Row],
    scores: Mapping[str, Sequence[Scored]],
    limit: float,
) -> list[Scored]:
    """Ask for some captions once more, another way; returns the rows' scores, with whether these say the same.

    Where that cannot be had, they are as they are: the judge's word is enough. Raises VlmUnavailableError where the
    captioner is away and the run waits.
    """
    other = second_plan(plan)

    def item(each: _Row, regions: RegionNumbers) -> _Again:
        return _Again(each, lambda completions: follow_attempts(each.row, regions, other, completions))

    items = [item(each, regions) for each in rows for regions in second_askings(each.row, each.regions, other)]
    try:
        completions = captioner.ask(items if limit > 0 else [], limit)
    except (VlmUnavailableError, VlmSetupError, CeilingError) as error:
        if plan.settings.judge_away == "wait" and isinstance(error, VlmUnavailableError):
            raise
        _log.warning("not all captions could be asked for once more: %s", error)
        completions = captioner.answered()
    return [score for each in rows for score in agreed(each.row, scores[each.row.id], other, completions)]


@dataclass(frozen=True)
class _Mended:
    """How many regions got another caption when they were asked about again, and how many doubted ones a better one."""

    asked: int = 0
    mended: int = 0


def _mend(
    listener: _Listener, captioner: _Captioner, plan: Plan, rows: Sequence[_Row], scores: dict[str, list[Scored]]
) -> tuple[_Mended, str | None]:
    """Ask for other captions where the run wants that, and put what they are worth into the rows' `scores`.

    Returns what came of it, and why nothing can be said of it, if so. Raises what asking raises.
    """
    if plan.settings.caption_mode == "auto":
        untold = [each for row in rows if (each := _untold(row, scores[row.row.id])).questions]
        if reason := listener.hear(untold, math.inf):
            return _Mended(), reason
        for each in untold:
            of_row = scores_of(each.row, listener.heard(each), each.captions)
            scores[each.row.id] += [score for score in of_row if score.kind == "own"]
    again = _ask_again(captioner, plan, rows, scores)
    reason = listener.hear(again, math.inf)
    mended = 0
    for each in again:
        before = scores[each.row.id]
        kept = better(scores_of(each.row, listener.heard(each), each.captions))
        regions = {score.region for score in kept}
        mended += sum(score.kind == "own" and score.doubted and score.region in regions for score in before)
        scores[each.row.id] = [score for score in before if score.kind != "own" or score.region not in regions] + kept
    return _Mended(sum(len(each.questions) for each in again), mended), reason


def _ask_again(
    captioner: _Captioner, plan: Plan, rows: Sequence[_Row], scores: Mapping[str, Sequence[Scored]]
) -> list[_Row]:
    """Ask for other captions where the run wants that; returns the rows with these, and what is asked about them."""

    def item(each: _Row, region: int) -> _Again:
        return _Again(each, lambda completions: follow_again(each.row, region, plan, completions, each.before))

    unsure: dict[str, set[int]] = defaultdict(set)
    for row, region in least_sure(
        {(each.row.id, at): one for each in rows for at, one in sure_of(each.before).items()}
    ):
        unsure[row].add(region)
    items = [
        item(each, region)
        for each in rows
        for region in regions_to_ask_again(each.row, plan, each.captions, scores[each.row.id], unsure[each.row.id])
        if region not in each.settled
    ]
    completions = captioner.ask(items)
    again = []
    for each, of_row in groupby(items, key=lambda item: item.row):
        others = {
            region: caption
            for asked in of_row
            for region, caption in asked.follow(completions).captions.items()
            if caption != each.captions[region]
        }
        questions = [Question(each.row.id, region, caption, "own") for region, caption in others.items()]
        if questions:
            again.append(replace(each, captions={**each.captions, **others}, questions=questions))
    return again


def _image(shard: Shard, name: str) -> bytes | Path:
    path = image_path(name)
    # A server on this machine may read the file itself: it is looked at here in any case.
    data = read_marked(shard.shared, path)
    return shard.shared.local_path(path) or data


def _leave(row: RenderedRow, error: Exception) -> None:
    """Leave a row to `validate`, which comes upon the same error and rejects it. Raises what is not the row's."""
    if not isinstance(error, RowError):
        unforeseen(error, named(row))


def _sum(one: AskCounts, other: AskCounts) -> AskCounts:
    names = ("questions", "kept", "taken_over", "asked", "prompt_tokens", "completion_tokens", "seconds")
    return other.model_copy(update={name: getattr(one, name) + getattr(other, name) for name in names})
