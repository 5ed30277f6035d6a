"""What is said about a row's regions, attempt by attempt: the answers so far decide what is asked next.

It is a pure function of the answers, so the caption step, its next try and the validation all come to the same end,
and an answer that fails is asked for again only as often as `max_attempts` allows, however often the task is run:

- an answer that is cut off is asked for again with twice the tokens (`max_tokens`), as far as the server's context has
  room for them;
- regions that are missing, or whose captions do not pass a gate, are asked for again without the others, whose captions
  stay;
- an answer that cannot be trusted as a whole (no region can be told, one is invented or repeated) is asked for again;
- what a further answer says of marked regions beside those that it was asked about is left out; where it tells of
  others instead (its numbers may be counted otherwise than the marks), the next request is about all regions again,
  as the first was, and only what is missing is taken;
- regions that a person has settled are never asked for again, and only where others are asked about with them;
- each further attempt has another seed, and a temperature of at least `RETRY_TEMPERATURE`: the same request at
  temperature 0 would get the same answer;
- a request that the server refuses is not sent again by the same try of a task; each new one asks once more.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from regioncap.ask.requests import RegionNumbers, caption_request, hint_of
from regioncap.captions.answers import parse_answer
from regioncap.captions.endings import ending
from regioncap.captions.prompts import label_hint
from regioncap.errors import RowError
from regioncap.gates import Answer, Finding, run_gates
from regioncap.marks.palette import colour_name
from regioncap.marks.styles import STYLES
from regioncap.regions.codes import Code
from regioncap.regions.records import RenderedRow
from regioncap.vlm.completion import ENDED, Completion
from regioncap.vlm.remedies import ROOM, remedy
from regioncap.vlm.requests import ChatRequest
from regioncap.work.plan import Plan

# A further request may name the regions that are left: so many tokens more.
_MORE_WORDS = 64
# How the reason of a row begins whose answers the server stopped each time: it may not do so the next time.
NEVER_WHOLE = "no answer was whole"


@dataclass
class Attempts:
    """What came of asking about some regions of a row.

    `request` is what to send next, None where nothing is; `error` is why the regions have no captions then, None where
    they have. `used` are the completions that count. Gates that only warn have nothing to say here: `make_record` asks
    them about the captions that it takes.
    """

    captions: dict[int, str] = field(default_factory=dict)
    used: list[Completion] = field(default_factory=list)
    request: ChatRequest | None = None
    error: RowError | None = None


def follow_attempts(
    row: RenderedRow,
    regions: RegionNumbers,
    plan: Plan,
    completions: Mapping[str, Completion],
    settled: Collection[int] = (),
    *,
    alone: bool = False,
    after: int = 0,
) -> Attempts:
    """Follow the requests about `regions` of a row through the completions, which are known by their requests' keys.

    Of `settled` regions no caption is wanted: what is said of them in the same answers is neither good nor bad. With
    `alone`, those that ask about the one region by itself, whatever the run does first; `after` so many others.
    """
    so_far = Attempts()
    if set(regions) <= set(settled):
        return so_far
    marked = tuple(region.region for region in row.regions)
    left, asked, token_multiplier = regions, regions, 1
    room: int | None = None
    for attempt in range(after + 1, after + plan.settings.max_attempts + 1):
        request = caption_request(row, plan, regions, asked, attempt, token_multiplier, room, alone=alone)
        completion = completions.get(request.key)
        if completion is None:
            so_far.request = request
            return so_far
        if completion.refused is not None:
            # The cause of a further attempt says more about the row than its refusal.
            so_far.error = so_far.error or refusal_error(completion)
            return so_far
        so_far.used.append(completion)
        parsed = parse_answer(completion.text, plan.settings.answer_format, left, marked)
        language = plan.settings.prompt_language
        sent, colours = _sent(request, row, plan), mark_colours(row, plan)
        answer = Answer(completion.text, completion.finish_reason, parsed, left, language, sent, colours)
        rejecting = [
            finding for finding in run_gates(answer) if finding.severity == "reject" and not _is_about(finding, settled)
        ]
        failed = _failed_regions(rejecting)
        if failed is not None:
            good = [region for region in left if parsed.captions.get(region) and region not in failed]
            so_far.captions |= {region: parsed.captions[region] for region in good}
        if not rejecting:
            so_far.error = None
            return so_far
        failed_error = RowError(rejecting[0].gate.code, rejecting[0].failure.reason)
        so_far.error = filter_error(completion) or _full_context_error(completion) or failed_error
        cut_off = ending(completion.finish_reason) == "no_room"
        understood = cut_off or (parsed.captions and parsed.captions.keys() <= set(left))
        left = tuple(region for region in regions if region not in so_far.captions and region not in settled)
        asked = left if understood else regions
        token_multiplier *= 2 if cut_off else 1
        if completion.context is not None:
            room = completion.context - completion.prompt_tokens - _MORE_WORDS
    return so_far


def follow_again(
    row: RenderedRow, region: int, plan: Plan, completions: Mapping[str, Completion], before: Sequence[Attempts]
) -> Attempts:
    """What came of asking for another caption of a region, by itself; `before` is what came of asking about the row.

    Where it was asked about by itself before, it is with another seed.
    """
    asked = [attempts for attempts in before if region in attempts.captions]
    after = len(asked[0].used) if asked and plan.settings.caption_mode == "per_region" else 0
    return follow_attempts(row, (region,), plan, completions, alone=True, after=after)


def refusal_error(completion: Completion) -> RowError:
    """The row's error where the server refused its request, failed at it each time, or stopped each answer to it."""
    if completion.finish_reason == "unfinished":
        return RowError(Code.CUT_OFF, f"{NEVER_WHOLE}: {completion.refused}")
    if completion.finish_reason in ("failed", ENDED):
        return RowError(Code.REQUEST_REFUSED, f"the VLM failed at the request: {completion.refused}")
    change = remedy(str(completion.refused))
    hint = f" (to mend it, {change})" if change else ""
    return RowError(Code.REQUEST_REFUSED, f"the VLM refused the request: {completion.refused}{hint}")


