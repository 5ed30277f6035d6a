"""How many of a build's captions are wrong, from what a listener made of them and of planted ones.

Captions fall into cells, by how far they are trusted and by what they were taken for. How wrong ones fall is known from
planted ones, by kind; how right ones fall, from those known to be right, as far as there are any. The build's own are a
mixture of both, whose parts are drawn by Gibbs sampling: in each draw all that is not known is drawn first, so that it
widens the interval. The random numbers are the same each time.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from regioncap.trust.questions import PLANTED
from regioncap.trust.scorers import WHICH_REGION
from regioncap.trust.scores import Scored

# From how many judged captions on, and how many that were planted by questions of their own, a build can be judged.
FEWEST_REGIONS, FEWEST_PLANTED = 60, 40
# A listener is deaf that trusts less than this share of the planted captions of a kind less than half of the own ones.
_HEARS: dict[str, float] = {"neighbour": 0.8, "foreign": 0.8, "attribute": 0.65}
# Wider intervals say nothing.
_WIDEST = 0.5

# A cell: the trust up to which it goes; below what is doubted, those taken for another region and for none are apart.
_EDGES = (0.02, 0.1, 0.3, 0.5, 0.7, 0.85)
_DOUBTED_STEPS = 4
_CELLS = 2 * _DOUBTED_STEPS + 3
# What is thought of right captions before any is known to be right, as of so many captions: hardly any share of them
# that is doubted can be ruled out. Of the doubted ones, and of the others, how they fall.
_DOUBTED_RIGHT = (2.0, 2.0)
_LOW = np.array([0.5, 0.5, 0.5, 0.5, 0.7, 0.7, 1.0, 1.0])
_HIGH = np.array([0.5, 1.0, 3.0])
_WRONG = 0.2
# Of the shares of right captions and of each kind of wrong ones, likewise.
_MOSTLY_RIGHT, _SOME_WRONG = 4.0, 0.1
# The share of trusted captions that are wrong all the same, as errors are that captioner and judge share. It is as the
# share that a second asking disagrees with, times a number up to this: not all of these are wrong, and the second
# asking may share the error too. Where second askings tell nothing (`tells`), all that is known is this Beta
# distribution, for the captioner's own model as judge and for another one.
_OF_DISAGREED = 1.3
_FEWEST_TWICE = 25
_UNHEARD = {True: (1.0, 25.0), False: (1.0, 50.0)}

# So many draws, each after so many steps of a chain of its own.
_DRAWS, _STEPS = 400, 20
_SEED = 95


class Recall(BaseModel):
    """How many planted captions of a kind were judged, and how many of them were found."""

    model_config = ConfigDict(frozen=True)

    planted: int = Field(ge=0, description="How many planted captions of the kind were judged.", examples=[120])
    found: int = Field(ge=0, description="How many of them were doubted.", examples=[117])


class Judged(BaseModel):
    """What is known of how many of a build's captions are wrong. `share`, `low` and `high` are all there, or none."""

    model_config = ConfigDict(frozen=True)

    share: float | None = Field(
        description="The estimated share of captions that are wrong, as they were first written: before doubted ones "
        "were asked for again or rejected. Null where the build is not judged.",
        examples=[0.021],
    )
    low: float | None = Field(description="The lower end of the share's 95 % interval.", examples=[0.009])
    high: float | None = Field(description="Its upper end.", examples=[0.044])
    regions: int = Field(
        ge=0,
        description="How many captions there were, those of rows that were rejected as doubted too.",
        examples=[400],
    )
    judged: int = Field(ge=0, description="How many of them were judged.", examples=[400])
    asked: int = Field(ge=0, description="How many questions the listener answered.", examples=[1064])
    planted: int = Field(ge=0, description="How many planted captions were judged.", examples=[2310])
    found: dict[str, Recall] = Field(
        description="By kind of planted caption, how many were judged and found.",
        examples=[{"attribute": {"planted": 120, "found": 112}}],
    )
    false_alarm: float | None = Field(
        description="The share of right captions that are doubted: the upper end of its 95 % interval, which begins at "
        "0.",
        examples=[0.01],
    )
    how: Literal["all", "sample"] = Field(description="Whether all captions were judged.", examples=["all"])
    judge: str = Field(description="The model that judged.", examples=["regioncap-demo"])
    same_model: bool = Field(description="Whether it is the model that made the captions.", examples=[True])
    scorer: str = Field(
        default=WHICH_REGION, description="What it was asked: the run's `judge_by`.", examples=[WHICH_REGION]
    )
    asked_twice: int = Field(
        default=0,
        ge=0,
        description="Of how many trusted captions another one was asked for, another way, to compare.",
        examples=[96],
    )
    agreed: int = Field(default=0, ge=0, description="How many of these said the same.", examples=[94])
    asked_again: int = Field(default=0, ge=0, description="How many captions were asked for again.", examples=[11])
    mended: int = Field(default=0, ge=0, description="How many of these got a caption that is trusted.", examples=[8])
    rejected: int = Field(default=0, ge=0, description="How many rows were rejected as doubted.", examples=[0])
    reason: str | None = Field(default=None, description="Why the build is not judged, in words.", examples=[None])


