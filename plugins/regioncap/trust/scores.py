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
# Alike things have alike captions, and a listener that finds one of them finds the other hardly less often. One that it
# finds so much less often has the caption of the other.
_AS_LIKELY = 0.1


@dataclass(frozen=True)
class Scored:
    """A caption that was judged, of a build or planted.

    `trust` is 0..1: how likely the listener finds the region by it. `confused_with` is the region that it found
    instead, 0 where it found none, None where it found the region itself. `weight` is less than one where one answer
    tells of several planted captions.
    """

    image: str
    region: int
    kind: Kind
    caption: str
    trust: float
    confused_with: int | None
    weight: float = 1.0

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
        claimed = {region: captions[region] for region in sheet.regions} | {answer.region: answer.caption}
        scores.append(_score(answer.image, answer.region, answer.kind, answer.caption, found, claimed))
        if answer.kind != "own":
            continue
        # Had another region this caption, then that is what the listener would say.
        wrong = [region for region in sheet.regions if not fits_too(captions[region], answer.caption)]
        for region in wrong:
            planted = captions | {region: answer.caption}
            score = _score(answer.image, region, "neighbour", answer.caption, found, planted)
            scores.append(replace(score, weight=1 / len(wrong)))
    return scores


def _score(
    image: str, region: int, kind: Kind, caption: str, found: Mapping[int, float], claimed: Mapping[int, str]
) -> Scored:
    """The trust in a claim. `found` is how likely the listener finds each region, `claimed` the regions' captions."""
    alike = [other for other in found if other == region or same(claimed[other], caption)]
    trust = found[region]
    if trust >= _AS_LIKELY * max(found[other] for other in alike):
        trust = min(1.0, sum(found[other] for other in alike))
    none = max(0.0, 1.0 - sum(found.values()))
    others = {other: likely for other, likely in found.items() if other not in alike} | {0: none}
    first = max(others, key=lambda other: others[other])
    if trust < _AS_LIKELY * max(found[other] for other in alike):
        first = max(alike, key=lambda other: found[other])
    return Scored(image, region, kind, caption, trust, first if trust < DOUBTED else None)


def asked_again(scores: Iterable[Scored]) -> list[Scored]:
    """Those of the first round, own and planted, that are asked about under another shuffle.

    What follows about neighbours is among them where it is doubtful, too: it is heard with the neighbour's own caption.
    """
    return [score for score in scores if score.trust < _SURE and score.kind != "neighbour"]


def together(rounds: Sequence[Iterable[Scored]]) -> list[Scored]:
    """One score for each caption from one or more rounds: the mean of its trust, and what it was surest taken for."""
    by_claim: dict[tuple[str, int, Kind, str], list[Scored]] = defaultdict(list)
    for scores in rounds:
        for score in scores:
            by_claim[score.image, score.region, score.kind, score.caption].append(score)
    merged = []
    for claim in by_claim.values():
        trust = sum(score.trust for score in claim) / len(claim)
        taken = min(claim, key=lambda score: score.trust).confused_with if trust < DOUBTED else None
        merged.append(replace(claim[0], trust=trust, confused_with=taken))
    return merged
