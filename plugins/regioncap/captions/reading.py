"""What the readers of answers have in common: what a reading is, and how doubt is said."""

from dataclasses import dataclass

# What `str.strip` and `\s` take for white space, but for control characters: a gate looks for those.
WHITE_SPACE = (
    " \t\n\r\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


class DoubtError(Exception):
    """The text is of a form that is known, and does not say for sure what belongs to which region."""


@dataclass(frozen=True)
class Reading:
    """What a text says of regions: (region number, description) in its order; `outside` is what it says beside them.

    `counted` says that regions are not named, but numbered, as the items of any list are;
    `strict` that the text has a grammar, which says where each description ends.
    """

    said: list[tuple[int, str]]
    outside: str = ""
    counted: bool = False
    strict: bool = False
