"""What a listener is asked, and how an image is marked anew for it: with other numbers than the captions were made by.

All is drawn by hashes of what it is about: a task that is tried again asks the same.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from regioncap.regions.boxes import Box
from regioncap.trust.alike import words_of

# `own` is a region's caption as it is; the others are planted: captions that are known to be wrong for the region.
Kind = Literal["own", "neighbour", "foreign", "attribute", "generic", "merged"]
PLANTED: tuple[Kind, ...] = tuple(kind for kind in get_args(Kind) if kind != "own")

# Each number has to be one token.
MOST_MARKS = 9
# Under so many shuffles a caption is asked about at most. What is trusted under the first is not asked again.
ROUNDS = 2
# So many regions of a build are judged where it is a sample.
JUDGED_REGIONS = 200
# Of this share of the regions that are judged a caption is asked for once more, another way, but of so many at most:
# from them it is told closely enough what no judge hears.
SECOND = 0.25
ASKED_TWICE = 200


@dataclass(frozen=True)
class Question:
    """Whose is `caption`? It is claimed to be of `region` in the image of row `image` (its id)."""

    image: str
    region: int
    caption: str
    kind: Kind


@dataclass(frozen=True)
class Sheet:
    """A listening image: some regions of a row's image, all where they are few, each under another number.

    `shown` has (region, the number that it is shown under), in the order of the regions; `asked` are those of them that
    are asked about on this sheet. `round` counts the shuffles from 0.
    """

    image: str
    round: int
    shown: tuple[tuple[int, int], ...]
    asked: tuple[int, ...]

    @property
    def regions(self) -> tuple[int, ...]:
        """The regions that are marked in it."""
        return tuple(region for region, _ in self.shown)

    def number(self, region: int) -> int:
        """The number under which a region is shown. Raises KeyError."""
        return dict(self.shown)[region]


def shuffle(seed_text: str, n: int) -> tuple[int, ...]:
    """The number 1 to n under which each of n regions is shown, by a hash of the text; never each its own."""
    order = sorted(range(n), key=lambda place: drawn_number(f"{seed_text} {place}"))
    if order == list(range(n)):
        order = order[1:] + order[:1]
    numbers = [0] * n
    for number, place in enumerate(order, start=1):
        numbers[place] = number
    return tuple(numbers)


def sheets(image: str, boxes: Mapping[int, Box], captions: Mapping[int, str], round_: int) -> list[Sheet]:
    """The listening images of a row in one round: one, or several of near regions where there are more than nine.

    `boxes` are the regions' by number, (x0, y0, x1, y1) in whatever unit. After the first round, regions with the same
    of the `captions` are on sheets of their own, with all others: of two alike things a listener finds either one; and
    a thing that only has the other's caption is not found where the other is not marked.
    """
    made = []
    for group in _groups(sorted(boxes), boxes):
        for shown, asked in _apart(group, captions) if round_ else [(group, group)]:
            numbers = shuffle(f"{image} {shown} {round_}", len(shown))
            made.append(Sheet(image, round_, tuple(zip(shown, numbers, strict=True)), asked))
    return made


def _apart(group: Sequence[int], captions: Mapping[int, str]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The regions that are shown together, no two of one caption, and those of them that are asked about there."""
    alike: dict[tuple[str, ...], list[int]] = {}
    for region in group:
        alike.setdefault(words_of(captions[region]), []).append(region)
    made = []
    for place in range(max(map(len, alike.values()))):
        shown = tuple(sorted(members[min(place, len(members) - 1)] for members in alike.values()))
        made.append((shown, tuple(sorted(members[place] for members in alike.values() if place < len(members)))))
    return made


def _groups(regions: Sequence[int], boxes: Mapping[int, Box]) -> list[tuple[int, ...]]:
    """Regions in groups of at most nine, cut across the longer side of where their middles are."""
    if len(regions) <= MOST_MARKS:
        return [tuple(sorted(regions))] if regions else []
    middles = {region: (boxes[region][0] + boxes[region][2], boxes[region][1] + boxes[region][3]) for region in regions}
    extents = [max(values) - min(values) for values in zip(*middles.values(), strict=True)]
    axis = 0 if extents[0] >= extents[1] else 1
    ordered = sorted(regions, key=lambda region: (middles[region][axis], region))
    half = len(ordered) // 2
    return _groups(ordered[:half], boxes) + _groups(ordered[half:], boxes)


def sample_share(regions: float) -> float:
    """Which share of about so many regions a sample is."""
    return max(1e-6, round(min(1.0, JUDGED_REGIONS / max(regions, 1.0)), 6))


def second_share(judged: float) -> float:
    """Of which share of about so many judged regions a caption is asked for once more."""
    return round(min(SECOND, ASKED_TWICE / max(judged, 1.0)), 6)


def drawn(image: str, region: int, share: float) -> bool:
    """Whether a region is in a sample of `share` (0..1) of all regions."""
    return chance("sample", image, region) < share


def asked_twice(image: str, region: int, share: float) -> bool:
    """Whether a region that is judged is among the `share` (0..1) of which a caption is asked for once more."""
    return chance("second", image, region) < share


def chance(what: str, image: str, region: int) -> float:
    """A number in 0..1 that is always the same for a region, and says nothing of another `what`."""
    return drawn_number(f"{what} {image} {region}")


def drawn_number(text: str) -> float:
    """A number from 0 up to 1, below it, by the text's hash."""
    # 53 bits, as many as a float holds: one more would be rounded, and could become 1.
    return (int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8]) >> 11) / 2**53
