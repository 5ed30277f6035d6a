"""How a listener is asked about a caption, and what its answer says: by a scorer of RegionCap's own, or another.

A scorer says of any caption how far it is to be trusted, also of one that nobody wrote: only so can it be measured by
planted captions, as every scorer is in every build.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from regioncap.captions.prompts import NO_REGION, PromptLanguage, which_prompt
from regioncap.extend import Registry


@dataclass(frozen=True)
class Scorer:
    """A question of one token about a caption, on a listening image.

    `question(caption, number, language)` is what is asked where the region that the caption is claimed to be of is
    shown under `number`. `choices(shown)` are the answers to choose from where so many regions are shown: 20 at most,
    each one token. `told(number, probabilities)` makes of the probability of each choice that of each number shown;
    what is left of 1 is that it describes none. `alone`: an answer tells of that one number, nothing of the others.
    """

    question: Callable[[str, int, PromptLanguage], str]
    choices: Callable[[int], list[str]]
    told: Callable[[int, Mapping[str, float]], dict[str, float]]
    alone: bool = False


def _fault(name: str, scorer: Any) -> str | None:
    return None if isinstance(scorer, Scorer) else "is no Scorer"


_WHICH_REGION = Scorer(
    question=lambda caption, number, language: which_prompt(caption, language),
    choices=lambda shown: [*map(str, range(1, shown + 1)), NO_REGION],
    told=lambda number, probabilities: dict(probabilities),
)

# The scorer that is used unless a run chooses another.
WHICH_REGION = "which_region"
SCORERS = Registry("regioncap.scorers", "scorer", {WHICH_REGION: _WHICH_REGION}, _fault)
