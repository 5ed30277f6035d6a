"""What a gate is, and what it may look at."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, wraps
from typing import Literal

from regioncap.captions.answers import ParsedAnswer
from regioncap.captions.prompts import PromptLanguage
from regioncap.gates.wording import tokens, unquoted, unread
from regioncap.regions.names import region_name

# A reason quotes at most so much of what the model wrote.
_QUOTED_CHARACTERS = 60


@dataclass(frozen=True)
class Caption:
    """What is said of a region, in one line; or, with `region` None, what is said outside of all captions."""

    text: str
    region: int | None
    language: PromptLanguage

    @cached_property
    def own_words(self) -> str:
        """The text without what it quotes: words in quotation marks are in the picture, not the model's own."""
        return unquoted(self.text)

    @cached_property
    def tokens(self) -> list[str]:
        """The words of the text in lower case, Chinese ones character by character, without punctuation."""
        return tokens(self.text)

    @cached_property
    def said(self) -> str:
        """The model's own words, also without what follows *reads*, *a sign:* and the like."""
        return unread(self.own_words)


@dataclass(frozen=True)
class Answer:
    """Everything a gate may look at.

    `text` is what the model wrote, `finish_reason` why it stopped, `parsed` its parts, `regions` the numbers of those
    asked about, `language` the one they should be described in, `prompts` the texts that were sent to the model.
    Where it is known, `colours` has the English name of each mark's colour, also of regions that this answer is not
    about.
    """

    text: str
    finish_reason: str
    parsed: ParsedAnswer
    regions: Sequence[int]
    language: PromptLanguage = "en"
    prompts: tuple[str, ...] = ()
    colours: Mapping[int, str] = field(default_factory=dict)

    @cached_property
    def captions(self) -> list[Caption]:
        """The captions in the order of their regions; of an answer without any, its whole text as one."""
        captions = [Caption(text, region, self.language) for region, text in sorted(self.parsed.captions.items())]
        return captions or [Caption(self.text, None, self.language)]

    @cached_property
    def outside(self) -> Caption:
        """What is said outside of the captions."""
        return Caption(self.parsed.outside, None, self.language)


@dataclass(frozen=True)
class Failure:
    """Why an answer does not pass. `regions` are those that it is about, None if the answer as a whole is at fault.

    The captions of other regions stay good, and where a failure rejects, only its regions are asked about again. One
    that is not `sure` never rejects: it warns.
    """

    reason: str
    regions: tuple[int, ...] | None = None
    sure: bool = True


class Unsure(str):
    """What may be wrong with a caption: as the text that a check of captions returns, but for a warning."""

    __slots__ = ()


Check = Callable[[Answer], Failure | None]


@dataclass(frozen=True)
class Gate:
    """A check with its name, `code`, and what its failures do at most.

    Severity `reject` has the regions at fault asked about again, and at last rejects the row; `warn` notes the code in
    the record's `checks`. A failure that is not sure warns, whatever the gate's severity.
    """

    code: str
    severity: Literal["reject", "warn"]
    check: Check


@dataclass(frozen=True)
class Finding:
    """A gate that an answer does not pass, and why."""

    gate: Gate
    failure: Failure

    @property
    def sure(self) -> bool:
        """Whether the gate is sure of it."""
        return self.failure.sure

    @property
    def severity(self) -> Literal["reject", "warn"]:
        """What becomes of the answer: only a gate that is sure rejects."""
        return self.gate.severity if self.failure.sure else "warn"


def about(regions: Sequence[int], what: str) -> Failure | None:
    """A failure of these regions; None where there are none. `what` completes a sentence: `is not described`."""
    if not regions:
        return None
    return Failure(f"{', '.join(map(region_name, regions))} {what}", tuple(regions), not isinstance(what, Unsure))


def each_caption(check: Callable[[Caption], str | None], outside: bool = False) -> Check:
    """A check that looks at each caption by itself.

    `check` returns what is wrong with a caption, in words that complete a sentence (`is in French`), an `Unsure` of
    such words where it may be wrong, or None. With `outside` it looks at what is said beside the captions too.
    """

    @wraps(check)
    def check_all(answer: Answer) -> Failure | None:
        faults = [(caption.region, what) for caption in answer.captions if (what := check(caption)) is not None]
        if outside and answer.parsed.captions and (what := check(answer.outside)) is not None:
            faults.append((None, what))
        return of_captions(faults)

    return check_all


def of_captions(faults: Sequence[tuple[int | None, str]]) -> Failure | None:
    """One failure of all that is wrong with captions: (region, what), the region None for the answer as a whole.

    What is sure goes before what is not: the rest is found in the record's captions, if they come that far.
    """
    faults = [fault for fault in faults if not isinstance(fault[1], Unsure)] or faults
    if not faults:
        return None
    regions = tuple(region for region, _ in faults if region is not None)
    if len(regions) < len(faults):
        return Failure(f"the answer {faults[-1][1]}", sure=not isinstance(faults[-1][1], Unsure))
    return about(regions, faults[0][1])


def quote(text: str) -> str:
    """A piece of the model's text for a reason, shortened."""
    return f"“{text if len(text) <= _QUOTED_CHARACTERS else text[:_QUOTED_CHARACTERS] + '…'}”"