def filter_error(completion: Completion) -> RowError | None:
    """The row's error where a content filter ended the answer."""
    if ending(completion.finish_reason) != "filtered":
        return None
    return RowError(Code.CONTENT_FILTER, f"the server's content filter ended the answer ({completion.finish_reason})")


def _full_context_error(completion: Completion) -> RowError | None:
    """The row's error where question and answer together filled the server's context."""
    tokens = completion.prompt_tokens + completion.completion_tokens
    if ending(completion.finish_reason) != "no_room" or completion.context is None or tokens < completion.context:
        return None
    return RowError(
        Code.CUT_OFF,
        f"the answer was cut off where the context was full: {completion.prompt_tokens} tokens of the question and "
        f"{completion.completion_tokens} of the answer are all that the server's {completion.context} have room for; "
        f"{ROOM}",
    )


def mark_colours(row: RenderedRow, plan: Plan) -> dict[int, str]:
    """The colours of a row's marks by region; none where they are not known: an installed style may have its own."""
    own = plan.settings.mark_style in STYLES.own
    return {region.region: colour_name(region.region) for region in row.regions} if own else {}


def _sent(request: ChatRequest, row: RenderedRow, plan: Plan) -> tuple[str, ...]:
    """The texts of a request, but for labels: a caption may have words in common with these."""
    hint, without = hint_of(row, plan.settings), label_hint({}, plan.settings.prompt_language)
    texts = (part.value for part in request.parts if part.kind == "text")
    return (request.system, *(without if text == hint else text for text in texts))


def _is_about(finding: Finding, settled: Collection[int]) -> bool:
    """Whether a finding is about settled regions alone."""
    return finding.failure.regions is not None and set(finding.failure.regions) <= set(settled)


def _failed_regions(findings: Sequence[Finding]) -> set[int] | None:
    """The regions that findings are about; None if one of them is about the answer as a whole."""
    failed: set[int] = set()
    for finding in findings:
        if finding.failure.regions is None:
            return None
        failed.update(finding.failure.regions)
    return failed
