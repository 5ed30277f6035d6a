"""Planted captions: known to be wrong for the region that they are claimed to be of.

A neighbour's caption needs no question of its own: what the listener says of it is heard when it is asked about the
neighbour (`scores`).
"""

from collections.abc import Collection, Iterable, Mapping

from regioncap.trust.questions import Question


class Captions:
    """The captions that planted ones are made of: those of a shard, or of a build."""

    def __init__(self, captions: Iterable[str]) -> None:
        raise NotImplementedError


def ask(image: str, captions: Mapping[int, str], regions: Collection[int], others: Captions) -> list[Question]:
    """What is asked about `regions` of a row (by id): each one's own caption, and a planted one where one can be made.

    `captions` are all of the row's, by region.
    """
    raise NotImplementedError
