"""How many of a build's captions are wrong, from what a listener made of them and of planted ones."""

from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from regioncap.trust.scores import Scored

# From how many regions on a build can be judged.
FEWEST_REGIONS = 60


class Recall(BaseModel):
    """How many planted captions of a kind were judged, and how many of them were found."""

    model_config = ConfigDict(frozen=True)

    planted: int = Field(ge=0, description="How many planted captions of the kind were judged.", examples=[120])
    found: int = Field(ge=0, description="How many of them were doubted.", examples=[117])


class Judged(BaseModel):
    """What is known of how many of a build's captions are wrong. `share`, `low` and `high` are all there, or none."""

    model_config = ConfigDict(frozen=True)

    share: float | None = Field(
        description="The estimated share of wrong captions; null where the build is not judged.", examples=[0.021]
    )
    low: float | None = Field(description="The lower end of the share's 95 % interval.", examples=[0.009])
    high: float | None = Field(description="Its upper end.", examples=[0.044])
    regions: int = Field(ge=0, description="How many captions the build has.", examples=[400])
    judged: int = Field(ge=0, description="How many of them were judged.", examples=[400])
    asked: int = Field(ge=0, description="How many questions the listener answered.", examples=[1064])
    planted: int = Field(ge=0, description="How many planted captions were judged.", examples=[2310])
    found: dict[str, Recall] = Field(
        description="By kind of planted caption, how many were judged and found.",
        examples=[{"attribute": {"planted": 120, "found": 112}}],
    )
    false_alarm: float | None = Field(
        description="The share of right captions that are doubted, at most as far as is known.", examples=[0.01]
    )
    how: Literal["all", "sample"] = Field(description="Whether all captions were judged.", examples=["all"])
    judge: str = Field(description="The model that judged.", examples=["regioncap-demo"])
    same_model: bool = Field(description="Whether it is the model that made the captions.", examples=[True])
    asked_again: int = Field(default=0, ge=0, description="How many captions were asked for again.", examples=[11])
    mended: int = Field(default=0, ge=0, description="How many of these got a caption that is trusted.", examples=[8])
    rejected: int = Field(default=0, ge=0, description="How many were rejected as doubted.", examples=[0])
    reason: str | None = Field(default=None, description="Why the build is not judged, in words.", examples=[None])


def estimate(
    scores: Iterable[Scored],
    *,
    regions: int,
    asked: int,
    how: Literal["all", "sample"],
    judge: str,
    same_model: bool,
    known: Mapping[tuple[str, int], bool] | None = None,
) -> Judged:
    """Judge a build of so many `regions` by the scores of its captions, all or a sample of them, and of planted ones.

    `asked` counts the questions. `known` says of single captions, by row id and region, that a person or a class label
    calls them right or wrong. Fails closed: where the listener cannot be told from one that guesses, or was asked too
    little, `share` is None and `reason` says why.
    """
    raise NotImplementedError


def not_judged(reason: str, *, regions: int, how: Literal["all", "sample"], judge: str, same_model: bool) -> Judged:
    """A build that could not be judged, e.g. since the judge was away."""
    return Judged(
        share=None, low=None, high=None, regions=regions, judged=0, asked=0, planted=0, found={}, false_alarm=None,
        how=how, judge=judge, same_model=same_model, reason=reason,
    )  # fmt: skip