def estimate(
    scores: Iterable[Scored],
    *,
    regions: int,
    asked: int,
    how: Literal["all", "sample"],
    judge: str,
    same_model: bool,
) -> Judged:
    """Judge a build of so many `regions` by the scores of its captions, all or a sample of them, and of planted ones.

    `asked` counts the questions. Captions with which a second asking has agreed are taken for right, and how many these
    are tells how much is wrong that nobody hears.

    Fails closed: where the listener cannot be told from one that guesses, or was asked too little, `share` is None and
    `reason` says why.
    """
    by_kind: dict[str, list[Scored]] = {kind: [] for kind in ("own", *PLANTED)}
    for score in scores:
        by_kind[score.kind].append(score)
    own = by_kind.pop("own")
    found = {kind: _recall(planted) for kind, planted in by_kind.items() if planted}
    twice = _asked_twice(own)
    judged = Judged(
        share=None, low=None, high=None, regions=regions, judged=len(own), asked=asked,
        planted=sum(recall.planted for recall in found.values()), found=found, false_alarm=None, how=how, judge=judge,
        same_model=same_model, asked_twice=len(twice), agreed=twice.count(True),
    )  # fmt: skip
    reason = _too_few(own, by_kind, regions) or _deaf(own, by_kind)
    if reason:
        return judged.model_copy(update={"reason": reason})
    wrong, false_alarms = _drawn(own, by_kind, regions, same_model)
    low, share, high = (float(value) for value in np.quantile(wrong, (0.025, 0.5, 0.975)))
    if high - low > _WIDEST:
        told = f"the share of wrong captions can be anything from {low:.0%} to {high:.0%}"
        return judged.model_copy(update={"reason": f"{told}: have more captions judged, or by a better judge"})
    alarm = float(np.quantile(false_alarms, 0.975))
    return judged.model_copy(update={"share": share, "low": low, "high": high, "false_alarm": alarm})


def tells(asked_twice: int, agreed: int) -> bool:
    """Whether second askings tell how many of the trusted captions are wrong.

    A few do not. Nor do they where most say something else: of a model that finds other words each time that says
    nothing of right or wrong.
    """
    return asked_twice >= _FEWEST_TWICE and 2 * agreed >= asked_twice


def _asked_twice(own: Iterable[Scored]) -> list[bool]:
    """Of the trusted captions that were asked for once more, whether that says the same."""
    return [score.agreed for score in own if score.agreed is not None and not score.doubted]


def _recall(planted: list[Scored]) -> Recall:
    return Recall(planted=len(planted), found=sum(score.doubted for score in planted))


def _too_few(own: list[Scored], planted: Mapping[str, list[Scored]], regions: int) -> str | None:
    """Why there is too little to tell anything from."""
    if len(own) < FEWEST_REGIONS:
        of = f" of {regions}" if regions != len(own) else ""
        return f"{len(own)}{of} captions were judged"
    made = sum(len(scores) for kind, scores in planted.items() if kind != "neighbour")
    if made < FEWEST_PLANTED:
        return (
            f"{made} captions could be planted that are known to be wrong: from {FEWEST_PLANTED} on it can be told "
            "whether the judge finds such"
        )
    return None


def _deaf(own: list[Scored], planted: Mapping[str, list[Scored]]) -> str | None:
    """Why the listener is taken for one that does not hear: it trusts planted captions as it does the build's own."""
    for kind, least in _HEARS.items():
        if planted[kind]:
            below = told_apart(own, planted[kind])
            if below < least:
                return (
                    f"the judge cannot tell planted captions from the build's own: of the kind {kind!r} it trusts "
                    f"{below:.0%} less than half of the own ones, and {least:.0%} are needed. Ask another judge, "
                    "unless most of the captions are wrong"
                )
    return None


def told_apart(own: Iterable[Scored], planted: Iterable[Scored]) -> float:
    """The share of planted captions that are trusted less than the middle one of the own, as much counting half.

    The middle one is right wherever most are: that some are wrong is no fault of the listener.
    """
    middle = float(np.median([score.trust for score in own]))
    trusts, weights = np.array([[score.trust, score.weight] for score in planted]).T
    return float((((trusts < middle) + (trusts == middle) / 2) * weights).sum() / weights.sum())


