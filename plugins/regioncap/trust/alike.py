"""Which captions say the same: alike things with alike captions are no confusion."""

import re

from regioncap.captions.reading import WHITE_SPACE

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_ARTICLES = frozenset({"a", "an", "the"})


def words_of(caption: str) -> tuple[str, ...]:
    """A caption's words in lower case, without articles; the caption as it is where it has none."""
    words = tuple(word for word in _WORD.findall(caption.casefold()) if word not in _ARTICLES)
    return words or (caption.strip(WHITE_SPACE),)


def same(one: str, other: str) -> bool:
    """Whether two captions say the same word for word, whatever their capitals, articles and punctuation."""
    return words_of(one) == words_of(other)


def fits_too(one: str, other: str) -> bool:
    """Whether either says no more than the other: `a square` also fits what `a red square` fits."""
    these, those = frozenset(words_of(one)), frozenset(words_of(other))
    return these <= those or those <= these
