"""What the readers of answers have in common: what a reading is, and how doubt is said."""

from dataclasses import dataclass


class DoubtError(Exception):
    """The text is of a form that is known, and does not say for sure what belongs to which region."""


@dataclass(frozen=True)
class Reading:
    """What a text says of regions: (region number, description) in its order; `outside` is what it says beside them.

    `counted` says that regions are not named, but numbered, as the items of any list are;
    `loose` that the text has no grammar that says where a description ends.
    """

    said: list[tuple[int, str]]
    outside: str = ""
    counted: bool = False
    loose: bool = True
