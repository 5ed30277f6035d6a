"""From what was heard to how far each caption can be trusted."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from regioncap.trust.answers import Heard
from regioncap.trust.questions import Kind, Sheet

# Under this a caption is doubted.
DOUBTED = 0.5


@dataclass(frozen=True)
class Scored:
    """A caption that was judged, of a build or planted.

    `trust` is 0..1: how likely the listener finds the region by it. `confused_with` is the region that it found
    instead, 0 where it found none, None where it found the region itself.
    """

    image: str
    region: int
    kind: Kind
    caption: str
    trust: float
    confused_with: int | None


def scored(sheet: Sheet, heard: Iterable[Heard], captions: Mapping[int, str]) -> list[Scored]:
    """What was heard about one listening image, and what follows from it about neighbours' captions (planted ones).

    `captions` are the row's, by region.
    """
    raise NotImplementedError


def asked_again(scores: Iterable[Scored]) -> list[Scored]:
    """Those of the first round, own and planted, that are asked about under another shuffle."""
    raise NotImplementedError


def together(rounds: Sequence[Iterable[Scored]]) -> list[Scored]:
    """One score for each caption from one or more rounds."""
    raise NotImplementedError
