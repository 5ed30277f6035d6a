"""What a gate is, and what it may look at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Literal

from regioncap.captions.answers import ParsedAnswer
from regioncap.captions.prompts import PromptLanguage
from regioncap.gates.wording import unquoted
from regioncap.regions.names import region_tag

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


@dataclass(frozen=True)
class Answer:
    """Everything a gate may look at.

    `text` is what the model wrote, `finish_reason` why it stopped, `parsed` its parts, `regions` the numbers of those
    asked about, `language` the one they should be described in, `prompts` the texts that were sent to the model.
    """

    text: str
    finish_reason: str
    parsed: ParsedAnswer
    regions: Sequence[int]
    language: PromptLanguage = "en"
    prompts: tuple[str, ...] = ()

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

    The captions of other regions stay good, and where a failure rejects, only its regions are asked about again.
    """

    reason: str
    regions: tuple[int, ...] | None = None


Check = Callable[[Answer], Failure | None]


@dataclass(frozen=True)
class Gate:
    """A check with its name, `code`.

    Severity `reject` has the regions at fault asked about again, and at last rejects the row; `warn` notes the code in
    the record's `checks`.
    """

    code: str
    severity: Literal["reject", "warn"]
    check: Check


@dataclass(frozen=True)
class Finding:
    """A gate that an answer does not pass, and why."""

    gate: Gate
    failure: Failure


def about(regions: Sequence[int], what: str) -> Failure | None:
    """A failure of these regions; None where there are none. `what` completes a sentence: `is not described`."""
    return Failure(f"{', '.join(map(region_tag, regions))} {what}", tuple(regions)) if regions else None


def each_caption(check: Callable[[Caption], str | None], outside: bool = False) -> Check:
    """A check that looks at each caption by itself.

    `check` returns what is wrong with a caption, in words that complete a sentence (`is in French`), or None. With
    `outside` it looks at what is said beside the captions too.
    """

    @wraps(check)
    def check_all(answer: Answer) -> Failure | None:
        faults = [(caption.region, what) for caption in answer.captions if (what := check(caption)) is not None]
        if outside and answer.parsed.captions and (what := check(answer.outside)) is not None:
            faults.append((None, what))
        if not faults:
            return None
        regions = tuple(region for region, _ in faults if region is not None)
        if len(regions) < len(faults):
            return Failure(f"the answer {faults[-1][1]}")
        return about(regions, faults[0][1])

    return check_all


def quote(text: str) -> str:
    """A piece of the model's text for a reason, shortened."""
    return f"“{text if len(text) <= _QUOTED_CHARACTERS else text[:_QUOTED_CHARACTERS] + '…'}”"
