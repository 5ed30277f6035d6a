"""How far a build's captions can be trusted, in words: no figure without its interval and what it was obtained from.

Whatever is shown of `Judged`, in pages, cards, events and warnings, is said here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from regioncap.trust.estimate import FEWEST_REGIONS, Judged, tells
from regioncap.trust.scorers import WHICH_REGION
from regioncap.warehouse.reviews import Estimate, wilson

# A build is warned of where more than this share of its captions is wrong, whatever else is true.
UNUSUAL_WRONG = 0.1

_BOUND_SAME = (
    "Captioner and judge are the same model: what it gets wrong in both parts is not found. Another model as judge "
    "(connection `regioncap_judge`), or a person's sample (`regioncap review`), bounds it."
)
_BOUND_OTHER = "Captioner and judge are two models: only what both get wrong in the same way is not found."

_PLANTED = {
    "neighbour": "another region's caption",
    "foreign": "another image's caption",
    "attribute": "one word changed",
    "generic": "too little said",
    "merged": "two captions in one",
}


@dataclass(frozen=True)
class Heard:
    """How many captions that were planted as wrong ones the judge found, of a kind."""

    what: str
    found: int
    planted: int

    @property
    def told(self) -> str:
        """With the 95 % interval of the share that it would find."""
        low, high = wilson(self.found, self.planted)
        return f"{self.found:,} of {self.planted:,} found ({percents(low, high)} of such, 95 % interval)"


def share_told(judged: Judged) -> str:
    """The estimated share of wrong captions, or that there is none: `2.1 % (0.9 to 4.4 %, ...)`."""
    if judged.share is None or judged.low is None or judged.high is None:
        return "not judged"
    return f"{percent(judged.share)} ({within(judged)})"


def within(judged: Judged) -> str:
    """The interval of the share, and from how many questions it is; empty where the build is not judged."""
    if judged.share is None or judged.low is None or judged.high is None:
        return ""
    return f"95 % interval {percents(judged.low, judged.high)}, {judged.asked:,} questions"


def why_not(judged: Judged) -> str:
    """Why a build is not judged, and from how many regions on there is a figure."""
    reason = (judged.reason or "it is not known why").rstrip(".")
    is_small = judged.regions < FEWEST_REGIONS or 0 < judged.judged < FEWEST_REGIONS
    return f"{reason}. There is a figure from {FEWEST_REGIONS} captions on." if is_small else f"{reason}."


def obtained(judged: Judged) -> list[str]:
    """How the figure was obtained, and what was done about the captions that are doubted; without the judge's name."""
    of = f"{judged.regions:,} captions"
    drawn = f"All {of} were judged" if judged.how == "all" else f"{judged.judged:,} of {of} were drawn and judged"
    own = judged.scorer == WHICH_REGION
    asked = "which of the marked regions is this caption of?" if own else f"those of the scorer {judged.scorer}."
    told = [
        f"{drawn}, by {judged.asked:,} questions: {asked}",
        _BOUND_SAME if judged.same_model else _BOUND_OTHER,
    ]
    if judged.share is not None:
        told.append(_second(judged))
    if judged.false_alarm is not None:
        # Earlier versions wrote 0 where none was doubted.
        most = max(judged.false_alarm, wilson(0, max(1, judged.judged))[1])
        told.append(
            f"Of right captions it doubts {percents(0, most)} (95 % interval, from {judged.judged:,} captions judged)."
        )
    if judged.asked_again or judged.rejected:
        told.append(
            "The estimate is of the captions as they were first written. Then "
            f"{judged.asked_again:,} that were doubted were asked for again ({judged.mended:,} of the new ones are "
            f"trusted), and {judged.rejected:,} rows were rejected: "
            "how much is wrong of what is left is not known, but less."
        )
    return told


def _second(judged: Judged) -> str:
    """What second askings tell of errors that nobody hears."""
    usual = "the interval allows for errors that are not found as far as is usual"
    if not judged.asked_twice:
        return f"No caption was asked for twice: {usual}."
    low, high = wilson(judged.agreed, judged.asked_twice)
    of_these = f"{judged.agreed:,} of {judged.asked_twice:,} trusted captions ({percents(low, high)}, 95 % interval)"
    if tells(judged.asked_twice, judged.agreed):
        return (
            f"Asked for once more, another way, {of_these} are the same: the interval allows for what this leaves open."
        )
    return (
        f"Asked for once more, another way, {of_these} are the same: too few to tell right from wrong by, so {usual}."
    )


def heard(judged: Judged) -> Sequence[Heard]:
    """What was found of the planted captions, by kind."""
    return [
        Heard(_PLANTED.get(kind, kind), recall.found, recall.planted)
        for kind, recall in judged.found.items()
        if recall.planted
    ]


def sample_told(estimate: Estimate) -> str:
    """What a person's sample says of all captions."""
    if estimate.share is None or estimate.low is None or estimate.high is None:
        return "nothing is judged yet"
    unsure = f", {estimate.unsure} that nobody can tell" if estimate.unsure else ""
    interval = f"{percents(estimate.low, estimate.high)} of the captions (95 % interval)"
    return f"{estimate.wrong} of {estimate.right + estimate.wrong} wrong{unsure}: {interval}"


def to_be_warned_of(judged: Judged | None) -> list[str]:
    """What a person is to be warned of: that a build is not judged though it should be, or that much of it is wrong."""
    if judged is None:
        return []
    if judged.low is None:
        return [f"Not judged: {why_not(judged)}"]
    if judged.low > UNUSUAL_WRONG:
        return [
            f"{share_told(judged)} of the captions are wrong, by estimate: look at the doubted ones, and try another "
            "model, prompt or mark style"
        ]
    return []


def scale(judged: Judged) -> float:
    """To which share a bar goes that shows the interval."""
    return next(top for top in (0.1, 0.2, 0.5, 1.0) if (judged.high or 0.0) <= top)


def percents(low: float, high: float) -> str:
    """Two shares: `0.9 to 4.4 %`."""
    return f"{_number(low)} to {percent(high)}"


def percent(share: float) -> str:
    """A share: `2.1 %`."""
    return f"{_number(share)} %"


def _number(share: float) -> str:
    """A share in per cent, to two digits that count: 0.04, 2.1, 12, 100."""
    value = 100 * share
    return f"{value:.2f}" if 0 < value < 0.1 else f"{value:.1f}" if 0 < value < 10 else f"{value:.0f}"