def _counts(scores: Iterable[Scored]) -> np.ndarray:
    """How many captions fall into each cell, by weight: (_CELLS,)."""
    counts = np.zeros(_CELLS)
    for score in scores:
        step = int(np.searchsorted(_EDGES, score.trust, "right"))
        doubted = score.confused_with is not None
        counts[2 * step + (score.confused_with == 0) if doubted else step + _DOUBTED_STEPS] += score.weight
    return counts


def _drawn(
    own: list[Scored],
    planted: Mapping[str, list[Scored]],
    regions: int,
    same_model: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Draws of the share of the build's captions that are wrong, and of the share of right ones that are doubted.

    The first is of this build's captions, however the rest would be judged; the second of all that it might have had.
    """
    random = np.random.default_rng(_SEED)
    taken_for_right = [score for score in own if score.agreed]
    rest = [score for score in own if not score.agreed]
    unknown = _counts(rest).astype(np.int64)
    right, low = _counts(taken_for_right), 2 * _DOUBTED_STEPS
    kinds = np.array([_WRONG + _counts(scores) for scores in planted.values() if scores])
    # Right ones cannot be doubted more often than twice what all are, where at least half are right.
    doubted = unknown[:low].sum()
    most = 2 * (doubted + 3 * np.sqrt(doubted) + 3) / max(1, unknown.sum())
    alarms = random.beta(_DOUBTED_RIGHT[0] + right[:low].sum(), _DOUBTED_RIGHT[1] + right[low:].sum(), size=50 * _DRAWS)
    possible = alarms[alarms <= most]
    alarm = random.choice(possible if len(possible) else alarms, size=(_DRAWS, 1))
    falls_right = np.hstack(
        [
            alarm * _dirichlet(random, np.tile(_LOW + right[:low], (_DRAWS, 1))),
            (1 - alarm) * _dirichlet(random, np.tile(_HIGH + right[low:], (_DRAWS, 1))),
        ]
    )
    falls = np.concatenate([falls_right[:, None], _dirichlet(random, np.tile(kinds, (_DRAWS, 1, 1)))], axis=1)
    prior = np.array([_MOSTLY_RIGHT + len(taken_for_right), *[_SOME_WRONG] * len(kinds)])
    mix = np.full((_DRAWS, len(prior)), 1 / len(prior))
    for _ in range(_STEPS):
        likely = np.moveaxis(falls, 1, 2) * mix[:, None, :]
        taken = random.multinomial(unknown, _shares(likely))
        mix = _dirichlet(random, prior + taken.sum(axis=1))
    # Draws count by how likely they make it that so many of the build's own are doubted as are.
    doubts = np.clip((falls[:, :, :low].sum(axis=2) * mix).sum(axis=1), 1e-9, 1 - 1e-9)
    fit = unknown[:low].sum() * np.log(doubts) + unknown[low:].sum() * np.log1p(-doubts)
    counted = random.choice(_DRAWS, size=_DRAWS, p=_shares(np.exp(fit - fit.max())))
    taken = taken[counted]
    trusted = sum(not score.doubted for score in rest)
    twice = _asked_twice(own)
    telling = tells(len(twice), twice.count(True))
    alpha, beta = (1.0 + twice.count(False), 0.5 + twice.count(True)) if telling else _UNHEARD[same_model]
    unheard = random.beta(alpha, beta, size=_DRAWS) * random.uniform(0, _OF_DISAGREED if telling else 1, size=_DRAWS)
    seen = taken[:, :, 1:].sum(axis=(1, 2))
    wrong = np.minimum(len(own), seen + random.binomial(trusted, np.minimum(1, unheard)))
    if regions > len(own):
        rate = random.beta(wrong + 0.3, len(own) - wrong + 2.0)
        wrong = wrong + random.binomial(regions - len(own), rate)
    false = taken[:, :low, 0].sum(axis=1) + right[:low].sum()
    not_false = taken[:, low:, 0].sum(axis=1) + right[low:].sum()
    return wrong / max(regions, len(own)), random.beta(false + 0.5, not_false + 0.5)


def _dirichlet(random: np.random.Generator, counts: np.ndarray) -> np.ndarray:
    """A draw for each row of counts along the last axis."""
    return _shares(np.maximum(random.standard_gamma(counts), 1e-12))


def _shares(numbers: np.ndarray) -> np.ndarray:
    """The numbers along the last axis as shares of their sum."""
    return np.asarray(numbers / numbers.sum(axis=-1, keepdims=True))


def not_judged(reason: str, *, regions: int, how: Literal["all", "sample"], judge: str, same_model: bool) -> Judged:
    """A build that could not be judged, e.g. since the judge was away."""
    return Judged(
        share=None, low=None, high=None, regions=regions, judged=0, asked=0, planted=0, found={}, false_alarm=None,
        how=how, judge=judge, same_model=same_model, reason=reason,
    )  # fmt: skip
