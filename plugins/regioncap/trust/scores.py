"""From what was heard to how far each caption can be trusted."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from regioncap.trust.alike import fits_too, same
from regioncap.trust.answers import Heard
from regioncap.trust.questions import Kind, Sheet

# Under this a caption is doubted.
DOUBTED = 0.5
# What is trusted so far under the first shuffle is not asked about under another.
_SURE = 0.8


@dataclass(frozen=True)
class Scored:
    """A caption that was judged, of a build or planted.

    `trust` is 0..1: how likely the listener finds the region by it. `confused_with` is the region that it found
    instead, 0 where it found none, None where it found the region itself. `shared`: another region that was shown has
    the same caption, and may be meant as well. `weight` is less than one where one answer tells of several planted
    captions. `agreed` says whether a second asking, another way, gave the region this caption; None where there was
    none.
    """

    image: str
    region: int
    kind: Kind
    caption: str
    trust: float
    confused_with: int | None
    shared: bool = False
    weight: float = 1.0
    agreed: bool | None = None

    @property
    def doubted(self) -> bool:
        """Whether it is more likely than not that the region is not found."""
        return self.trust < DOUBTED


def scored(sheet: Sheet, heard: Iterable[Heard], captions: Mapping[int, str]) -> list[Scored]:
    """What was heard about one listening image, and what follows from it about neighbours' captions (planted ones).

    `captions` are the row's, by region.
    """
    scores = []
    for answer in heard:
        found = {region: answer.probabilities.get(str(number), 0.0) for region, number in sheet.shown}
        found[0] = max(0.0, 1.0 - sum(found.values()))
        shared = any(same(captions[other], answer.caption) for other in sheet.regions if other != answer.region)
        scores.append(_score(answer.image, answer.region, answer.kind, answer.caption, found, shared))
        if answer.kind == "own" and not answer.alone:
            # Had another region this caption too, then that is what the listener would say.
            wrong = [region for region in sheet.regions if not fits_too(captions[region], answer.caption)]
            scores += [
                replace(_score(answer.image, region, "neighbour", answer.caption, found, True), weight=1 / len(wrong))
                for region in wrong
            ]
    return scores


def _score(image: str, region: int, kind: Kind, caption: str, found: Mapping[int, float], shared: bool) -> Scored:
    """The trust in a claim. `found` is how likely the listener finds each region, and none of them (0)."""
    trust = min(1.0, found[region])
    first = max(found, key=lambda other: (found[other] if other != region else -1.0, other))
    return Scored(image, region, kind, caption, trust, first if trust < DOUBTED else None, shared)


def asked_again(scores: Iterable[Scored]) -> list[Scored]:
    """Those of the first round, own and planted, that are asked about under another shuffle.

    What follows about neighbours is among them where it is doubtful, too: it is heard with the neighbour's own caption.
    """
    return [score for score in scores if score.trust < _SURE and score.kind != "neighbour"]


def together(rounds: Sequence[Iterable[Scored]]) -> list[Scored]:
    """One score for each caption from one or more rounds: the mean of its trust, and what it was surest taken for.

    Where another region may have been meant as well, only the rounds count in which that was not shown; whether it was
    taken for the other is told by the round in which it was.
    """
    by_claim: dict[tuple[str, int, Kind, str], list[Scored]] = defaultdict(list)
    for scores in rounds:
        for score in scores:
            by_claim[score.image, score.region, score.kind, score.caption].append(score)
    merged = []
    for claim in by_claim.values():
        counted = [score for score in claim if not score.shared] or claim
        trust = sum(score.trust for score in counted) / len(counted)
        told = [score for score in claim if score.shared and score.confused_with] or counted
        taken = min(told, key=lambda score: score.trust).confused_with if trust < DOUBTED else None
        merged.append(replace(counted[0], trust=trust, confused_with=taken))
    return merged
